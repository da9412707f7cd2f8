"""One task of a DAG as a worker of Airflow runs it, without the servers: the task runner of Airflow itself, in this process.

What it would tell its supervisor is taken in place of it; the one answer that it needs is that all assets are in use.
"""

import os
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from pipelines.core.config import PROJECT


def run_task(dag: str, task: str, night: str, attempt: int = 1, started: datetime | None = None) -> str:
    """Runs a task of the night's backfill and returns its state after that: success, up_for_retry, failed."""
    os.environ |= {"AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "dags"), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    import structlog
    from airflow.sdk.api.datamodels._generated import BundleInfo, DagRun, TaskInstance, TIRunContext
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.comms import StartupDetails

    task_runner.SUPERVISOR_COMMS = Supervisor()  # type: ignore[assignment]
    begins = datetime.fromisoformat(night).replace(tzinfo=UTC)
    run = DagRun(
        dag_id=dag,
        run_id=f"backfill__{night}",
        logical_date=begins,
        data_interval_start=begins,
        data_interval_end=begins + timedelta(days=1),
        run_after=begins + timedelta(days=1),
        start_date=begins,
        end_date=None,
        run_type="backfill",
        state="running",
        consumed_asset_events=[],
        partition_key=None,
    )
    log = structlog.get_logger(logger_name="task")
    kind = f"{dag.rpartition('_')[0]}.py"
    details = StartupDetails(
        ti=TaskInstance(
            id=UUID(int=1), task_id=task, dag_id=dag, run_id=run.run_id, try_number=attempt, dag_version_id=UUID(int=2)
        ),
        dag_rel_path=kind,
        bundle_info=BundleInfo(name="dags-folder"),
        start_date=started or datetime.now(UTC),
        ti_context=TIRunContext(dag_run=run, max_tries=2, should_retry=attempt <= 2),
        sentry_integration="",
    )
    instance = task_runner.parse(details, log)
    context = instance.get_template_context()
    state, _, error = task_runner.run(instance, context, log)
    context["exception"] = error
    task_runner.finalize(instance, state, context, log, error)
    return str(state.value)


class Supervisor:
    """Takes whatever it is told."""

    def send(self, msg: Any, **options: Any) -> Any:
        from airflow.sdk.execution_time.comms import InactiveAssetsResult, ValidateInletsAndOutlets

        return InactiveAssetsResult(inactive_assets=[]) if isinstance(msg, ValidateInletsAndOutlets) else None
