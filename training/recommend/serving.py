"""Customers' histories in, rows of the table recommendations out, block by block: on one machine or in Spark's mapInArrow.

    counts = serve(serving, histories, folder)                        # training/recommend_night.py
    counts = serve(serving, histories, folder, engine)                # the same rows, by the engine of a spec

What a customer is shown depends on the own history, tonight's model and rules alone, so blocks and machines change nothing.
"""

import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.core.columns import Columns as C
from pipelines.core.sizing import build_session, files_of, spark_settings
from pipelines.core.tables import STRING, TABLES
from training.recommend.lists import Lists, Rules, lists_of
from training.recommend.ranker_protocol import places
from training.recommend.reason_words import Past, words
from training.recommend.reasons import LOT, reasons_of
from training.table_files import PART, schema_of, writer
from training.tasks.recommender_features import AGAIN, ALONG, TASTE, Sight
from training.tasks.recommender_knowledge import Shelf
from training.tasks.recommender_model import RecommenderModel
from training.tasks.recommender_sight import NEVER, Histories

TABLE: Final = "recommendations"
_BOUND: Final = "bound"  # of a block's last row, which names nobody: what its lists lost to filters, as JSON
_RANGE: Final = "range"  # of customers, by key: what one task of Spark lists and writes
_BLOCK: Final = 2_048  # customers: their candidates are held at once


@dataclass(frozen=True)
class Goods:
    """Tonight's shelf, i items: the catalogue and what was touched beside it."""

    shelf: Shelf
    title: np.ndarray  # (i,) object, the id where none is told
    stock: np.ndarray  # (i,) NaN where not told
    is_withdrawn: np.ndarray  # (i,) bool: not in the catalogue, or told there to be withdrawn
    category_name: dict[str, str]


@dataclass(frozen=True)
class Serving:
    """What lists are made with."""

    model: RecommenderModel
    goods: Goods
    rules: Rules
    name: str  # of the model, as each row tells it
    version: str


SCHEMA: Final = schema_of(TABLE)
_TOLD: Final = SCHEMA.append(pa.field(_BOUND, pa.string()))


class Counts:
    """For the manifest, the summary and the report."""

    def __init__(self, serving: Serving) -> None:
        self.goods, self.age_nights = serving.goods, serving.model.known.age_nights
        self.bound: Counter[str] = Counter()
        self.by: dict[str, Counter[str]] = {name: Counter() for name in (C.SOURCE, C.REASON_CODE)}
        self.items: set[str] = set()
        self.rows = self.explored = self.new = 0

    def taken(self, told: pa.Table) -> pa.Table:
        """The rows of customers among what `list_blocks` gave, counted."""
        for text in told[_BOUND].drop_null().to_pylist():
            self.bound.update(json.loads(text))
        table = told.filter(pc.is_null(told[_BOUND])).drop_columns(_BOUND)
        for name, counter in self.by.items():
            counter.update(table[name].to_pylist())
        items = table[C.ITEM_ID].to_numpy().astype(str)
        self.items.update(items.tolist())
        self.rows += table.num_rows
        self.explored += pc.sum(table[C.IS_EXPLORE]).as_py() or 0
        self.new += int((self.age_nights[places(self.goods.shelf.items, items)] == 0).sum()) if len(items) else 0
        return table

    def told(self) -> dict[str, Any]:
        return {
            "filters": dict(sorted(self.bound.items())),
            "by_source": dict(sorted(self.by[C.SOURCE].items())),
            "by_reason": dict(sorted(self.by[C.REASON_CODE].items())),
            "distinct_items": len(self.items),
            "explored": self.explored,
            "new": self.new,
        }


def serve(serving: Serving, histories: pa.Table, folder: Path, engine: dict[str, Any] | None = None) -> Counts:
    """Writes folder/part-*.parquet, by customer and slot. `histories`: recommender_examples.ROWS with every key, by key;
    `engine`: of the spec, one machine by default."""
    folder.mkdir(parents=True, exist_ok=True)
    counts = Counts(serving)
    if engine and engine["name"] == "spark":
        _on_spark(serving, histories, folder, engine, counts)
        return counts
    with writer(folder / PART, TABLE) as file:
        for batch in list_blocks(serving, histories.combine_chunks().to_batches(_BLOCK)):
            file.write_table(counts.taken(pa.Table.from_batches([batch])))
    return counts


def list_blocks(serving: Serving, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Per block of customers the rows of their lists, in the order of both, and a last row of the block's own."""
    for batch in batches:
        for start in range(0, batch.num_rows, _BLOCK):
            block = pa.Table.from_batches([batch.slice(start, _BLOCK)])
            keys = block[C.USER_KEY].to_pylist()
            sight, lists = lists_of(serving.model, Histories.of(block), keys, serving.rules)
            table = _rows(serving, sight, lists, keys)
            table = table.append_column(_TOLD.field(_BOUND), pa.nulls(table.num_rows, pa.string()))
            last = pa.Table.from_pylist([{_BOUND: json.dumps(lists.bound, sort_keys=True)}], schema=_TOLD)
            yield from pa.concat_tables([table, last]).combine_chunks().to_batches()


def _on_spark(serving: Serving, histories: pa.Table, folder: Path, engine: dict[str, Any], counts: Counts) -> None:
    """The same function in mapInArrow; each task lists its own range of customers."""
    from pyspark.sql import SparkSession

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # else the first python3 on the path would list
    alone = replace(serving, model=replace(serving.model, threads=1))
    session = build_session(SparkSession.builder.appName("nightmarket recommend"), engine, spark_settings(engine))
    try:
        n = histories.num_rows
        n_files = engine["partitions"] or files_of(n * serving.rules.settings.k)
        ranges = pa.array(np.arange(n) * n_files // max(n, 1), pa.int32())
        frame = session.createDataFrame(histories.append_column(_RANGE, ranges)).repartitionById(n_files, _RANGE)
        types = ", ".join(f"{column} {kind}" for column, kind in {**TABLES[TABLE].columns, _BOUND: STRING}.items())
        listed = frame.drop(_RANGE).mapInArrow(lambda batches: list_blocks(alone, batches), types)
        parts = folder / "spark"
        listed.sortWithinPartitions(C.USER_KEY, C.SLOT).write.parquet(str(parts))
    finally:
        session.stop()
    for number, part in enumerate(sorted(parts.glob("part-*.parquet"))):
        with writer(folder / f"part-{number:05d}.parquet", TABLE) as file:
            file.write_table(counts.taken(pq.ParquetFile(part).read().cast(_TOLD)))
    shutil.rmtree(parts)


def _rows(serving: Serving, sight: Sight, lists: Lists, keys: Sequence[str]) -> pa.Table:
    """The table in the declared columns, order and types."""
    model, goods = serving.model, serving.goods
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
        C.MODEL_NAME: [serving.name] * len(lists.row),
        C.MODEL_VERSION: [serving.version] * len(lists.row),
    }
    return pa.table([pa.array(columns[field.name], field.type) for field in SCHEMA], schema=SCHEMA)


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
