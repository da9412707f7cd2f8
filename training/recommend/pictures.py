"""What items look like: their pictures as vectors, and these made comparable within one catalogue.

    shown = embed_pictures(files, resolve(PICTURES, cache), kept=folder / "pictures.safetensors")
    view = looks(shown, item_ids)                  # (n, 1280); one more view of similar.py, one more part of towers.py

Files come from outside: only JPEG, PNG and WebP are opened, by Pillow, after their declared size was looked at. A vector is
kept under the picture's SHA-256, so a night reads new and changed pictures only.
"""

import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from pipelines.core.storage import file_hash
from training.recommend.kept import keep, kept_vectors

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS: Final = 40_000_000
_FORMATS: Final = ("JPEG", "PNG", "WEBP")
_BATCH: Final = 32


@dataclass(frozen=True)
class Shown:
    """Vectors of pictures by item, and how many could not be read for which reason."""

    vectors: Mapping[str, np.ndarray] = field(default_factory=dict)  # item_id -> (1280,) float32 of unit length
    refused: Mapping[str, int] = field(default_factory=dict)


def embed_pictures(
    files: Mapping[str, tuple[Path, str]], folder: Path, *, threads: int = 0, kept: Path | None = None
) -> Shown:
    """Vectors of pictures given as item -> (file, SHA-256 of its bytes).

    `folder`: the net's (training/weights.py). `kept`: a file of vectors; what it holds is not read again, and it is left with
    the vectors of these pictures. `threads` 0: as many as torch has.
    """
    made_by = file_hash(folder / "model.safetensors")
    known = kept_vectors(kept, made_by) if kept else {}
    refused: Counter[str] = Counter()
    new: dict[str, Path] = {}
    for path, content in files.values():
        if content not in known:
            new.setdefault(content, path)
    made, faults = _made(new, folder, threads) if new else ({}, {})
    known |= made
    for _, content in files.values():
        if content in faults:
            refused[faults[content]] += 1
    if kept and made:
        keep(kept, made_by, {content: known[content] for _, content in files.values() if content in known})
    shown = {item: known[content] for item, (_, content) in files.items() if content in known}
    return Shown(shown, dict(sorted(refused.items())))


def _made(new: Mapping[str, Path], folder: Path, threads: int) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Vectors by content, and what is wrong with those that have none."""
    import torch

    from training.recommend.picture_net import MEAN, SPREAD, PictureNet

    net = PictureNet.load(folder).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    vectors: dict[str, np.ndarray] = {}
    faults: dict[str, str] = {}
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        names = list(new)
        for start in range(0, len(names), _BATCH):
            read: dict[str, np.ndarray] = {}
            for name in names[start : start + _BATCH]:
                pixels = read_picture(new[name])
                if isinstance(pixels, str):
                    faults[name] = pixels
                else:
                    read[name] = pixels
            if read:
                batch = (torch.from_numpy(np.stack(list(read.values()))).permute(0, 3, 1, 2).float() - MEAN) / SPREAD
                with torch.inference_mode():
                    found = torch.nn.functional.normalize(net(batch.contiguous(memory_format=torch.channels_last)))
                vectors |= dict(zip(read, found.numpy(), strict=True))
    finally:
        torch.set_num_threads(before)
    return vectors, faults


def read_picture(path: Path) -> np.ndarray | str:
    """(224, 224, 3) uint8, the whole picture on white, or what is wrong with it."""
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata and of sizes, which are judged here
            with Image.open(path, formats=_FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:  # as the header declares; nothing is unpacked yet
                    return "too many pixels"
                return _on_white(image)
    except (UnidentifiedImageError, Image.DecompressionBombError):
        return "no JPEG, PNG or WebP, or too many pixels"
    except (OSError, ValueError, SyntaxError, MemoryError, OverflowError):  # what decoders say of damaged files
        return "damaged"


def _on_white(image: "Image") -> np.ndarray:
    """Upright, fitted into the net's square: a product stands on white, and none of it is cut off."""
    from PIL import Image, ImageOps

    from training.recommend.picture_net import SIDE

    image.draft("RGB", (2 * SIDE, 2 * SIDE))  # a large JPEG is unpacked small
    upright = ImageOps.exif_transpose(image).convert("RGBA")
    fitted = ImageOps.contain(upright, (SIDE, SIDE), Image.Resampling.BICUBIC)
    canvas = Image.new("RGBA", (SIDE, SIDE), "white")
    canvas.alpha_composite(fitted, ((SIDE - fitted.width) // 2, (SIDE - fitted.height) // 2))
    return np.asarray(canvas.convert("RGB"))


def looks(shown: Shown, items: np.ndarray) -> np.ndarray:
    """(n, 1280) float32 for n item ids: what a picture has beyond the catalogue's mean picture, of unit length; zeros
    for an item without one.

    The net's numbers are never negative, so that without their mean taken off any two pictures look alike.
    """
    from training.recommend.picture_net import WIDTH

    found = np.zeros((len(items), WIDTH), np.float32)
    places = [place for place, item in enumerate(items.tolist()) if item in shown.vectors]
    if len(places) < 2:
        return found
    told = np.stack([shown.vectors[str(items[place])] for place in places])
    apart = told - told.mean(axis=0)
    length = np.linalg.norm(apart, axis=1, keepdims=True)
    found[places] = np.where(length > 1e-6, apart / np.maximum(length, 1e-6), 0)
    return found
