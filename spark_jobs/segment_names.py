"""Names for segments, from what sets each apart: 'Frequent buyers, evening'."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spark_jobs.segments import FEATURES

_WORTH_SAYING = 0.25  # standard deviations from the shop's mean


def name_segments(ids: Sequence[int], means: NDArray[np.float64]) -> list[str]:
    """One name per segment, unique among them.

    `means` (segments, len(FEATURES)): standardised means, 0 is the shop's average. A name says the two features
    farthest from 0, of different kinds; a third, fourth... where two would share it, and the id as the last resort.
    """
    names: dict[int, str] = {}
    for at in sorted(range(len(ids)), key=lambda at: ids[at]):
        phrases = _phrases(means[at])
        length = min(2, len(phrases))
        name = _said(phrases[:length])
        while name in names.values() and length < len(phrases):
            length += 1
            name = _said(phrases[:length])
        names[at] = f"{name} ({ids[at]})" if name in names.values() else name
    return [names[at] for at in range(len(ids))]


def _phrases(means: NDArray[np.float64]) -> list[str]:
    """What sets a segment apart, strongest first, one phrase per kind of feature."""
    order = sorted(range(len(FEATURES)), key=lambda at: (-round(abs(float(means[at])), 6), at))
    kinds: set[str] = set()
    phrases = []
    for at in order:
        feature = FEATURES[at]
        if abs(means[at]) < _WORTH_SAYING or feature.kind in kinds:
            continue
        kinds.add(feature.kind)
        phrases.append(feature.high if means[at] > 0 else feature.low)
    return phrases or ["average customers"]


def _said(phrases: Sequence[str]) -> str:
    text = ", ".join(phrases)
    return text[0].upper() + text[1:]
