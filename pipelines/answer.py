"""Talks with a shop's service desk: what `nightmarket answer` does.

    nightmarket answer --shop demo                # a conversation, a line a turn
    nightmarket answer --shop demo --json < ASKED.jsonl

The desk is training/answer_desk.py, a process that answers; what a customer writes is never kept.
"""

import contextlib
import json
from collections.abc import Iterable, Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

from pipelines.core.config import load_knowledge
from pipelines.core.errors import WrongUseError
from pipelines.launch import Ask, conversation
from pipelines.stage import Context

JOB: Final = "training.answer_desk"


def answers(lines: Iterable[str], context: Context, *, is_json: bool) -> Iterator[dict[str, Any]]:
    """The desk's answer to each line: with `is_json` a conversation each, {"conversation_id", "turns", "today"?}, else the next
    turn of one conversation. Raises WrongUseError for a shop without a desk and a line that asks nothing, ConfigError."""
    with _open(context) as ask:
        said: list[str] = []
        today = datetime.now(context.shop.zone).date()
        for number, line in enumerate(lines, 1):
            if is_json:
                if line.strip():
                    yield ask(_request(line, number, today))
            else:
                said.append(line.rstrip("\n"))
                yield ask({"conversation_id": "here", "turns": said, "today": today.isoformat()})


def save(folder: Path, context: Context) -> Path:
    """Writes the desk as a model for `mlflow models serve`. Raises WrongUseError where the folder is there already."""
    if folder.exists():
        raise WrongUseError(f"{folder}: is there already; name a new folder")
    with _open(context) as ask:
        ask({"save": str(folder.resolve())})
    return folder


@contextlib.contextmanager
def _open(context: Context) -> Iterator[Ask]:
    shop, store = context.shop, context.store
    if shop.service is None:
        raise WrongUseError(
            f"shop '{shop.shop}' has no desk: add `service: {{knowledge: NAME}}` to conf/shops/{shop.shop}.yaml"
        )
    spec = {
        "shop": shop.model_dump(mode="json"),
        "knowledge": load_knowledge(shop.service.knowledge).model_dump(mode="json"),
        "root": str(store.root),
    }
    with store.staging() as staging, conversation(JOB, spec, staging, store.folder / "logs") as ask:
        yield ask


def _request(line: str, number: int, today: date) -> dict[str, Any]:
    told = 'expected a JSON object such as {"conversation_id": "c1", "turns": ["Hello"]}'
    try:
        asked = json.loads(line)
    except ValueError:
        raise WrongUseError(f"line {number}: not JSON; {told}") from None
    turns = asked.get("turns") if isinstance(asked, dict) else None
    if not isinstance(turns, list) or not turns or not all(isinstance(turn, str) for turn in turns):
        raise WrongUseError(f"line {number}: no turns; {told}")
    unknown = sorted(set(asked) - {"conversation_id", "turns", "today"})
    if unknown or not isinstance(asked.get("conversation_id"), str):
        what = f"unknown keys {unknown}" if unknown else "no conversation_id"
        raise WrongUseError(f'line {number}: {what}; {told}, with "today" as YYYY-MM-DD where it is another day')
    try:
        day = date.fromisoformat(asked.get("today", today.isoformat()))
    except (TypeError, ValueError):
        raise WrongUseError(f"line {number}: today is no date: expected YYYY-MM-DD") from None
    return {**asked, "today": day.isoformat()}
