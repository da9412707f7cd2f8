"""A store as of a night, that remembers what was read from it: so lineage is observed, not declared."""

from datetime import date
from pathlib import Path

from pipelines.core.storage import Store, window


class Reading(Store):
    """The store as it was at the end of `limit`: later partitions seem not to be there, whoever asks for them."""

    def __init__(self, root: Path, shop: str, limit: date) -> None:
        super().__init__(root, shop)
        self.limit = limit
        self._first: dict[str, date] = {}  # per table the first night that was asked for
        self._opened: set[tuple[str, date]] = set()  # later partitions that may be read all the same

    def partition(self, table: str, night: date) -> Path:
        found = super().partition(table, night)
        if (table, night) in self._opened:
            return found
        if night > self.limit:
            return found.with_name("not yet known")
        self._first[table] = min(night, self._first.get(table, night))
        return found

    def nights(self, table: str) -> list[date]:
        return [night for night in super().nights(table) if night <= self.limit]

    def open_next(self, table: str) -> date | None:
        """The first night after `limit` that has the table, which may then be read; None where there is none. Only for
        what says how things are called (catalog), where nothing before tells it: never for what happened."""
        later = [night for night in super().nights(table) if night > self.limit]
        if later:
            self._opened.add((table, later[0]))
        return later[0] if later else None

    def lineage(self) -> dict[str, str]:
        """Partition ("table/YYYY-MM-DD") -> content hash or "absent", of each table read, from its first night to `limit`,
        and of those opened beyond it."""
        store = Store(self.root, self.shop)
        found: dict[str, str] = {}
        for table, first in sorted(self._first.items()):
            found |= store.inputs(table, window(self.limit, (self.limit - first).days + 1))
        for table, night in sorted(self._opened):
            found |= store.inputs(table, [night])
        return found
