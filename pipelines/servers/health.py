"""Whether a port of this machine is free, and whether Airflow and MLflow answer that all is well."""

import http.client
import json
import socket
import urllib.error
import urllib.request

_SECONDS = 5
_AIRFLOW_PARTS = ("metadatabase", "scheduler", "dag_processor", "triggerer")


def is_port_free(port: int) -> bool:
    """Whether a server could listen on this port of 127.0.0.1 now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def is_healthy(name: str, address: str) -> bool:
    """`name` is airflow (all four of its parts, and what its tasks talk to) or mlflow."""
    try:
        if name == "mlflow":
            return _ask(f"{address}/health") == b"OK"
        told = json.loads(_ask(f"{address}/api/v2/monitor/health"))
        is_well = all((told.get(part) or {}).get("status") == "healthy" for part in _AIRFLOW_PARTS)
        # The tasks' interface takes seconds to answer for the first time: not at the cost of the first night.
        return is_well and json.loads(_ask(f"{address}/execution/health")) == {"status": "healthy"}
    except (OSError, urllib.error.URLError, http.client.HTTPException):
        return False


def _ask(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=_SECONDS) as answer:  # noqa: S310 - our own loopback address
        text: bytes = answer.read()
    return text
