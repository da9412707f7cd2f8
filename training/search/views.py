"""Encoders and vectors of a catalogue for search, as far as weights are there."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from pipelines.core.errors import WeightsError
from training.recommend.texts import embed, encoder_for
from training.search.goods import MULTILINGUAL, TITLE
from training.search.index import Encodes
from training.weights import ENCODER_EN, ENCODER_MULTILINGUAL, resolve

TOKENS: Final = 64
ADDRESS: Final = {TITLE: ENCODER_EN, MULTILINGUAL: ENCODER_MULTILINGUAL}


def wanted_views(titles: Sequence[str]) -> tuple[str, ...]:
    """Both views of titles in Latin letters; the multilingual one alone where others stand among them."""
    return (TITLE, MULTILINGUAL) if encoder_for(titles) == ENCODER_EN else (MULTILINGUAL,)


def at_hand(views: Sequence[str], weights: Path) -> dict[str, Path]:
    """Folders of those views' encoders that are on disk; nothing is fetched."""
    found = {}
    for view in views:
        try:
            found[view] = resolve(ADDRESS[view], weights, offline=True)
        except WeightsError:
            continue
    return found


def encoders_of(folders: dict[str, Path], threads: int) -> dict[str, Encodes]:
    from training.encode import Encoder

    return {view: Encoder(folder, threads=threads, max_tokens=TOKENS) for view, folder in folders.items()}


def vectors_of(
    titles: Sequence[str], folders: dict[str, Path], threads: int, kept: Path | None
) -> dict[str, np.ndarray]:
    """(n, width) by view; new titles alone are encoded, the rest is kept in a folder."""
    return {
        view: embed(
            titles,
            folder,
            max_tokens=TOKENS,
            threads=threads,
            kind="passage",
            kept=kept and kept / f"{view}.safetensors",
        )
        for view, folder in folders.items()
    }
