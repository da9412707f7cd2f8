"""Cuts erased customers out of the store's partitions: their rows go, everybody else's stay as they were, in their order.

A partition is swapped with one rename and keeps what its manifest says it was made of. Counts in manifests go on adding
up: lines read = clean + duplicate + quarantined. Which nights the erased lines told of is asked of the clean job itself,
which judges these lines alone; customers share no event, so what it counts is what they had added.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.core.columns import Columns as C
from pipelines.core.storage import Manifest, Store, content_hash
from pipelines.core.tables import FEEDS, TABLES
from pipelines.erase_journal import Change, Journal
from pipelines.keep_out import Ledger
from pipelines.launch import launch
from pipelines.stage import Context, engine_spec
from pipelines.strategy.candidates import NOTHING

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH_ROWS = 1 << 17
# Events before the quarantine and feeds before theirs, whose counts follow from them.
KEYED = tuple(name for name, table in TABLES.items() if C.USER_KEY in table.columns)
Mine = Callable[["pa.Table"], np.ndarray]  # which rows (n,) are erased
Recount = Callable[[Manifest, "pa.Table"], dict[str, Any]]  # counts after these rows are gone


class Cutting:
    """One erasure's work on the tables of a shop."""

    def __init__(
        self, context: Context, ledger: Ledger, pseudonyms: list[str], journal: Journal, staging: Path
    ) -> None:
        self.context = context
        self.store: Store = context.store
        self.ledger = ledger
        self.pseudonyms = pseudonyms
        self.journal = journal
        self.staging = staging
        self._gone: dict[tuple[str, date], pa.Table] = {}  # raw lines to erase

    def run(self) -> None:
        """Cuts every table, what others were made of last: until then it can be found out what to cut."""
        for feed in self.context.shop.landing:
            for arrival in self.store.nights(f"raw_{feed}"):
                lines = self._find(f"raw_{feed}", arrival, self._raw_mine(feed), C.RAW_TEXT)
                if lines.num_rows:
                    self._gone[feed, arrival] = lines
        if "told" not in self.journal.facts:
            self.journal.know(told=self._told())
        recounts: dict[str, Recount] = {
            "events": self._recount_events,
            "segments": _recount_segments,
            "campaign_plan": _recount_plan,
            **{feed: self._recount_feed for feed in FEEDS if feed not in ("events", "catalog")},
        }
        for table in KEYED:
            for night in self.store.nights(table):
                self._cut(table, night, self._keyed_mine, [C.USER_KEY], recounts.get(table, _keep_counts))
        for table, recount in (
            ("quarantine", self._recount_quarantine),
            ("feed_quarantine", self._recount_feed_quarantine),
        ):
            for night in self.store.nights(table):
                columns = [C.SOURCE_FILE, C.LINE_NUMBER, C.RAW_TEXT]
                self._cut(table, night, self._rejected_mine(table, night), columns, recount)
        for of_feed, arrival in self._gone:
            self._cut(f"raw_{of_feed}", arrival, self._raw_mine(of_feed), [C.RAW_TEXT], _recount_raw)

    # -- which rows

    def _keyed_mine(self, rows: "pa.Table") -> np.ndarray:
        import pyarrow as pa
        import pyarrow.compute as pc

        found = pc.is_in(rows[C.USER_KEY], value_set=pa.array(self.pseudonyms, pa.string()))
        return np.asarray(found.to_numpy())

    def _raw_mine(self, feed: str) -> Mine:
        connector = self.context.shop.landing[feed].connector  # type: ignore[index]
        return lambda rows: self.ledger.mine(rows[C.RAW_TEXT].combine_chunks(), connector)

    def _rejected_mine(self, table: str, night: date) -> Mine:
        """Lines that were erased from the raw layer, and those whose text names the customer."""
        feeds = [feed for feed in self.context.shop.landing if (feed == "events") == (table == "quarantine")]
        places = {place for feed in feeds for place in _places(self._gone.get((feed, night)))}
        by_text = [self._raw_mine(feed) for feed in feeds]

        def mine(rows: "pa.Table") -> np.ndarray:
            found = np.array([place in places for place in _places(rows)], dtype=bool)
            for named in by_text:
                found |= named(rows)
            return found

        return mine

    # -- cutting

    def _find(self, table: str, night: date, mine: Mine, *needed: str) -> "pa.Table":
        """The rows of a partition that are erased; only the needed columns are read of files without any."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        found = []
        for path in self.store.files(table, [night]):
            file = pq.ParquetFile(path)
            seen = (pa.Table.from_batches([batch]) for batch in file.iter_batches(_BATCH_ROWS, columns=[*needed]))
            is_here = any(mine(rows).any() for rows in seen)
            found += [rows.filter(pa.array(mine(rows))) for rows in _blocks(file)] if is_here else []
            found.append(file.schema_arrow.empty_table())
        return pa.concat_tables(found)

    def _cut(self, table: str, night: date, mine: Mine, needed: list[str], recount: Recount) -> None:
        manifest = self.store.manifest(table, night)
        if manifest is None:
            return
        name = f"{table}/{night}"
        change = self.journal.changes.get(name)
        if change and (manifest.content_hash, manifest.counts) == (change.after, change.counts):
            return
        removed = self._find(table, night, mine, *needed)
        counts = change.counts if change else recount(manifest, removed)
        if not removed.num_rows and counts == manifest.counts:
            return
        after, folder = manifest.content_hash, self.staging / name
        if removed.num_rows:
            folder.mkdir(parents=True)
            for path in self.store.files(table, [night]):
                cut_file(path, folder / path.name, mine)
            after = content_hash(folder)
        n_left = manifest.rows - removed.num_rows
        if change is None:
            facts = {"told": self.journal.facts["told"]} if table == "events" else {}
            change = Change(table, removed.num_rows, manifest.content_hash, after, n_left, counts)
            self.journal.note(name, change, **facts)
        manifest = replace(manifest, rows=change.n_left, content_hash=after, counts=counts)
        if removed.num_rows:
            self.store.replace(manifest, folder)
        else:
            self.store.amend([manifest])

    # -- counts

    def _told(self) -> list[list[Any]]:
        """[arrival, night, good lines, events kept] of the erased lines: the clean job judges them as it judged all."""
        import pyarrow.parquet as pq

        lines = {arrival: rows for (feed, arrival), rows in self._gone.items() if feed == "events"}
        if not lines:
            return []
        raw = {}
        folder = self.staging / "judged"
        folder.mkdir()
        for arrival, rows in lines.items():
            path = folder / f"{arrival}.parquet"
            pq.write_table(rows, path)
            raw[arrival.isoformat()] = [str(path)]
        spec = {
            "engine": engine_spec(self.context),
            "root": str(self.store.root),
            "shop": self.context.shop.model_dump(mode="json"),
            "night": max(raw),
            "raw": raw, "new": sorted(raw), "known": {}, "also": [], "frozen_before": date.min.isoformat(),
            "feeds": {}, "feed_arrivals": [], "catalog": [],
        }  # fmt: skip
        made = launch("spark_jobs.clean", spec, self.context.machine, folder, self.store.folder / "logs")
        return [
            [arrival, night, n, made["events"][night]["kept"].get(arrival, 0)]
            for arrival, judged in sorted(made["arrivals"].items())
            for night, n in sorted(judged["nights"].items())
        ]

    def _recount_events(self, manifest: Manifest, removed: "pa.Table") -> dict[str, Any]:
        """Lines and events per arrival without the erased ones.

        Arrivals whose raw lines are kept no longer cannot be asked: what nobody accounts for was theirs, newest first.
        """
        counts, told = manifest.counts, self.journal.facts["told"]
        if not counts:  # the unsubscribes of a night that is kept no longer (pipelines/retain.py)
            return counts
        lines, kept, left = Counter(counts["lines"]), Counter(counts["kept"]), removed.num_rows
        for arrival, night, n_lines, n_kept in told:
            if night == manifest.partition:
                n_kept = min(n_kept, left)
                lines[arrival] -= n_lines
                kept[arrival] -= n_kept
                left -= n_kept
        for arrival in sorted(kept, reverse=True):
            if n := min(left, kept[arrival]):
                lines[arrival] -= n
                kept[arrival] -= n
                left -= n
                told.append([arrival, manifest.partition, n, n])  # so the quarantine of that arrival counts the same
        bots = removed.filter(removed[C.IS_BOT])
        return counts | {
            "lines": _positive(lines),
            "kept": _positive(kept),
            "n_bot_events": counts["n_bot_events"] - bots.num_rows,
            "n_bots": counts["n_bots"] - len(set(bots[C.USER_KEY].to_pylist())),
        }

    def _recount_quarantine(self, manifest: Manifest, removed: "pa.Table") -> dict[str, Any]:
        nights = Counter(manifest.counts["nights"])
        for arrival, night, n_lines, _ in self.journal.facts["told"]:
            if arrival == manifest.partition:
                nights[night] -= n_lines
        reasons = Counter(manifest.counts["reasons"])
        reasons.subtract(removed[C.REASON].to_pylist())
        n_left = manifest.counts["quarantined"] - removed.num_rows
        return manifest.counts | {"quarantined": n_left, "nights": _positive(nights), "reasons": _positive(reasons)}

    def _recount_feed(self, manifest: Manifest, removed: "pa.Table") -> dict[str, Any]:
        feed, arrival = manifest.table, date.fromisoformat(manifest.partition)
        return self._feed_counts(feed, arrival, manifest.counts, manifest.counts["rows"] - removed.num_rows)

    def _recount_feed_quarantine(self, manifest: Manifest, removed: "pa.Table") -> dict[str, Any]:
        """The feeds' own tables are cut by now."""
        arrival, feeds = date.fromisoformat(manifest.partition), {}
        for feed, counts in manifest.counts["feeds"].items():
            own = self.store.manifest(feed, arrival) if "rows" in counts else None
            feeds[feed] = own.counts if own else counts
        return manifest.counts | {"feeds": feeds}

    def _feed_counts(self, feed: str, arrival: date, counts: dict[str, Any], rows: int) -> dict[str, Any]:
        gone = set(_places(self._gone.get((feed, arrival))))
        rejected = self._find(
            "feed_quarantine", arrival, self._rejected_mine("feed_quarantine", arrival),
            C.SOURCE_FILE, C.LINE_NUMBER, C.RAW_TEXT,
        )  # fmt: skip
        lines = counts["lines"] - len(gone)
        quarantined = counts["quarantined"] - sum(place in gone for place in _places(rejected))
        return counts | {
            "lines": lines,
            "quarantined": quarantined,
            "rows": rows,
            "duplicate": lines - quarantined - rows,
        }


def cut_file(source: Path, out: Path, mine: Mine) -> int:
    """Writes the rows of a Parquet file that are not `mine`, in their order, same columns and types; returns how many."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    file, n_kept = pq.ParquetFile(source), 0
    with pq.ParquetWriter(out, file.schema_arrow, compression="zstd") as writer:
        for rows in _blocks(file):
            kept = rows.filter(pa.array(~mine(rows)))
            writer.write_table(kept)
            n_kept += kept.num_rows
    return n_kept


def _blocks(file: Any) -> Any:
    """The rows of a Parquet file, some at a time."""
    import pyarrow as pa

    for batch in file.iter_batches(_BATCH_ROWS):
        yield pa.Table.from_batches([batch])


def _places(rows: "pa.Table | None") -> list[tuple[str, int]]:
    """Where raw lines stood: file and line."""
    return (
        [] if rows is None else list(zip(rows[C.SOURCE_FILE].to_pylist(), rows[C.LINE_NUMBER].to_pylist(), strict=True))
    )


def _positive(counts: Counter[str]) -> dict[str, int]:
    """As the clean job writes counts: what is none is not named."""
    return {name: n for name, n in counts.items() if n > 0}


def _keep_counts(manifest: Manifest, removed: "pa.Table") -> dict[str, Any]:
    return manifest.counts


def _recount_raw(manifest: Manifest, removed: "pa.Table") -> dict[str, Any]:
    return manifest.counts | {"erased": manifest.counts.get("erased", 0) + removed.num_rows}


def _recount_segments(manifest: Manifest, removed: "pa.Table") -> dict[str, Any]:
    left = Counter(manifest.counts["segments"])
    left.subtract(removed[C.SEGMENT_NAME].to_pylist())
    return manifest.counts | {"segments": _positive(left)}


def _recount_plan(manifest: Manifest, removed: "pa.Table") -> dict[str, Any]:
    """What can be counted in rows; what was expected of the night's plan as a whole stays as it was decided."""
    counts, rows = manifest.counts, removed.to_pylist()
    sent = [row for row in rows if row[C.STRATEGY_ID] != NOTHING]
    by_channel = {name: dict(told) for name, told in counts["by_channel"].items()}
    for row in sent:
        told = by_channel[row[C.CHANNEL]]
        told["customers"] -= 1
        told["messages"] -= row[C.FREQUENCY]
        told["cost_cents"] -= row[C.COST_CENTS]
    bound = Counter(counts["by_constraint"])
    bound.subtract(row[C.BINDING_CONSTRAINT] for row in rows)
    held = sum(row[C.IS_HOLDOUT] for row in rows)
    control = sum(row[C.STRATEGY_ID] == NOTHING and row[C.BINDING_CONSTRAINT] == "control" for row in rows)
    by_lot = sum(not row[C.IS_HOLDOUT] and "exploit: " not in row[C.WHY] for row in rows)
    return counts | {
        "rows": counts["rows"] - len(rows),
        "treated": counts["treated"] - len(sent),
        "control": counts["control"] - control,
        "holdout": counts["holdout"] - held,
        "cost_cents": counts["cost_cents"] - sum(row[C.COST_CENTS] for row in sent),
        "by_channel": by_channel,
        "by_constraint": _positive(bound),
        "by_lot": counts["by_lot"] - by_lot,
    }
