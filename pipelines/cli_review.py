"""Commands about held creatives: review list, show, approve, reject."""

import getpass
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipelines.cli_options import JsonOption, ShopOption, night_of, print_json
from pipelines.core.config import load_shop
from pipelines.core.storage import Store, default_root

review = typer.Typer(
    name="review",
    help="Creatives that moderation held: see them beside what is known, approve or reject them.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)
IdArgument = Annotated[str, typer.Argument(help="A creative's id, as `review list` shows it.", metavar="ID")]
WhoOption = Annotated[
    str | None, typer.Option("--as", help="Who decides; the user of this machine's account by default.")
]


def _store(shop: str) -> Store:
    return Store(default_root(), load_shop(shop).shop)


@review.command(name="list")
def list_(
    shop: ShopOption = "demo",
    date_: Annotated[str | None, typer.Option("--date", "-d", help="Night, YYYY-MM-DD; the newest by default.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Clean and decided ones too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List what waits for a decision: id, rule, where it would be sent, text."""
    from pipelines.review import queue

    told = queue(_store(shop), night_of(date_), everything=everything)
    if as_json:
        print_json(told)
        return
    table = Table("id", "rule", "channel", "text", title=f"{told['waiting']} wait, night {told['night']}")
    for row in told["creatives"]:
        state = row["decision"] or (row["rule"] if row["status"] == "held" else row["status"])
        table.add_row(*map(Text, (row["creative_id"], state, row["channel"], row["text"])))
    Console().print(table)
    if told["waiting"]:
        print(f"one beside what is known: nightmarket review show {told['creatives'][0]['creative_id']} --shop {shop}")


@review.command()
def show(creative_id: IdArgument, shop: ShopOption = "demo", as_json: JsonOption = False) -> None:
    """Show a creative side by side with what catalogue and offer say, the rule, and what could be sent instead."""
    from pipelines.review import side_by_side

    told = side_by_side(_store(shop), load_shop(shop), creative_id)
    if as_json:
        print_json(told)
        return
    row, known = told["creative"], told["known"]
    said = {
        "text": row["text"],
        "rule": row["rule"] or "none",
        "why": row["detail"],
        "status": row["status"],
        "language": row["language"],
        "channel": f"{row['channel']}, {row['creative_style']}",
        "written by": row["source"],
        "decided": told["decision"] or "not yet",
    }
    table = Table("what it says", "what is known", title=f"{creative_id}, night {told['night']}")
    table.add_row(_lines(said), _lines(known))
    Console().print(table)
    for other in told["instead"]:
        Console().print(Text(f"instead ({other['source']}): {other['text']}"))
    for one in told["history"]:
        Console().print(Text(f"{one['at']} {one['decision']} by {one['who']} {one['note']}".rstrip()))


@review.command()
def approve(
    creative_id: IdArgument,
    note: Annotated[str, typer.Option("--note", help="Why, for whoever looks later.")] = "",
    shop: ShopOption = "demo",
    who: WhoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Approve a creative: from the next run of a night it may be sent, whatever moderation says of it."""
    from pipelines.review import decide

    _told(decide(_store(shop), creative_id, "approved", who or getpass.getuser(), note), as_json)


@review.command()
def reject(
    creative_id: IdArgument,
    note: Annotated[str, typer.Option("--note", help="Why; needed.")] = "",
    shop: ShopOption = "demo",
    who: WhoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Reject a creative: it is never sent, even where moderation finds it clean."""
    from pipelines.review import decide

    _told(decide(_store(shop), creative_id, "rejected", who or getpass.getuser(), note), as_json)


def _told(done: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(done)
        return
    how = "" if done["new"] else " (was already)"
    print(f"{done['creative_id']} {done['decision']}{how} by {done['who']} at {done['at']}")
    if done["new"]:
        print(f"it holds from the next run of a night; night {done['night']} can be run again")


def _lines(told: dict[str, Any]) -> Text:
    """Names and values, one a line; never read as markup, because product data and creatives are anybody's words."""
    return Text("\n".join(f"{name}: {value}" for name, value in told.items() if value not in (None, "", {})))
