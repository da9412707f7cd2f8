"""A set of messages with their intents, out of a folder of CSV files as such sets are published.

A folder holds a file with "train" in its name and one with "test" (others, such as validation, are not read), or a single
file, of which a fifth is judged: rows whose `split` says test, or by a hash of the text where there is no such column.
Columns, in any order and beside others: `text` or `utterance`; `intent` or `label`; optionally `tags`, a letter for each way
of phrasing. A row whose intent is empty, `oos` or `out_of_scope` is out of scope; such rows are never learnt from.
"""

import csv
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from pipelines.core.errors import NoDataError

OUT: Final = ""  # the intent of a message that is out of scope
_OUT_NAMES: Final = frozenset({"", "oos", "out_of_scope", "out-of-scope", "oos-oos"})
_TEXT, _INTENT = ("text", "utterance"), ("intent", "label")


@dataclass(frozen=True)
class Messages:
    """n messages."""

    texts: tuple[str, ...]
    intents: np.ndarray  # (n,) str, OUT where none
    tags: tuple[str, ...]  # letters, "" where not told

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, where: np.ndarray) -> "Messages":
        """At places (k,) int, or where a mask (n,) is true."""
        places = (np.flatnonzero(where) if where.dtype == bool else where).tolist()
        return Messages(
            tuple(self.texts[at] for at in places), self.intents[places], tuple(self.tags[at] for at in places)
        )


@dataclass(frozen=True)
class IntentSet:
    """What may be learnt, all in scope, and what is judged."""

    train: Messages
    test: Messages
    files: str


def read_intents(folder: Path) -> IntentSet:
    """Raises NoDataError, in one line that names the file, what is missing and what is there."""
    files = sorted(folder.glob("*.csv"))
    train, test = ([path for path in files if part in path.name.lower()] for part in ("train", "test"))
    if len(train) == len(test) == 1 and train != test:
        learnt, judged = _read(train[0])[0], _read(test[0])[0]
        told = f"{train[0].name}, {test[0].name}"
    elif len(files) == 1:
        messages, is_test = _read(files[0])
        learnt, judged, told = messages.take(~is_test), messages.take(is_test), files[0].name
    else:
        found = ", ".join(path.name for path in files) or "no CSV file"
        raise NoDataError(
            f"{folder}: expected one CSV file with 'train' in its name and one with 'test'; found {found}"
        )
    learnt = learnt.take(learnt.intents != OUT)
    judged = judged.take((judged.intents == OUT) | np.isin(judged.intents, learnt.intents))
    if len(np.unique(learnt.intents)) < 2 or not (judged.intents != OUT).any():
        n = len(np.unique(learnt.intents))
        raise NoDataError(
            f"{folder}: {n} intents to learn and {len(judged)} messages of them to judge: two and one needed"
        )
    return IntentSet(learnt, judged, told)


def _read(path: Path) -> tuple[Messages, np.ndarray]:
    """The messages of a file, rows without a text left out, and which of them are judged where it stands alone."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise NoDataError(f"{path}: cannot be read ({error}); expected CSV in UTF-8") from None
    columns = list(rows[0]) if rows else []
    text, intent = (next((name for name in names if name in columns), None) for names in (_TEXT, _INTENT))
    if text is None or intent is None:
        there = ", ".join(map(str, columns)) or "no row"
        raise NoDataError(f"{path}: expected columns text or utterance, and intent or label; found {there}")
    told = [row for row in rows if (row[text] or "").strip()]
    names = [(row[intent] or "").strip() for row in told]
    intents = np.array([OUT if name.lower() in _OUT_NAMES else name for name in names], dtype=str)
    tags = tuple(row.get("tags") or "" for row in told)
    texts = tuple(row[text] for row in told)
    if "split" in columns:
        is_test = np.array([(row["split"] or "").strip().lower() == "test" for row in told], dtype=bool)
    else:
        is_test = np.array([int(hashlib.sha256(one.encode()).hexdigest(), 16) % 5 == 0 for one in texts], dtype=bool)
    return Messages(texts, intents, tags), is_test
