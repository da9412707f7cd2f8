"""Sessions small enough to check by hand."""

from collections.abc import Sequence

import numpy as np

from training.recommend.session_data import Sequences

DAY_S = 86_400.0


def sessions_of(told: Sequence[Sequence[int]], n_items: int, ends_day: Sequence[float] | None = None) -> Sequences:
    """Sessions of items, a minute between two clicks; `ends_day`: when each ended, in days. Session s ends on day s else."""
    sizes = np.array([len(one) for one in told])
    ends = np.repeat(np.arange(len(told)) if ends_day is None else np.array(ends_day), sizes) * DAY_S
    start = np.append(0, np.cumsum(sizes))
    back = np.repeat(start[1:], sizes) - 1 - np.arange(sizes.sum())
    item = np.concatenate([np.array(one, dtype=np.int64) for one in told])
    return Sequences(n_items, item, ends - 60.0 * back, np.zeros(len(item), dtype=np.int8), start)


def cycle(n_sessions: int, length: int, n_items: int, seed: int = 0) -> Sequences:
    """Each session walks a ring of items from somewhere on; with a day of sessions after the others."""
    first = np.random.default_rng(seed).integers(0, n_items, n_sessions)
    days = np.linspace(0, 3, n_sessions)
    return sessions_of([[(at + step) % n_items for step in range(length)] for at in first], n_items, days.tolist())
