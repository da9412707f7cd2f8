"""The small programs of docker/: secrets, roles, buckets, each run for real."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from tests.docker.tools import DOCKER, PROJECT, environment, make_env
from tests.postgres import Postgres


def test_the_secrets_file_is_its_owners_only_new_every_time_and_never_written_over(tmp_path: Path) -> None:
    copies = [Path(shutil.copytree(DOCKER, tmp_path / name / "docker")) for name in ("one", "two")]
    found = []
    for copy, options in zip(copies, ((), ("--gpu",)), strict=True):
        (copy / ".env").unlink(missing_ok=True)
        assert make_env(copy, *options).returncode == 0
        assert (copy / ".env").stat().st_mode & 0o777 == 0o600
        found.append(environment(copy / ".env"))
    assert [values.pop("COMPOSE_PROFILES") for values in found] == ["cpu", "gpu"]
    secrets = [value for values in found for value in values.values()]
    assert len(set(secrets)) == len(secrets)
    assert min(map(len, secrets)) >= 20
    for values in found:
        Fernet(values["AIRFLOW_FERNET_KEY"])
        assert len(bytes.fromhex(values["NIGHTMARKET_KEY"])) == 32

    before = (copies[0] / ".env").read_bytes()
    again = make_env(copies[0])
    assert again.returncode == 1
    assert again.stderr.count("\n") == 1
    assert "is there already" in again.stderr
    assert (copies[0] / ".env").read_bytes() == before


def test_no_secret_can_reach_git_or_an_image() -> None:
    ignored = subprocess.run(["git", "check-ignore", "--quiet", "docker/.env"], cwd=PROJECT)
    assert ignored.returncode == 0
    lines = [line for line in (PROJECT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*", "the build context is what .dockerignore names, and nothing else"
    named = {line[1:] for line in lines if line.startswith("!")}
    assert not [name for name in named if name in ("docker", ".") or "env" in name]


@pytest.mark.parametrize("script", sorted(DOCKER.rglob("*.sh")), ids=lambda path: path.name)
def test_shell_scripts_can_be_read_and_run(script: Path) -> None:
    assert os.access(script, os.X_OK)
    assert subprocess.run(["sh", "-n", script]).returncode == 0


def test_sparks_secret_goes_into_a_file_of_its_owner_and_not_on(tmp_path: Path) -> None:
    told = 'cat "$SPARK_CONF_DIR/spark-defaults.conf"; stat -c "mode %a" "$SPARK_CONF_DIR" "$SPARK_CONF_DIR"/*; env; exit 7'
    command = [DOCKER / "spark" / "with_secret.sh", "sh", "-c", told]
    environment = {"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, env={**environment, "SPARK_SECRET": "knock-knock"})
    assert done.returncode == 7
    lines = done.stdout.splitlines()
    assert [line.split() for line in lines if "authenticate" in line] == [
        ["spark.authenticate", "true"], ["spark.authenticate.secret", "knock-knock"]
    ]  # fmt: skip
    assert {"mode 700", "mode 600"} <= set(lines)
    assert done.stdout.count("knock-knock") == 1
    without = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert without.returncode not in (0, 7)
    assert "SPARK_SECRET" in without.stderr


def test_missing_buckets_are_made_and_those_that_are_there_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    boto3 = pytest.importorskip("boto3")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "testing")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        store = boto3.client("s3")

        def buckets() -> set[str]:
            return {bucket["Name"] for bucket in store.list_buckets()["Buckets"]}

        before = buckets()  # other tests of this process share the store that moto plays
        store.create_bucket(Bucket="mlflow")
        store.put_object(Bucket="mlflow", Key="kept", Body=b"")
        for _ in range(2):
            subprocess.run([sys.executable, DOCKER / "make_buckets.py", "landing", "mlflow"], check=True)
        assert buckets() - before == {"landing", "mlflow"}
        assert store.list_objects_v2(Bucket="mlflow")["KeyCount"] == 1
    finally:
        server.stop()


def test_postgres_gets_a_role_for_each_program_that_cannot_look_into_the_other(postgres: Postgres) -> None:
    psycopg2 = pytest.importorskip("psycopg2")
    for database in ("airflow", "mlflow"):  # those of the fixture, to be made anew by the script
        postgres.sql(f"DROP DATABASE {database}")
    secrets = {"airflow": "o'ne $1 \\ \"", "mlflow": "two"}
    try:
        done = subprocess.run(
            [postgres.bin / "psql", "--host", "127.0.0.1", "--port", str(postgres.port), "--username", "nightmarket",
             "--dbname", "postgres", "--no-psqlrc", "--file", DOCKER / "postgres" / "roles.sql"],
            capture_output=True, text=True,
            env={"PATH": os.environ["PATH"], "PGPASSWORD": postgres.password,
                 **{f"{name.upper()}_DB_PASSWORD": secret for name, secret in secrets.items()}},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        for role in secrets:
            for database in ("airflow", "mlflow", "postgres"):
                where = {"host": "127.0.0.1", "port": postgres.port, "dbname": database}
                if role == database:
                    with (
                        psycopg2.connect(**where, user=role, password=secrets[role]) as opened,
                        opened.cursor() as cursor,
                    ):
                        cursor.execute("CREATE TABLE its_own AS SELECT 1 AS n")
                    opened.close()
                else:
                    with pytest.raises(psycopg2.OperationalError, match="permission denied"):
                        psycopg2.connect(**where, user=role, password=secrets[role])
    finally:
        for name in secrets:
            postgres.sql(f"DROP DATABASE IF EXISTS {name}")
            postgres.sql(f"DROP ROLE IF EXISTS {name}")
            postgres.sql(f"CREATE DATABASE {name}")
