"""Asks people for the labels that are worth their time, and keeps what they say.

    nightmarket label --task sentiment --n 50
    nightmarket label --task sentiment --set r-1=positive --set r-2=negative
    nightmarket label --task intent --set - < labels.jsonl      # {"text_id": "m-1", "label": "track_order"} a line

Labels go to <root>/<shop>/labels/TASK.jsonl (pipelines/core/labelling.py). Those of reviews hold over stars from the next
training of task sentiment; those of messages are examples from the next night's reading of conversations. Which rows are
asked for is training/label_queue.py, started as a process.
"""

import json
import re
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from pipelines.core.columns import Columns as C
from pipelines.core.config import load_knowledge
from pipelines.core.errors import NoDataError, WrongUseError
from pipelines.core.labelling import INTENT, OPINIONS, OUT_OF_SCOPE, TEXTS, record
from pipelines.core.reading import read
from pipelines.core.servicing import Knowledge
from pipelines.core.shop import Shop
from pipelines.core.storage import Store
from pipelines.launch import launch
from pipelines.stage import Context

MOST: Final = 500  # rows that are asked for at once
_WHO: Final = re.compile(r"[\w .@\-]{1,64}")


def queue(task: str, n: int, context: Context) -> dict[str, Any]:
    """The n rows worth asking for, with why, texts masked. Raises WrongUseError, NoDataError where no text has landed."""
    if not 1 <= n <= MOST:
        raise WrongUseError(f"--n {n}: expected 1 to {MOST}")
    shop, store, machine = context.shop, context.store, context.machine
    names, knowledge = names_of(task, shop), _knowledge(shop) if task == INTENT else None
    if not store.nights(TEXTS[task][0]):
        raise NoDataError(f"shop {shop.shop}: no {TEXTS[task][0]} have landed; run `nightmarket night` first")
    with tempfile.TemporaryDirectory(prefix="nightmarket-label-") as folder:
        told = launch(
            "training.label_queue",
            {
                "root": str(store.root),
                "shop": shop.shop,
                "task": task,
                "n": n,
                "examples": list(zip(*knowledge.examples, strict=True)) if knowledge else [],
                "threads": machine.threads,
                "weights": str(store.root / "weights"),
            },
            machine.without_spark,
            Path(folder),
            store.folder / "logs",
        )
    return {"shop": shop.shop, "task": task, "labels": list(names), **told}


def keep(task: str, labels: Mapping[str, str], who: str, shop: Shop, store: Store) -> dict[str, Any]:
    """Records labels by text id, all or none. Raises WrongUseError for a label or a text that is none, or a name."""
    names = names_of(task, shop)
    if not _WHO.fullmatch(who.strip()):
        raise WrongUseError("--as: expected a person's name, 1 to 64 letters, digits, spaces, '.', '@', '-'")
    for text_id, label in labels.items():
        if label not in names:
            raise WrongUseError(f"{text_id[:80]}: label '{label[:80]}': expected one of {', '.join(names)}")
    with store.staging():  # no erasure runs meanwhile
        unknown = sorted(set(labels) - ids_of(store, task))
        if unknown:
            raise WrongUseError(
                f"shop {shop.shop}: no text '{unknown[0][:80]}' in table {TEXTS[task][0]}"
                f"{f' (nor {len(unknown) - 1} more)' if unknown[1:] else ''}; nothing was kept"
            )
        n_new = record(store, task, labels, who.strip())
    return {"shop": shop.shop, "task": task, "told": len(labels), "new": n_new}


def parse(told: Iterable[str], lines: Iterable[str]) -> dict[str, str]:
    """Labels by text id out of TEXT_ID=LABEL; where one is "-", out of `lines` of JSON too. Raises WrongUseError."""
    found: dict[str, str] = {}
    for one in told:
        if one == "-":
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    found.update([_of_line(line, number)])
            continue
        text_id, sign, label = one.rpartition("=")
        if not (sign and text_id and label):
            raise WrongUseError(f"--set {one[:80]}: expected TEXT_ID=LABEL, or - and lines of JSON on standard input")
        found[text_id] = label
    return found


def names_of(task: str, shop: Shop) -> tuple[str, ...]:
    """The labels that a task knows. Raises WrongUseError for another task, or intents of a shop without a desk."""
    if task not in TEXTS:
        raise WrongUseError(f"--task {task[:80]}: expected {' or '.join(TEXTS)}")
    return (*(one.id for one in _knowledge(shop).intents), OUT_OF_SCOPE) if task == INTENT else OPINIONS


def ids_of(store: Store, task: str) -> set[str]:
    """Of all texts that are kept; of messages the customers' own."""
    table, key = TEXTS[task]
    columns = (key, C.SENDER) if task == INTENT else (key,)
    told = read(store, table, store.nights(table), *columns)
    if told is None:
        return set()
    return {row[key] for row in told.to_pylist() if row.get(C.SENDER, "customer") == "customer"}


def _knowledge(shop: Shop) -> Knowledge:
    if shop.service is None:
        raise WrongUseError(f"shop {shop.shop}: no 'service' in its configuration, so no intents are known; add it")
    return load_knowledge(shop.service.knowledge)


def _of_line(line: str, number: int) -> tuple[str, str]:
    try:
        told = json.loads(line)
        text_id, label = told["text_id"], told["label"]
        if not (isinstance(text_id, str) and isinstance(label, str)):
            raise TypeError
    except (ValueError, KeyError, TypeError):
        raise WrongUseError(
            f'standard input, line {number}: expected {{"text_id": "...", "label": "..."}}, nothing was kept'
        ) from None
    return text_id, label
