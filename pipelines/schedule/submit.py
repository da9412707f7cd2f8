"""Spark jobs of Airflow's tasks, submitted by Airflow's Spark provider and its connection; see `spark_connection` in conf/."""

import sys

from pipelines.core.config import PROJECT
from pipelines.core.errors import WrongUseError
from pipelines.core.machine import Machine
from pipelines.launch import Submit


def submitter(machine: Machine) -> Submit | None:
    """How jobs reach the cluster, or None where they are processes of this machine. Raises WrongUseError."""
    if machine.engine != "spark" or not machine.spark_connection:
        return None
    from airflow.providers.apache.spark.hooks.spark_submit import SparkSubmitHook
    from airflow.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowNotFoundException

    connection = machine.spark_connection
    try:
        BaseHook.get_connection(connection)
    except AirflowNotFoundException:
        raise WrongUseError(
            f"Airflow has no connection '{connection}' (spark_connection in conf/): add one of type Spark under Admin, "
            "Connections, with the master as host and port"
        ) from None

    def submit(application: str, arguments: list[str]) -> None:
        SparkSubmitHook(
            conn_id=connection,
            conf=machine.spark_conf,
            name="nightmarket",
            application_args=arguments,
            env_vars={  # the driver runs in this Python, and so do the executors unless conf says otherwise
                "PYTHONPATH": str(PROJECT),
                "PYSPARK_PYTHON": sys.executable,
                "PYSPARK_DRIVER_PYTHON": sys.executable,
            },
        ).submit(application)

    return submit
