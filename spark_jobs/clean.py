"""Clean: raw lines of some arrivals become events and quarantine of the nights they tell of, other feeds their tables.

    python -m spark_jobs.clean SPEC.json

The spec is written by pipelines/clean.py: engine, shop, where the raw files lie, which arrivals are new. The result goes
to <out>/result.json: rows written and the accounting of every line.
"""

from collections import defaultdict
from pathlib import Path
from typing import Any

from pipelines.core.columns import Columns as C
from pipelines.core.privacy import PseudonymKey, load_key
from pipelines.core.shop import Shop
from pipelines.core.tables import TABLES
from spark_jobs import events as ev
from spark_jobs.feeds import clean_catalog, clean_feeds
from spark_jobs.job import paths, run_job
from spark_jobs.parse import IS_HEADER
from spark_jobs.session import DataFrame, Engine, F


def clean_events(engine: Engine, spec: dict[str, Any], shop: Shop, key: PseudonymKey, out: Path) -> dict[str, Any]:
    """Writes out/events/<night>/ for every night that new arrivals tell of, and out/quarantine/<arrival>/.

    spec: `raw` {arrival: files}, `new` [arrivals to judge], `known` {judged arrival: {night: good lines}}, `also` [nights
    to write in any case], `frozen_before` (nights before are not written). Returns `arrivals` {arrival: {headers,
    quarantined, nights, reasons, rows}} of the new ones and `events` {night: {rows, n_bots, lines: {arrival: n},
    kept: {arrival: n}}}.
    """
    source = shop.landing["events"]
    form = ev.load_format(source.connector)

    def parse(arrivals: list[str]) -> tuple[DataFrame, DataFrame]:
        lines = engine.read([path for arrival in arrivals for path in paths(spec["raw"][arrival])])
        return lines, engine.hold(ev.parse_events(lines, form, source, shop))

    lines, parsed = parse(spec["new"])
    arrivals = _account(engine, parsed, spec["new"])
    told = {**spec["known"], **{arrival: account["nights"] for arrival, account in arrivals.items()}}
    nights = sorted({night for arrival in spec["new"] for night in told[arrival]} | set(spec["also"]))
    nights = [night for night in nights if night >= spec["frozen_before"]]
    earlier = [arrival for arrival in spec["known"] if not set(told[arrival]).isdisjoint(nights)]
    good = _good(parsed)
    if earlier:
        good = good.unionByName(_good(parse(earlier)[1]))
    lines_of = {night: {a: told[a][night] for a in sorted(told) if night in told[a]} for night in nights}
    written = _write_nights(engine, good, form.names, lines_of, shop, key, out)
    for arrival in spec["new"]:
        bad = ev.quarantined(parsed.filter(F.col(C.ARRIVAL) == arrival), lines, shop.cleaning.max_quarantine_chars)
        arrivals[arrival]["rows"] = engine.write(
            bad, out / "quarantine" / arrival, TABLES["quarantine"].sort_by, n_rows=arrivals[arrival]["quarantined"]
        )
    return {"arrivals": arrivals, "events": written}


def _good(parsed: DataFrame) -> DataFrame:
    return parsed.filter(F.col(C.REASON).isNull() & ~F.col(IS_HEADER))


def _write_nights(
    engine: Engine,
    good: DataFrame,
    names: tuple[str, ...],
    lines: dict[str, dict[str, int]],
    shop: Shop,
    key: PseudonymKey,
    out: Path,
) -> dict[str, Any]:
    """All nights go through together, brought together by user once; only the writing is night by night.

    `lines`: night -> arrival -> good lines that tell of it.
    """
    if not lines:
        return {}
    nights = list(lines)
    n_lines = {night: sum(lines[night].values()) for night in nights}
    mine = good.filter(F.col(C.NIGHT).isin(*nights))
    events = ev.drop_duplicates(engine.cluster(mine, C.USER_ID, max(n_lines.values())))
    if C.EVENT_ID in names:
        events = ev.drop_resent(events)
    events = engine.hold(events)
    bots = engine.hold(ev.find_bots(events, shop.cleaning))
    frame = ev.finish(
        ev.split_sessions(events, shop.cleaning, one_night=len(nights) == 1), bots, ev.pseudonyms(events, key)
    )
    if len(nights) > 1:
        frame = engine.hold(frame)
    table = TABLES["events"]
    written: dict[str, Any] = {}
    for night in nights:
        of_night = frame.filter(F.col(C.NIGHT) == night)
        if len(nights) > 1:  # a night's files follow from its own lines, whatever was cleaned beside it
            of_night = engine.cluster(of_night, C.USER_ID, n_lines[night])
        rows = engine.write(of_night.select(*table.columns), out / "events" / night, table.sort_by, clustered=True)
        written[night] = {"rows": rows, "n_bots": 0, "n_bot_events": 0, "kept": {}, "lines": lines[night]}
    n = F.count(F.lit(1)).alias("n")
    robotic = events.join(bots, on=[C.NIGHT, C.USER_ID], how="inner").groupBy(C.NIGHT, C.USER_ID).agg(n)
    for row in engine.fetch(robotic):
        written[row[C.NIGHT]]["n_bots"] += 1
        written[row[C.NIGHT]]["n_bot_events"] += int(row["n"])
    for row in engine.fetch(events.groupBy(C.NIGHT, C.ARRIVAL).agg(n).orderBy(C.NIGHT, C.ARRIVAL)):
        written[row[C.NIGHT]]["kept"][row[C.ARRIVAL]] = int(row["n"])
    return written


def _account(engine: Engine, parsed: DataFrame, new: list[str]) -> dict[str, Any]:
    counted = engine.fetch(parsed.groupBy(C.ARRIVAL, IS_HEADER, C.REASON, C.NIGHT).agg(F.count(F.lit(1)).alias("n")))
    arrivals: dict[str, Any] = {
        arrival: {"headers": 0, "quarantined": 0, "nights": defaultdict(int), "reasons": defaultdict(int)}
        for arrival in new
    }
    for row in counted:
        arrival, n = arrivals[row[C.ARRIVAL]], int(row["n"])
        if row[IS_HEADER]:
            arrival["headers"] += n
        elif row[C.REASON] is not None:
            arrival["quarantined"] += n
            arrival["reasons"][row[C.REASON]] += n
        else:
            arrival["nights"][row[C.NIGHT]] += n
    return arrivals


def run(engine: Engine, spec: dict[str, Any]) -> dict[str, Any]:
    shop = Shop.model_validate(spec["shop"])
    out = Path(spec["out"])
    key = load_key(Path(spec["root"]))
    result: dict[str, Any] = {"events": {}, "arrivals": {}, "feeds": {}, "catalog": {}}
    if spec["new"] or spec["also"]:
        result |= clean_events(engine, spec, shop, key, out)
    if spec["feeds"]:
        raw = {
            feed: {arrival: paths(files) for arrival, files in arrivals.items()}
            for feed, arrivals in spec["feeds"].items()
        }
        result["feeds"] = clean_feeds(engine, raw, spec["feed_arrivals"], shop, key, out)
    if spec["catalog"]:
        result["catalog"] = clean_catalog(engine, paths(spec["catalog"]), shop, spec["night"], out)
    return result


if __name__ == "__main__":
    run_job(run)
