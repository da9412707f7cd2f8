"""Starts a server again that has ended by itself: Airflow's scheduler gives up when its database goes away for a moment.

    python -m pipelines.servers.keep      # started by `nightmarket up`, ended by `nightmarket down`

A server that ends again and again is started at once, then after ever longer waits, at most a minute: so what a database
that stayed away for long has ended is back soon after it. Its log says why it ends; `nightmarket up` does not wait.
"""

import contextlib
import os
import time
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime

from pipelines.core.storage import default_root
from pipelines.servers.running import KEEPER, clear_port, running
from pipelines.servers.start import HOLD_PORTS, NAMES, ports_of, start

_LOOK_SECONDS = 2.0
_FIRST_WAIT, _LONGEST_WAIT = 4.0, 60.0
_CALM_SECONDS = 120.0  # one that has lived for so long is waited for no longer than any other


@dataclass
class Patience:
    """When a server that has ended may be started again."""

    started: float = float("-inf")
    wait: float = 0.0

    def may_start(self, now: float) -> bool:
        """Whether to start it now, in seconds of a clock that nobody sets; notes that it was."""
        lived = now - self.started
        if lived < self.wait:
            return False
        self.wait = _FIRST_WAIT if lived > _CALM_SECONDS else min(max(2 * self.wait, _FIRST_WAIT), _LONGEST_WAIT)
        self.started = now
        return True


def keep() -> None:
    """Runs until it is stopped."""
    root = default_root()
    patience: dict[str, Patience] = defaultdict(Patience)
    while True:
        time.sleep(_LOOK_SECONDS)
        alive = {server.name for server in running(root)}
        for name in NAMES:
            if name not in alive and name != KEEPER and patience[name].may_start(time.monotonic()):
                if name in HOLD_PORTS:
                    clear_port(root, name)
                try:
                    start(root, name, ports_of(root))
                    _say(f"{name} has ended: started again")
                except OSError as error:  # a full disk, which may have room later
                    _say(f"{name} has ended and cannot be started now: {error}")


def _say(text: str) -> None:
    """A line in the keeper's log, if the disk has room for it: without it the keeper goes on all the same."""
    with contextlib.suppress(OSError):
        os.write(1, f"{datetime.now(UTC):%FT%TZ} {text}\n".encode())


if __name__ == "__main__":
    keep()
