"""The numbers of the nightly report, as plain dicts read from the store: aggregates only, no user, no raw text.

Every section is a dict; where its tables are missing it is {"missing": "a sentence that says so"}. Rates are shares
0 to 1 rounded to 6 digits, money is in cents.
"""

from collections import Counter
from datetime import date, timedelta
from statistics import median
from typing import Any

from pipelines.accounting import by_arrival, late_lines, of_arrival
from pipelines.core.columns import Columns as C
from pipelines.core.reading import read
from pipelines.core.shop import Shop
from pipelines.core.storage import Store, window
from pipelines.core.tables import EVENT_TYPES, TABLES
from pipelines.gates import judge_volume
from pipelines.readout_compare import experiments
from pipelines.readout_recommend import brought
from pipelines.report_audience import measured, plan, segments
from pipelines.report_calibration import calibration
from pipelines.report_fairness import fairness
from pipelines.report_listen import listened
from pipelines.report_market import coming, prices
from pipelines.report_models import closed_loop, models
from pipelines.report_policies import policies, uplift
from pipelines.report_read import ranked, rows_by, share
from pipelines.report_reasons import reasons
from pipelines.report_recommend import recommended
from pipelines.report_service import served
from pipelines.report_write import written
from pipelines.trend import category_counts

TREND_NIGHTS, TOP_CATEGORIES = 28, 12


def collect(night: date, shop: Shop, store: Store) -> dict[str, Any]:
    """All sections of the night. Raises NoDataError without the night's events, AccountingError for lost lines."""
    sections: dict[str, Any] = {
        "shop": {name: getattr(shop, name) for name in ("shop", "title", "currency", "timezone")},
        "night": night.isoformat(),
        "lines": lines(night, shop, store),
        "funnel": funnel(night, store),
        "segments": segments(night, store),
        "trend": trend(night, shop, store),
        "plan": plan(night, shop, store),
        "models": models(night, store),
        "reasons": reasons(night, store),
        "fairness": fairness(night, shop, store),
        "closed_loop": closed_loop(shop, store),
        "measured": measured(night, store),
        "calibration": calibration(night, shop, store),
        "uplift": uplift(night, shop, store),
        "policies": policies(night, store),
        "experiments": experiments(night, shop, store),
        "cost": cost(night, shop, store),
    }
    sections["brought"] = brought(night, shop, store, sections["experiments"]["experiments"])
    sections["coming"] = coming(night, store, sections["trend"])
    sections["prices"] = prices(night, shop, store)
    sections["listened"] = listened(night, shop, store)
    sections["recommended"] = recommended(night, shop, store)
    sections["served"] = served(night, shop, store)
    sections["written"] = written(night, shop, store)
    sections["quality"] = quality(night, shop, store, sections)
    sections["headline"] = headline(sections)
    return sections


def headline(sections: dict[str, Any]) -> dict[str, Any]:
    planned, activity = sections["plan"], sections["funnel"]
    names = ("messages", "customers", "sent", "holdout", "message_cost_cents", "expected_cost_cents", "budget_cents")
    return {
        **sections["lines"]["arrival"],
        "active_customers": activity["active_customers"],
        "purchases": activity["events"]["purchase"],
        "revenue_cents": activity["revenue_cents"],
        "plan": None if "missing" in planned else {name: planned[name] for name in names},
    }


def lines(night: date, shop: Shop, store: Store) -> dict[str, Any]:
    """Line accounting of the arrival and of the night as told by then.

    Later arrivals are left out: where they only repeat what is known, they change no table, so they may not change
    this page either.
    """
    arrival = shop.arrival_of("events", night)
    whole = of_arrival(store, arrival)
    known = {told_by: part for told_by, part in by_arrival(store, night).items() if told_by <= arrival}
    judged = store.manifest("quarantine", arrival)
    told = judged.counts if judged else {}
    feeds = store.manifest("feed_quarantine", night)
    return {
        "arrival_date": arrival.isoformat(),
        "is_archive": shop.landing["events"].is_archive,
        "n_nights": len(told.get("nights", {})),
        "arrival": whole.as_dict(),
        "night": {name: sum(part.as_dict()[name] for part in known.values()) for name in whole.as_dict()},
        "headers": told.get("headers", 0),
        "late": None if shop.landing["events"].is_archive else late_lines(store, arrival),
        "arrivals": [
            {"arrival": told_by.isoformat(), "lines": part.lines_read, "clean": part.clean, "duplicate": part.duplicate}
            for told_by, part in known.items()
        ],
        "reasons": ranked(told.get("reasons", {})),
        "feeds": [
            {"feed": name, "lines": told["lines"], "quarantined": told["quarantined"]}
            for name, told in sorted(feeds.counts.get("feeds", {}).items() if feeds else [])
        ],
    }


def funnel(night: date, store: Store) -> dict[str, Any]:
    """Events and distinct users per event type, bots left out; revenue is None where no purchase names a price."""
    import pyarrow.compute as pc

    columns = (C.USER_KEY, C.EVENT_TYPE, C.PRICE_CENTS, C.QUANTITY, C.IS_BOT)
    everything = read(store, "events", [night], *columns)
    is_bot = pc.fill_null(everything[C.IS_BOT], False)
    bots, people = everything.filter(is_bot), everything.filter(pc.invert(is_bot))
    counted = {
        row[C.EVENT_TYPE]: row
        for row in rows_by(people, [C.EVENT_TYPE], (C.USER_KEY, "count"), (C.USER_KEY, "count_distinct"))
    }
    bought = people.filter(pc.equal(people[C.EVENT_TYPE], "purchase"))
    paid = pc.sum(pc.multiply(bought[C.PRICE_CENTS], pc.fill_null(bought[C.QUANTITY], 1))).as_py()
    return {
        "active_customers": pc.count_distinct(people[C.USER_KEY]).as_py(),
        "revenue_cents": paid,
        "events": {kind: counted.get(kind, {}).get(f"{C.USER_KEY}_count", 0) for kind in EVENT_TYPES},
        "users": {kind: counted.get(kind, {}).get(f"{C.USER_KEY}_count_distinct", 0) for kind in EVENT_TYPES},
        "bot_events": len(bots),
        "bot_users": pc.count_distinct(bots[C.USER_KEY]).as_py(),
        "bot_share": share(len(bots), len(everything)),
    }


def quality(night: date, shop: Shop, store: Store, sections: dict[str, Any]) -> dict[str, Any]:
    """Audits as the manifests have them, and the gates on rates with their limits."""
    arrived, limits = sections["lines"]["arrival"], shop.gates
    before = [(n, store.manifest("events", n)) for n in window(night - timedelta(days=1), limits.volume_window_nights)]
    volumes = {n: manifest.rows for n, manifest in before if manifest}
    same_day = [volume for n, volume in volumes.items() if n.weekday() == night.weekday()]
    events = store.manifest("events", night)
    volume = events.rows if events else 0
    shares = (
        ("quarantined lines", share(arrived["quarantined"], arrived["lines_read"]), limits.max_quarantine_share),
        ("duplicate lines", share(arrived["duplicate"], arrived["lines_read"]), limits.max_duplicate_share),
        ("events of bots", sections["funnel"]["bot_share"], limits.max_bot_share),
    )
    audits = []
    for table, partition in _published(night, shop, store):
        manifest = store.manifest(table, partition)
        if manifest and manifest.audit:
            audits.append({"table": table, "partition": manifest.partition, "rows": manifest.rows, **manifest.audit})
    return {
        "gates": [
            {"name": name, "value": value, "limit": limit, "passed": value <= limit} for name, value, limit in shares
        ],
        "volume": {
            "clean": volume,
            "reference_nights": len(volumes),
            "reference_median": float(median(volumes.values())) if volumes else None,
            "max_ratio": limits.max_volume_ratio,
            "judged": len(volumes) >= limits.min_reference_nights,
            "breach": judge_volume(volume, list(volumes.values()), same_day, limits),
        },
        "bots": {name: sections["funnel"][name] for name in ("bot_events", "bot_users", "bot_share")},
        "late": sections["lines"]["late"],
        "audits": audits,
        "n_expectations": sum(row["n_expectations"] for row in audits),
        "n_failed": sum(row["n_failed"] for row in audits),
    }


def _published(night: date, shop: Shop, store: Store) -> list[tuple[str, date]]:
    """The partitions that belong to the night, as declared; raw lines and quarantine are those of its arrival."""
    arrival = shop.arrival_of("events", night)
    made = [name for name, table in TABLES.items() if not table.is_on_demand]
    wanted = [(name, arrival if name in ("raw_events", "quarantine") else night) for name in made]
    return [(name, partition) for name, partition in wanted if store.manifest(name, partition)]


def trend(night: date, shop: Shop, store: Store) -> dict[str, Any]:
    """Events per night and category, bots left out. A night without category_stats is counted from its events.

    `is_base_odd`: a night that is compared with is further from the usual volume than the gate allows.
    """
    nights = window(night, TREND_NIGHTS)
    counted = {n: found for n in nights if (found := category_counts(store, n)) is not None}
    last_week = [n for n in nights[-7:] if n in counted]
    week: Counter[str] = Counter()
    for n in last_week:
        week.update(counted[n])
    if not week:
        return {"missing": "No event of this week names a category, so there is no trend to show."}
    top = sorted(week, key=lambda name: (-week[name], name))[:TOP_CATEGORIES]
    if all(n in counted for n in nights[-14:]):
        new, old, basis = nights[-7:], nights[-14:-7], "the last 7 nights against the 7 before"
    elif nights[-8] in counted and night in counted:
        new, old, basis = [night], [nights[-8]], "this night against the same weekday a week before"
    else:
        new, old, basis = [], [], ""
    totals = {n: sum(counts.values()) for n, counts in counted.items()}
    usual, limit = median(totals.values()), shop.gates.max_volume_ratio
    shown = nights[nights.index(min(counted)) :]
    names, tonight = _category_names(night, store), _category_tonight(night, store)
    categories = []
    for key in top:
        before = sum(counted[n].get(key, 0) for n in old)
        after = sum(counted[n].get(key, 0) for n in new)
        categories.append(
            {
                "category_id": key,
                "name": names.get(key, key),
                "events": [counted[n].get(key, 0) if n in counted else None for n in shown],
                "change": round(after / before - 1, 6) if before else None,
                **tonight.get(key, {"users": None, "purchases": None, "revenue_cents": None}),
            }
        )
    return {
        "nights": [n.isoformat() for n in shown],
        "total": [totals.get(n) for n in shown],
        "basis": basis,
        "is_base_odd": any(not usual / limit <= totals[n] <= usual * limit for n in old),
        "n_categories": len(week),
        "top_share": share(sum(week[key] for key in top), sum(week.values())),
        "categories": categories,
    }


def _category_names(night: date, store: Store) -> dict[str, str]:
    """category_id -> the path that the catalogue, or else the night's events, gives it; the first in order of names."""
    table = read(store, "catalog", [night], C.CATEGORY_ID, C.CATEGORY_PATH)
    if table is None:
        table = read(store, "events", [night], C.CATEGORY_ID, C.CATEGORY_PATH)
    found = rows_by(table, [C.CATEGORY_ID, C.CATEGORY_PATH]) if table is not None else []
    return {row[C.CATEGORY_ID]: row[C.CATEGORY_PATH] for row in reversed(found) if row[C.CATEGORY_PATH]}


def _category_tonight(night: date, store: Store) -> dict[str, dict[str, int]]:
    told = {"users": C.N_USERS, "purchases": C.N_PURCHASES, "revenue_cents": C.REVENUE_CENTS}
    stats = read(store, "category_stats", [night], C.CATEGORY_ID, *told.values())
    return {
        row[C.CATEGORY_ID]: {name: row[column] for name, column in told.items()}
        for row in (stats.to_pylist() if stats is not None else [])
    }


def cost(night: date, shop: Shop, store: Store) -> dict[str, Any]:
    """Rows and bytes of the partitions that belong to the night."""
    tables = []
    for name, partition in _published(night, shop, store):
        manifest = store.manifest(name, partition)
        n_bytes = sum(path.stat().st_size for path in store.files(name, [partition]))
        n_rows = manifest.rows if manifest else 0
        tables.append({"table": name, "layer": TABLES[name].layer, "rows": n_rows, "bytes": n_bytes})
    return {"tables": tables, "rows": sum(t["rows"] for t in tables), "bytes": sum(t["bytes"] for t in tables)}
