import os
import signal
import socket

import pytest

from pipelines import doctor
from pipelines.core.errors import ServerError
from pipelines.servers import database
from pipelines.servers.database import check_database
from tests.postgres import Postgres

NAME = "NIGHTMARKET_AIRFLOW_DB"


def refusal(address: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv(NAME, address)
    with pytest.raises(ServerError) as refused:
        check_database(NAME)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_one_that_answers_and_none_at_all_are_good(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(NAME, raising=False)
    check_database(NAME)
    monkeypatch.setenv(NAME, postgres.url("airflow"))
    check_database(NAME)
    monkeypatch.setenv(NAME, "sqlite:////nowhere/airflow.db")  # Airflow makes it
    check_database(NAME)


def test_a_wrong_password_and_a_missing_database_are_told_in_their_own_words_without_the_password(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = f"at 127.0.0.1:{postgres.port}"
    told = refusal(postgres.url("airflow").replace(postgres.password, "hidden-word"), monkeypatch)
    assert told == (
        f"{NAME}: database 'airflow' {where}: password authentication failed for user \"nightmarket\"; "
        "start or mend that database, or mend the address"
    )
    told = refusal(postgres.url("nowhere"), monkeypatch)
    assert told.startswith(f"{NAME}: database 'nowhere' {where}: database \"nowhere\" does not exist; start or mend")
    assert postgres.password not in told


def test_a_stopped_one_and_a_port_that_never_answers_are_told_within_seconds(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_CONNECT_SECONDS", 2)
    assert postgres.process
    os.kill(postgres.process.pid, signal.SIGSTOP)
    try:
        told = refusal(postgres.url("airflow"), monkeypatch)
    finally:
        os.kill(postgres.process.pid, signal.SIGCONT)
    silent = f"127.0.0.1:{postgres.port}: no answer within 2 s; start or mend that database, or mend the address"
    assert told.endswith(silent)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        told = refusal(f"postgresql+psycopg2://me:hidden-word@127.0.0.1:{port}/airflow", monkeypatch)
    assert told.endswith(silent.replace(str(postgres.port), str(port)))
    check_finding(told)


def check_finding(told: str) -> None:
    """`nightmarket doctor` says the same."""
    (finding,) = [one for one in doctor._databases() if one.what == NAME]
    assert finding.state == "broken"
    assert finding.found.startswith(told.partition(": no answer")[0])


@pytest.mark.parametrize(
    "address",
    [
        "hidden-word",
        "postgresql+psycopg2://me:pass@hidden-word@127.0.0.1:5432/airflow",
        "postgresql+psycopg2://me/x:hidden-word@127.0.0.1:5432/airflow",
        "postgresql+psycopg2://me:pass@127.0.0.1:hidden-word/airflow",
    ],
)
def test_what_is_no_address_is_told_without_a_word_of_it(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert refusal(address, monkeypatch) == (
        f"{NAME} is no address of a database: expected postgresql+psycopg2://USER:PASSWORD@HOST:PORT/NAME, "
        "special characters of the password as %XX"
    )


def test_a_missing_driver_and_an_unknown_kind_of_database_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for address in ("oracle://me:hidden-word@127.0.0.1/airflow", "nosuch://me:hidden-word@127.0.0.1/airflow"):
        told = refusal(address, monkeypatch)
        assert told.startswith(f"{NAME}: database 'airflow' at 127.0.0.1:its usual port: no driver for it (")
        assert "hidden-word" not in told
