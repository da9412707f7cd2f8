"""One full night with Airflow's and MLflow's own tables on a real PostgreSQL, which goes away in the middle and comes back."""

import time
from pathlib import Path

import pytest

from pipelines.core.registry import Registry
from tests.conftest import MACHINE, NIGHTS, SHOP
from tests.postgres import Postgres
from tests.site import DAG, published, site, until

pytestmark = pytest.mark.slow
OUTAGE_SECONDS = 5


def test_a_night_on_postgresql_survives_an_outage_of_the_database(postgres: Postgres, tmp_path: Path) -> None:
    databases = {
        "NIGHTMARKET_AIRFLOW_DB": postgres.url("airflow"),
        "NIGHTMARKET_MLFLOW_DB": postgres.url("mlflow"),
    }
    with site(tmp_path, {"tiny": SHOP}, MACHINE, **databases) as here:
        client = here.client()
        until(lambda: DAG in {dag["dag_id"] for dag in client.get("/dags", limit=100)["dags"]})
        client.unpause(DAG)
        run = client.trigger(DAG, night=NIGHTS[0])
        until(lambda: client.states(DAG, run).get("clean") == "running")
        postgres.stop()
        time.sleep(OUTAGE_SECONDS)
        postgres.start()
        # What could not live without its database is started again by the keeper; nobody does anything.
        assert client.wait(DAG, run, 400)["state"] == "success", client.states(DAG, run)

        assert postgres.sql(f"select state from dag_run where dag_id = '{DAG}'", "airflow").split() == ["success"]
        assert not (here.root / "airflow" / "airflow.db").exists()
        Registry("tiny", here.root, here.mlflow_url).experiment("value")
        assert "tiny-value" in postgres.sql("select name from experiments", "mlflow").split()
        assert not (here.root / "mlflow" / "mlflow.db").exists()
        for secret in (postgres.url("airflow"), postgres.url("mlflow")):
            assert secret not in "".join(
                log.read_text(errors="replace") for log in (here.root / "airflow" / "logs").rglob("*.log")
            )

        landing = str(here.root / "tiny" / "landing")
        by_hand = tmp_path / "by-hand"
        done = here.command("night", "--shop", "tiny", "--date", NIGHTS[0], "--landing", landing, root=by_hand)
        assert done.returncode == 0, done.stderr
        assert published(here.root) == published(by_hand)


@pytest.mark.parametrize("variable", ["NIGHTMARKET_AIRFLOW_DB", "NIGHTMARKET_MLFLOW_DB"])
def test_a_database_that_does_not_answer_is_told_in_one_line_before_anything_starts(
    variable: str, tmp_path: Path
) -> None:
    address = "postgresql+psycopg2://nobody:hidden-word@127.0.0.1:1/metadata"
    with (
        pytest.raises(AssertionError) as failed,
        site(tmp_path, {"tiny": SHOP}, MACHINE, **{variable: address}),
    ):
        pass
    line = str(failed.value).splitlines()[0]
    assert f"nightmarket: {variable}: database 'metadata' at 127.0.0.1:1: Connection refused; start or mend" in line
    assert "hidden-word" not in str(failed.value)
    assert not (tmp_path / "root" / "airflow").exists()
