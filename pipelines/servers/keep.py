"""Starts a server again that has ended by itself: Airflow's scheduler gives up when its database goes away for a moment.

    python -m pipelines.servers.keep      # started by `nightmarket up`, ended by `nightmarket down`

A server that ends again and again is left alone after a while; its log says why, and `nightmarket up` tries once more.
"""

import sys
import time
from collections import defaultdict, deque
from datetime import UTC, datetime

from pipelines.core.storage import default_root
from pipelines.servers.running import KEEPER, clear_port, running
from pipelines.servers.start import HOLD_PORTS, NAMES, ports_of, start

_LOOK_SECONDS = 2.0
_MOST, _WITHIN_SECONDS = 5, 600


def keep() -> None:
    """Runs until it is stopped."""
    root = default_root()
    restarts: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=_MOST))
    while True:
        time.sleep(_LOOK_SECONDS)
        alive = {server.name for server in running(root)}
        for name in NAMES:
            if name not in alive and name != KEEPER and _may(restarts[name]):
                sys.stdout.write(f"{datetime.now(UTC):%FT%TZ} {name} has ended: started again\n")
                sys.stdout.flush()
                if name in HOLD_PORTS:
                    clear_port(root, name)
                start(root, name, ports_of(root))


def _may(before: deque[float]) -> bool:
    """Whether a server may be started again now; notes that it was."""
    now = time.monotonic()
    if len(before) == _MOST and now - before[0] < _WITHIN_SECONDS:
        return False
    before.append(now)
    return True


if __name__ == "__main__":
    keep()
