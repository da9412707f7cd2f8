"""Boosted trees on every pair of a customer and a strategy, without the pairs: LightGBM's raw scores, tens of times faster.

A tree's features are the customer's or the strategy's. A leaf is reached where the customer's splits on its way hold and
the strategy's splits hold, so the sum of all trees is

    score(c, s) = sum over leaves of [c passes] x [s passes] x value = (P V)(c, s)

with P (n, ways) of zeros and ones and V (ways, strategies), which is known before any customer is. Leaves with the same
customer's splits share one way, in whatever tree they stand; ways that all strategies share count once.
(Partial evaluation of a program whose second argument is known: Jones, Gomard and Sestoft 1993.)
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import lightgbm
import numpy as np

from pipelines.core.errors import TrainingError

_BLOCK = 1_024  # customers at a time, so that P stays small
_CATEGORICAL, _DEFAULT_LEFT = 1, 2  # bits of a decision
_MISSING_NONE, _MISSING_NAN = 0, 2


@dataclass(frozen=True)
class Split:
    """Which rows go left: `feature` at most `threshold`, or among `members`; a missing value where `missing_left` says."""

    feature: int
    threshold: float
    members: frozenset[int] | None  # categories that go left; None: a number
    missing_left: bool


def _goes_left(splits: Sequence[Split], values: np.ndarray) -> np.ndarray:
    """(splits, n) bool: where each of the splits, all of one feature and one sort, sends its values (n,)."""
    if splits[0].members is None:
        left = values <= np.array([split.threshold for split in splits])[:, None]
        missing = np.isnan(values)
        if missing.any():
            left[:, missing] = np.array([split.missing_left for split in splits])[:, None]
        return left
    known = 1 + max(max(split.members or {0}) for split in splits)
    table = np.zeros((len(splits), known + 1), dtype=bool)
    for at, split in enumerate(splits):
        table[at, list(split.members or ())] = True
    inside = (values > -1) & (values < known)  # a fraction is cut off, as LightGBM does
    return table[:, np.where(inside, values, known).astype(np.int64)]


@dataclass(frozen=True)
class _Tree:
    """LightGBM's arrays: child >= 0 is an inner node, -1 - child a leaf; a tree of one leaf has no splits."""

    splits: list[Split]
    left: np.ndarray
    right: np.ndarray
    value: np.ndarray

    def leaves(
        self, node: int = 0, path: tuple[tuple[Split, bool], ...] = ()
    ) -> Iterator[tuple[tuple[tuple[Split, bool], ...], float]]:
        """Each leaf's value and the (split, goes left) that lead to it."""
        if not self.splits:
            yield (), float(self.value[0])
            return
        for child, goes_left in ((int(self.left[node]), True), (int(self.right[node]), False)):
            way = (*path, (self.splits[node], goes_left))
            if child < 0:
                yield way, float(self.value[-1 - child])
            else:
                yield from self.leaves(child, way)


class Grid:
    """A booster made ready for a fixed list of strategies.

    The booster's first `n_customer` features are the customer's, the rest are `strategies` (s, features), fixed.
    Raises TrainingError for models it does not know: several classes, linear leaves, zero as missing.
    """

    def __init__(self, booster: lightgbm.Booster, n_customer: int, strategies: np.ndarray) -> None:
        self._n_strategies = len(strategies)
        strategies = np.concatenate([np.full((len(strategies), n_customer), np.nan), strategies], axis=1)
        passes: dict[Split, np.ndarray] = {}  # [strategy] goes left
        literals: dict[tuple[Split, bool], int] = {}
        nodes: dict[tuple[int, int], int] = {}  # (node before, literal) -> node of the tree of all ways; 0: the root
        values: dict[int, np.ndarray] = {}  # node -> (s,)
        for tree in _trees(booster.model_to_string()):
            for path, value in tree.leaves():
                reached = np.ones(len(strategies), dtype=bool)
                node = 0
                for split, goes_left in path:
                    if split.feature >= n_customer:
                        if split not in passes:
                            passes[split] = _goes_left([split], strategies[:, split.feature])[0]
                        reached &= passes[split] == goes_left
                    else:
                        literal = literals.setdefault((split, goes_left), len(literals))
                        node = nodes.setdefault((node, literal), len(nodes) + 1)
                if reached.any():
                    values[node] = values.get(node, 0.0) + value * reached
        self._features: list[
            tuple[int, list[Split], np.ndarray]
        ] = []  # feature, its splits, places of going left, right
        for (feature, _), same in groupby(sorted({split for split, _ in literals}, key=_sort), key=_sort):
            splits = list(same)
            none = len(literals)  # a side that no way takes lands beyond the end
            places = np.array([[literals.get((split, side), none) for split in splits] for side in (True, False)])
            self._features.append((feature, splits, places))
        self._n_literals = len(literals)
        self._compile(nodes, values)

    def _compile(self, nodes: dict[tuple[int, int], int], values: dict[int, np.ndarray]) -> None:
        """Orders nodes by depth, and the ways with a value as they come: those shared by all strategies last."""
        depth = {0: 0}
        for (before, _), node in nodes.items():
            depth[node] = depth[before] + 1
        self._levels: list[tuple[np.ndarray, np.ndarray]] = []  # per depth: place of the node before, literal
        place = {0: 0}
        for level in range(1, max(depth.values()) + 1):
            here = [(key, node) for key, node in nodes.items() if depth[node] == level]
            place |= {node: at for at, (_, node) in enumerate(here)}
            self._levels.append(
                (np.array([place[before] for (before, _), _ in here]), np.array([literal for (_, literal), _ in here]))
            )
        found = sorted((node for node in values if node), key=lambda node: bool(np.ptp(values[node]) == 0))
        self._n_own = sum(bool(np.ptp(values[node]) > 0) for node in found)
        self._ways = [
            np.array(
                [(at, place[node]) for at, node in enumerate(found) if depth[node] == level], dtype=np.int64
            ).reshape(-1, 2)
            for level in range(1, len(self._levels) + 1)
        ]
        self._n_ways = len(found)
        matrix = np.array([values[node] for node in found]).reshape(len(found), self._n_strategies)
        self._own, self._shared = np.ascontiguousarray(matrix[: self._n_own]), matrix[self._n_own :, :1]
        self._constant = values.get(0, np.zeros(self._n_strategies))

    def raw(self, customers: np.ndarray) -> np.ndarray:
        """(n, s) float64 raw scores of customers (n, n_customer) float64, NaN where missing."""
        found = np.empty((len(customers), self._n_strategies))
        for start in range(0, len(customers), _BLOCK):
            block = customers[start : start + _BLOCK]
            passed = self._passed(block).astype(np.float64).T
            scores = passed[:, : self._n_own] @ self._own
            scores += passed[:, self._n_own :] @ self._shared
            found[start : start + _BLOCK] = scores + self._constant
        return found

    def _passed(self, block: np.ndarray) -> np.ndarray:
        """(ways, n) uint8 of zeros and ones. Eight customers share a byte until the end."""
        n = len(block)
        bits = np.empty((self._n_literals + 1, (n + 7) // 8), dtype=np.uint8)
        for feature, splits, (lefts, rights) in self._features:
            went = np.packbits(_goes_left(splits, block[:, feature]), axis=1)
            bits[lefts], bits[rights] = went, ~went
        ways = np.empty((self._n_ways, bits.shape[1]), dtype=np.uint8)
        before = np.full((1, bits.shape[1]), 255, dtype=np.uint8)
        for (parents, literals), chosen in zip(self._levels, self._ways, strict=True):
            before = before[parents] & bits[literals]
            ways[chosen[:, 0]] = before[chosen[:, 1]]
        return np.unpackbits(ways, axis=1, count=n)


def _sort(split: Split) -> tuple[int, bool]:
    return split.feature, split.members is None


def _trees(text: str) -> Iterator[_Tree]:
    """The trees of a LightGBM model's text."""
    head, *parts = text.split("\nend of trees")[0].split("\nTree=")
    for wrong in ("\nlinear_tree", "\naverage_output"):
        if wrong in head:
            raise TrainingError(f"a grid cannot score this LightGBM model: {wrong.strip()}; train it without")
    if "\nnum_tree_per_iteration=1\n" not in head:
        raise TrainingError("a grid cannot score a LightGBM model of several classes; train one model per outcome")
    for part in parts:
        told = dict(line.split("=", 1) for line in part.splitlines() if "=" in line)
        if told.get("is_linear", "0") != "0":
            raise TrainingError("a grid cannot score linear leaves; train without linear_tree")
        value = np.array(told["leaf_value"].split(), dtype=np.float64)
        if int(told["num_leaves"]) == 1:
            yield _Tree([], np.zeros(0), np.zeros(0), value)
            continue
        bounds = np.array(told.get("cat_boundaries", "").split(), dtype=np.int64)
        words = np.array(told.get("cat_threshold", "").split(), dtype=np.int64)
        splits = [
            _split(int(feature), float(threshold), int(decision), bounds, words)
            for feature, threshold, decision in zip(
                told["split_feature"].split(), told["threshold"].split(), told["decision_type"].split(), strict=True
            )
        ]
        left, right = (np.array(told[side].split(), dtype=np.int64) for side in ("left_child", "right_child"))
        yield _Tree(splits, left, right, value)


def _split(feature: int, threshold: float, decision: int, bounds: np.ndarray, words: np.ndarray) -> Split:
    if decision & _CATEGORICAL:
        mine = words[bounds[int(threshold)] : bounds[int(threshold) + 1]]
        members = frozenset(
            32 * at + bit for at, word in enumerate(mine.tolist()) for bit in range(32) if word >> bit & 1
        )
        return Split(feature, 0.0, members, missing_left=False)
    missing = decision >> 2 & 3
    if missing not in (_MISSING_NONE, _MISSING_NAN):
        raise TrainingError("a grid cannot score a LightGBM model that takes zero as missing; train it without")
    # Without missing values in training, LightGBM reads a missing value as 0.
    missing_left = bool(decision & _DEFAULT_LEFT) if missing == _MISSING_NAN else threshold >= 0.0
    return Split(feature, threshold, None, missing_left)
