"""Every feed but events: JSON lines to their tables, one row per id, bad lines to feed_quarantine with a reason.

`clean_feeds` handles what arrived for some nights; `clean_catalog` the products as known by the end of a night.
"""

from functools import reduce
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pipelines.core.columns import Columns as C
from pipelines.core.privacy import PseudonymKey
from pipelines.core.shop import Shop
from pipelines.core.tables import TABLES
from spark_jobs.events import load_format, pseudonyms
from spark_jobs.parse import OCCURRED_US, cents, first_reason, money, split
from spark_jobs.session import DataFrame, Engine, F, Window

_TIMES = (C.OCCURRED_AT, C.SENT_AT)


def parse_feed(lines: DataFrame, feed: str, shop: Shop) -> DataFrame:
    """One row per raw line: its place, reason (null if good) and the feed's columns; times still in microseconds."""
    form = load_format(shop.landing[feed].connector)  # type: ignore[index]
    frame, cells, rules = split(lines, form)
    columns = form.columns(cells)
    rules = [
        *rules,
        *form.rules(cells),
        *(money(cents(cells[form.price]), cells[form.price], shop.cleaning.max_price) if form.price else []),
    ]
    return frame.select(
        C.ARRIVAL,
        C.SOURCE_FILE,
        C.LINE_NUMBER,
        F.coalesce(F.col(C.FAULT), first_reason(rules)).alias(C.REASON),
        *[column.alias(name) for name, column in columns.items()],
    )


def newest(parsed: DataFrame, *keys: str) -> DataFrame:
    """One row per key of the good lines: the one told last (arrival, file, line)."""
    order = [F.col(name).desc() for name in (C.ARRIVAL, C.SOURCE_FILE, C.LINE_NUMBER)]
    by_key = Window.partitionBy(*keys).orderBy(*order)
    numbered = parsed.filter(F.col(C.REASON).isNull()).withColumn("nth", F.row_number().over(by_key))
    return numbered.filter(F.col("nth") == 1)


def drop_retold(rows: DataFrame, id_column: str, late_nights: int) -> DataFrame:
    """Leaves out what an earlier arrival of the last `late_nights` told already. `rows`: one per id and arrival.

    Judged from arrival to arrival, so that an arrival's rows do not depend on which others are judged with it.
    """
    by_id = Window.partitionBy(id_column).orderBy(C.ARRIVAL)
    before = F.lag(C.ARRIVAL).over(by_id)
    earliest = F.date_format(F.date_sub(F.to_date(F.col(C.ARRIVAL)), late_nights), "yyyy-MM-dd")
    marked = rows.select("*", before.alias("told_before"), earliest.alias("earliest"))
    return marked.filter(F.col("told_before").isNull() | (F.col("told_before") < F.col("earliest")))


def to_table(rows: DataFrame, table: str, users: DataFrame | None) -> DataFrame:
    """The table's columns in order: pseudonyms for user ids, timestamps for microseconds."""
    columns = TABLES[table].columns
    if users is not None:
        rows = rows.join(users, on=C.USER_ID, how="inner")
    made = {name: F.timestamp_of_micros(F.col(OCCURRED_US)) for name in _TIMES if name in columns}
    return rows.select(*[made.get(name, F.col(name)).alias(name) for name in columns])


def clean_feeds(
    engine: Engine, raw: dict[str, dict[str, list[Path]]], new: list[str], shop: Shop, key: PseudonymKey, out: Path
) -> dict[str, dict[str, dict[str, int]]]:
    """Writes out/<feed>/<arrival>/ and out/feed_quarantine/<arrival>/ of the `new` arrivals; returns arrival -> feed -> lines.

    `raw`: feed -> arrival -> files; beside the new arrivals those of the late nights before them, whose ids count as told.
    """
    accounting: dict[str, dict[str, dict[str, int]]] = {arrival: {} for arrival in new}
    bad: list[DataFrame] = []
    for feed, arrivals in raw.items():
        lines = engine.read([path for files in arrivals.values() for path in files])
        parsed = engine.hold(parse_feed(lines, feed, shop))
        bad.append(_rejected(parsed, lines, shop.cleaning.max_quarantine_chars))
        counted = engine.fetch(
            parsed.groupBy(C.ARRIVAL).agg(F.count(F.lit(1)).alias("n"), F.count(F.col(C.REASON)).alias("n_bad"))
        )
        counts = {row[C.ARRIVAL]: (int(row["n"]), int(row["n_bad"])) for row in counted}
        id_column = TABLES[feed].sort_by[0]
        kept = drop_retold(newest(parsed, id_column, C.ARRIVAL), id_column, shop.cleaning.late_nights)
        for arrival in (arrival for arrival in arrivals if arrival in accounting):
            n, n_bad = counts.get(arrival, (0, 0))
            accounting[arrival][feed] = {"lines": n, "quarantined": n_bad}
            if feed == "catalog":
                continue  # written by clean_catalog: a product is known from all that arrived before
            mine = kept.filter(F.col(C.ARRIVAL) == arrival)
            users = pseudonyms(mine, key) if C.USER_ID in parsed.columns else None
            rows = engine.write(
                to_table(mine, feed, users), out / feed / arrival, TABLES[feed].sort_by, n_rows=n - n_bad
            )
            accounting[arrival][feed] |= {"rows": rows, "duplicate": n - n_bad - rows}
    rejected = engine.hold(reduce(lambda left, right: left.unionByName(right), bad))
    for arrival in new:
        of_arrival = rejected.filter(F.col(C.ARRIVAL) == arrival)
        n_bad = sum(counts["quarantined"] for counts in accounting[arrival].values())
        engine.write(of_arrival, out / "feed_quarantine" / arrival, TABLES["feed_quarantine"].sort_by, n_rows=n_bad)
    return accounting


def _rejected(parsed: DataFrame, lines: DataFrame, max_chars: int) -> DataFrame:
    """The columns of table `feed_quarantine`."""
    place = [C.ARRIVAL, C.SOURCE_FILE, C.LINE_NUMBER]
    text = F.substring(F.col(C.RAW_TEXT), 1, max_chars).alias(C.RAW_TEXT)
    bad = parsed.filter(F.col(C.REASON).isNotNull()).select(*place, C.REASON)
    return bad.join(lines.select(*place, text), on=place, how="inner").select(*TABLES["feed_quarantine"].columns)


def clean_catalog(engine: Engine, files: list[Path], shop: Shop, night: str, out: Path) -> dict[str, Any]:
    """Writes out/catalog/<night>/: every product as last told in `files`, all that arrived by the night."""
    parsed = parse_feed(engine.read(files), "catalog", shop)
    table = to_table(newest(parsed, C.ITEM_ID), "catalog", None)
    n_lines = sum(pq.read_metadata(path).num_rows for path in files)
    rows = engine.write(table, out / "catalog" / night, TABLES["catalog"].sort_by, n_rows=n_lines)
    return {"rows": rows}
