"""Stops what `nightmarket up` has started, and nothing else.

    make down          # the same as: nightmarket down

Also after a crash: servers that have ended are no fault, and what a killed server left behind is found and stopped.
"""

from pipelines.core.storage import default_root
from pipelines.servers.running import stop


def down() -> list[str]:
    """Names of the servers that ran."""
    return stop(default_root())
