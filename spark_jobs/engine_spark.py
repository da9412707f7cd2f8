"""Apache Spark: local, or on a cluster when started behind spark-submit.

Equal rows make equal bytes, whatever the cores, the order in which rows came over the network, or what was computed
again because a worker died: a table's files follow from its rows alone, and each is sorted from end to end.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.core.sizing import PARTITION_BYTES, build_session, files_of, partitions_of, spark_settings
from spark_jobs import json_text
from spark_jobs.session import Engine

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame
else:
    Column = DataFrame = Any

_SAMPLED_ROWS = 200  # about, per file: its size is then right to a tenth


class Spark(Engine):
    name = "spark"
    possessive = "+"  # Java walks back through a group by recursion, which a long field would overflow

    def __init__(self, work: Path, settings: dict[str, Any], n_bytes: int) -> None:
        from pyspark import StorageLevel
        from pyspark.sql import SparkSession, functions
        from pyspark.sql import Window as window

        self.functions, self.window, self._levels = functions, window, StorageLevel
        self.partitions: int | None = settings["partitions"]
        self.is_small = partitions_of(n_bytes) == 1  # then each of its tables is one file, and none is counted
        if settings["threads"] and settings["master"].startswith("local"):
            settings = {**settings, "master": f"local[{settings['threads']}]"}
        told = {
            "spark.sql.ansi.enabled": "false",
            "spark.sql.shuffle.partitions": str(self.partitions or partitions_of(n_bytes)),
            "spark.sql.files.maxPartitionBytes": str(PARTITION_BYTES),
            "spark.sql.adaptive.enabled": "true",
            # Fixed partitions make equal bytes; adaptive execution would merge them by size.
            "spark.sql.adaptive.coalescePartitions.enabled": "false",
            "spark.sql.adaptive.skewJoin.enabled": "false",
            # What is held lives for one job: packing it costs more than the memory that it saves.
            "spark.sql.inMemoryColumnarStorage.compressed": "false",
            "spark.sql.legacy.timeParserPolicy": "CORRECTED",
            "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
            "spark.local.dir": str(work / "spill"),
            "spark.sql.warehouse.dir": str(work / "warehouse"),
            "spark.hadoop.mapreduce.fileoutputcommitter.marksuccessfuljobs": "false",
            **spark_settings(settings),
        }
        self.session = build_session(SparkSession.builder.appName("nightmarket"), settings, told)

    def close(self) -> None:
        self.session.stop()

    def read(self, files: Sequence[Path]) -> DataFrame:
        return self.session.read.parquet(*[str(path) for path in files])

    def rows(self, columns: dict[str, str], values: Sequence[tuple[Any, ...]]) -> DataFrame:
        schema = ", ".join(f"{name} {kind}" for name, kind in columns.items())
        return self.session.createDataFrame(list(values), schema)

    def hold(self, frame: DataFrame) -> DataFrame:
        # In memory, all that a core holds would share its heap with the task at work; a disk has room for any night.
        return frame.persist(self._levels.MEMORY_AND_DISK if self.is_small else self._levels.DISK_ONLY)

    def fetch(self, frame: DataFrame) -> list[dict[str, Any]]:
        return [row.asDict(recursive=True) for row in frame.collect()]

    def cluster(self, frame: DataFrame, key: str, n_rows: int) -> DataFrame:
        return frame.repartition(self.partitions or files_of(n_rows), key)

    def write(
        self,
        frame: DataFrame,
        folder: Path,
        sort_by: Sequence[str],
        *,
        n_rows: int | None = None,
        clustered: bool = False,
    ) -> int:
        written = folder.with_name(f"{folder.name}.spark")
        order = [self.functions.col(name).asc_nulls_first() for name in sort_by]
        held = None  # for no longer than this takes
        if not clustered:
            if n_rows is None and not self.is_small:
                held = None if frame.storageLevel.useDisk else self.hold(frame)
                n_rows = frame.count()
            frame = self._into_ranges(frame, sort_by[0], n_rows or 0)
        frame.sortWithinPartitions(*order).write.parquet(str(written), mode="overwrite")
        if held is not None:
            held.unpersist()
        folder.mkdir(parents=True, exist_ok=True)
        # Spark names files by chance; ours are numbered by partition. Empty ones go, but for one that keeps the schema.
        import pyarrow.parquet as pq

        n_written, kept = 0, 0
        files = sorted(written.glob("part-*.parquet"))
        for at, path in enumerate(files):
            n = pq.ParquetFile(path).metadata.num_rows
            if n or (at == len(files) - 1 and not kept):
                path.rename(folder / f"part-{kept:05d}.parquet")
                kept += 1
                n_written += n
        shutil.rmtree(written)
        return n_written

    def _into_ranges(self, frame: DataFrame, key: str, n_rows: int) -> DataFrame:
        """One partition per file, in the order of `key`; rows of equal key stay together.

        Spark's own orderBy draws its ranges from a sample that differs with the order in which rows arrive. This one is
        of all rows whose key has a certain hash.
        """
        col, lit = self.functions.col(key), self.functions.lit
        n_files = self.partitions or files_of(n_rows)
        if n_files == 1:
            return frame.repartition(1)
        every = max(1, n_rows // (n_files * _SAMPLED_ROWS))
        sample = frame.where(col.isNotNull() & (self.functions.pmod(self.functions.xxhash64(col), lit(every)) == 0))
        counted = sample.groupBy(col).agg(self.functions.count(lit(1))).collect()
        bounds = _bounds(sorted((row[0], row[1]) for row in counted), n_files)
        number = self.functions.when(col.isNull(), lit(0)).otherwise(self._number(col, bounds, 0))
        return frame.repartitionById(len(bounds) + 1, number)

    def _number(self, key: Column, bounds: Sequence[Any], first: int) -> Column:
        """`first` plus the number of bounds that are not above the key, by halving."""
        if not bounds:
            return self.functions.lit(first)
        half = len(bounds) // 2
        below = self._number(key, bounds[:half], first)
        return self.functions.when(key < self.functions.lit(bounds[half]), below).otherwise(
            self._number(key, bounds[half + 1 :], first + half + 1)
        )

    def try_cast(self, column: Column, kind: str) -> Column:
        return column.try_cast(kind)

    def timestamp_of_micros(self, micros: Column) -> Column:
        return self.functions.timestamp_micros(micros)

    def micros_of_timestamp(self, timestamp: Column) -> Column:
        return self.functions.unix_micros(timestamp)

    def local_timestamp(self, timestamp: Column, zone: str) -> Column:
        return self.functions.from_utc_timestamp(timestamp, zone)

    def split_on(self, text: Column, separator: str) -> Column:
        # Java has a quick path for one escaped character; a longer pattern would be compiled again for every row.
        return self.functions.split(text, f"\\{separator}" if len(separator) == 1 else f"\\Q{separator}\\E")

    def parse_json(self, text: Column, keys: Sequence[str]) -> Column:
        return json_text.parse_on_spark(self.functions, text)

    def parsed_text(self, parsed: Column, at: int, key: str) -> Column:
        return parsed.getItem(key)

    def nested_text(self, cell: Column) -> Column:
        return json_text.nested_on_spark(self.functions, cell)


def _bounds(counted: Sequence[tuple[Any, int]], n_files: int) -> list[Any]:
    """At most n_files - 1 keys that cut (key, rows) pairs, sorted by key, into parts of about equal rows."""
    total, passed = sum(n for _, n in counted), 0
    bounds: list[Any] = []
    for key, n in counted:
        if passed and passed * n_files >= total * (len(bounds) + 1):
            bounds.append(key)
        passed += n
    return bounds[: n_files - 1]
