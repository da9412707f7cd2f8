"""Makes the plan's export: one CSV file per channel for the shop's sending tools, and manifest.json.

    nightmarket night --shop demo --date 2026-03-15

The folder appears whole or not at all; rows without a strategy are not exported.
"""

import csv
import json
import re
import shutil
from datetime import date
from pathlib import Path
from typing import Any

from pipelines.core.columns import Columns as C
from pipelines.core.errors import StorageError
from pipelines.core.shop import Shop
from pipelines.core.storage import file_hash, replace_folder, storage_error
from pipelines.strategy.candidates import NOTHING, candidates

HEADER = (
    C.USER_KEY, C.STRATEGY_ID, C.OFFER, C.DISCOUNT_PERCENT, "offer_text", C.CHANNEL, C.SEND_WINDOW,
    "from_hour", "to_hour", C.FREQUENCY, C.CREATIVE_STYLE, C.SEND_HOUR, C.PROPENSITY,
)  # fmt: skip
MANIFEST = "manifest.json"
_PSEUDONYM = re.compile(r"[0-9a-f]{64}")


def export(plan_parquet: Path, shop: Shop, night: date, folder: Path) -> dict[str, Any]:
    """Writes <channel>.csv per channel and manifest.json into `folder`, replacing it at once; returns the manifest.

    Raises StorageError for a plan that does not fit the shop's configuration and for a refused write, ConfigError for
    texts that a spreadsheet would run.
    """
    lines = _lines(plan_parquet, shop)
    staged = folder.with_name(f".{folder.name}.staged")
    try:
        if staged.exists():  # of a process that died
            shutil.rmtree(staged)
        staged.mkdir(parents=True)
        files = {f"{channel.id}.csv": lines[channel.id] for channel in shop.strategy.channels}
        manifest: dict[str, Any] = {"shop": shop.shop, "night": night.isoformat(), "files": {}}
        for name, rows in sorted(files.items()):
            with (staged / name).open("w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(HEADER)
                writer.writerows(rows)
            manifest["files"][name] = {"rows": len(rows), "sha256": file_hash(staged / name)}
        (staged / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        replace_folder(staged, folder)
    except OSError as error:
        raise storage_error(folder, error) from error
    return manifest


def _lines(plan_parquet: Path, shop: Shop) -> dict[str, list[tuple[Any, ...]]]:
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

    needed = (C.USER_KEY, C.STRATEGY_ID, C.SEND_HOUR, C.PROPENSITY)
    plan = pq.read_table(plan_parquet, columns=list(needed), partitioning=None)
    plan = plan.filter(pc.not_equal(plan[C.STRATEGY_ID], NOTHING)).sort_by(C.USER_KEY)
    lines: dict[str, list[tuple[Any, ...]]] = {channel.id: [] for channel in strategy.channels}
    for user_key, strategy_id, hour, propensity in zip(*(plan[name].to_pylist() for name in needed), strict=True):
        if strategy_id not in known:
            problem = f"strategy {strategy_id!r:.80} is not in the configuration"
        elif not _PSEUDONYM.fullmatch(user_key):
            problem = "a user_key is not 64 hex digits, so it may be no pseudonym"
        else:
            lines[known[strategy_id].channel].append((user_key, *told[strategy_id], hour, repr(propensity)))
            continue
        raise StorageError(f"{plan_parquet}: {problem}; plan the night again")
    return lines
