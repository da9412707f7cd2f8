"""What every job does around its work: read the spec, open the engine, write the result, say what went wrong in one line."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from pipelines.core.errors import tell_cause
from pipelines.core.sizing import EQUAL_BYTES, SHORT_LIVED_JVM, is_local
from spark_jobs.session import Engine, open_engine

_SMALL_INPUT_BYTES = 64 << 20


def paths(files: Sequence[str]) -> list[Path]:
    return [Path(file) for file in files]


def run_job(run: Callable[[Engine, dict[str, Any]], dict[str, Any]]) -> NoReturn:
    """Runs one job from its spec file and ends the process. The last line on standard error is the cause."""
    parser = argparse.ArgumentParser(description=run.__module__)
    parser.add_argument("spec", type=Path, help="JSON file that says what to read and where to write")
    spec = json.loads(parser.parse_args().spec.read_text())
    out = Path(spec["out"])
    settings, n_bytes = dict(spec["engine"]), _input_bytes(spec)
    if settings["name"] == "spark" and is_local(settings["master"]) and n_bytes < _SMALL_INPUT_BYTES:
        settings["conf"] = {"spark.driver.extraJavaOptions": f"{EQUAL_BYTES} {SHORT_LIVED_JVM}", **settings["conf"]}
    code = 0
    try:
        with open_engine(settings.pop("name"), Path(spec["work"]), n_bytes=n_bytes, **settings) as engine:
            result = run(engine, spec)
        (out / "result.json").write_text(json.dumps(result, sort_keys=True))
    except Exception as error:
        code = tell_cause(error, out)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # tearing the engine's objects down one by one costs time and fills the log with its warnings


def _input_bytes(part: Any) -> int:
    """Bytes of all Parquet files that a spec names."""
    if isinstance(part, dict):
        return sum(_input_bytes(value) for value in part.values())
    if isinstance(part, list):
        return sum(_input_bytes(value) for value in part)
    return Path(part).stat().st_size if isinstance(part, str) and part.endswith(".parquet") else 0
