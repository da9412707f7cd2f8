"""What every job does around its work: read the spec, open the engine, write the result, say what went wrong in one line."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from pipelines.core.errors import NightmarketError
from spark_jobs.session import Engine, open_engine


def paths(files: Sequence[str]) -> list[Path]:
    return [Path(file) for file in files]


def run_job(run: Callable[[Engine, dict[str, Any]], dict[str, Any]]) -> NoReturn:
    """Runs one job from its spec file and ends the process. The last line on standard error is the cause."""
    parser = argparse.ArgumentParser(description=run.__module__)
    parser.add_argument("spec", type=Path, help="JSON file that says what to read and where to write")
    spec = json.loads(parser.parse_args().spec.read_text())
    out = Path(spec["out"])
    code = 0
    try:
        with open_engine(
            spec["engine"]["name"], Path(spec["work"]), **{k: v for k, v in spec["engine"].items() if k != "name"}
        ) as engine:
            result = run(engine, spec)
        (out / "result.json").write_text(json.dumps(result, sort_keys=True))
    except NightmarketError as error:
        print(str(error), file=sys.stderr)
        code = error.exit_code
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # tearing the engine's objects down one by one costs time and fills the log with its warnings
