"""Takes labels of erased customers' texts out of a shop's store: lines hold an id of a text, never the text.

Before the tables are cut, since only they tell whose text it was. A label stays where its text stays and is somebody
else's: one whose text is kept no longer can teach nothing and goes as well.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from pipelines.core.columns import Columns as C
from pipelines.core.labelling import TEXTS, labels_file, read_labels
from pipelines.core.reading import read
from pipelines.core.storage import Store, write_atomic
from pipelines.erase_journal import Change, Journal

LABELS: Final = "labels"


def erase_labels(store: Store, pseudonyms: Iterable[str], journal: Journal, staging: Path) -> None:
    """Run again after a kill it finds what is left to do, because the tables are cut after it."""
    erased = set(pseudonyms)
    for task, (table, key) in TEXTS.items():
        path = labels_file(store, task)
        if not path.is_file():
            continue
        rows = read(store, table, store.nights(table), key, C.USER_KEY)
        stays = {row[key] for row in rows.to_pylist() if row[C.USER_KEY] not in erased} if rows is not None else set()
        data = path.read_bytes()
        lines = data[: data.rfind(b"\n") + 1].decode().splitlines(keepends=True)
        kept = [line for line, one in zip(lines, read_labels(path, data), strict=True) if one.text_id in stays]
        if len(kept) < len(lines):
            journal.note(path.relative_to(store.root).as_posix(), Change(LABELS, len(lines) - len(kept)))
            write_atomic(path, "".join(kept), staging)
