"""Whether Airflow can read the project's DAGs: of a folder or file that it cannot read it says nothing and shows no DAGs."""

from pathlib import Path

from pipelines.core.config import PROJECT
from pipelines.core.errors import ServerError

DAG_FOLDER = PROJECT / "dags"


def check_dag_folder(folder: Path = DAG_FOLDER) -> None:
    """Raises ServerError unless the folder holds DAG files and each can be read; all that cannot are named."""
    try:
        files = sorted(path for path in folder.iterdir() if path.suffix == ".py")
    except OSError as error:
        raise ServerError(
            f"DAG folder {folder}: {_why(error)}: expected the project's DAG files there; put the folder back or mend its owner"
        ) from None
    if not files:
        raise ServerError(f"DAG folder {folder}: no DAG file: expected the project's there; put them back")
    unreadable = []
    for path in files:
        try:
            path.open("rb").close()
        except OSError as error:
            unreadable.append(f"{path.name} ({_why(error)})")
    if unreadable:
        raise ServerError(
            f"DAG folder {folder}: cannot be read: {', '.join(unreadable)}; put the files back or mend their owner"
        )


def _why(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
