"""Makes the nightly report: report.html, one page that opens from disk without network, and report.json, its numbers.

    nightmarket night --shop demo --date 2026-03-14

The numbers come from pipelines/report_numbers.py, the plots from report_charts.py, the words from report.html.j2. Same
store content, same bytes: nothing here knows the time or the run.
"""

import json
from datetime import date
from pathlib import Path
from typing import Any

from pipelines import report_charts
from pipelines.core.columns import Columns as C
from pipelines.core.shop import Shop
from pipelines.core.storage import Store, file_hash, storage_error, window
from pipelines.core.tables import TABLES
from pipelines.judged_policies import last_kept
from pipelines.readout import inputs_of
from pipelines.report_audience import MEASURED_NIGHTS
from pipelines.report_calibration import SCORES, nights_scored
from pipelines.report_models import closed_loop_file
from pipelines.report_numbers import TREND_NIGHTS, collect
from pipelines.report_service import OPEN_NIGHTS
from pipelines.report_service import TABLE as CONVERSATIONS
from pipelines.stage import Context, Staged, StageResult, audit_and_publish, digest_of

TABLE, PAGE, NUMBERS = "nightly_report", "report.html", "report.json"
TEMPLATE = Path(__file__).with_name("report.html.j2")
PARTS = (
    TEMPLATE,
    *(
        TEMPLATE.with_name(f"report_{part}.html.j2")
        for part in ("brought", "decisions", "listen", "market", "policies", "recommend", "service", "write")
    ),
)
SHOWN_FEATURES, SHOWN_STRATEGIES = 9, 12
_SYMBOLS = {"EUR": "€", "USD": "$", "GBP": "£", "CNY": "¥", "JPY": "JP¥", "INR": "₹"}
_WORDS = {
    "none": "nothing in the way",
    "holdout": "held out, to measure",
    "control": "nothing, by lot, to compare",
    "budget": "budget used up",
    "no_consent": "no consent",
    "complaint_rest": "resting after a complaint",
    "unhappy": "unhappy of late: no promotion",
    "frequency_cap": "had enough messages",
    "margin_floor": "too little margin left",
    "experiment": "arm of an experiment",
    "no_strategy": "no strategy configured",
    "no_profit": "nothing would pay",
    "repeat": "would only repeat what they had",
}


def run(night: date, context: Context) -> StageResult:
    """Publishes nightly_report of the night. Raises NoDataError without events, AccountingError for lost lines."""
    shop, store = context.shop, context.store
    result = StageResult("report")
    inputs = _inputs(night, shop, store)
    config_hash = digest_of(shop, *map(file_hash, PARTS))  # a changed page is a changed report
    manifest = store.manifest(TABLE, night)
    if manifest and not context.force and store.is_current(TABLE, night, inputs, config_hash):
        result.add(manifest, made=False)
        return result
    with store.staging() as staging:
        folder = staging / TABLE
        counts = build(night, shop, store, folder)
        audit_and_publish(
            [Staged(TABLE, night, folder, 1, inputs, config_hash, counts)], store, context.machine, result
        )
    return result


def build(night: date, shop: Shop, store: Store, folder: Path) -> dict[str, Any]:
    """Writes folder/report.html and folder/report.json; returns the headline numbers.

    Raises NoDataError without the night's events, AccountingError for lines that do not add up, StorageError.
    """
    numbers = collect(night, shop, store)
    texts = {NUMBERS: json.dumps(numbers, indent=1, sort_keys=True, ensure_ascii=False) + "\n", PAGE: page(numbers)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise storage_error(folder, error) from error
    headline: dict[str, Any] = numbers["headline"]
    return headline


def page(numbers: dict[str, Any]) -> str:
    """The page of these numbers; every text in them is escaped."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATE.parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    symbol = _SYMBOLS.get(numbers["shop"]["currency"], numbers["shop"]["currency"] + " ")
    environment.filters |= {
        "count": count,
        "percent": percent,
        "signed": signed,
        "path": path,
        "points": points,
        "size": size,
        "tick": lambda share: f"{100 * share:g}",
        "words": words,
        "day": day,
        "money": lambda cents: money(cents, symbol),
        "cents": cents,
        "difference": difference,
        "gap": gap,
        "unit": lambda value, unit: {"money": lambda: money(value, symbol), "share": lambda: percent(value)}.get(
            unit, lambda: f"{value:,.1f}"
        )(),
    }
    template = environment.get_template(TEMPLATE.name)
    shown = {"features": _shown_features(numbers["segments"]), "strategies": SHOWN_STRATEGIES}
    return template.render(**numbers, shown=shown, chart=report_charts, night_text=day(numbers["night"], long=True))


def _shown_features(segments: dict[str, Any]) -> list[dict[str, Any]]:
    """What is spent and what sets some segment apart most, in the profile's order; the same for every segment."""
    if "missing" in segments:
        return []

    def furthest(feature: dict[str, Any]) -> float:
        return max(abs(segment["profile"][feature["column"]]["away"]) for segment in segments["segments"])

    # What a segment spends is asked first, so it is always shown.
    order = sorted(segments["features"], key=lambda feature: (feature["column"] != C.REVENUE_CENTS, -furthest(feature)))
    best = order[:SHOWN_FEATURES]
    return [feature for feature in segments["features"] if feature in best]


def _inputs(night: date, shop: Shop, store: Store) -> dict[str, str]:
    """Lineage: all tables of the night, and the windows that trend, volumes and answers look back on."""
    arrival = shop.arrival_of("events", night)
    inputs: dict[str, str] = {}
    for table in (name for name, declared in TABLES.items() if not declared.is_on_demand):
        inputs |= store.inputs(table, [arrival if table in ("raw_events", "quarantine") else night])
    back = max(TREND_NIGHTS, shop.gates.volume_window_nights + 1)
    judged = store.manifest("quarantine", arrival)
    told = [date.fromisoformat(text) for text in judged.counts["nights"]] if judged else []
    inputs |= store.inputs("events", sorted({*window(night, back), *told}))
    # Line counts stand in manifests, not in rows: they follow from what had arrived by then.
    arrivals = [arrival] if shop.landing["events"].is_archive else window(night, shop.cleaning.late_nights + 1)
    inputs |= store.inputs("raw_events", arrivals)
    inputs |= store.inputs("category_stats", window(night, TREND_NIGHTS))
    for table in ("deliveries", "outcomes"):
        inputs |= store.inputs(table, window(night, MEASURED_NIGHTS))
    for table in ("campaign_plan", "plan_reasons"):
        inputs |= store.inputs(table, window(night, MEASURED_NIGHTS + 1))
    inputs |= store.inputs(SCORES, nights_scored(night, store))
    inputs |= store.inputs(CONVERSATIONS, window(night, OPEN_NIGHTS))
    played = closed_loop_file(store)
    if shop.simulator and played.exists():
        inputs["evaluations/closed_loop"] = file_hash(played)
    compared = last_kept(night, store)
    if compared:
        inputs[f"evaluations/policies/{compared.stem}"] = file_hash(compared)
    return inputs | inputs_of(night, shop, store)


def count(value: float | None) -> str:
    """1234567 -> '1,234,567'; None -> a dash."""
    return "–" if value is None else f"{value:,.0f}"


def money(cents: float | None, symbol: str) -> str:
    """Cents as the shop's currency; from 10,000 on without decimals."""
    if cents is None:
        return "–"
    units = cents / 100
    sign = "−" if units < 0 else ""
    return f"{sign}{symbol}{abs(units):,.0f}" if abs(units) >= 10_000 else f"{sign}{symbol}{abs(units):,.2f}"


def cents(value: float | None, signed: bool = False) -> str:
    """Single cents, which effects of one message are: 0.4213 -> '0.42 ct', signed '+0.42 ct'."""
    return "–" if value is None else f"{value:{'+' if signed else ''}.2f} ct".replace("-", "−")


def gap(value: float, measure: str) -> str:
    """A difference between groups in the unit of its measure (pipelines/fairness.py)."""
    if measure == "treated":
        return f"{100 * value:.1f} points".replace("-", "−")
    return f"{value:.2f} points".replace("-", "−") if measure == "discount_percent" else cents(value)


def percent(share: float | None) -> str:
    """0.1234 -> '12.3%'; shares under 1% keep two decimals; None -> a dash."""
    if share is None:
        return "–"
    if share == 0:
        return "0%"
    return f"{share:.2%}" if 0 < abs(share) < 0.01 else f"{share:.1%}"


def signed(share: float | None) -> str:
    """0.05 -> '+5.0%', with a true minus sign."""
    return "–" if share is None else f"{share:+.1%}".replace("-", "−")


def path(name: str) -> str:
    """A name of several parts that may break between them: 'home/kettles' -> 'home / kettles'."""
    return name.replace("/", " / ").replace(".", ".\u200b").replace("_", "_\u200b")


def points(share: float) -> str:
    """A difference of shares in percentage points: -0.0123 -> '−1.23'."""
    return f"{100 * share:+.2f}".replace("-", "−")


def difference(value: float) -> str:
    """With its sign: -1.234 -> '−1.23'."""
    return f"{value:+,.2f}".replace("-", "−")


def size(n_bytes: int) -> str:
    """Bytes in decimal units: 1536 -> '1.5 kB'."""
    for limit, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if n_bytes >= limit:
            return f"{n_bytes / limit:,.1f} {unit}"
    return f"{n_bytes} B"


def words(code: str) -> str:
    """A code as a person would say it: 'capacity:sms' -> 'sms at capacity'."""
    if code.startswith("capacity:"):
        return f"{code.removeprefix('capacity:')} at capacity"
    kind, _, group = code.partition(":")
    if kind in ("minimum", "fairness"):
        return f"{'a minimum' if kind == 'minimum' else 'fairness'} for {group.replace('_', ' ').replace('=', ' ')}"
    return _WORDS.get(code, code.replace("_", " "))


def day(text: str, long: bool = False) -> str:
    """'2017-12-03' -> '3 Dec', long: 'Sunday 3 December 2017'."""
    found = date.fromisoformat(text)
    return f"{found:%A} {found.day} {found:%B %Y}" if long else f"{found.day} {found:%b}"
