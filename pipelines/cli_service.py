"""Commands about customers who write: answer."""

import json
import sys
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli_options import ShopOption, opened


def answer(
    shop: ShopOption = "demo",
    save: Annotated[
        Path | None,
        typer.Option("--save", help="Write the desk into this new folder, for `mlflow models serve -m FOLDER`."),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help='JSON lines in, {"conversation_id", "turns", "today"}, and one JSON line out for each.'
        ),
    ] = False,
) -> None:
    """Talk with the shop's service desk: a line on standard input is a customer's turn, answered in English or Chinese.

    Says what it understood and when a person takes over. Keeps nothing of what is written.
    """
    from pipelines import answer as answering

    context, progress = opened(shop)
    with closing(progress):
        if save:
            folder = answering.save(save, context)
            sys.stdout.write(
                json.dumps({"saved": str(folder)}) + "\n" if as_json else
                f"saved to {folder}; serve it: mlflow models serve -m {folder} --env-manager local --host 127.0.0.1\n"
            )  # fmt: skip
            return
    for told in answering.answers(sys.stdin, context, is_json=as_json):
        if as_json:
            sys.stdout.write(json.dumps(told, ensure_ascii=False, sort_keys=True) + "\n")
        else:
            note = told["intent"] or "not understood"
            sys.stdout.write(f"{told['answer']}\n  ({note}{', a person takes over' if told['hand_over'] else ''})\n")
        sys.stdout.flush()  # who asks waits for it
