import pytest

from pipelines.core.config import PROJECT
from pipelines.core.machine import Machine
from pipelines.core.sizing import (
    FILE_ROWS,
    PARTITION_BYTES,
    engine_spec,
    executor_memory_gb,
    files_of,
    partitions_of,
    spark_settings,
)


@pytest.mark.parametrize(
    ("n_bytes", "n"), [(0, 1), (1, 1), (PARTITION_BYTES, 1), (PARTITION_BYTES + 1, 2), (24 * 10**9, 1431)]
)
def test_a_partition_reads_no_more_than_its_bytes(n_bytes: int, n: int) -> None:
    assert partitions_of(n_bytes) == n


@pytest.mark.parametrize(("n_rows", "n"), [(0, 1), (FILE_ROWS, 1), (FILE_ROWS + 1, 2), (10**9, 2000)])
def test_a_file_has_no_more_than_its_rows(n_rows: int, n: int) -> None:
    assert files_of(n_rows) == n


def settings(**given: object) -> dict[str, str]:
    return spark_settings(engine_spec(Machine.model_validate({"engine": "spark", **given})))


def test_an_executor_s_memory_follows_from_its_cores_and_is_split_between_heap_and_python() -> None:
    machine = Machine(executor_cores=4)
    assert executor_memory_gb(machine) == 8
    found = settings(spark_master="spark://far:7077", executor_cores=4)
    assert (found["spark.executor.cores"], found["spark.executor.memory"]) == ("4", "6553m")
    assert found["spark.executor.memoryOverhead"] == "1638m"
    assert executor_memory_gb(Machine(executor_cores=4, executor_memory_gb=3)) == 3


def test_executors_on_other_machines_reach_the_driver_and_find_the_project() -> None:
    far = settings(spark_master="yarn")
    assert "spark.driver.host" not in far
    assert "spark.driver.bindAddress" not in far
    assert far["spark.executorEnv.PYTHONPATH"] == str(PROJECT)
    for near in ("local[2]", "spark://127.0.0.1:7077"):
        assert settings(spark_master=near)["spark.driver.bindAddress"] == "127.0.0.1"


def test_what_is_configured_for_spark_wins() -> None:
    assert settings(spark_conf={"spark.ui.enabled": "true"})["spark.ui.enabled"] == "true"
