"""What a person sees in the terminal: progress per stage, and the table at the end of a night."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.status import Status
from rich.table import Table


class RichProgress:
    """A line per stage on standard error, with what it works on while it works."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(file=sys.stderr)
        self._status: Status | None = None
        self._stage = ""

    def stage(self, name: str) -> None:
        self._stage = name
        self._status = self.console.status(f"{name} ...")
        self._status.start()

    def note(self, text: str) -> None:
        if self._status:
            self._status.update(f"{self._stage}: {text}")

    def done(self, name: str, seconds: float, made: int, idle: str) -> None:
        self.close()
        what = f"{made} made" if made else idle or "up to date"
        self.console.print(f"  {name:<9} {seconds:6.1f} s  {what}", highlight=False)

    def close(self) -> None:
        if self._status:
            self._status.stop()
            self._status = None


@contextmanager
def at_work(what: str, console: Console | None = None) -> Iterator[None]:
    """Says on standard error what goes on for minutes: with the time passed on a terminal, else once."""
    console = console or Console(file=sys.stderr)
    if not console.is_terminal:
        console.print(f"{what} ...", markup=False, highlight=False)
    columns = SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True) as progress:
        progress.add_task(what, total=None)
        yield


def night_table(summary: dict[str, Any], currency: str) -> Table:
    """Lines, audits, segments, plan: the end of a night at one look."""
    table = Table(title=f"{summary['shop']}, night {summary['night']}", show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column()
    for name, lines in (("lines that arrived", summary), ("lines of this night", summary["night_lines"])):
        table.add_row(
            name,
            f"{lines['lines_read']:,} read = {lines['clean']:,} clean + {lines['duplicate']:,} duplicate"
            f" + {lines['quarantined']:,} quarantined",
        )
    audits = summary["audits"]
    table.add_row(
        "audits", f"{audits['tables']} tables, {audits['expectations']} expectations, {audits['failed']} failed"
    )
    segments = summary["segments"].get("segments", {})
    table.add_row("segments", ", ".join(f"{name} ({n:,})" for name, n in segments.items()) or "none")
    for task, model in summary["models"].items():
        table.add_row(f"model {task}", model_line(model))
    plan = summary["plan"]
    table.add_row(
        "plan",
        f"{plan['rows']:,} of {plan['customers']:,} customers, messages cost {plan['cost']:,.2f} {currency}, holdout {plan['holdout']:,}",
    )
    return table


def model_line(model: dict[str, Any]) -> str:
    """One task's night: what serves, and what became of a challenger."""
    parts = []
    if model.get("serves"):
        parts.append(f"{model['serves']} serves")
    if model.get("trained"):
        parts.append(f"trained version {model['version']}: {model['verdict']}")
    if model.get("error"):
        parts.append(f"failed: {model['error']}")
    return "; ".join(parts) or "nothing due"


def evaluation_table(result: dict[str, Any]) -> Table:
    """A judgement: per metric ours first, then each baseline with the paired difference to it, narrow enough for any terminal."""
    table = Table(
        title=f"{result['name']} on {result['data']}", title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    table.add_column("metric", overflow="fold")
    for name in ("value", "ours minus theirs"):
        table.add_column(name, justify="right", no_wrap=True)

    def cell(value: dict[str, float | None] | None) -> str:
        if not value or value["value"] is None:
            return ""
        spread = "" if value["low"] is None else f" ({value['low']:.4f} to {value['high']:.4f})"
        return f"{value['value']:.4f}{spread}"

    for metric, ours in result["metrics"].items():
        table.add_row(metric, cell(ours), "", style="bold")
        for who, theirs in result["baselines"].items():
            told = cell(theirs.get(metric)), cell(result["paired"].get(who, {}).get(metric))
            if any(told):
                table.add_row(f"  {escape(who)}", *told)
    return table


_SLOT_KINDS = (("chosen", "chosen"), ("by lot", "by_lot"))


def search_table(told: dict[str, Any], currency: str) -> Table:
    """What a search found."""
    meant = f" (meant: {told['query']})" if told["mended"] else ""
    by = ", ".join(told["by"]) + (", ranker" if told["ranker"] else "")
    found = f"{len(told['hits'])} of {told['items']} items of {told['night']} by {by}, {told['milliseconds']} ms{meant}"
    table = Table(title=found, title_justify="left")
    for name in ("item", "title", currency, "score"):
        table.add_column(name, justify="right" if name in (currency, "score") else "left")
    for hit in told["hits"]:
        cents = hit["price_cents"]
        price = "" if cents is None else f"{cents / 100:.2f}"
        table.add_row(escape(hit["item_id"]), escape(hit["title"]), price, f"{hit['score']:.3f}")
    return table


def readout_tables(told: dict[str, Any]) -> list[Any]:
    """Answers per channel and strategy, and who bought by what the plan of the night before dealt them."""
    where = f"{told['shop']}, night {told['night']}"

    def cell(rate: dict[str, Any]) -> str:
        return "" if rate["rate"] is None else f"{rate['rate']:.2%} ({rate['low']:.2%} to {rate['high']:.2%})"

    parts: list[Any] = []
    answers, effect = told["answers"], told["effect"]
    if "missing" in answers:
        parts.append(f"{where}: {answers['missing']}")
    else:
        table = Table(
            title=f"{where}: answers to messages delivered in {answers['nights']} nights", title_justify="left"
        )
        kinds = [name for name in answers["by_channel"][0] if name not in ("channel", "delivered")]
        for name in ("channel", "strategy", "delivered", *kinds):
            table.add_column(name, justify="left" if name in ("channel", "strategy") else "right")
        for row in (*answers["by_channel"], *answers["by_strategy"]):
            strategy = row.get("strategy_id", "all")
            table.add_row(row["channel"], strategy, f"{row['delivered']:,}", *(cell(row[kind]) for kind in kinds))
        parts.append(table)
    if "missing" in effect:
        parts.append(f"{where}: {effect['missing']}")
    else:
        table = Table(
            title=f"{where}: customers who bought, by the plan of {effect['plan_night']}", title_justify="left"
        )
        for name in ("group", "customers", "bought"):
            table.add_column(name, justify="left" if name == "group" else "right")
        for name in ("planned", "sent", "not_sent", "holdout"):
            table.add_row(name.replace("_", " "), f"{effect[name]['n']:,}", cell(effect[name]))
        if effect["difference"]:
            table.add_row("planned minus holdout", "", cell(effect["difference"]))
        parts.append(table)
    return [*parts, *_recommendation_tables(told["recommendations"], where), *_experiment_tables(told, where)]


def _recommendation_tables(told: dict[str, Any] | None, where: str) -> list[Any]:
    """How slots, sources and reasons of what was recommended were answered; what it brought is one of the comparisons."""
    if told is None:
        return []
    if "missing" in told:
        return [f"{where}: {told['missing']}"]

    def cell(rate: dict[str, Any]) -> str:
        return "" if rate["rate"] is None else f"{rate['rate']:.2%} ({rate['low']:.2%} to {rate['high']:.2%})"

    title = (
        f"{where}: recommendations of {told['nights']} nights: {told['seen']:,} of {told['lists']:,} lists were seen, "
        f"{told['items']:,} {f'of {total:,} ' if (total := told['catalogue']) else ''}items"
    )
    table = Table(title=title, title_justify="left")
    for name in ("what", "shown", "clicked", "bought after a click"):
        table.add_column(name, justify="left" if name == "what" else "right")
    rows = [("all", told), ("chosen", told["chosen"]), ("drawn by lot", told["by_lot"])]
    rows += [(f"slot {one['slot']}, {kind}", one[key]) for one in told["slots"] for kind, key in _SLOT_KINDS]
    rows += [(f"{kind} {one['name']}", one) for kind in ("source", "reason", "model") for one in told[f"{kind}s"]]
    for name, one in rows:
        if one["click"]["n"]:
            table.add_row(name, f"{one['click']['n']:,}", cell(one["click"]), cell(one["purchase"]))
    return [table]


def _experiment_tables(told: dict[str, Any], where: str) -> list[Any]:
    """Each comparison: its verdicts in words, then its numbers; then what was odd."""
    parts: list[Any] = [f"{where}: {text}" for text in told["notes"]]
    for one in told["experiments"]:
        parts += ["", f"{one['experiment']}: {one['question']}"]
        for verdict in one["verdicts"]:
            parts += [f"  {verdict['text']}", *([f"  {verdict['power']}"] if verdict["power"] else [])]
        table = Table(title=f"nights: {one['nights']}, intervals hold at all of them together", title_justify="left")
        names = ("arm", "metric", "customers", "arm's", "control's", "effect", "interval", "state")
        for name in names:
            table.add_column(name, justify="left" if name in ("arm", "metric", "state") else "right")
        for row in one["readings"]:
            numbers = [row[name] for name in ("arm_value", "control_value", "effect")]
            shown = ["" if number is None else f"{number:,.2f}" for number in numbers]
            is_known = row["effect_low"] is not None
            between = f"{row['effect_low']:,.2f} to {row['effect_high']:,.2f}" if is_known else ""
            table.add_row(
                row["arm"], row["metric"], f"{row['n_users']:,}", *shown, between, row["state"].replace("_", " ")
            )
        parts.append(table)
    if told["anomalies"]:
        parts += ["", "What was odd:", *(f"  {one['text']}" for one in told["anomalies"])]
    return parts


def what_if_tables(told: dict[str, Any], currency: str) -> list[Any]:
    """The plan as configured and as asked, then profit against budget."""

    def money(cents: float) -> str:
        return f"{cents / 100:,.2f} {currency}"

    asked = " ".join(told["what_if"])
    columns = {"as configured": told["as_configured"]} | ({asked: told["as_asked"]} if asked else {})
    plans = Table(title=f"{told['shop']}, night {told['night']}", title_justify="left")
    for name in ("", *columns):
        plans.add_column(name, justify="right" if name else "left")
    plans.add_row("budget", *(money(one["budget_cents"]) for one in columns.values()))
    profit = f"expected profit of the choices{', later nights counted' if told['counts_later_nights'] else ''}"
    plans.add_row(profit, *(money(one["profit_cents"]) for one in columns.values()))
    plans.add_row("customers chosen", *(f"{one['customers']:,}" for one in columns.values()))
    for channel in told["as_configured"]["messages"]:
        plans.add_row(f"messages on {channel}", *(f"{one['messages'][channel]:,}" for one in columns.values()))
    for limit in dict.fromkeys(name for one in columns.values() for name in one["prices"]):
        prices = (f"{one['prices'].get(limit, 0.0):.3f} cents" for one in columns.values())
        plans.add_row(f"one more of {limit} earns", *prices)
    curve = Table(title="expected profit against budget", title_justify="left")
    for name in ("budget", "expected profit", "a cent more earns, in cents"):
        curve.add_column(name, justify="right")
    for point in told["curve"]:
        curve.add_row(money(point["budget_cents"]), money(point["profit_cents"]), f"{point['price']:.3f}")
    return [plans, curve, "Nothing was published."]


def certificate_table(certificate: dict[str, Any]) -> Table:
    """What an erasure took out of what, and what it leaves to do."""
    table = Table(title=f"erasure {certificate['certificate']}", show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column()
    table.add_row("customers", f"{certificate['customers_asked']:,}")
    for kind, n in (certificate["rows"] | certificate["files"]).items():
        table.add_row(kind.replace("_", " "), f"{n:,}")
    if not certificate["rows"] and not certificate["files"]:
        table.add_row("found", "nothing: the store held nothing of them; they are kept out from now on")
    for model in certificate["models"]:
        alias = f" ({model['alias']})" if model["alias"] else ""
        table.add_row("train again", f"{model['name']} version {model['version']}{alias}")
    for text in certificate["left_to_the_shop"]:
        table.add_row("left to the shop", text)
    return table


def next_steps(summary: dict[str, Any], last_night: date | None) -> str:
    """What a person may do now. `last_night`: of an archive; None for a shop that goes on."""
    lines = [f"Report: {summary['report']}"]
    if summary["stale_nights"]:
        lines.append(f"Late events changed earlier nights; next: nightmarket backfill --shop {summary['shop']} --stale")
    elif last_night:
        lines.append(f"Next: open the report; all nights of the archive: nightmarket backfill --shop {summary['shop']}")
    else:
        after = date.fromisoformat(summary["night"]) + timedelta(days=1)
        lines.append(f"Next: open the report; tomorrow: make nightly SHOP={summary['shop']} DATE={after}")
    return "\n".join(lines)
