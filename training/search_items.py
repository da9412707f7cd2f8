"""Answers what was typed, from the newest catalogue of a shop.

    python -m training.search_items SPEC.json
    nightmarket search "red shoes" --shop demo --filter price<50

The spec is written by pipelines/search.py: `root`, `shop`, `query`, `filters`, `k`, `threads`, `weights`, `model` (folder of
the champion of task search, or null), `out`; a `query` of null only builds the index, and names no `filters`, `k`, `model`.
Encoders are asked where their weights are on disk; else words do alone. The index is kept beside the shop's tables and built
again when the catalogue, the encoders or this code are others.
"""

import hashlib
import json
import time
from datetime import date
from pathlib import Path
from typing import Any

from pipelines.core.errors import NoDataError, TrainingError
from pipelines.core.reading import read
from pipelines.core.search_index import BASIS, basis_of, made_of, search_folder
from pipelines.core.storage import Store, file_hash, replace_folder
from training.job import run_job
from training.search.filters import parse
from training.search.index import CATALOG, Index
from training.search.ranker import Ranker
from training.search.views import at_hand, encoders_of, vectors_of, wanted_views


def run(spec: dict[str, Any]) -> dict[str, Any]:
    """What was found, and how. Raises NoDataError without a catalogue, WrongUseError for a wrong filter."""
    filters = parse(spec.get("filters", ()))
    store = Store(Path(spec["root"]), spec["shop"])
    index, night, is_built = opened(store, int(spec["threads"]) or 1, Path(spec["weights"]))
    if spec["query"] is None:
        return {"night": night.isoformat(), "items": len(index.goods), "built": is_built}
    if spec["model"]:
        index = index.with_ranker(Ranker.load(Path(spec["model"])) if Ranker.is_in(Path(spec["model"])) else None)
    began = time.perf_counter()
    hits = index.search(spec["query"], int(spec["k"]), filters)
    seconds = time.perf_counter() - began
    prices = index.goods.items.prices
    place = {item: at for at, item in enumerate(index.goods.items.ids.tolist())}
    return {
        "query": hits.query.text,
        "mended": hits.mended,
        "night": night.isoformat(),
        "items": len(index.goods),
        "by": ["words", *index.goods.vectors],
        "ranker": index.ranker is not None,
        "built": is_built,
        "milliseconds": round(1000 * seconds, 1),
        "hits": [
            {"item_id": item, "title": title, "score": score, "price_cents": _whole(prices[place[item]])}
            for item, title, score in zip(hits.items, hits.titles, hits.scores, strict=True)
        ],
    }


def opened(store: Store, threads: int, weights: Path) -> tuple[Index, date, bool]:
    """The index of the newest catalogue, its night, and whether it had to be built."""
    nights = store.nights("catalog")
    catalog = read(store, "catalog", nights[-1:], *CATALOG) if nights else None
    if catalog is None:
        raise NoDataError(f"shop {store.shop}: no night has a catalogue; land one and run `nightmarket night` first")
    manifest = store.manifest("catalog", nights[-1])
    assert manifest is not None  # the night is one of the store's
    folders = at_hand(wanted_views([title or "" for title in catalog["title"].to_pylist()]), weights)
    encoders = encoders_of(folders, 1)  # one query is too little for two threads: they wait for each other
    parts = made_of(manifest.content_hash)
    hashes = [file_hash(path) for folder in folders.values() for path in sorted(folder.glob("*.safetensors"))]
    basis = hashlib.sha256(json.dumps([parts, hashes, sorted(folders)]).encode()).hexdigest()
    folder = search_folder(store) / "index"
    if basis_of(store).get("basis") == basis:
        try:
            return Index.load(folder, encoders), nights[-1], False
        except TrainingError:
            pass  # damaged: built again
    titles = [title or "" for title in catalog["title"].to_pylist()]
    vectors = vectors_of(titles, folders, threads, search_folder(store) / "vectors")
    index = Index.build(catalog, vectors, encoders)
    with store.staging() as staging:
        made = staging / "index"
        made.mkdir(parents=True)
        index.save(made)
        told = {"basis": basis, "made_of": parts, "night": nights[-1].isoformat()}
        (made / BASIS).write_text(json.dumps(told), encoding="utf-8")
        folder.parent.mkdir(parents=True, exist_ok=True)
        replace_folder(made, folder)
    return index, nights[-1], True


def _whole(cents: float) -> int | None:
    return round(cents) if cents == cents else None


if __name__ == "__main__":
    run_job(run)
