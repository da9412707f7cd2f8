"""Commands about models: evaluate, search, train, promote, rollback."""

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pipelines.cli_options import (
    JsonOption,
    ShopOption,
    night_of,
    opened,
    print_json,
)
from pipelines.core.config import load_machine
from pipelines.evaluate import NAMES


def evaluate(
    name: Annotated[str, typer.Argument(help="; ".join(f"{name}: {what}" for name, what in NAMES.items()) + ".")],
    data: Annotated[Path, typer.Option("--data", help="Folder that holds the data set.")],
    as_json: JsonOption = False,
) -> None:
    """Judge one part on one real data set, with baselines beside it and intervals on both. Takes minutes."""
    from pipelines import evaluate as judging
    from pipelines.show import at_work, evaluation_table

    with at_work(f"evaluate {name} on {data.name}"):
        result = judging.evaluate(name, data, load_machine())
    if as_json:
        print_json(result)
        return
    Console().print(evaluation_table(result))


def search(
    query: Annotated[str, typer.Argument(help="What a customer types.")],
    shop: ShopOption = "demo",
    rules: Annotated[
        list[str] | None,
        typer.Option(
            "--filter", help="price<50, brand=NAME, category=WORDS, colour=NAME or in_stock; may be repeated."
        ),
    ] = None,
    k: Annotated[int, typer.Option("--k", help="How many items at most.")] = 10,
    as_json: JsonOption = False,
) -> None:
    """Search the newest catalogue as a customer would: by words, vectors and what was clicked; typos are mended."""
    from pipelines.search import search as find
    from pipelines.show import search_table

    context, progress = opened(shop)
    with closing(progress):
        told = find(query, context, filters=rules or [], k=k)
    if as_json:
        print_json(told)
        return
    Console().print(search_table(told, context.shop.currency))


TaskArgument = Annotated[
    str,
    typer.Argument(
        help="Which model: behaviour, copywriter, effect, policy, pricing, recommender, search, sentiment or value."
    ),
]


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

    context, progress = opened(shop)
    night = night_of(date_) or training.newest_night(task, context)
    progress.stage("train")
    with closing(progress):
        made = training.train(task, night, context)
    if as_json:
        print_json(made | {"night": night.isoformat()})
        return
    how = "registered as challenger" if made["made"] else "is the same: nothing has changed since it was registered"
    print(f"{made['name']} version {made['version']} ({made['kind']}) {how}")
    print(f"judge it: nightmarket promote {task} --shop {shop} --version {made['version']}")


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

    context, progress = opened(shop)
    night = night_of(date_) or promotion.next_night(context)
    progress.stage("promote")
    with closing(progress):
        verdict = promotion.promote(task, night, context, version)
    if as_json:
        print_json(verdict.as_dict() | {"night": night.isoformat()})
        return
    print(f"{verdict.name} version {verdict.version}: {verdict.verdict}; the champion is version {verdict.champion}")
    for reason in verdict.reasons:
        print(f"  {reason}")


def rollback(task: TaskArgument, shop: ShopOption = "demo", as_json: JsonOption = False) -> None:
    """Give the champion's place back to the model that was champion before; the next night scores with it."""
    from pipelines import promote as promotion

    context, progress = opened(shop)
    progress.close()
    done = promotion.rollback(task, context)
    if as_json:
        print_json(done)
        return
    print(
        f"{done['name']}: version {done['champion']} is champion again, version {done['rolled_back']} is not any more"
    )
