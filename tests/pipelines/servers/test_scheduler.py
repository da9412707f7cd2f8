"""What the scheduler holds in memory for the tasks that are forked from it."""

import json
import subprocess
import sys

from tests.conftest import PROJECT

_ASK = """
import json, runpy, sys
from pipelines.servers import scheduler
runpy.run_module = lambda *args, **settings: print(json.dumps([args, sys.argv, sorted(sys.modules)]))
sys.argv = ["scheduler.py", "--skip-serve-logs"]
scheduler.schedule()
"""


def test_the_scheduler_holds_the_tasks_libraries_and_none_of_our_code() -> None:
    told = subprocess.run([sys.executable, "-c", _ASK], cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    run, argv, modules = json.loads(told.splitlines()[-1])
    assert run == ["airflow"]
    assert argv == ["airflow", "scheduler", "--skip-serve-logs"]
    assert {"great_expectations", "pyarrow.parquet", "duckdb"} <= set(modules)
    ours = {name for name in modules if name.split(".")[0] == "pipelines"}
    assert ours == {
        "pipelines",
        "pipelines.servers",
        "pipelines.servers.scheduler",
    }  # a change of code takes effect at once
