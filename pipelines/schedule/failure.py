"""What happens when a task fails for good: the run record says so, and a webhook is told where one is configured.

NIGHTMARKET_WEBHOOK (an address that may hold a secret, so it is no setting in conf/) gets one JSON object:
{shop, night, dag, task, run_id, error, log}.
"""

import http.client
import json
import logging
import os
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

_SECONDS = 10
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_log = logging.getLogger(__name__)


def tell_failure(shop: str, context: Mapping[str, Any]) -> None:
    """Airflow's failure callback, the shop bound. A webhook that does not answer is logged: it must not hide the failure."""
    from pipelines.core.config import load_machine, load_shop
    from pipelines.core.errors import NightmarketError
    from pipelines.core.storage import Store, default_root
    from pipelines.run_record import open_record
    from pipelines.schedule.names import record_id
    from pipelines.schedule.work import night_of

    task, run = context["ti"], context["dag_run"]
    error = " ".join(str(context.get("exception") or "the task was killed before it could say why").split())[:1000]
    settings, machine = load_shop(shop), load_machine()
    night, store = night_of(context, settings), Store(default_root(), shop)
    record = open_record(store, night, machine.engine, record_id(run.run_id))
    if record.error is None:  # else the stage itself has told
        record.error = f"{task.task_id}: {error}"
        try:
            record.write(store, {"shop": settings.digest, "machine": machine.digest})
        except (NightmarketError, OSError) as refused:  # on a full disk; the webhook is told all the same
            _log.warning("the run record was not written: %s", refused)
    address = os.environ.get("NIGHTMARKET_WEBHOOK")
    if address:
        told = {
            "shop": shop,
            "night": night.isoformat(),
            "dag": task.dag_id,
            "task": task.task_id,
            "run_id": record.run_id,
            "error": record.error,
            "log": getattr(task, "log_url", ""),
        }
        post(address, told)


def post(address: str, told: dict[str, str]) -> bool:
    """Sends one JSON object; False, and a warning without the address, where that failed."""
    if not _is_safe(address):
        _log.warning("NIGHTMARKET_WEBHOOK was not called: expected an https address, or http on loopback")
        return False
    body, kind = json.dumps(told).encode(), {"Content-Type": "application/json"}
    try:
        request = urllib.request.Request(address, body, kind)  # noqa: S310 - the scheme is checked above
        with urllib.request.urlopen(request, timeout=_SECONDS):  # noqa: S310
            return True
    except OSError as error:
        _log.warning("NIGHTMARKET_WEBHOOK did not answer: %s", getattr(error, "reason", error))
    except (http.client.HTTPException, ValueError) as error:  # their messages may quote the address
        _log.warning("NIGHTMARKET_WEBHOOK did not answer: %s", type(error).__name__)
    return False


def _is_safe(address: str) -> bool:
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
