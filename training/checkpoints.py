"""Weights on disk: written whole or not at all, never as pickle, and what can go wrong with them in one line."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError

from safetensors import SafetensorError
from safetensors.torch import save_model
from torch import nn

from pipelines.core.errors import StorageError, TrainingError


def save_weights(model: nn.Module, path: Path) -> None:
    """Writes all weights as safetensors, whole or not at all. Raises StorageError."""
    partial = path.with_suffix(".partial")
    with writing(partial):
        save_model(model, str(partial))
        partial.replace(path)


def checkpoints(work: Path) -> list[Path]:
    """Whole checkpoints, oldest first."""
    return sorted(work.glob("checkpoint-*"), key=lambda folder: int(folder.name.rpartition("-")[2]))


@contextmanager
def reading(checkpoint: str | None) -> Iterator[None]:
    """Turns a file that is damaged, or that is more than tensors, into one line. Raises TrainingError."""
    try:
        yield
    except (OSError, RuntimeError, EOFError, UnpicklingError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise TrainingError(f"{checkpoint} cannot be read ({reason}): remove it to start anew") from error


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns a refusal to write `path` into one line, and leaves nothing half written. Raises StorageError."""
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        # torch and safetensors do not say why they could not write: the disk does.
        number = error.errno if isinstance(error, OSError) else None
        free = shutil.disk_usage(path.parent).free
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
        if number in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error) or free < 1 << 20:
            raise StorageError(
                f"{path.parent}: the disk is full while weights are written; free some space and run again"
            ) from error
        if number is None and not isinstance(error, SafetensorError):
            raise
        raise StorageError(f"{path.parent}: weights cannot be written: {error}") from error
