"""How large Spark's work is cut and what its processes get: from the bytes and rows of the data and the cores, not by hand.

Partitions and files follow from the data alone, so that a table has the same bytes whatever the cores. Because a partition
is bounded, so is what a task holds, and the memory of a process follows from its cores. docs/SCALE.md does the sum.
"""

import os
import time
from typing import Any, Final

from pipelines.core.config import PROJECT
from pipelines.core.errors import JobError
from pipelines.core.machine import Machine

PARTITION_BYTES: Final = 16 << 20  # of Parquet (zstd) read, per shuffle partition
FILE_ROWS: Final = 500_000  # rows of one file: what one task sorts and writes
GB_PER_CORE: Final = 2.0  # a task's rows, sort buffers and cache, and the Python process beside it that scores
# Parquet's writer lists the encodings of a column in the order of identity hashes, which differ from JVM to JVM.
EQUAL_BYTES: Final = "-XX:+UnlockExperimentalVMOptions -XX:hashCode=2"
# A JVM that lives for seconds spends them compiling: the quick compiler and collector halve its CPU time.
SHORT_LIVED_JVM: Final = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
_HEAP_SHARE: Final = 0.8  # of a process's memory; the rest is for Python, Arrow and Java's own needs
_POLL_SECONDS: Final = 0.2


def partitions_of(n_bytes: int) -> int:
    """Shuffle partitions of a job that reads so many bytes of Parquet."""
    return max(1, -(-n_bytes // PARTITION_BYTES))


def files_of(n_rows: int) -> int:
    """Files of a table of so many rows."""
    return max(1, -(-n_rows // FILE_ROWS))


def executor_memory_gb(machine: Machine) -> float:
    """Memory of one executor process, all in: what is configured, or else by its cores."""
    return machine.executor_memory_gb or machine.executor_cores * GB_PER_CORE


def engine_spec(machine: Machine) -> dict[str, Any]:
    """The `engine` entry of a job's spec: the settings of `Machine` that a job needs."""
    return {
        "name": machine.engine,
        "threads": machine.threads,
        "memory_gb": machine.memory_gb,
        "partitions": machine.partitions,
        "master": machine.spark_master,
        "executor_cores": machine.executor_cores,
        "executor_memory_gb": executor_memory_gb(machine),
        "executor_wait_seconds": machine.executor_wait_seconds,
        "conf": machine.spark_conf,
    }


def is_local(master: str) -> bool:
    """Whether the executors are threads of this process."""
    return master.startswith("local")


def spark_settings(engine: dict[str, Any]) -> dict[str, str]:
    """What every Spark session of the project is told; `engine` is an engine_spec."""
    master = engine["master"]
    settings = {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.session.timeZone": "UTC",
        "spark.driver.extraJavaOptions": EQUAL_BYTES,
        "spark.executor.extraJavaOptions": EQUAL_BYTES,
        "spark.sql.parquet.compression.codec": "zstd",
        "spark.driver.memory": f"{int(engine['memory_gb'] * 1024)}m",  # under spark-submit the driver runs already
    }
    if is_local(master) or "127.0.0.1" in master:
        settings |= {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
    if not is_local(master):
        megabytes = engine["executor_memory_gb"] * 1024
        settings |= {
            "spark.executor.cores": str(engine["executor_cores"]),
            "spark.executor.memory": f"{int(megabytes * _HEAP_SHARE)}m",
            "spark.executor.memoryOverhead": f"{int(megabytes * (1 - _HEAP_SHARE))}m",
            "spark.executorEnv.PYTHONPATH": str(PROJECT),
        }
    return settings | engine["conf"]


def build_session(builder: Any, engine: dict[str, Any], settings: dict[str, str]) -> Any:
    """The session, once an executor is there; `builder` is SparkSession's. Raises JobError where none comes.

    Behind spark-submit the master that it was given holds.
    """
    master = engine["master"]
    if "PYSPARK_GATEWAY_PORT" not in os.environ:
        builder = builder.master(master)
    for key, value in settings.items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    if not is_local(master) and settings.get("spark.dynamicAllocation.enabled", "false") == "false":
        _wait_for_executor(session, master, engine)
    return session


def _wait_for_executor(session: Any, master: str, engine: dict[str, Any]) -> None:
    """Spark would wait for ever, with a line in its log, where no worker is free or large enough."""
    java = session.sparkContext._jsc.sc()
    until = time.monotonic() + engine["executor_wait_seconds"]
    while java.getExecutorMemoryStatus().size() < 2:  # the driver counts as one
        if time.monotonic() > until:
            session.stop()
            raise JobError(
                f"{master} gave no executor of {engine['executor_cores']} cores and {engine['executor_memory_gb']:g} GB in "
                f"{engine['executor_wait_seconds']} s: no worker is free or large enough; start one, lower executor_cores or "
                "executor_memory_gb in conf/cluster.yaml, or raise executor_wait_seconds"
            )
        time.sleep(_POLL_SECONDS)
