"""Weights on disk: written whole or not at all, never as pickle, and what can go wrong with them in one line."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError

from safetensors import SafetensorError
from safetensors.torch import save_model
from torch import nn

from pipelines.core.errors import TrainingError
from pipelines.core.storage import storage_error

_FULL_BYTES = 1 << 20


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
        # torch does not say why it could not write, and safetensors only in words: then the disk is asked.
        number = errno.ENOSPC if "No space left" in str(error) else getattr(error, "errno", None)
        if number is None and shutil.disk_usage(path.parent).free < _FULL_BYTES:
            number = errno.ENOSPC
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        if number is None:
            raise
        raise storage_error(path.parent, OSError(number, os.strerror(number))) from error
