"""Two towers for cold start: what a customer lately touched and what an item is meet in one space, item ids play no part.

    vectors = item_vectors(items, embed(items.texts, ...))
    towers = fit_towers(told, vectors, work=folder)
    scores = towers.scores(past_of(told, customers, now), vectors)      # (n, items); `vectors` may hold new items

The item tower reads the text's vector, category, brand and price, the customer tower the means of those over recent items,
by behaviour and recency, and a profile where there is one. An item is served the night it appears; a customer without a
past has one, too, that was learnt from the first things customers touched. Where items have pictures, what they look like
(pictures.py) stands beside the texts' vectors.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from scipy.sparse import csr_matrix
from torch import Tensor, nn

from pipelines.core.errors import TrainingError
from training.loop import LoopSettings, train
from training.recommend.interactions import BEHAVIOURS, NO_ITEM, Interactions
from training.recommend.texts import Items

WIDTH: Final = 64  # of the common space
LENGTH: Final = 50  # newest events of a past that count
DAYS: Final = (1.0, 14.0)  # after which an event counts half, by means
SETTINGS: Final = LoopSettings(
    learning_rate=3e-3, epochs=4, batch_size=256, weight_decay=0.01, precision="fp32", evaluations=2, patience=4
)
_HASHED: Final = 32  # numbers that categories, and brands, are spread over
_MAX_EXAMPLES: Final = 40_000  # newest events that teach
_MAX_OF_ONE: Final = 200
_MAX_VALID: Final = 1_000
_DAY: Final = 86_400.0
_FILE: Final = "towers.json"
_ARRAYS: Final = "towers.safetensors"


@dataclass(frozen=True)
class Past:
    """What each of n customers touched before some moment, newest first, at most LENGTH events."""

    item: np.ndarray  # (n, LENGTH) places, NO_ITEM behind the last
    behaviour: np.ndarray  # (n, LENGTH) places in BEHAVIOURS
    age_days: np.ndarray  # (n, LENGTH)


def item_vectors(items: Items, texts: np.ndarray) -> np.ndarray:
    """(n, f) float32: vectors of texts (n, d), then category levels, brand and price; zeros for what is not told.

    Categories and brands are spread by a hash, so that those of tomorrow have their place today. `texts` may have width 0,
    or what the pictures show on its right.
    """
    shelves = _spread([["/".join(path[: end + 1]) for end in range(len(path))] for path in items.paths])
    brands = _spread([[f"brand {brand}"] if brand else [] for brand in items.brands.tolist()])
    known = ~np.isnan(items.prices)
    price = np.where(known, (np.log(np.where(known, items.prices, 1)) - np.log(3_000)) / 4, 0)
    return np.hstack([texts, shelves, 0.5 * brands, 0.5 * price[:, None]]).astype(np.float32)


def _spread(names: Sequence[Sequence[str]]) -> np.ndarray:
    """(n, _HASHED) per row the mean of one random direction per name, of unit length each."""
    directions: dict[str, np.ndarray] = {}
    found = np.zeros((len(names), _HASHED))
    for row, told in enumerate(names):
        for name in told:
            if name not in directions:
                seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
                drawn = np.random.default_rng(seed).normal(size=_HASHED)
                directions[name] = drawn / np.linalg.norm(drawn)
            found[row] += directions[name] / len(told)
    return found


def past_of(told: Interactions, customer: np.ndarray, before: np.ndarray | float) -> Past:
    """Of customers (n,), places: what they touched earlier than `before` (n,) seconds since 1970."""
    order = np.lexsort((told.seconds, told.customer))
    who, times = told.customer[order], np.unique(told.seconds)
    width = len(times) + 1
    keys = who * width + np.searchsorted(times, told.seconds[order])
    moment = np.broadcast_to(np.asarray(before, dtype=np.float64), customer.shape)
    end = np.searchsorted(keys, customer * width + np.searchsorted(times, moment))
    start = np.searchsorted(who, customer)
    at = end[:, None] - 1 - np.arange(LENGTH)
    is_there = at >= start[:, None]
    at = order[np.maximum(at, 0)] if len(order) else np.zeros(at.shape, np.int64)
    if not len(order):
        nothing = np.full(at.shape, NO_ITEM)
        return Past(nothing, np.zeros(at.shape, np.int64), np.zeros(at.shape))
    age = np.where(is_there, (moment[:, None] - told.seconds[at]) / _DAY, 0.0)
    return Past(np.where(is_there, told.item[at], NO_ITEM), np.where(is_there, told.behaviour[at], 0), age)


def pooled(past: Past, places: np.ndarray) -> np.ndarray:
    """(n, f) float32: per behaviour and half-life the mean of items' places in the space (items, w); log counts; 1 if any."""
    n, parts = len(past.item), []
    for number in range(len(BEHAVIOURS)):
        is_one = (past.item != NO_ITEM) & (past.behaviour == number)
        row, column = np.nonzero(is_one)
        for half_life in DAYS:
            weight = 0.5 ** (past.age_days[row, column] / half_life) + 1e-6
            total = np.bincount(row, weight, minlength=n)
            told = csr_matrix((weight / total[row], (row, past.item[row, column])), shape=(n, len(places)))
            parts.append(np.asarray(told @ places, dtype=np.float32))
        parts.append(np.log1p(is_one.sum(axis=1, keepdims=True)).astype(np.float32))
    return np.hstack([*parts, (past.item != NO_ITEM).any(axis=1, keepdims=True)]).astype(np.float32)


def _small_net(n_inputs: int) -> nn.Sequential:
    """To WIDTH numbers, near 0 at first."""
    last = nn.Linear(2 * WIDTH, WIDTH)
    nn.init.normal_(last.weight, std=0.02)
    return nn.Sequential(nn.Linear(n_inputs, 2 * WIDTH), nn.GELU(), nn.Dropout(0.1), last)


class _Net(nn.Module):
    """Both towers. A common linear map makes what is like the past near from the start; small nets add what else there is."""

    def __init__(self, width: int, n_profile: int) -> None:
        super().__init__()
        n_means = len(BEHAVIOURS) * len(DAYS)
        n_past = n_means * width + len(BEHAVIOURS) + 1
        self.width = width
        self.map = nn.Linear(width, WIDTH)
        nn.init.orthogonal_(self.map.weight)
        self.item_net = _small_net(width)
        self.customer_net = _small_net(n_past + n_profile)
        self.trust = nn.Parameter(torch.ones(n_means))  # in each mean
        self.sharpness = nn.Parameter(torch.tensor(2.3))  # log of what cosines are multiplied by

    def forward(self, past: Tensor, item: Tensor, log_share: Tensor) -> tuple[Tensor]:
        """(b, 2, WIDTH + 1): what the loss needs of a customer and of the item that this customer touched next."""
        one = torch.ones(len(past), 1)
        customer = torch.cat([self.customers(past), one], 1)
        touched = torch.cat([self.items(item), -log_share[:, None]], 1)
        return (torch.stack([customer, touched], 1),)

    def customers(self, past: Tensor) -> Tensor:
        parts, at = [], 0
        for number in range(len(BEHAVIOURS)):
            for place in range(len(DAYS)):
                parts.append(self.trust[number * len(DAYS) + place] * past[:, at : at + self.width])
                at += self.width
            at += 1  # the count
        like = self.map(torch.stack(parts).sum(0))
        return self.sharpness.clamp(max=4).exp() * nn.functional.normalize(like + self.customer_net(past))

    def items(self, item: Tensor) -> Tensor:
        return nn.functional.normalize(self.map(item) + self.item_net(item))


@dataclass(frozen=True)
class Towers:
    """Fitted towers and what brings items into their first space."""

    net: _Net
    centre: np.ndarray  # (f,) of item vectors
    axes: np.ndarray  # (f, w) their main directions
    profile: np.ndarray  # (2, p) mean and spread of a profile's numbers

    def items(self, vectors: np.ndarray) -> np.ndarray:
        """(n, f) item vectors, seen before or not -> (n, WIDTH)."""
        with torch.inference_mode():
            return np.asarray(self.net.eval().items(torch.from_numpy(self._placed(vectors))).numpy())

    def customers(self, past: Past, vectors: np.ndarray, profile: np.ndarray | None = None) -> np.ndarray:
        """(n, WIDTH). `vectors`: of all items that a past may name; `profile`: (n, p), NaN where not known."""
        told = np.hstack([pooled(past, self._placed(vectors)), _scaled(profile, self.profile, len(past.item))])
        with torch.inference_mode():
            return np.asarray(self.net.eval().customers(torch.from_numpy(told.astype(np.float32))).numpy())

    def scores(self, past: Past, vectors: np.ndarray, profile: np.ndarray | None = None) -> np.ndarray:
        """(n, items) float32, higher is better: a product of both towers' vectors."""
        return np.asarray(self.customers(past, vectors, profile) @ self.items(vectors).T)

    def _placed(self, vectors: np.ndarray) -> np.ndarray:
        return np.asarray((vectors - self.centre) @ self.axes, dtype=np.float32)

    def save(self, folder: Path) -> None:
        """Writes two files into an existing folder."""
        arrays = {f"net.{name}": tensor.contiguous() for name, tensor in self.net.state_dict().items()}
        for name in ("centre", "axes", "profile"):
            arrays[name] = torch.from_numpy(np.ascontiguousarray(getattr(self, name)))
        save_file(arrays, folder / _ARRAYS)
        (folder / _FILE).write_text(json.dumps({"width": self.net.width, "profile": self.profile.shape[1]}))

    @classmethod
    def load(cls, folder: Path) -> "Towers":
        """What `save` wrote. Raises TrainingError where a file is missing or damaged."""
        try:
            told, arrays = json.loads((folder / _FILE).read_text()), load_file(folder / _ARRAYS)
            net = _Net(told["width"], told["profile"])
            net.load_state_dict({name[4:]: arrays[name] for name in arrays if name.startswith("net.")})
            return cls(net.eval(), *(arrays[name].numpy() for name in ("centre", "axes", "profile")))
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise TrainingError(f"{folder}: no readable towers ({error}); train again") from error


def fit_towers(
    told: Interactions, vectors: np.ndarray, *, work: Path, profile: np.ndarray | None = None, seed: int = 20260301,
    settings: LoopSettings = SETTINGS,
) -> Towers:  # fmt: skip
    """Each event of `told` is to be found from what its customer did before that day, among the items of its batch.

    vectors: (items, f); profile: (customers, p). The newest tenth of the events that teach chooses when to stop. In-batch
    negatives with the correction for how often an item is in a batch (Yi et al. 2019, "Sampling-bias-corrected neural
    modeling"). `work`: a folder of this run's own. Raises TrainingError for fewer than two events or items.
    """
    newest = _teaching(told)
    if len(newest) < 2 or len(vectors) < 2:
        raise TrainingError(
            f"{len(newest)} events and {len(vectors)} items: towers need two of each; wait for more nights"
        )
    centre, axes = _main_directions(vectors)
    placed = np.asarray((vectors - centre) @ axes, dtype=np.float32)
    scale = _scale(profile)
    numbers = _scaled(profile, scale, len(told.customers))
    past = past_of(told, told.customer[newest], np.floor(told.seconds[newest] / _DAY) * _DAY)
    x = np.hstack([pooled(past, placed), numbers[told.customer[newest]]]).astype(np.float32)
    item = told.item[newest]
    log_share = np.log(np.bincount(item, minlength=len(vectors)) / len(item) + 1e-12).astype(np.float32)

    def collate(rows: Sequence[int]) -> dict[str, Tensor]:
        at = np.asarray(rows)
        return {
            "past": torch.from_numpy(x[at]),
            "item": torch.from_numpy(placed[item[at]]),
            "log_share": torch.from_numpy(log_share[item[at]]),
            "labels": torch.from_numpy(item[at]),
        }

    torch.manual_seed(seed)
    net = _Net(placed.shape[1], numbers.shape[1])
    n_valid = min(_MAX_VALID, max(1, len(newest) // 10))
    train(
        net, range(len(newest) - n_valid), range(len(newest) - n_valid, len(newest)),
        settings.model_copy(update={"seed": seed}), collate=collate, metric=lambda logits, labels: {}, watch="loss",
        higher_is_better=False, loss=in_batch, work=work,
    )  # fmt: skip
    return Towers(net, centre, axes, scale)


def _teaching(told: Interactions) -> np.ndarray:
    """Places of the newest events in time order, of one customer _MAX_OF_ONE at most: nobody's clicks drown the others'."""
    order = np.lexsort((-told.seconds, told.customer))
    who = told.customer[order]
    rank = np.arange(len(who)) - np.searchsorted(who, who)
    kept = order[rank < _MAX_OF_ONE]
    return np.asarray(kept[np.argsort(told.seconds[kept], kind="stable")][-_MAX_EXAMPLES:])


def in_batch(both: Tensor, item: Tensor) -> Tensor:
    """(b,) losses: each customer's item against the others of the batch, those of the same item left out.

    both: (b, 2, w): customers and their items; item: (b,) which item it is.
    """
    score = both[:, 0] @ both[:, 1].T
    same = (item[:, None] == item) & ~torch.eye(len(item), dtype=torch.bool)
    return nn.functional.cross_entropy(score.masked_fill(same, -torch.inf), torch.arange(len(item)), reduction="none")


def _main_directions(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centre (f,) and directions (f, w), scaled so that a vector's length is 1 on average."""
    centre = vectors.mean(axis=0, dtype=np.float64)
    apart = vectors - centre
    _, directions = np.linalg.eigh(apart.T @ apart)
    axes = directions[:, ::-1][:, :WIDTH]
    length = np.sqrt(((apart @ axes) ** 2).sum(axis=1).mean())
    return centre.astype(np.float32), (axes / max(length, 1e-6)).astype(np.float32)


def _scale(profile: np.ndarray | None) -> np.ndarray:
    """(2, p) mean and spread of each number, NaN left out."""
    if profile is None or not profile.size:
        return np.zeros((2, 0), np.float32)
    known = np.isfinite(profile)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, profile, 0).sum(axis=0) / count
    spread = np.sqrt(np.where(known, (profile - mean) ** 2, 0).sum(axis=0) / count)
    return np.stack([mean, np.where(spread > 0, spread, 1)]).astype(np.float32)


def _scaled(profile: np.ndarray | None, scale: np.ndarray, n: int) -> np.ndarray:
    """(n, p) float32 within 5 of 0; 0 where a number or the whole profile is not known."""
    if profile is None:
        return np.zeros((n, scale.shape[1]), np.float32)
    return np.nan_to_num(np.clip((profile - scale[0]) / scale[1], -5, 5)).astype(np.float32)
