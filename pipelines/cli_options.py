"""What commands share: options that several take, and how what they name is opened and printed."""

import json
import sys
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.core.config import load_machine, load_shop

if TYPE_CHECKING:
    from pipelines.show import RichProgress
    from pipelines.stage import Context

ShopOption = Annotated[str, typer.Option("--shop", "-s", help="Which shop: the name of a file in conf/shops/.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on standard output, nothing else there.")]


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
