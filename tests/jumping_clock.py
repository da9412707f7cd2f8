"""A clock that was set: what this process reads of it, and the times of the files that it writes meanwhile."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any
from unittest import mock

DAY_NS = 86_400 * 10**9


@contextmanager
def jump(days: int) -> Iterator[None]:
    """The clock is so many days ahead for our own modules and for what asks `time`; files written under NIGHTMARKET_ROOT
    meanwhile carry its times."""
    now_s, now_ns = time.time, time.time_ns

    class Jumped(datetime):
        """`now` alone is another."""

        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + timedelta(days=days)

    began = now_ns()
    patches: list[Any] = [
        mock.patch.object(module, "datetime", Jumped)
        for name, module in list(sys.modules.items())
        if name.startswith("pipelines.") and getattr(module, "datetime", None) is datetime
    ]
    patches += [
        mock.patch.object(time, "time", side_effect=lambda: now_s() + days * 86_400),
        mock.patch.object(time, "time_ns", side_effect=lambda: now_ns() + days * DAY_NS),
    ]
    for patch in patches:
        patch.start()
    try:
        yield
    finally:
        for patch in patches:
            patch.stop()
        for path in Path(os.environ["NIGHTMARKET_ROOT"]).rglob("*"):
            if path.is_file() and (written := path.stat().st_mtime_ns) >= began:
                os.utime(path, ns=(written + days * DAY_NS,) * 2)
