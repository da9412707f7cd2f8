"""In which order rows go through a model, and how a batch of unequal lengths is padded."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Sampler

_MEGABATCH = 50  # batches that are sorted by length together: nearly no padding, and still another mix in each epoch
IGNORED = -100  # a label that no loss counts


class TrainOrder(Sampler[int]):
    """A new order of all rows in each epoch, rows of about one length together, a pure function of (seed, epoch).

    The Trainer's own length groups draw from the global random state, so a resumed run would see another order. Here
    the batches of an epoch are the same however they are cut into parts or spread over processes. Whole batches only:
    the last one is filled up with rows from the beginning.
    """

    def __init__(self, lengths: np.ndarray, batch_size: int, seed: int) -> None:
        self.lengths = lengths  # (n,) int
        self.batch_size = batch_size  # over all parts and processes
        self.seed = seed
        self.epoch = 0  # set before each epoch

    def __len__(self) -> int:
        return -(-len(self.lengths) // self.batch_size) * self.batch_size

    def __iter__(self) -> Iterator[int]:
        chance = np.random.default_rng((self.seed, self.epoch))
        order = np.resize(chance.permutation(len(self.lengths)), len(self))
        size = self.batch_size * _MEGABATCH
        for start in range(0, len(order), size):
            part = order[start : start + size]
            order[start : start + size] = part[np.argsort(-self.lengths[part], kind="stable")]
        batches = chance.permutation(order.reshape(-1, self.batch_size))
        if self.epoch == 0:  # what does not fit into memory should fail at once, not after an hour
            longest = int(self.lengths[batches].sum(axis=1).argmax())
            batches[[0, longest]] = batches[[longest, 0]]
        return iter(batches.reshape(-1).tolist())


def longest_first(lengths: np.ndarray) -> np.ndarray:
    """(n,) positions: the order in which rows cost the least padding where order does not matter."""
    return np.argsort(-lengths, kind="stable")


class Padding:
    """Rows of {"input_ids": list, other lists, "labels": int or list, ...} -> tensors, lists padded to the longest.

    `fill` says with what, by key (0 where it does not): the tokenizer's pad_token_id for input_ids; labels get -100. An
    attention_mask is added.
    """

    def __init__(self, fill: Mapping[str, int] | None = None) -> None:
        self.fill = {"labels": IGNORED, **(fill or {})}

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        batch: dict[str, Tensor] = {}
        for key, first in rows[0].items():
            if np.ndim(first) == 0:
                batch[key] = _single(np.array([row[key] for row in rows]))
                continue
            lengths = np.array([len(row[key]) for row in rows])
            there = np.arange(lengths.max()) < lengths[:, None]
            values = np.concatenate([row[key] for row in rows])
            padded = np.full(there.shape, self.fill.get(key, 0), values.dtype)
            padded[there] = values
            batch[key] = _single(padded)
            if key == "input_ids":
                batch["attention_mask"] = torch.from_numpy(there.astype(np.int64))
        return batch


def _single(values: np.ndarray) -> Tensor:
    """Floats in single precision, the rest as it is."""
    return torch.from_numpy(values.astype(np.float32) if values.dtype == np.float64 else values)
