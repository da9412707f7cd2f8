"""Texts of any length for an encoder that reads a few tokens at a time: in windows that overlap, none left out.

A text is what all its windows say, each by its share of the text's tokens (`pooled`): what matters in a review of 10,000
characters may stand at its end.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

MAX_WINDOWS: Final = 128  # of one text, some 12,000 tokens; of longer ones windows at even distances are read


@dataclass(frozen=True)
class Windows:
    """w windows of n texts, at least one for each text."""

    tokens: list[list[int]]  # w, each with the tokens of begin and end
    text: np.ndarray  # (w,) int, rising: whose window it is
    share: np.ndarray  # (w,) of the text's tokens; sums to 1 for each text

    def pooled(self, values: np.ndarray) -> np.ndarray:
        """Values (w, ...) of windows -> (n, ...) of texts: means by share."""
        starts = np.flatnonzero(np.append(True, np.diff(self.text) > 0))
        weight = self.share.reshape(-1, *[1] * (values.ndim - 1))
        return np.asarray(np.add.reduceat(values * weight, starts, axis=0))


def windows_of(
    texts: Sequence[Sequence[int]], begin: int, end: int, max_tokens: int = 128, overlap: int = 16
) -> Windows:
    """n texts as token ids without special ones, n > 0 -> windows of `max_tokens` with begin and end, the last one as long
    as the others, so that none is too short to say anything. An empty text is one window of begin and end."""
    room = max_tokens - 2
    tokens, owner, share = [], [], []
    for at, text in enumerate(texts):
        if len(text) <= room:
            starts = np.zeros(1, np.int64)
        else:
            n_windows = min(MAX_WINDOWS, 1 + -(-(len(text) - room) // (room - overlap)))
            starts = np.linspace(0, len(text) - room, n_windows).round().astype(np.int64)
        tokens += [[begin, *text[start : start + room], end] for start in starts.tolist()]
        owner += [at] * len(starts)
        share += [1 / len(starts)] * len(starts)
    return Windows(tokens, np.array(owner), np.array(share))
