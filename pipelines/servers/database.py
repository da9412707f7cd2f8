"""Asks a metadata database that is not SQLite whether it lets Airflow or MLflow in, before anything is started on it.

They themselves would wait for minutes where it never answers, and then say so in forty lines.
"""

import os
from typing import TYPE_CHECKING, Final

from pipelines.core.errors import ServerError

if TYPE_CHECKING:
    from sqlalchemy import URL

_CONNECT_SECONDS: Final = 5
_EXAMPLE: Final = "postgresql+psycopg2://USER:PASSWORD@HOST:PORT/NAME"


def check_database(variable: str) -> None:
    """Raises ServerError, within some seconds and without the password, unless the address in this environment variable
    leads to a database; nothing where it is not set.
    """
    address = os.environ.get(variable)
    if not address:
        return
    url = _parsed(address, variable)
    if url.get_backend_name() == "sqlite":
        return
    from sqlalchemy import create_engine
    from sqlalchemy.exc import DBAPIError, SQLAlchemyError

    wait = {"connect_timeout": _CONNECT_SECONDS} if url.get_backend_name() == "postgresql" else {}
    where = f"{variable}: database '{url.database}' at {url.host}:{url.port or 'its usual port'}"
    try:
        engine = create_engine(url, connect_args=wait)
        try:
            engine.connect().close()
        finally:
            engine.dispose()
    except DBAPIError as error:
        lines = str(error.orig).splitlines() or [type(error.orig).__name__]
        told = lines[0].rpartition("failed: ")[2].removeprefix("FATAL:").strip()
        if told == "timeout expired":
            told = f"no answer within {_CONNECT_SECONDS} s"
        raise ServerError(f"{where}: {told}; start or mend that database, or mend the address") from None
    except (ModuleNotFoundError, SQLAlchemyError) as error:
        raise ServerError(f"{where}: no driver for it ({error}): expected {_EXAMPLE}") from None


def _parsed(address: str, variable: str) -> "URL":
    """What is wrong with an address is told without a word of it: any part may be one of the password."""
    from sqlalchemy import make_url
    from sqlalchemy.exc import SQLAlchemyError

    try:
        url = make_url(address)
    except (SQLAlchemyError, ValueError):
        url = None
    if url is None or "@" in f"{url.host}{url.database}":
        raise ServerError(
            f"{variable} is no address of a database: expected {_EXAMPLE}, special characters of the password as %XX"
        )
    return url
