"""Names that Airflow and the store share."""

import re

from pipelines.core.config import shop_names


def record_id(run_id: str) -> str:
    """Airflow's run id as the name of a run record."""
    return f"airflow-{re.sub(r'[^A-Za-z0-9_.-]', '-', run_id)}"[:200]


def shop_of(dag_id: str) -> str:
    """The shop that a DAG belongs to; the DAG's own name where it is none of ours."""
    return max((name for name in shop_names() if dag_id.endswith(f"_{name}")), key=len, default=dag_id)
