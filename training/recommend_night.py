"""Recommends items for tomorrow: k to each customer of the night, to each segment for who is not known by name, and what
goes with each item.

    python -m training.recommend_night SPEC.json

The spec is written by pipelines/recommend.py: `shop`, `root`, `night`, `out`, `engine`, `threads`; `model` {folder, name, version} of
the champion, its folder null where there is none: then own history and popularity rank; `pictures` {item: [file, SHA-256]}
or nothing. What the shop's last weeks say of its items is learnt anew, whatever ranks. Rows go to <out>/TABLE/
(recommendations, segment_recommendations, item_relations, bundles), the result {rows: {TABLE: n}, counts} to
<out>/result.json.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.core.columns import Columns as C
from pipelines.core.errors import NoDataError, WeightsError, WrongUseError
from pipelines.core.reading import read
from pipelines.core.recommending import Recommend
from pipelines.core.shop import Shop
from pipelines.core.storage import Store
from pipelines.strategy.recommending import is_held_out, nights_to_buy_again
from training.job import run_job
from training.recommend.interactions import BEHAVIOURS
from training.recommend.item_tables import item_tables
from training.recommend.lists import Rules
from training.recommend.ranker_protocol import places
from training.recommend.segment_lists import segment_lists
from training.recommend.serving import TABLE, Goods, Serving, serve
from training.table_files import write
from training.tasks.recommender import RecommenderSettings
from training.tasks.recommender_examples import ROWS, histories
from training.tasks.recommender_knowledge import Knowledge, Shelf
from training.tasks.recommender_model import RecommenderModel
from training.tasks.recommender_sight import Histories

_PURCHASE: Final = BEHAVIOURS.index("purchase")


def run(spec: dict[str, Any]) -> dict[str, Any]:
    """Writes the tables of the night under spec["out"]. Raises NoDataError where the night has no customers."""
    shop, night = Shop.model_validate(spec["shop"]), date.fromisoformat(spec["night"])
    if shop.recommend is None:
        raise WrongUseError(f"shop {shop.shop}: no 'recommend' in its configuration; add it")
    store = Store(Path(spec["root"]), shop.shop)
    people = read(store, "segments", [night], C.USER_KEY, C.SEGMENT_ID)
    if people is None or not len(people):
        raise NoDataError(f"shop {shop.shop}, night {night}: no customers; run the features stage first")
    people = people.sort_by(C.USER_KEY)
    keys = people[C.USER_KEY].to_pylist()
    told = _of_all(histories(shop, store, night), people[C.USER_KEY])
    seen = Histories.of(told)
    goods = goods_of(store, night, seen)
    model = _model(spec, shop, Knowledge.fit(seen, goods.shelf, goods.title))
    rules = rules_of(shop.recommend, night, goods, seen)
    held_out = is_held_out(keys, shop.recommend.seed, shop.recommend.holdout_percent)
    silent = _took_back(store, night, shop, keys)
    served = np.flatnonzero(~held_out & ~silent)

    out, named = Path(spec["out"]), spec["model"]
    serving = Serving(model, goods, rules, named["name"], named["version"])
    counts = serve(serving, told.take(pa.array(served)), out / TABLE, spec.get("engine"))
    look, seen_as = _look(spec, store, goods.shelf.items)
    relations, offers, together = item_tables(
        shop, store, night, goods.shelf.items, rules.allowed, int(spec["threads"]), look
    )
    segment = segment_lists(seen, people[C.SEGMENT_ID].to_numpy(), model.known, rules)
    others = {"segment_recommendations": segment, "item_relations": relations, "bundles": offers}
    for name, table in others.items():
        write(out, name, table)
    again = np.unique(rules.again_hours / 24)
    return {
        "rows": {TABLE: counts.rows, **{name: table.num_rows for name, table in others.items()}},
        "counts": {
            "customers": len(keys),
            "served": len(served),
            "holdout": int(held_out.sum()),
            "no_consent": int((silent & ~held_out).sum()),
            "items": int(rules.allowed.sum()),
            "withdrawn": int(goods.is_withdrawn.sum()),
            "out_of_stock": int((rules.is_short & ~goods.is_withdrawn).sum()),
            "kind": model.kind,
            "nights_to_buy_again": [round(float(value), 1) for value in (again[[0, -1]] if len(again) else [])],
            **counts.told(),
            "items_together": together,
            **({"pictures": seen_as} if seen_as else {}),
        },
    }


def _model(spec: dict[str, Any], shop: Shop, known: Knowledge) -> RecommenderModel:
    if spec["model"]["folder"]:
        loaded = RecommenderModel.load(Path(spec["model"]["folder"]))
        return replace(loaded, known=known, threads=int(spec["threads"]))
    return RecommenderModel(known, RecommenderSettings().length)


def _look(spec: dict[str, Any], store: Store, items: np.ndarray) -> tuple[np.ndarray | None, dict[str, Any]]:
    """What the items (i,) look like (i, w), and counts; None where no picture could be read, at no cost where none is named."""
    files = {item: (Path(path), content) for item, (path, content) in (spec.get("pictures") or {}).items()}
    if not files:
        return None, {}
    if find_spec("torch") is None:  # an image that only drives Spark
        return None, {"named": len(files), "read": 0, "why": "torch is not installed where this job runs"}
    from training.recommend.pictures import embed_pictures, looks
    from training.weights import PICTURES, resolve

    try:
        folder = resolve(PICTURES, store.root / "weights")
    except WeightsError as error:  # the night needs no pictures; the next one tries again
        return None, {"named": len(files), "read": 0, "why": str(error)}
    kept = store.folder / "kept" / "pictures.safetensors"
    shown = embed_pictures(files, folder, threads=int(spec["threads"]), kept=kept)
    told = {"named": len(files), "read": len(shown.vectors), "refused": dict(shown.refused)}
    return looks(shown, items) if len(shown.vectors) > 1 else None, told


def _of_all(rows: pa.Table, keys: pa.ChunkedArray) -> pa.Table:
    """ROWS of each key, empty for who did nothing that tells of items."""
    rows = rows.take(pc.index_in(keys, value_set=rows[C.USER_KEY]))
    columns = [
        pc.fill_null(rows[name].combine_chunks(), pa.scalar([], ROWS.field(name).type)) if pa.types.is_list(ROWS.field(name).type)
        else rows[name]
        for name in ROWS.names
    ]  # fmt: skip
    return pa.table([keys, *columns[1:]], schema=ROWS)


def goods_of(store: Store, night: date, seen: Histories) -> Goods:
    """The night's catalogue and the items of the histories; without a catalogue these alone, and nothing is withdrawn."""
    columns = (C.ITEM_ID, C.TITLE, C.CATEGORY_ID, C.CATEGORY_PATH, C.PRICE_CENTS, C.STOCK, C.ATTRIBUTES)
    told = read(store, "catalog", [night], *columns)
    touched = Shelf.of(seen)
    if told is None:
        return Goods(
            touched, touched.items.astype(object), np.full(len(touched), np.nan), np.zeros(len(touched), dtype=bool), {}
        )
    told = told.set_column(0, C.ITEM_ID, pc.cast(told[C.ITEM_ID], pa.string())).sort_by(C.ITEM_ID)
    listed = told[C.ITEM_ID].to_numpy().astype(str)
    items = np.union1d(listed, touched.items)
    at, old = places(items, listed), places(items, touched.items)

    def spread(values: np.ndarray, otherwise: Any, kind: type) -> np.ndarray:
        found: np.ndarray = np.full(len(items), otherwise, dtype=kind)
        found[at] = values
        return found

    category = np.full(len(items), "", dtype=object)
    category[old] = touched.category
    category[at] = pc.fill_null(pc.cast(told[C.CATEGORY_ID], pa.string()), "").to_numpy()
    cents = pc.cast(told[C.PRICE_CENTS], pa.float64()).to_numpy()
    title = spread(pc.fill_null(told[C.TITLE], "").to_numpy(), "", object)
    marked = np.array([_is_marked(text) for text in told[C.ATTRIBUTES].to_pylist()], dtype=bool)
    paths = dict(zip(told[C.CATEGORY_ID].to_pylist(), told[C.CATEGORY_PATH].to_pylist(), strict=True))
    return Goods(
        Shelf(items, category.astype(str), spread(np.where(cents > 0, cents, np.nan), np.nan, float)),
        np.where(title == "", items, title),
        spread(pc.cast(told[C.STOCK], pa.float64()).to_numpy(), np.nan, float),
        spread(marked, True, bool),
        {str(key): path.rpartition(".")[2].replace("_", " ") for key, path in paths.items() if key and path},
    )


def _is_marked(attributes: str | None) -> bool:
    return bool(attributes and "withdrawn" in attributes and json.loads(attributes).get("withdrawn") is True)


def rules_of(settings: Recommend, night: date, goods: Goods, seen: Histories) -> Rules:
    """Tonight's rules; how long what was bought rests is learnt from who bought again."""
    names = np.unique(goods.shelf.category[goods.shelf.category != ""])
    category = places(names, goods.shelf.category)
    place = places(goods.shelf.items, seen.told.items)
    item = place[seen.told.item] if len(place) else np.zeros(0, dtype=np.int64)
    bought = np.flatnonzero((seen.told.behaviour == _PURCHASE) & (item >= 0))
    nights = nights_to_buy_again(
        seen.told.customer[bought], item[bought], category[item[bought]],
        np.floor(seen.age_hours[bought] / 24).astype(np.int64), len(names),
    )  # fmt: skip
    return Rules(settings, night, goods.is_withdrawn, goods.stock < settings.min_stock, 24 * nights[category])


def _took_back(store: Store, night: date, shop: Shop, keys: Sequence[str]) -> np.ndarray:
    """(n,) bool: whose every channel is closed. They objected to being marketed to, so nothing is chosen for them by name."""
    told = read(store, "channel_response", [night], C.USER_KEY, C.CHANNEL, C.IS_SUPPRESSED)
    channels = {channel.id for channel in shop.strategy.channels}
    if told is None or not channels:
        return np.zeros(len(keys), dtype=bool)
    shut = told.filter(told[C.IS_SUPPRESSED])
    shut = shut.filter(pc.is_in(shut[C.CHANNEL], value_set=pa.array(sorted(channels))))
    closed = Counter(shut[C.USER_KEY].to_pylist())
    return np.array([closed[key] == len(channels) for key in keys], dtype=bool)


if __name__ == "__main__":
    run_job(run)
