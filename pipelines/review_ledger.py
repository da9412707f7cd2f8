"""Who approved or rejected which creative, and when: one JSON object a line, appended and never changed.

    decisions(store)      # {creative_id: "approved" or "rejected"}, the newest of each

<root>/<shop>/review/ledger.jsonl. It holds reviewers' names, because a decision is somebody's; it holds no customer and no
text. A decision counts once its line is whole and on disk; what a crash left of a line is cut off before the next one.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from pipelines.core.errors import StorageError
from pipelines.core.storage import Store, storage_error

Word = Literal["approved", "rejected"]
WORDS: Final = ("approved", "rejected")


@dataclass(frozen=True)
class Decision:
    creative_id: str
    decision: Word
    who: str
    at: str  # UTC, ISO 8601, seconds
    note: str = ""


def ledger_file(store: Store) -> Path:
    return store.folder / "review" / "ledger.jsonl"


def decisions(store: Store) -> dict[str, Word]:
    """The decision that holds for each creative that was ever decided on: its newest."""
    return {one.creative_id: one.decision for one in history(store)}


def history(store: Store) -> list[Decision]:
    """All decisions, oldest first. Raises StorageError for a damaged line: a lost rejection must not go unseen."""
    try:
        return list(_read(ledger_file(store), ledger_file(store).read_bytes()))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise storage_error(ledger_file(store), error) from error


def record(store: Store, creative_id: str, decision: Word, who: str, note: str = "") -> tuple[Decision, bool]:
    """Appends a decision; what holds now, and whether it is new. The same by the same person with no other note is not."""
    path = ledger_file(store)
    made = Decision(creative_id, decision, who, datetime.now(UTC).isoformat(timespec="seconds"), note)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # freed by the kernel when the process dies
            file.seek(0)
            data = file.read()
            whole = data[: data.rfind(b"\n") + 1]
            last = {one.creative_id: one for one in _read(path, whole)}.get(creative_id)
            if last and (last.decision, last.who) == (decision, who) and note in ("", last.note):
                return last, False
            if whole != data:
                file.truncate(len(whole))
            file.write((json.dumps(asdict(made), ensure_ascii=False, sort_keys=True) + "\n").encode())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise storage_error(path, error) from error
    return made, True


def _read(path: Path, data: bytes) -> Iterator[Decision]:
    """Decisions of whole lines."""
    for number, line in enumerate(data[: data.rfind(b"\n") + 1].splitlines(), start=1):
        try:
            found = Decision(**json.loads(line))
            if found.decision not in WORDS:
                raise ValueError(f"decision is '{found.decision}'")
        except (ValueError, TypeError) as error:
            raise StorageError(
                f"{path}: line {number}: no decision ({error}); mend or delete that line, then run again"
            ) from error
        yield found
