"""The `nightmarket` command. Exit codes: 0 done, 1 failed, 2 wrong use, 3 an audit failed and nothing was published."""

import os
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from pipelines.cli_label import label
from pipelines.cli_models import evaluate, promote, rollback, search, train
from pipelines.cli_operations import doctor, down, erase, up
from pipelines.cli_options import (
    JsonOption,
    ShopOption,
    night_of,
    opened,
    print_json,
)
from pipelines.cli_review import review
from pipelines.cli_service import answer
from pipelines.core.config import load_machine, load_shop
from pipelines.core.errors import EXIT_FAILED, NightmarketError, WrongUseError
from pipelines.core.machine import Machine
from pipelines.core.storage import default_root, storage_error

if TYPE_CHECKING:
    from pipelines.core.shop import Shop
    from pipelines.show import RichProgress

app = typer.Typer(
    name="nightmarket",
    help="Turns an online shop's clickstream into tomorrow's marketing plan, every night.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    epilog="Exit codes: 0 done, 1 failed, 2 wrong use, 3 an audit failed and nothing was published.",
)

EngineOption = Annotated[
    str | None, typer.Option("--engine", "-e", help="duckdb (no Java) or spark; conf/local.yaml says the default.")
]
LandingOption = Annotated[
    Path | None, typer.Option("--landing", help="Folder that files land in; the shop's own by default.")
]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Compute again what is up to date; the bytes stay the same.")
]


def _machine_with(engine: str | None) -> Machine:
    """This machine, with the engine asked for. Raises WrongUseError for another word than duckdb and spark."""
    machine = load_machine()
    if engine is None:
        return machine
    if engine not in ("duckdb", "spark"):
        raise WrongUseError(f"unknown engine '{engine}': expected duckdb or spark")
    return machine.model_copy(update={"engine": engine})


def _landing(landing: Path | None) -> Path | None:
    if landing is not None and not landing.is_dir():
        raise WrongUseError(f"landing folder {landing} is missing: expected a folder with the shop's files")
    return landing


def night(
    shop: ShopOption = "demo",
    date_: Annotated[
        str | None,
        typer.Option("--date", "-d", help="The night, YYYY-MM-DD in the shop's zone; its newest by default."),
    ] = None,
    engine: EngineOption = None,
    landing: LandingOption = None,
    force: ForceOption = False,
    replay_quarantine: Annotated[
        bool,
        typer.Option(
            "--replay-quarantine",
            help="Judge the lines that arrived for this night again, after a fix of data or connector.",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Run one night: land, clean, features, learn, listen, market, recommend, score, plan, publish, report, retain.

    Safe to repeat: what is up to date is left alone, a killed run is simply run again.
    """
    from pipelines import night as nights
    from pipelines.show import RichProgress, next_steps, night_table

    settings = load_shop(shop)
    progress = RichProgress()
    context = nights.open_context(settings, _machine_with(engine), _landing(landing), force=force, note=progress.note)
    when = nights.check_night(date_) if date_ else nights.default_night(settings)
    with closing(progress):
        summary = nights.run(when, context, progress=progress, replay_quarantine=replay_quarantine)
    if as_json:
        print_json(summary)
        return
    console = Console()
    console.print(night_table(summary, settings.currency))
    console.print(next_steps(summary, settings.landing["events"].last_night), highlight=False, soft_wrap=True)


def backfill(
    shop: ShopOption = "demo",
    first: Annotated[
        str | None, typer.Option("--from", help="First night, YYYY-MM-DD; the first that has data by default.")
    ] = None,
    last: Annotated[
        str | None, typer.Option("--to", help="Last night, YYYY-MM-DD; the last that has data by default.")
    ] = None,
    stale: Annotated[
        bool, typer.Option("--stale", help="Exactly the nights whose inputs changed since they were made.")
    ] = False,
    engine: EngineOption = None,
    landing: LandingOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Run many nights. All that they look at lands first, then they run in order; the tables are those of single runs."""
    from pipelines import backfill as many
    from pipelines import night as nights
    from pipelines.show import RichProgress, night_table

    settings = load_shop(shop)
    progress = RichProgress()
    context = nights.open_context(settings, _machine_with(engine), _landing(landing), force=force, note=progress.note)
    if stale and (first or last):
        raise WrongUseError("--stale finds its nights itself: leave --from and --to away")
    chosen = many.stale(context) if stale else many.choose(context, night_of(first), night_of(last))
    with closing(progress):
        summaries = many.run(
            chosen,
            context,
            skip_empty=not (stale or (first and last)),
            progress=progress,
            started=lambda day: progress.console.print(f"night {day}", highlight=False),
        )
    if as_json:
        print_json({"shop": shop, "nights": summaries})
        return
    console = Console()
    for summary in summaries:
        console.print(night_table(summary, settings.currency))
    console.print(f"{len(summaries)} nights done." if summaries else "No night is stale: nothing to do.")


def simulate(
    shop: ShopOption = "demo",
    through: Annotated[
        str | None,
        typer.Option("--through", help="Last night to write, YYYY-MM-DD; the end of the shop's history by default."),
    ] = None,
    landing: LandingOption = None,
    evaluate: Annotated[
        bool,
        typer.Option("--evaluate", help="Play the whole loop beside an oracle, lots and others; write no landing."),
    ] = False,
    n_nights: Annotated[int | None, typer.Option("--nights", help="Planned nights to evaluate; 30 by default.")] = None,
    seeds: Annotated[int | None, typer.Option("--seeds", help="Simulated worlds to evaluate in; 5 by default.")] = None,
    plot: Annotated[Path | None, typer.Option("--plot", help="Where the picture goes too, an SVG file.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Write the demo shop's landing files, night after night; each night answers the plan of the night before.

    With **--evaluate**: does the loop earn? True profit per night of our plan, beside the oracle, lots drawn at random, the
    best single strategy and the first model, through a price war, a channel outage and a new category. Kept beside
    the shop's tables, under evaluations/; seeds that were played are not played again.
    """
    from pipelines import night as nights
    from pipelines.show import RichProgress

    settings = load_shop(shop)
    if settings.simulator is None:
        raise WrongUseError(f"shop '{shop}' is not simulated: conf/shops/{shop}.yaml has no 'simulator'")
    progress = RichProgress()
    if evaluate:
        if through or landing:
            raise WrongUseError("--evaluate plays worlds of its own: leave --through and --landing away")
        _evaluate_loop(
            settings, 30 if n_nights is None else n_nights, 5 if seeds is None else seeds, plot, progress, as_json
        )
        return
    if (n_nights, seeds, plot) != (None, None, None):
        raise WrongUseError("--nights, --seeds and --plot go with --evaluate")
    context = nights.open_context(settings, load_machine(), landing, note=progress.note)
    last = night_of(through) or nights.default_night(settings)
    progress.stage("simulate")
    with closing(progress):
        written = nights.simulate_until(last, context)
    if as_json:
        print_json({"shop": shop, "landing": str(context.landing), "nights": [day.isoformat() for day in written]})
    else:
        Console().print(f"{len(written)} nights written to {context.landing}", highlight=False)


def _evaluate_loop(
    shop: "Shop", n_nights: int, seeds: int, plot: Path | None, progress: "RichProgress", as_json: bool
) -> None:
    from pipelines.closed_loop.evaluate import evaluate as play
    from pipelines.closed_loop.show import loop_table

    jobs = min(load_machine().threads or os.cpu_count() or 1, seeds)
    progress.stage("evaluate")
    with closing(progress):
        result = play(shop, default_root(), n_nights, seeds, jobs=jobs, plot_to=plot, note=progress.note)
    if as_json:
        print_json(result)
        return
    Console().print(loop_table(result, shop.currency), highlight=False)


def plan(
    shop: ShopOption = "demo",
    date_: Annotated[
        str | None, typer.Option("--date", "-d", help="Which night's scores, YYYY-MM-DD; the newest by default.")
    ] = None,
    what_if: Annotated[
        list[str] | None,
        typer.Option(
            "--what-if",
            help="A limit changed: budget=+20%, capacity:email=500, capacity:email.evening=-10%; may be repeated.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """What another budget or capacity would earn: expected profit, what one more cent is worth, and the curve.

    Solves the night's plan again on its scores, as configured and as asked. Publishes nothing.
    """
    from pipelines import what_if as asking
    from pipelines.show import what_if_tables

    context, progress = opened(shop)
    progress.close()
    night = night_of(date_) or asking.newest_night(context)
    told = asking.what_if(night, what_if or [], context)
    if as_json:
        print_json(told)
        return
    Console().print(*what_if_tables(told, context.shop.currency), highlight=False)


def readout(
    shop: ShopOption = "demo",
    date_: Annotated[
        str | None, typer.Option("--date", "-d", help="As known at the end of this night; the newest by default.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """What the campaigns did: answers per channel and strategy, and what is proven by the holdout, experiments and lots.

    Verdicts hold however often one looks. Publishes table experiment_readout of the night.
    """
    from pipelines import readout as reading
    from pipelines.night import default_night
    from pipelines.show import readout_tables

    context, progress = opened(shop)
    progress.close()
    known = context.store.nights("events")
    told = reading.readout(night_of(date_) or (known[-1] if known else default_night(context.shop)), context)
    if as_json:
        print_json(told)
        return
    Console().print(*readout_tables(told), sep="\n", highlight=False, soft_wrap=True)


for command in (
    night,
    backfill,
    simulate,
    plan,
    evaluate,
    train,
    promote,
    rollback,
    search,
    readout,
    answer,
    label,
    up,
    down,
    erase,
    doctor,
):  # in the order of the help
    app.command()(command)
app.add_typer(review)


def main(run: Callable[[], Any] = app) -> None:
    """Runs the command; a failure that a person can act on is one line on standard error, and its exit code."""
    try:
        run()
    except NightmarketError as error:
        sys.stderr.write(f"nightmarket: {' '.join(str(error).split())}\n")
        sys.exit(error.exit_code)
    except OSError as error:
        refused = storage_error(Path(error.filename or default_root()), error)
        sys.stderr.write(f"nightmarket: {' '.join(str(refused).split())}\n")
        sys.exit(refused.exit_code)
    except KeyboardInterrupt:
        sys.stderr.write("nightmarket: stopped; nothing half-done was published; run again to go on\n")
        sys.exit(EXIT_FAILED)


if __name__ == "__main__":
    main()
