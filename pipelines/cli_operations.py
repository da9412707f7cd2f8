"""Commands that run the house: up, down, erase, doctor."""

import sys
from contextlib import closing
from typing import Annotated

import typer
from rich.console import Console

from pipelines.cli_options import JsonOption, ShopOption, print_json
from pipelines.core.config import load_machine, load_shop
from pipelines.core.errors import EXIT_FAILED, WrongUseError

AirflowPortOption = Annotated[
    int, typer.Option("--airflow-port", min=1024, max=65535, help="Of Airflow's page, on 127.0.0.1.")
]
MlflowPortOption = Annotated[
    int, typer.Option("--mlflow-port", min=1024, max=65535, help="Of MLflow's page, on 127.0.0.1.")
]


def up(
    airflow_port: AirflowPortOption = 8080, mlflow_port: MlflowPortOption = 5000, as_json: JsonOption = False
) -> None:
    """Start Airflow with the project's DAGs, and MLflow, on this machine only; wait until both are healthy.

    Called again it starts what is missing and leaves the rest alone.
    """
    from pipelines.servers.up import up as start
    from pipelines.show import RichProgress

    progress = RichProgress()
    progress.stage("up")
    with closing(progress):
        told = start(airflow_port, mlflow_port, progress.note)
    if as_json:  # the password stays in its file: output of programs is kept in logs
        print_json(
            {
                "airflow": told.ports.airflow_url,
                "mlflow": told.ports.mlflow_url,
                "user": told.user,
                "password_file": str(told.password_file),
                "started": list(told.started),
                "seconds": told.seconds,
            }
        )
        return
    print(f"{f'up in {told.seconds} s' if told.started else 'already up'}")
    print(
        f"Airflow  {told.ports.airflow_url}   user {told.user}, password {told.password or f'in {told.password_file}'}"
    )
    print(f"MLflow   {told.ports.mlflow_url}")
    print("stop both: make down")


def down(as_json: JsonOption = False) -> None:
    """Stop what `nightmarket up` has started, and nothing else; safe after a crash and when nothing runs."""
    from pipelines.servers.down import down as stop

    stopped = stop()
    if as_json:
        print_json({"stopped": stopped})
        return
    print(f"stopped: {', '.join(stopped)}" if stopped else "nothing was running")


def erase(
    user: Annotated[
        list[str] | None,
        typer.Option(
            "--user", help="A customer's id, may be repeated; '-' reads ids, one a line, from standard input."
        ),
    ] = None,
    shop: ShopOption = "demo",
    later: Annotated[
        bool, typer.Option("--later", help="Only write the request down and print its name, for `--request`.")
    ] = False,
    request: Annotated[
        str | None, typer.Option("--request", help="Carry out the request that `--later` has printed.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Erase customers from all tables, files, plans and models' examples, and keep them out for ever.

    Prints the certificate: what was erased, and which models learnt from them and have to be trained again. Prefer
    `--user -`: what stands on the command line can be seen by others. Safe to repeat; killed, the same call goes on.
    """
    from pipelines import erase as erasing
    from pipelines.show import RichProgress, certificate_table

    if (request is None) == (not user):
        raise WrongUseError("name the customers with --user, or a request with --request")
    progress = RichProgress()
    context = erasing.open_erasure(load_shop(shop), load_machine(), note=progress.note)
    name = request or erasing.request(_ids(user or []), context.store)
    if later:
        progress.close()
        print_json({"request": name}) if as_json else print(name)
        return
    progress.stage("erase")
    with closing(progress):
        certificate = erasing.run_request(name, context)
    if as_json:
        print_json(certificate)
        return
    Console().print(certificate_table(certificate))
    print(f"certificate: {erasing.certificate_file(name, context.store)}")


def _ids(users: list[str]) -> list[str]:
    """The ids of the command line; '-' stands for those on standard input."""
    return [one for user in users for one in (sys.stdin.read().splitlines() if user == "-" else [user])]


def doctor(as_json: JsonOption = False) -> None:
    """Check Python, Java, disk, clock, DAGs, databases, ports and configuration, and say what to do."""
    from pipelines.doctor import examine, findings_table

    findings = examine()
    if as_json:
        print_json({"findings": [finding.as_dict() for finding in findings]})
    else:
        Console().print(findings_table(findings))
    if any(finding.state == "broken" for finding in findings):
        raise typer.Exit(EXIT_FAILED)
