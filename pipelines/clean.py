"""The clean stage: what landed becomes events, quarantine, feeds and the catalogue, every line accounted for.

An arrival is judged once; the nights that its lines tell of are written again, so that late events reach their night
whatever the order. Raw lines stay, so a quarantined line is replayed by judging its arrival again after the fix.
"""

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from pipelines.core.errors import AccountingError, AuditError, NoDataError
from pipelines.core.privacy import load_key
from pipelines.core.shop import Shop
from pipelines.core.storage import Store, window
from pipelines.gates import gate
from pipelines.launch import launch
from pipelines.retain import refuse_expired
from pipelines.stage import Context, Staged, StageResult, audit_and_publish, digest_of, engine_spec

_FEEDS = ("reviews", "messages", "deliveries", "outcomes")


def run(night: date, context: Context) -> StageResult:
    """Publishes what is out of date of events, quarantine, feeds, feed_quarantine and the night's catalog.

    Raises NoDataError where the night has no event, AccountingError where counts do not add up, AuditError.
    """
    shop, store = context.shop, context.store
    refuse_expired(night, shop, store)
    result = judge(night, context)
    events = store.manifest("events", night)
    if events is None or events.rows == 0:
        raise NoDataError(
            f"shop {shop.shop}, night {night}: no clean event; {_nearest(store)}choose another --date or land its files"
        )
    for table in ("events", "quarantine", *_FEEDS, "feed_quarantine", "catalog"):
        manifest = store.manifest(table, night)
        if manifest and f"{table}/{night.isoformat()}" not in result.manifests:
            result.add(manifest, made=False)
    return result


def judge(night: date, context: Context) -> StageResult:
    """Judges what has arrived up to now and publishes all that it changes, of whatever night."""
    result = StageResult("clean")
    load_key(context.store.root)  # made here once, not by two jobs at a time
    # Two at once could each write a night without what the other has just judged.
    with context.store.lock("clean", wait=True):
        _make(night, context, result)
    return result


def _make(night: date, context: Context, result: StageResult) -> None:
    shop, store = context.shop, context.store
    event_config = digest_of(shop.timezone, shop.landing["events"], shop.cleaning)
    new, also = _new_arrivals(night, context, event_config)
    feed_config = digest_of(shop.cleaning, *[source for feed, source in shop.landing.items() if feed != "events"])
    feeds, feed_arrivals = _new_feeds(night, context, feed_config)
    catalog = _catalog_arrivals(night, store) if "catalog" in shop.landing else []
    catalog_inputs = store.inputs("raw_catalog", catalog)
    if not context.force and store.is_current("catalog", night, catalog_inputs, feed_config):
        catalog = []
    if new or also or feed_arrivals or catalog:
        with store.staging() as staging:
            spec = _spec(night, context, new, also) | {
                "feeds": feeds,
                "feed_arrivals": [arrival.isoformat() for arrival in feed_arrivals],
                "catalog": [str(path) for path in store.files("raw_catalog", catalog)],
            }
            made = launch(
                "spark_jobs.clean", spec, context.machine, staging, store.folder / "logs", submit=context.submit
            )
            staged = _staged_feeds(made, context, staging, feed_config)
            if catalog:
                staged.append(
                    Staged(
                        "catalog",
                        night,
                        staging / "catalog" / night.isoformat(),
                        made["catalog"]["rows"],
                        catalog_inputs,
                        feed_config,
                    )
                )
            judged = _staged_events(made, store, staging, event_config)
            _hold_gates(judged, context)
            staged += judged
            audit_and_publish(staged, store, context.machine, result)


def _reach(shop: Shop, night: date) -> list[date]:
    """Arrivals that may tell of a night."""
    archive = shop.landing["events"].is_archive
    return (
        [shop.arrival_of("events", night)]
        if archive
        else window(date.fromordinal(night.toordinal() + shop.cleaning.late_nights), shop.cleaning.late_nights + 1)
    )


def _new_arrivals(night: date, context: Context, config_hash: str) -> tuple[list[date], list[date]]:
    """Arrivals to judge (again), and nights that must be written even if those no longer tell of them."""
    store = context.store
    forced = set(_reach(context.shop, night)) if context.force else set()
    new = [
        arrival
        for arrival in store.nights("raw_events")
        if arrival in forced
        or not store.is_current("quarantine", arrival, store.inputs("raw_events", [arrival]), config_hash)
    ]
    names = {f"raw_events/{arrival.isoformat()}" for arrival in new}
    manifests = [store.manifest("events", known) for known in store.nights("events")] if new else []
    also = [date.fromisoformat(m.partition) for m in manifests if m and not names.isdisjoint(m.inputs)]
    return new, also


def _new_feeds(night: date, context: Context, config_hash: str) -> tuple[dict[str, dict[str, list[str]]], list[date]]:
    """Files per feed and arrival to read, and the arrivals to judge (again): what was told before is read with them."""
    store, shop = context.store, context.shop
    feeds = [feed for feed in shop.landing if feed != "events"]
    first = store.kept_from("raw")  # of arrivals before, raw_catalog alone is kept
    arrivals = sorted({arrival for feed in feeds for arrival in store.nights(f"raw_{feed}") if arrival >= first})
    new = [
        arrival
        for arrival in arrivals
        if (context.force and arrival == night)
        or not store.is_current("feed_quarantine", arrival, _feed_inputs(store, shop, feeds, arrival), config_hash)
    ]
    read = sorted({told for arrival in new for told in _told_with(shop, arrival)})
    files: dict[str, dict[str, list[str]]] = {}
    for feed in feeds:
        for arrival in read:
            if found := store.files(f"raw_{feed}", [arrival]):
                files.setdefault(feed, {})[arrival.isoformat()] = [str(path) for path in found]
    return files, new


def _told_with(shop: Shop, arrival: date) -> list[date]:
    """Arrivals whose ids count as told already when this one is judged, itself included."""
    return window(arrival, shop.cleaning.late_nights + 1)


def _feed_inputs(store: Store, shop: Shop, feeds: Sequence[str], arrival: date) -> dict[str, str]:
    inputs: dict[str, str] = {}
    for feed in feeds:
        told = set(store.nights(f"raw_{feed}"))
        inputs |= store.inputs(f"raw_{feed}", [n for n in _told_with(shop, arrival) if n in told])
    return inputs


def _catalog_arrivals(night: date, store: Store) -> list[date]:
    return [arrival for arrival in store.nights("raw_catalog") if arrival <= night]


def _spec(night: date, context: Context, new: list[date], also: list[date]) -> dict[str, Any]:
    shop, store = context.shop, context.store
    known: dict[str, dict[str, int]] = {}
    for arrival in store.nights("raw_events") if new else []:
        judged = store.manifest("quarantine", arrival)
        if arrival not in new and judged:
            known[arrival.isoformat()] = judged.counts["nights"]
    arrivals = [arrival.isoformat() for arrival in new]
    return {
        "engine": engine_spec(context),
        "root": str(store.root),
        "shop": shop.model_dump(mode="json"),
        "night": night.isoformat(),
        "raw": {
            a: [str(path) for path in store.files("raw_events", [date.fromisoformat(a)])] for a in (*arrivals, *known)
        },
        "new": arrivals,
        "frozen_before": _frozen_before(shop, store).isoformat(),
        "known": known,
        "also": [found.isoformat() for found in also],
    }


def _frozen_before(shop: Shop, store: Store) -> date:
    """Events of nights before are written no more: of what they were made of, some is kept no longer."""
    clean = store.kept_from("clean")
    return clean if shop.landing["events"].is_archive else max(clean, store.kept_from("raw"))


def _staged_events(made: dict[str, Any], store: Store, staging: Path, config_hash: str) -> list[Staged]:
    """Events first, quarantine last: it says that the arrival is done."""
    staged = []
    for text, counts in made["events"].items():
        _check_night(text, counts)
        inputs = store.inputs("raw_events", [date.fromisoformat(arrival) for arrival in counts["lines"]])
        rows = counts.pop("rows")
        staged.append(
            Staged("events", date.fromisoformat(text), staging / "events" / text, rows, inputs, config_hash, counts)
        )
    for text, counts in made["arrivals"].items():
        arrival = date.fromisoformat(text)
        raw = store.manifest("raw_events", arrival)
        _check_arrival(text, raw.rows if raw else 0, counts)
        inputs = store.inputs("raw_events", [arrival])
        rows = counts.pop("rows")
        staged.append(Staged("quarantine", arrival, staging / "quarantine" / text, rows, inputs, config_hash, counts))
    return staged


def _hold_gates(staged: list[Staged], context: Context) -> None:
    """Rates of what arrived and of each night, volumes against the earlier nights. Raises AuditError; nothing is published."""
    store, gates = context.store, context.shop.gates
    written = {part.night: part.rows for part in staged if part.table == "events"}
    volumes = {night: m.rows for night in store.nights("events") if (m := store.manifest("events", night))} | written
    breaches = []
    for part in staged:
        name = f"{part.table} {part.night}"
        if part.table == "events":
            n_lines = sum(part.counts["lines"].values())
            counts = {
                "lines_read": n_lines,
                "duplicate": n_lines - part.rows,
                "clean": part.rows,
                "bots": part.counts["n_bot_events"],
            }
            earlier = window(part.night - timedelta(days=1), gates.volume_window_nights)
            reference = [night for night in earlier if volumes.get(night)]
        else:
            n_good = sum(part.counts["nights"].values())
            counts = {"lines_read": n_good + part.rows, "quarantined": part.rows}
            reference = []
        same_day = [volumes[night] for night in reference if night.weekday() == part.night.weekday()]
        breaches += [
            f"{name}: {breach}" for breach in gate(counts, [volumes[night] for night in reference], same_day, gates)
        ]
    if breaches:
        raise AuditError(
            f"{breaches[0]}{f' (and {len(breaches) - 1} more)' if len(breaches) > 1 else ''}; nothing was published; look at "
            f"what arrived, or mend 'gates' in conf/shops/{context.shop.shop}.yaml"
        )


def _staged_feeds(made: dict[str, Any], context: Context, staging: Path, config_hash: str) -> list[Staged]:
    store, staged = context.store, []
    names = [feed for feed in context.shop.landing if feed != "events"]
    for text, feeds in made["feeds"].items():
        arrival = date.fromisoformat(text)
        for feed, counts in feeds.items():
            if "rows" in counts:
                inputs = _feed_inputs(store, context.shop, [feed], arrival)
                staged.append(Staged(feed, arrival, staging / feed / text, counts["rows"], inputs, config_hash, counts))
        n_bad = sum(counts["quarantined"] for counts in feeds.values())
        inputs = _feed_inputs(store, context.shop, names, arrival)
        staged.append(
            Staged(
                "feed_quarantine",
                arrival,
                staging / "feed_quarantine" / text,
                n_bad,
                inputs,
                config_hash,
                {"feeds": feeds},
            )
        )
    return staged


def _nearest(store: Store) -> str:
    nights = store.nights("events")
    return f"nights with events: {nights[0]} to {nights[-1]}; " if nights else ""


def _check_night(night: str, counts: dict[str, Any]) -> None:
    """Rows written are the events kept, and no arrival keeps more events than it has lines."""
    kept, lines = counts["kept"], counts["lines"]
    if counts["rows"] != sum(kept.values()) or any(n > lines.get(arrival, 0) for arrival, n in kept.items()):
        raise AccountingError(
            f"events {night}: {counts['rows']} rows written, kept {kept} of lines {lines}: they do not add up; nothing was published"
        )


def _check_arrival(arrival: str, n_raw: int, counts: dict[str, Any]) -> None:
    """Every landed line is a header, quarantined, or a good line of exactly one night."""
    n_good = sum(counts["nights"].values())
    n_found = counts["headers"] + counts["quarantined"] + n_good
    if n_found != n_raw or counts["rows"] != counts["quarantined"]:
        raise AccountingError(
            f"arrival {arrival}: {n_raw} lines landed, but {counts['headers']} headers + {counts['quarantined']} quarantined "
            f"({counts['rows']} written) + {n_good} good = {n_found}; nothing was published"
        )
