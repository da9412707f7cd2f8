"""What an erasure that runs has done so far, on disk before each step: killed anywhere, it is finished as if it had not been.

<root>/<shop>/erasure/journal.json names partitions, files, hashes and counts; no id and no pseudonym. It is there only
while an erasure runs, or after one was killed: then nothing else may write to the shop.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pipelines.core.storage import ERASURE, JOURNAL, Store, write_atomic


@dataclass(frozen=True)
class Change:
    """One partition ("table/YYYY-MM-DD") or file (its path): what of it is erased, and what it is after."""

    kind: str  # the table, or what sort of file it is
    n_erased: int  # rows, lines or files
    before: str = ""  # content hash, where others tell that they have read it
    after: str = ""
    n_left: int = 0  # rows of a partition
    counts: dict[str, Any] = field(default_factory=dict)  # of a partition's manifest


class Journal:
    """The journal of one request."""

    def __init__(self, store: Store, request: str, staging: Path) -> None:
        self._path = store.folder / ERASURE / JOURNAL
        self._staging = staging
        told = json.loads(self._path.read_text()) if self._path.exists() else {}
        self.request: str = told.get("request", request)
        self.changes = {name: Change(**change) for name, change in told.get("changes", {}).items()}
        self.facts: dict[str, Any] = told.get("facts", {})
        self._write()

    def note(self, name: str, change: Change, **facts: Any) -> None:
        """To be called before the change is made."""
        self.changes[name] = change
        self.know(**facts)

    def know(self, **facts: Any) -> None:
        """Keeps what can no longer be found out once the erasure has begun."""
        self.facts |= facts
        self._write()

    @property
    def hashes(self) -> Mapping[str, tuple[str, str]]:
        """Input -> content hash before and after, of all that changed."""
        return {name: (one.before, one.after) for name, one in self.changes.items() if one.before != one.after}

    def totals(self) -> dict[str, int]:
        """Kind -> what was erased."""
        found: dict[str, int] = {}
        for change in self.changes.values():
            found[change.kind] = found.get(change.kind, 0) + change.n_erased
        return {kind: n for kind, n in sorted(found.items()) if n}

    def close(self) -> None:
        self._path.unlink(missing_ok=True)

    def _write(self) -> None:
        changes = {name: asdict(change) for name, change in self.changes.items()}
        told = {"request": self.request, "facts": self.facts, "changes": changes}
        write_atomic(self._path, json.dumps(told, sort_keys=True) + "\n", self._staging)


def interrupted(store: Store) -> str | None:
    """The request whose erasure was begun and not ended."""
    path = store.folder / ERASURE / JOURNAL
    return str(json.loads(path.read_text())["request"]) if path.exists() else None
