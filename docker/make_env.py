"""Writes docker/.env: a random secret for everything that asks for one. Nothing has a default password.

    python docker/make_env.py          # models are trained on the processor
    python docker/make_env.py --gpu    # on a graphics card

The file is for its owner only (0600) and is never written over: the databases keep the passwords they were made with.
"""

import argparse
import base64
import os
import secrets
import sys
from collections.abc import Callable
from pathlib import Path

FILE = Path(__file__).with_name(".env")


def password() -> str:
    """Safe in a URL and in a shell."""
    return secrets.token_urlsafe(32)


def fernet_key() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


SECRETS: dict[str, Callable[[], str]] = {
    "POSTGRES_PASSWORD": password,
    "AIRFLOW_DB_PASSWORD": password,
    "MLFLOW_DB_PASSWORD": password,
    "BROKER_PASSWORD": password,
    "S3_ACCESS_KEY": lambda: secrets.token_hex(10),
    "S3_SECRET_KEY": password,
    "SPARK_SECRET": password,
    "AIRFLOW_ADMIN_PASSWORD": password,
    "AIRFLOW_FERNET_KEY": fernet_key,
    "AIRFLOW_SECRET_KEY": password,
    "AIRFLOW_JWT_SECRET": lambda: secrets.token_urlsafe(64),
    "NIGHTMARKET_KEY": lambda: secrets.token_hex(32),
}


def write(file: Path, trainer: str) -> None:
    """Raises FileExistsError rather than write over a file."""
    lines = [f"COMPOSE_PROFILES={trainer}", *(f"{name}={make()}" for name, make in SECRETS.items())]
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write("\n".join(lines) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpu", action="store_true", help="train on a graphics card")
    args = parser.parse_args()
    try:
        write(FILE, "gpu" if args.gpu else "cpu")
    except FileExistsError:
        sys.exit(f"{FILE} is there already: keep it, or remove it together with the volumes that were made with it")
    print(f"{FILE} written; Airflow's page opens for `admin` with AIRFLOW_ADMIN_PASSWORD from it")


if __name__ == "__main__":
    main()
