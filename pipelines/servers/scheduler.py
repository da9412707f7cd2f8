"""Airflow's scheduler with the libraries of a night's tasks in memory: its executor forks every task from it.

    python -m pipelines.servers.scheduler --skip-serve-logs      # started by `nightmarket up`; arguments go to Airflow

So no task spends seconds on importing them. Our own modules are left out: a task runs the code that lies on the disk.
"""

import runpy
import sys
from importlib import import_module

_LIBRARIES = ("great_expectations", "pyarrow.dataset", "pyarrow.parquet", "duckdb", "jinja2")


def schedule() -> None:
    """Runs until it is stopped."""
    for library in _LIBRARIES:
        import_module(library)
    sys.argv = ["airflow", "scheduler", *sys.argv[1:]]
    runpy.run_module("airflow", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    schedule()
