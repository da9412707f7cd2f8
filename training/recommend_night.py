"""Recommends items for tomorrow: k to each customer of the night, to each segment for who is not known by name, and what
goes with each item.

    python -m training.recommend_night SPEC.json

The spec is written by pipelines/recommend.py: `shop`, `root`, `night`, `out`, `threads`; `model` {folder, name, version} of
the champion, its folder null where there is none: then own history and popularity rank; `pictures` {item: [file, SHA-256]}
or nothing. What the shop's last weeks say of its items is learnt anew, whatever ranks. Rows go to <out>/TABLE/
(recommendations, segment_recommendations, item_relations, bundles), the result {rows: {TABLE: n}, counts} to
<out>/result.json.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.core.columns import Columns as C
from pipelines.core.errors import NoDataError, WeightsError, WrongUseError
from pipelines.core.reading import read
from pipelines.core.recommending import Recommend
from pipelines.core.shop import Shop
from pipelines.core.storage import Store
from pipelines.core.tables import BIGINT, BOOLEAN, DOUBLE, STRING, TABLES
from pipelines.strategy.recommending import is_held_out, nights_to_buy_again
from training.job import run_job
from training.recommend.interactions import BEHAVIOURS
from training.recommend.item_tables import item_tables
from training.recommend.lists import Lists, Rules, lists_of
from training.recommend.ranker_protocol import places
from training.recommend.reason_words import Past, words
from training.recommend.reasons import LOT, reasons_of
from training.recommend.segment_lists import segment_lists
from training.tasks.recommender import RecommenderSettings
from training.tasks.recommender_examples import ROWS, histories
from training.tasks.recommender_features import AGAIN, ALONG, TASTE, Sight
from training.tasks.recommender_knowledge import Knowledge, Shelf
from training.tasks.recommender_model import RecommenderModel, blocks
from training.tasks.recommender_sight import NEVER, Histories

TABLE = "recommendations"
_KINDS: Final = {STRING: pa.string(), DOUBLE: pa.float64(), BIGINT: pa.int64(), BOOLEAN: pa.bool_()}
_PURCHASE: Final = BEHAVIOURS.index("purchase")


@dataclass(frozen=True)
class Goods:
    """Tonight's shelf, i items: the catalogue and what was touched beside it."""

    shelf: Shelf
    title: np.ndarray  # (i,) object, the id where none is told
    stock: np.ndarray  # (i,) NaN where not told
    is_withdrawn: np.ndarray  # (i,) bool: not in the catalogue, or told there to be withdrawn
    category_name: dict[str, str]


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
    seen = _seen(histories(shop, store, night), people[C.USER_KEY])
    goods = goods_of(store, night, seen)
    model = _model(spec, shop, Knowledge.fit(seen, goods.shelf, goods.title))
    rules = rules_of(shop.recommend, night, goods, seen)
    held_out = is_held_out(keys, shop.recommend.seed, shop.recommend.holdout_percent)
    silent = _took_back(store, night, shop, keys)
    served = np.flatnonzero(~held_out & ~silent)

    out, counts = Path(spec["out"]), _Counts()
    named = spec["model"]
    rows = 0
    with _writer(out, TABLE) as file:
        for start, block in zip(range(0, len(served), 2048), blocks(seen.take(served)), strict=False):
            mine = [keys[at] for at in served[start : start + len(block)]]
            sight, lists = lists_of(model, block, mine, rules)
            table = _rows(sight, lists, model, goods, mine, named["name"], named["version"])
            counts.add(table, lists, sight)
            file.write_table(table)
            rows += table.num_rows
    look, seen_as = _look(spec, store, goods.shelf.items)
    relations, offers, told = item_tables(
        shop, store, night, goods.shelf.items, rules.allowed, int(spec["threads"]), look
    )
    segment = segment_lists(seen, people[C.SEGMENT_ID].to_numpy(), model.known, rules)
    others = {"segment_recommendations": segment, "item_relations": relations, "bundles": offers}
    for name, table in others.items():
        with _writer(out, name) as file:
            file.write_table(table.select(file.schema.names).cast(file.schema))
    again = np.unique(rules.again_hours / 24)
    return {
        "rows": {TABLE: rows, **{name: table.num_rows for name, table in others.items()}},
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
            "items_together": told,
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


def _seen(rows: pa.Table, keys: pa.ChunkedArray) -> Histories:
    """One history per key, empty for who did nothing that tells of items."""
    rows = rows.take(pc.index_in(keys, value_set=rows[C.USER_KEY]))
    columns = [
        pc.fill_null(rows[name].combine_chunks(), pa.scalar([], ROWS.field(name).type)) if pa.types.is_list(ROWS.field(name).type)
        else rows[name]
        for name in ROWS.names
    ]  # fmt: skip
    return Histories.of(pa.table(columns, schema=ROWS))


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


def _rows(
    sight: Sight, lists: Lists, model: RecommenderModel, goods: Goods, keys: Sequence[str], name: str, version: str
) -> pa.Table:
    """The table in the declared columns, order and types."""
    by_choice = np.flatnonzero(~lists.is_explore)
    found = reasons_of(model, sight, lists.row[by_choice], lists.item[by_choice])
    code, cause = np.full(len(lists.row), LOT, dtype=object), np.full(len(lists.row), None, dtype=object)
    code[by_choice], cause[by_choice] = found.code, found.cause
    why = _words(sight, lists, goods, code, cause)
    columns = {
        C.USER_KEY: np.array(keys, dtype=object)[lists.row],
        C.SLOT: lists.slot,
        C.ITEM_ID: goods.shelf.items[lists.item],
        C.SCORE: lists.score,
        C.SOURCE: lists.source,
        C.RUNNER_UP_SOURCE: lists.runner_up,
        C.REASON_CODE: code,
        C.REASON_CAUSE: [text or None for text in cause],
        C.WHY_EN: [one[0] for one in why],
        C.WHY_ZH: [one[1] for one in why],
        C.PROPENSITY: lists.propensity,
        C.IS_EXPLORE: lists.is_explore,
        C.MODEL_NAME: [name] * len(lists.row),
        C.MODEL_VERSION: [version] * len(lists.row),
    }
    return pa.table([pa.array(columns[field.name], field.type) for field in _schema(TABLE)], schema=_schema(TABLE))


def _words(sight: Sight, lists: Lists, goods: Goods, code: np.ndarray, cause: np.ndarray) -> list[tuple[str, str]]:
    of_item = np.isin(code.astype(str), (AGAIN, ALONG))
    named = places(goods.shelf.items, np.where(of_item, cause, "").astype(str))
    of_category = np.where(code == TASTE, cause, "").astype(str)
    own = sight.own.at(lists.row, named)
    theirs = sight.of_category.at(lists.row, places(sight.categories, of_category))
    told = {n: sight.own.get(n, own, NEVER) for n in ("view_hours", "cart_hours", "bought_hours", "last_hours")}
    views, count = sight.own.get("views", own, 0), sight.own.get("count", own, 0)
    visits = sight.of_category.get("count", theirs, 0)
    made = []
    for at, (kind, thing) in enumerate(zip(code.tolist(), cause.tolist(), strict=True)):
        if of_item[at]:
            hours = [told[n][at] for n in ("bought_hours", "cart_hours", "view_hours", "last_hours")]
            newest = next(value for value in hours if value < NEVER)
            past = Past(int(views[at]), int(count[at]), newest, hours[1] < NEVER, hours[0] < NEVER)
            made.append(words(kind, str(goods.title[named[at]]), past))
        elif kind == TASTE:
            made.append(words(kind, goods.category_name.get(thing, thing), Past(count=int(visits[at]))))
        else:
            made.append(words(kind, thing, Past()))
    return made


class _Counts:
    """For the manifest, the summary and the report."""

    def __init__(self) -> None:
        self.bound: Counter[str] = Counter()
        self.by: dict[str, Counter[str]] = {name: Counter() for name in (C.SOURCE, C.REASON_CODE)}
        self.items: set[str] = set()
        self.explored = self.new = 0

    def add(self, table: pa.Table, lists: Lists, sight: Sight) -> None:
        self.bound.update(lists.bound)
        for name, counter in self.by.items():
            counter.update(table[name].to_pylist())
        self.items.update(pc.unique(table[C.ITEM_ID]).to_pylist())
        self.explored += int(lists.is_explore.sum())
        self.new += int((sight.known.age_nights[lists.item] == 0).sum())

    def told(self) -> dict[str, Any]:
        return {
            "filters": dict(sorted(self.bound.items())),
            "by_source": dict(sorted(self.by[C.SOURCE].items())),
            "by_reason": dict(sorted(self.by[C.REASON_CODE].items())),
            "distinct_items": len(self.items),
            "explored": self.explored,
            "new": self.new,
        }


def _schema(table: str) -> pa.Schema:
    return pa.schema([(name, _KINDS[kind]) for name, kind in TABLES[table].columns.items()])


def _writer(out: Path, table: str) -> pq.ParquetWriter:
    folder = out / table
    folder.mkdir(parents=True, exist_ok=True)
    return pq.ParquetWriter(folder / "part-00000.parquet", _schema(table), compression="zstd", store_schema=False)


if __name__ == "__main__":
    run_job(run)
