"""The `nightmarket` command. Exit codes: 0 done, 1 failed, 2 wrong use, 3 an audit failed and nothing was published."""

import json
import os
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from pipelines.core.config import load_machine, load_shop
from pipelines.core.errors import EXIT_FAILED, NightmarketError, WrongUseError
from pipelines.core.machine import Machine
from pipelines.core.storage import default_root, storage_error

if TYPE_CHECKING:
    from pipelines.core.shop import Shop
    from pipelines.show import RichProgress
    from pipelines.stage import Context

app = typer.Typer(
    name="nightmarket",
    help="Turns an online shop's clickstream into tomorrow's marketing plan, every night.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    epilog="Exit codes: 0 done, 1 failed, 2 wrong use, 3 an audit failed and nothing was published.",
)

ShopOption = Annotated[str, typer.Option("--shop", "-s", help="Which shop: the name of a file in conf/shops/.")]
EngineOption = Annotated[
    str | None, typer.Option("--engine", "-e", help="duckdb (no Java) or spark; conf/local.yaml says the default.")
]
LandingOption = Annotated[
    Path | None, typer.Option("--landing", help="Folder that files land in; the shop's own by default.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on standard output, nothing else there.")]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Compute again what is up to date; the bytes stay the same.")
]


def _machine(engine: str | None) -> Machine:
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


@app.command()
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
    """Run one night: land, clean, features, learn, score, plan, publish, report, retain.

    Safe to repeat: what is up to date is left alone, a killed run is simply run again.
    """
    from pipelines import night as nights
    from pipelines.show import RichProgress, next_steps, night_table

    settings = load_shop(shop)
    progress = RichProgress()
    context = nights.open_context(settings, _machine(engine), _landing(landing), force=force, note=progress.note)
    when = nights.check_night(date_) if date_ else nights.default_night(settings)
    try:
        summary = nights.run(when, context, progress=progress, replay_quarantine=replay_quarantine)
    finally:
        progress.close()
    if as_json:
        _print_json(summary)
        return
    console = Console()
    console.print(night_table(summary, settings.currency))
    console.print(next_steps(summary, settings.landing["events"].last_night), highlight=False, soft_wrap=True)


@app.command()
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
    context = nights.open_context(settings, _machine(engine), _landing(landing), force=force, note=progress.note)
    if stale and (first or last):
        raise WrongUseError("--stale finds its nights itself: leave --from and --to away")
    chosen = many.stale(context) if stale else many.choose(context, _date(first), _date(last))
    try:
        summaries = many.run(
            chosen,
            context,
            skip_empty=not (stale or (first and last)),
            progress=progress,
            started=lambda day: progress.console.print(f"night {day}", highlight=False),
        )
    finally:
        progress.close()
    if as_json:
        _print_json({"shop": shop, "nights": summaries})
        return
    console = Console()
    for summary in summaries:
        console.print(night_table(summary, settings.currency))
    console.print(f"{len(summaries)} nights done." if summaries else "No night is stale: nothing to do.")


@app.command()
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
    last = _date(through) or nights.default_night(settings)
    progress.stage("simulate")
    try:
        written = nights.simulate_until(last, context)
    finally:
        progress.close()
    if as_json:
        _print_json({"shop": shop, "landing": str(context.landing), "nights": [day.isoformat() for day in written]})
    else:
        Console().print(f"{len(written)} nights written to {context.landing}", highlight=False)


def _evaluate_loop(
    shop: "Shop", n_nights: int, seeds: int, plot: Path | None, progress: "RichProgress", as_json: bool
) -> None:
    from pipelines.closed_loop.evaluate import evaluate as play
    from pipelines.closed_loop.show import loop_table

    jobs = min(load_machine().threads or os.cpu_count() or 1, seeds)
    progress.stage("evaluate")
    try:
        result = play(shop, default_root(), n_nights, seeds, jobs=jobs, plot_to=plot, note=progress.note)
    finally:
        progress.close()
    if as_json:
        _print_json(result)
        return
    Console().print(loop_table(result, shop.currency), highlight=False)


@app.command()
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

    context, progress = _open(shop)
    progress.close()
    night = _date(date_) or asking.newest_night(context)
    told = asking.what_if(night, what_if or [], context)
    if as_json:
        _print_json(told)
        return
    Console().print(*what_if_tables(told, context.shop.currency), highlight=False)


@app.command()
def evaluate(
    name: Annotated[str, typer.Argument(help="What is judged: behaviour, hillstrom, open-bandit or value.")],
    data: Annotated[Path, typer.Option("--data", help="Folder that holds the data set.")],
    as_json: JsonOption = False,
) -> None:
    """Judge one part on one real data set, with baselines beside it and intervals on both.

    **behaviour**: next behaviour on Taobao UserBehavior. **hillstrom**: effects of e-mails in a
    randomised trial. **open-bandit**: off-policy evaluation on the Open Bandit data.
    **value**: customer lifetime value on CDNOW.
    """
    from pipelines import evaluate as judging
    from pipelines.show import evaluation_table

    result = judging.evaluate(name, data, load_machine())
    if as_json:
        _print_json(result)
        return
    Console().print(evaluation_table(result))


TaskArgument = Annotated[str, typer.Argument(help="Which model: behaviour, effect, policy, pricing or value.")]


@app.command()
def train(
    task: TaskArgument,
    shop: ShopOption = "demo",
    date_: Annotated[
        str | None,
        typer.Option("--date", "-d", help="Train on what was known at the end of this night; the newest by default."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Train a model on the shop's own nights and register it as challenger; `nightmarket promote` judges it.

    The newest nights are held back to judge it. The same data, settings and code are not trained twice.
    """
    from pipelines import train as training

    context, progress = _open(shop)
    night = _date(date_) or training.newest_night(task, context)
    progress.stage("train")
    try:
        made = training.train(task, night, context)
    finally:
        progress.close()
    if as_json:
        _print_json(made | {"night": night.isoformat()})
        return
    how = "registered as challenger" if made["made"] else "is the same: nothing has changed since it was registered"
    print(f"{made['name']} version {made['version']} ({made['kind']}) {how}")
    print(f"judge it: nightmarket promote {task} --shop {shop} --version {made['version']}")


@app.command()
def promote(
    task: TaskArgument,
    shop: ShopOption = "demo",
    date_: Annotated[
        str | None,
        typer.Option("--date", "-d", help="First night that it would score; by default the one after the last plan."),
    ] = None,
    version: Annotated[
        str | None, typer.Option("--version", help="Which version; by default the one with the alias challenger.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Judge the challenger against the champion on nights that neither has seen; promote it only if it is better.

    A tie keeps the champion. The verdict and every reason are told here and in the model card; a refusal is no failure,
    so the exit code is 0. A task that needs a review waits for the tag review=approved on the version in MLflow.
    """
    from pipelines import promote as promotion

    context, progress = _open(shop)
    night = _date(date_) or promotion.next_night(context)
    progress.stage("promote")
    try:
        verdict = promotion.promote(task, night, context, version)
    finally:
        progress.close()
    if as_json:
        _print_json(verdict.as_dict() | {"night": night.isoformat()})
        return
    print(f"{verdict.name} version {verdict.version}: {verdict.verdict}; the champion is version {verdict.champion}")
    for reason in verdict.reasons:
        print(f"  {reason}")


@app.command()
def rollback(task: TaskArgument, shop: ShopOption = "demo", as_json: JsonOption = False) -> None:
    """Give the champion's place back to the model that was champion before; the next night scores with it."""
    from pipelines import promote as promotion

    context, progress = _open(shop)
    progress.close()
    done = promotion.rollback(task, context)
    if as_json:
        _print_json(done)
        return
    print(
        f"{done['name']}: version {done['champion']} is champion again, version {done['rolled_back']} is not any more"
    )


@app.command()
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

    context, progress = _open(shop)
    progress.close()
    known = context.store.nights("events")
    told = reading.readout(_date(date_) or (known[-1] if known else default_night(context.shop)), context)
    if as_json:
        _print_json(told)
        return
    Console().print(*readout_tables(told), sep="\n", highlight=False, soft_wrap=True)


AirflowPortOption = Annotated[
    int, typer.Option("--airflow-port", min=1024, max=65535, help="Of Airflow's page, on 127.0.0.1.")
]
MlflowPortOption = Annotated[
    int, typer.Option("--mlflow-port", min=1024, max=65535, help="Of MLflow's page, on 127.0.0.1.")
]


@app.command()
def up(
    airflow_port: AirflowPortOption = 8080, mlflow_port: MlflowPortOption = 5000, as_json: JsonOption = False
) -> None:
    """Start Airflow with the project's DAGs, and MLflow, on this machine only; wait until both are healthy.

    Called again it starts what is missing and leaves the rest alone.
    """
    from pipelines.servers.up import up as start
    from pipelines.show import RichProgress

    progress = RichProgress()
    progress.stage("up")
    try:
        told = start(airflow_port, mlflow_port, progress.note)
    finally:
        progress.close()
    if as_json:  # the password stays in its file: output of programs is kept in logs
        _print_json(
            {
                "airflow": told.ports.airflow_url,
                "mlflow": told.ports.mlflow_url,
                "user": told.user,
                "password_file": str(told.password_file),
                "started": list(told.started),
                "seconds": told.seconds,
            }
        )
        return
    print(f"{f'up in {told.seconds} s' if told.started else 'already up'}")
    print(
        f"Airflow  {told.ports.airflow_url}   user {told.user}, password {told.password or f'in {told.password_file}'}"
    )
    print(f"MLflow   {told.ports.mlflow_url}")
    print("stop both: make down")


@app.command()
def down(as_json: JsonOption = False) -> None:
    """Stop what `nightmarket up` has started, and nothing else; safe after a crash and when nothing runs."""
    from pipelines.servers.down import down as stop

    stopped = stop()
    if as_json:
        _print_json({"stopped": stopped})
        return
    print(f"stopped: {', '.join(stopped)}" if stopped else "nothing was running")


@app.command()
def erase(
    user: Annotated[
        list[str] | None,
        typer.Option(
            "--user", help="A customer's id, may be repeated; '-' reads ids, one a line, from standard input."
        ),
    ] = None,
    shop: ShopOption = "demo",
    later: Annotated[
        bool, typer.Option("--later", help="Only write the request down and print its name, for `--request`.")
    ] = False,
    request: Annotated[
        str | None, typer.Option("--request", help="Carry out the request that `--later` has printed.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Erase customers from all tables, files, plans and models' examples, and keep them out for ever.

    Prints the certificate: what was erased, and which models learnt from them and have to be trained again. Prefer
    `--user -`: what stands on the command line can be seen by others. Safe to repeat; killed, the same call goes on.
    """
    from pipelines import erase as erasing
    from pipelines.show import RichProgress, certificate_table

    if (request is None) == (not user):
        raise WrongUseError("name the customers with --user, or a request with --request")
    progress = RichProgress()
    context = erasing.open_erasure(load_shop(shop), load_machine(), note=progress.note)
    name = request or erasing.request(_ids(user or []), context.store)
    if later:
        progress.close()
        _print_json({"request": name}) if as_json else print(name)
        return
    progress.stage("erase")
    try:
        certificate = erasing.run_request(name, context)
    finally:
        progress.close()
    if as_json:
        _print_json(certificate)
        return
    Console().print(certificate_table(certificate))
    print(f"certificate: {erasing.certificate_file(name, context.store)}")


def _ids(users: list[str]) -> list[str]:
    """The ids of the command line; '-' stands for those on standard input."""
    return [one for user in users for one in (sys.stdin.read().splitlines() if user == "-" else [user])]


@app.command()
def doctor(as_json: JsonOption = False) -> None:
    """Check Python, Java, disk, clock, DAGs, databases, ports and configuration, and say what to do."""
    from pipelines.doctor import examine, findings_table

    findings = examine()
    if as_json:
        _print_json({"findings": [finding.as_dict() for finding in findings]})
    else:
        Console().print(findings_table(findings))
    if any(finding.state == "broken" for finding in findings):
        raise typer.Exit(EXIT_FAILED)


def _open(shop: str) -> tuple["Context", "RichProgress"]:
    """What a command about models works on."""
    from pipelines import night as nights
    from pipelines.show import RichProgress

    progress = RichProgress()
    return nights.open_context(load_shop(shop), load_machine(), None, note=progress.note), progress


def _date(text: str | None) -> date | None:
    from pipelines.night import check_night

    return check_night(text) if text else None


def _print_json(value: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(value, indent=1, sort_keys=True) + "\n")


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
