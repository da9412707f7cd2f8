"""What every training job does around its work: read the spec, write the result, say what went wrong in one line."""

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from pipelines.core.errors import TrainingError, tell_cause


def run_job(run: Callable[[dict[str, Any]], dict[str, Any]]) -> NoReturn:
    """Runs one job from its spec file and ends the process. The last line on standard error is the cause."""
    parser = argparse.ArgumentParser(description=run.__module__)
    parser.add_argument("spec", type=Path, help="JSON file that says what to read and where to write")
    spec = json.loads(parser.parse_args().spec.read_text())
    out = Path(spec["out"])
    code = 0
    try:
        (out / "result.json").write_text(json.dumps(run(spec), sort_keys=True))
    except MemoryError:
        more = "out of memory: lower models.settings (examples, batch size) or give the machine more"
        code = tell_cause(TrainingError(more), out)
    except Exception as error:
        code = tell_cause(error, out)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # tearing down the libraries' threads one by one costs seconds
