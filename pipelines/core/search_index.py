"""Where a shop's search index lies and what it was made of: the night asks, training/search_items.py writes."""

import json
from pathlib import Path
from typing import Any, Final

from pipelines.core.storage import Store, sources_digest

BASIS: Final = "basis.json"
_FOLDER: Final = "search"  # beside the shop's layers; nothing of customers is in it


def search_folder(store: Store) -> Path:
    """Holds `index` and `vectors`."""
    return store.folder / _FOLDER


def made_of(catalog_hash: str) -> list[str]:
    """The catalogue and the code. The encoders count as well, but reading their weights takes longer than a night may."""
    return [catalog_hash, sources_digest("training/search", "training/recommend")]


def basis_of(store: Store) -> dict[str, Any]:
    """What the kept index says of itself; nothing where there is none, or one that is damaged."""
    try:
        found = json.loads((search_folder(store) / "index" / BASIS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
