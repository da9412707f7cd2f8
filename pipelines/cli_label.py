"""The command about labels: label."""

import getpass
import sys
from contextlib import closing
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipelines.cli_options import JsonOption, ShopOption, opened, print_json


def label(
    task: Annotated[
        str, typer.Option("--task", "-t", help="sentiment (of reviews) or intent (of messages).")
    ] = "sentiment",
    shop: ShopOption = "demo",
    n: Annotated[int, typer.Option("--n", help="How many rows you have time for.")] = 50,
    told: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help='TEXT_ID=LABEL, may be repeated; - reads lines of {"text_id", "label"} from standard input.'
        ),
    ] = None,
    who: Annotated[str | None, typer.Option("--as", help="Who labels; the user of this account by default.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List the reviews or messages whose label is worth a person's time most, with why; with **--set** keep labels.

    What tells who a customer is is masked. Labels hold over stars from the next training, and teach the desk's reading
    of messages from the next night.
    """
    from pipelines import label as labelling

    context, progress = opened(shop)
    with closing(progress):
        if told:
            labels = labelling.parse(told, sys.stdin)
            done = labelling.keep(task, labels, who or getpass.getuser(), context.shop, context.store)
        else:
            done = labelling.queue(task, n, context)
    if as_json:
        print_json(done)
    elif told:
        print(f"{done['new']} new of {done['told']} labels kept for task {task}")
    else:
        table = Table("id", "text", "likely", "why", title=f"{len(done['rows'])} of {done['waiting']} {task} texts")
        for row in done["rows"]:
            likely = f"{row['likely']} {row['chance']:.0%}" if row["likely"] else ""
            table.add_row(*map(Text, (row["text_id"], row["text"], likely, "; ".join(row["why"]))))
        Console().print(table)
        print(f"labels: {', '.join(done['labels'])}; keep one: nightmarket label -t {task} -s {shop} --set ID=LABEL")
