"""What promotion found out about the policies of two models, kept beside the store's tables for the report.

One file per night for which a model that chooses strategies was judged: no partition, as no night makes it anew.
"""

import json
from datetime import date
from pathlib import Path
from typing import Any

from pipelines.core.storage import Store


def keep(found: dict[str, Any], night: date, store: Store) -> None:
    """Writes what was found, in one step; a file of the same night is replaced."""
    path = _folder(store) / f"{night}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f".{path.name}.partial")
    half.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    half.replace(path)


def last_kept(night: date, store: Store) -> Path | None:
    """The file of the last judgement up to `night`; None: there was none."""
    kept = sorted(path for path in _folder(store).glob("????-??-??.json") if path.stem <= night.isoformat())
    return kept[-1] if kept else None


def _folder(store: Store) -> Path:
    return store.folder / "evaluations" / "policies"
