"""What people said that a text is: <root>/<shop>/labels/TASK.jsonl, one JSON object a line, appended and never changed.

    labels_of(store, "sentiment")      # {text_id: label}, the newest of each

A line holds the id of a review or message, its label, who said so and when; no text and no customer. What a crash left of
a line counts for nothing and is cut off before the next one. An erasure takes out the lines of texts that go.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pipelines.core.columns import Columns as C
from pipelines.core.errors import StorageError
from pipelines.core.storage import Store, storage_error

SENTIMENT, INTENT = "sentiment", "intent"
TEXTS: Final = {SENTIMENT: ("reviews", C.REVIEW_ID), INTENT: ("messages", C.MESSAGE_ID)}  # table and id, by task
POSITIVE, NEGATIVE, NEUTRAL, OUT_OF_SCOPE = "positive", "negative", "neutral", "out_of_scope"
OPINIONS: Final = (POSITIVE, NEGATIVE, NEUTRAL)


@dataclass(frozen=True)
class Label:
    text_id: str
    label: str
    who: str
    at: str  # UTC, ISO 8601, seconds


def labels_file(store: Store, task: str) -> Path:
    return store.folder / "labels" / f"{task}.jsonl"


def labels_of(store: Store, task: str) -> dict[str, str]:
    """The label that holds for each text that was ever labelled: its newest. Raises StorageError for a damaged line."""
    path = labels_file(store, task)
    return {one.text_id: one.label for one in read_labels(path, _bytes(path))}


def digest_of_labels(store: Store, task: str) -> str:
    """Changes when a label does."""
    return hashlib.sha256(_bytes(labels_file(store, task))).hexdigest()


def record(store: Store, task: str, labels: Mapping[str, str], who: str) -> int:
    """Appends labels by text id, all or none; returns how many are new. What holds already is not written again."""
    path, at = labels_file(store, task), datetime.now(UTC).isoformat(timespec="seconds")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # freed by the kernel when the process dies
            file.seek(0)
            data = file.read()
            whole = data[: data.rfind(b"\n") + 1]
            held = {one.text_id: one.label for one in read_labels(path, whole)}
            new = [Label(text, label, who, at) for text, label in labels.items() if held.get(text) != label]
            if whole != data:
                file.truncate(len(whole))
            file.write(
                "".join(json.dumps(asdict(one), ensure_ascii=False, sort_keys=True) + "\n" for one in new).encode()
            )
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise storage_error(path, error) from error
    return len(new)


def read_labels(path: Path, data: bytes) -> Iterator[Label]:
    """Labels of whole lines, oldest first."""
    for number, line in enumerate(data[: data.rfind(b"\n") + 1].splitlines(), start=1):
        try:
            yield Label(**json.loads(line))
        except (ValueError, TypeError) as error:
            raise StorageError(
                f"{path}: line {number}: no label ({error}); mend or delete that line, then run again"
            ) from error


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise storage_error(path, error) from error
