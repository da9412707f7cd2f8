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

    def partition(self, table: str, night: date) -> Path:
        found = super().partition(table, night)
        if night > self.limit:
            return found.with_name("not yet known")
        self._first[table] = min(night, self._first.get(table, night))
        return found

    def nights(self, table: str) -> list[date]:
        return [night for night in super().nights(table) if night <= self.limit]

    def lineage(self) -> dict[str, str]:
        """Partition ("table/YYYY-MM-DD") -> content hash or "absent", of each table read, from its first night to `limit`."""
        store = Store(self.root, self.shop)
        found: dict[str, str] = {}
        for table, first in sorted(self._first.items()):
            found |= store.inputs(table, window(self.limit, (self.limit - first).days + 1))
        return found
