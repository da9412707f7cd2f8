"""Which texts are worth a person's label: the model is unsure of them, many are like them, and none like them is labelled.

    places = worth_asking(chances, vectors, labelled_vectors, 50)

The next text is the one that covers the most doubt: the sum, over all texts, of the model's doubt times how much nearer this
text is to them than the nearest one that is labelled or already asked. That is facility location weighed by doubt (Wei, Iyer
and Bilmes 2015), whose greedy choice is at least 63% of the best there is (Nemhauser et al. 1978). Doubt alone asks for
outliers, and with few labels is worse than drawing lots (training/evaluate_few_labels.py).
"""

import heapq

import numpy as np

_LEAST_DOUBT = 0.05  # so that what the model is sure of, maybe wrongly, counts a little
_BLOCK = 1_024


def doubt_of(chances: np.ndarray) -> np.ndarray:
    """(n, classes) -> (n,): 1 less the margin between the two likeliest classes."""
    best = np.sort(chances, axis=1)
    return np.asarray(1 - (best[:, -1] - best[:, -2]))


def likeness(vectors: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(n, m) from 0 to 1: squared cosines of unit vectors, 0 where it is below 0."""
    return np.asarray(np.maximum(vectors @ others.T, 0) ** 2)


def nearest(vectors: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(n,) likeness of each to the most alike of (m, width), 0 where m is 0."""
    found = np.zeros(len(vectors), np.float32)
    for start in range(0, len(others), _BLOCK):
        np.maximum(found, likeness(vectors, others[start : start + _BLOCK]).max(axis=1), out=found)
    return found


def worth_asking(chances: np.ndarray, vectors: np.ndarray, labelled: np.ndarray, n: int) -> np.ndarray:
    """Places (at most n,) in the order in which to ask; equal input, equal order.

    chances (m, classes); vectors (m, width) and those of labelled texts (k, width), of unit length. Memory: m x m floats.
    """
    alike, covered = likeness(vectors, vectors), nearest(vectors, labelled)
    doubt = (doubt_of(chances) + _LEAST_DOUBT).astype(np.float32)

    def gain(at: int) -> float:
        return float(doubt @ np.maximum(alike[at] - covered, 0))

    # What a text brings only shrinks as others are asked: only who still looks best is computed again (Minoux 1978).
    waiting = [(-gain(at), at) for at in range(len(vectors))]
    heapq.heapify(waiting)
    chosen: list[int] = []
    while waiting and len(chosen) < n:
        _, at = heapq.heappop(waiting)
        now = (-gain(at), at)
        if waiting and now > waiting[0]:
            heapq.heappush(waiting, now)
            continue
        chosen.append(at)
        np.maximum(covered, alike[at], out=covered)
    return np.array(chosen, dtype=np.int64)
