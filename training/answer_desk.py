"""Answers customers, one request after the other, so that the desk is opened once.

    python -m training.answer_desk SPEC.json     # {"shop", "knowledge", "root"}; started by pipelines/answer.py

A line of JSON on standard input asks, one on standard output answers:
    {"conversation_id", "turns": [...], "today": YYYY-MM-DD}   {"conversation_id", "answer", "intent", "confidence", "hand_over", "state"}
    {"save": FOLDER}                                           {"saved": FOLDER}: an MLflow model, for `mlflow models serve`
    anything that fails                                        {"error": why}
"""

import json
import sys
from datetime import date
from pathlib import Path
from typing import Any

from pipelines.core.servicing import Knowledge
from pipelines.core.shop import Shop
from pipelines.core.storage import Store
from training.language.desk import CONVERSATION, TODAY, TURNS, Desk, OpenDesk


def main() -> None:
    spec = json.loads(Path(sys.argv[1]).read_text())
    shop = Shop.model_validate(spec["shop"])
    desk = Desk.of(shop, Knowledge.model_validate(spec["knowledge"]), Store(Path(spec["root"]), shop.shop))
    is_open = desk.open()
    out, sys.stdout = sys.stdout, sys.stderr  # what a library prints is no answer
    for line in sys.stdin:
        try:
            answer = answered(json.loads(line), desk, is_open)
        except Exception as error:  # the next customer is still answered
            answer = {"error": f"{type(error).__name__}: {error}"}
        out.write(json.dumps(answer) + "\n")
        out.flush()


def answered(request: dict[str, Any], desk: Desk, is_open: OpenDesk) -> dict[str, Any]:
    if "save" in request:
        from training.serve_desk import save

        save(desk, Path(request["save"]))
        return {"saved": request["save"]}
    return is_open.answer(request[CONVERSATION], request[TURNS], date.fromisoformat(request[TODAY]))


if __name__ == "__main__":
    main()
