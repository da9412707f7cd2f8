"""Where things run: conf/local.yaml or conf/cluster.yaml."""

from typing import Literal

from pydantic import Field

from pipelines.core.settings import Settings

Engine = Literal["duckdb", "spark"]


class Machine(Settings):
    """Where things run: conf/local.yaml or conf/cluster.yaml, where each setting is explained."""

    engine: Engine = "duckdb"
    threads: int = Field(0, ge=0, le=1024, description="of a job on this machine; 0: all cores")
    memory_gb: float = Field(4.0, gt=0, description="what a job on this machine may hold before it spills to disk")
    partitions: int | None = Field(
        None, ge=1, description="Spark: shuffle partitions and files per table; none: they follow from the data's size"
    )
    spark_master: str = "local[*]"
    spark_submit: tuple[str, ...] = Field((), description="command before the module on a cluster; empty: this Python")
    spark_conf: dict[str, str] = Field({}, description="more settings of Spark, which win over ours")
    executor_cores: int = Field(1, ge=1, le=1024, description="cluster: tasks that one executor runs at a time")
    executor_memory_gb: float = Field(
        0, ge=0, description="cluster: of one executor, Python included; 0: it follows from executor_cores"
    )
    executor_wait_seconds: int = Field(300, ge=1, description="cluster: a job without an executor for so long fails")
    audit_on_spark_above_rows: int = Field(
        20_000_000, ge=0, description="Spark: larger partitions are audited by Spark too"
    )
    spark_connection: str | None = Field(
        None, description="Airflow's connection that its tasks submit Spark jobs by; none: spark_submit, or this Python"
    )
    mlflow_uri: str | None = Field(
        None, description="http(s) address of an MLflow server; none: a SQLite store in <root>/mlflow"
    )
    min_free_disk_mb: int = Field(200, ge=0, description="less free space than this stops a night before it writes")

    @property
    def without_spark(self) -> "Machine":
        """The same for a job that runs in one process here, whatever the engine."""
        return self.model_copy(update={"engine": "duckdb", "spark_submit": ()})
