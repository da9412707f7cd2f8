"""Makes the plan's export: one CSV file per channel for the shop's sending tools, recommendations for its pages, and
manifest.json.

    nightmarket night --shop demo --date 2026-03-15

The folder appears whole or not at all; rows without a strategy are not exported.
"""

import csv
import json
import re
import shutil
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import Any, Final

from pipelines.core.columns import Columns as C
from pipelines.core.errors import StorageError
from pipelines.core.recommending import FILE, SEGMENT_FILE
from pipelines.core.shop import Shop
from pipelines.core.storage import file_hash, replace_folder, storage_error
from pipelines.strategy.candidates import NOTHING, candidates

HEADER = (
    C.USER_KEY, C.STRATEGY_ID, C.OFFER, C.DISCOUNT_PERCENT, "offer_text", C.CHANNEL, C.SEND_WINDOW,
    "from_hour", "to_hour", C.FREQUENCY, C.CREATIVE_STYLE, C.ITEM_ID, C.SEND_HOUR, C.PROPENSITY,
    C.CREATIVE_ID, C.TEXT,
)  # fmt: skip
PAGES: Final[Mapping[str, tuple[str, ...]]] = {  # file -> columns, of what the shop's pages show
    FILE: (C.USER_KEY, C.SLOT, C.ITEM_ID, C.PROPENSITY),
    SEGMENT_FILE: (C.SEGMENT_ID, C.SLOT, C.ITEM_ID),
}
MANIFEST = "manifest.json"
_NO_TEXT: Final = ("", "")
_PSEUDONYM = re.compile(r"[0-9a-f]{64}")


def export(
    plan_parquet: Path,
    shop: Shop,
    night: date,
    folder: Path,
    pages: Mapping[str, list[Path]] | None = None,
    copy: Mapping[str, list[Path]] | None = None,
) -> dict[str, Any]:
    """Writes <channel>.csv per channel, the files of PAGES and manifest.json into `folder`, replacing it at once; returns
    the manifest. `pages`: name of a file -> Parquet files of its rows. `copy`: those of creatives and plan_copy; without
    them, and where a customer has none, creative_id and text are empty and offer_text is what the shop says.

    Raises StorageError for a plan that does not fit the shop's configuration and for a refused write, ConfigError for
    texts that a spreadsheet would run.
    """
    lines = _lines(plan_parquet, shop, _texts(copy or {}))
    staged = folder.with_name(f".{folder.name}.staged")
    try:
        if staged.exists():  # of a process that died
            shutil.rmtree(staged)
        staged.mkdir(parents=True)
        files: dict[str, tuple[tuple[str, ...], Iterable[tuple[Any, ...]]]] = {
            f"{channel.id}.csv": (HEADER, lines[channel.id]) for channel in shop.strategy.channels
        }
        files |= {name: (PAGES[name], _page(parts, PAGES[name])) for name, parts in (pages or {}).items()}
        manifest: dict[str, Any] = {"shop": shop.shop, "night": night.isoformat(), "files": {}}
        for name, (header, rows) in sorted(files.items()):
            written = 0
            with (staged / name).open("w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(header)
                for written, row in enumerate(rows, start=1):  # noqa: B007 - how many there were
                    writer.writerow(row)
            manifest["files"][name] = {"rows": written, "sha256": file_hash(staged / name)}
        (staged / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        replace_folder(staged, folder)
    except OSError as error:
        raise storage_error(folder, error) from error
    return manifest


def _lines(plan_parquet: Path, shop: Shop, texts_of: Mapping[str, tuple[str, str]]) -> dict[str, list[tuple[Any, ...]]]:
    """Channel -> rows in the order of HEADER, by user_key; all of it comes from configuration and pseudonyms."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    strategy = shop.strategy
    texts = {offer.id: offer.text for offer in strategy.offers}
    windows = {window.id: window for window in strategy.send_windows}
    known = {candidate.strategy_id: candidate for candidate in candidates(strategy)}
    told = {}
    for name, c in known.items():
        window = windows[c.send_window]
        hours = (window.from_hour, window.to_hour)
        offer = (c.offer, c.discount_percent, texts[c.offer])
        told[name] = (name, *offer, c.channel, c.send_window, *hours, c.frequency, c.creative_style)

    needed = (C.USER_KEY, C.STRATEGY_ID, C.ITEM_ID, C.SEND_HOUR, C.PROPENSITY)
    plan = pq.read_table(plan_parquet, columns=list(needed), partitioning=None)
    plan = plan.filter(pc.not_equal(plan[C.STRATEGY_ID], NOTHING)).sort_by(C.USER_KEY)
    lines: dict[str, list[tuple[Any, ...]]] = {channel.id: [] for channel in strategy.channels}
    for user_key, strategy_id, item_id, hour, propensity in zip(
        *(plan[name].to_pylist() for name in needed), strict=True
    ):
        if strategy_id not in known:
            problem = f"strategy {strategy_id!r:.80} is not in the configuration"
        elif not _PSEUDONYM.fullmatch(user_key):
            problem = "a user_key is not 64 hex digits, so it may be no pseudonym"
        else:
            said = texts_of.get(user_key, _NO_TEXT)
            lines[known[strategy_id].channel].append(
                (user_key, *told[strategy_id], item_id, hour, repr(propensity), *said)
            )
            continue
        raise StorageError(f"{plan_parquet}: {problem}; plan the night again")
    return lines


def _texts(copy: Mapping[str, list[Path]]) -> dict[str, tuple[str, str]]:
    """user_key -> creative_id and text, of who has one. Raises StorageError for a creative that nobody wrote."""
    import pyarrow.parquet as pq

    def rows(table: str, *columns: str) -> Iterable[tuple[Any, ...]]:
        for path in copy.get(table, []):
            read = pq.ParquetFile(path).read(columns=list(columns))
            yield from zip(*(read[name].to_pylist() for name in columns), strict=True)

    written = dict(rows("creatives", C.CREATIVE_ID, C.TEXT))
    chosen = {key: name for key, name in rows("plan_copy", C.USER_KEY, C.CREATIVE_ID) if name}
    unknown = set(chosen.values()) - written.keys()
    if unknown:
        raise StorageError(f"plan_copy names creative {min(unknown)}, which creatives lacks; write the night again")
    return {key: (name, written[name]) for key, name in chosen.items()}


def _page(parts: list[Path], columns: tuple[str, ...]) -> Iterable[tuple[Any, ...]]:
    """The rows of a page's table, in its order; a propensity by all its digits."""
    import pyarrow.parquet as pq

    for path in parts:
        for batch in pq.ParquetFile(path).iter_batches(columns=list(columns)):
            for row in zip(*(batch.column(name).to_pylist() for name in columns), strict=True):
                yield tuple(repr(value) if isinstance(value, float) else value for value in row)
