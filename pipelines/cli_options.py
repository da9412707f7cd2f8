"""What commands share: options that several take, and how what they name is opened and printed."""

import json
import sys
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.core.config import load_machine, load_shop
from pipelines.core.errors import WrongUseError
from pipelines.core.machine import Machine

if TYPE_CHECKING:
    from pipelines.show import RichProgress
    from pipelines.stage import Context

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


def machine_with(engine: str | None) -> Machine:
    """This machine, with the engine asked for. Raises WrongUseError for another word than duckdb and spark."""
    machine = load_machine()
    if engine is None:
        return machine
    if engine not in ("duckdb", "spark"):
        raise WrongUseError(f"unknown engine '{engine}': expected duckdb or spark")
    return machine.model_copy(update={"engine": engine})


def opened(shop: str) -> tuple["Context", "RichProgress"]:
    """What a command about models works on."""
    from pipelines import night as nights
    from pipelines.show import RichProgress

    progress = RichProgress()
    return nights.open_context(load_shop(shop), load_machine(), None, note=progress.note), progress


def night_of(text: str | None) -> date | None:
    """The night that an option names, checked; None without one."""
    from pipelines.night import check_night

    return check_night(text) if text else None


def print_json(value: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(value, indent=1, sort_keys=True) + "\n")
