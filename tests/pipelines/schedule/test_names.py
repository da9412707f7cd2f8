from pathlib import Path

import pytest

from pipelines.core.storage import Store
from pipelines.run_record import record_path
from pipelines.schedule.names import record_id, shop_of


@pytest.mark.parametrize(
    ("run_id", "name"),
    [
        ("scheduled__2026-03-02T01:00:00+00:00", "airflow-scheduled__2026-03-02T01-00-00-00-00"),
        ("manual__2026-03-02T01:00:00.123456+00:00_x1", "airflow-manual__2026-03-02T01-00-00.123456-00-00_x1"),
        ("../../../key", "airflow-..-..-..-key"),
        ("näht", "airflow-n-ht"),
        ("", "airflow-"),
    ],
)
def test_a_run_id_of_airflow_becomes_the_name_of_a_record(run_id: str, name: str, tmp_path: Path) -> None:
    assert record_id(run_id) == name
    assert record_path(Store(tmp_path, "tiny"), name).parent == tmp_path / "tiny" / "runs"


def test_a_run_id_as_long_as_airflow_takes_is_a_file_name(tmp_path: Path) -> None:
    path = record_path(Store(tmp_path, "tiny"), record_id("x" * 250))
    assert len(path.name) == 200 + len(".json")


def test_the_longest_shop_that_ends_a_dag_s_name_is_its_shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shops").mkdir()
    for name in ("store", "old_store"):
        (tmp_path / "shops" / f"{name}.yaml").touch()
    monkeypatch.setenv("NIGHTMARKET_CONF", str(tmp_path))
    assert shop_of("nightly_marketing_store") == "store"
    assert shop_of("nightly_marketing_old_store") == "old_store"
    assert shop_of("somebody_elses_dag") == "somebody_elses_dag"
    assert shop_of("bookstore") == "bookstore"
