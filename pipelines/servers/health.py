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
    """`name` is airflow (all four of its parts) or mlflow."""
    path = "/api/v2/monitor/health" if name == "airflow" else "/health"
    try:
        with urllib.request.urlopen(address + path, timeout=_SECONDS) as answer:  # noqa: S310 - our own loopback address
            text = answer.read()
    except (OSError, urllib.error.URLError, http.client.HTTPException):
        return False
    if name == "mlflow":
        return bool(text == b"OK")
    told = json.loads(text)
    return all((told.get(part) or {}).get("status") == "healthy" for part in _AIRFLOW_PARTS)
