"""Starts a server again that has ended by itself: Airflow's scheduler gives up when its database goes away for a moment.

    python -m pipelines.servers.keep      # started by `nightmarket up`, ended by `nightmarket down`

A server that ends again and again is left alone for a while; its log says why, and `nightmarket up` tries at once.
"""

import sys
import time
from collections import defaultdict, deque
from datetime import UTC, datetime

from pipelines.core.storage import default_root
from pipelines.servers.running import KEEPER, clear_port, running
from pipelines.servers.start import HOLD_PORTS, NAMES, log_of, ports_of, start

_LOOK_SECONDS = 2.0
_MOST, _WITHIN_SECONDS = 5, 600


def keep() -> None:
    """Runs until it is stopped."""
    root = default_root()
    restarts: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=_MOST))
    left_alone: set[str] = set()
    while True:
        time.sleep(_LOOK_SECONDS)
        alive = {server.name for server in running(root)}
        for name in NAMES:
            if name in alive or name == KEEPER:
                continue
            if _may(restarts[name]):
                left_alone.discard(name)
                _say(f"{name} has ended: started again")
                if name in HOLD_PORTS:
                    clear_port(root, name)
                start(root, name, ports_of(root))
            elif name not in left_alone:
                left_alone.add(name)
                _say(f"{name} ends again and again: left alone; {log_of(root, name)} says why; then nightmarket up")


def _say(text: str) -> None:
    sys.stdout.write(f"{datetime.now(UTC):%FT%TZ} {text}\n")
    sys.stdout.flush()


def _may(before: deque[float]) -> bool:
    """Whether a server may be started again now; notes that it was."""
    now = time.monotonic()
    if len(before) == _MOST and now - before[0] < _WITHIN_SECONDS:
        return False
    before.append(now)
    return True


if __name__ == "__main__":
    keep()
