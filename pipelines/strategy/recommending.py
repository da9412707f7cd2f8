"""Decisions about lists of recommendations: who is held out, what is chosen, what is drawn by lot, when to buy again."""

import math
from collections.abc import Sequence
from datetime import date

import numpy as np

from pipelines.strategy.holdout import hashed

_PURPOSE = "recommend"  # so that lots are independent of those of the campaigns, whatever the seeds
REBUYS_AS_SHOP = 5.0  # how many repeats of its own the shop's rate weighs as much as, in a category's


def is_held_out(user_keys: Sequence[str], seed: int, percent: float) -> np.ndarray:
    """(n,) bool: who is shown no recommendations, night after night the same; independent of the campaigns' holdout."""
    return hashed([f"{_PURPOSE}:{seed}:{key}" for key in user_keys]) < percent / 100


def choose(
    row: np.ndarray, category: np.ndarray, is_late: np.ndarray, k: int, max_per_category: int
) -> tuple[np.ndarray, np.ndarray]:
    """Fills lists greedily from candidates (p,) that stand by row and falling score: places (c,) of those chosen, by row and
    slot, and which candidates (p,) bool the bound per category put last.

    category: (p,) places, below 0: unknown, and bound by nothing. Candidates that are late (p,) bool, and those beyond
    `max_per_category` of their row and category, fill only slots that nothing else could.
    """
    on_time = np.flatnonzero(~is_late & (category >= 0))
    group = row[on_time].astype(np.int64) * (int(category.max(initial=0)) + 1) + category[on_time]
    order = np.argsort(group, kind="stable")
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order)) - np.searchsorted(group[order], group[order])
    is_over = np.zeros(len(row), dtype=bool)
    is_over[on_time[rank >= max_per_category]] = True
    order = np.lexsort((np.arange(len(row)), is_over | is_late, row))
    place = np.arange(len(row)) - np.searchsorted(row[order], row[order])
    return order[place < k], is_over


def explore(
    user_keys: Sequence[str], n_listed: np.ndarray, n_pool: np.ndarray, k: int, seed: int, night: date, percent: float
) -> tuple[np.ndarray, np.ndarray]:
    """Which item of a customer's pool stands in each slot instead of the listed one, -1: none, and with which probability
    the slot got what it got, (n, k) each.

    Each slot explores by its own lot. The pools are read from a place drawn per customer, round and round, so that each
    item of a pool is as likely as any other in each slot and none stands in two: an item has percent / 100 / n_pool, the
    listed one the rest. Slots beyond n_listed or n_pool (n,) draw no lot: 1.
    """
    n, share = len(user_keys), percent / 100
    slot = np.arange(k)[None, :]
    able = (slot < np.minimum(n_listed, n_pool)[:, None]) & (share > 0)
    start = hashed([f"{_PURPOSE}:{seed}:{night}:{key}" for key in user_keys])
    lots = hashed([f"{_PURPOSE}:{seed}:{night}:{key}:{at}" for key in user_keys for at in range(k)]).reshape(n, k)
    size = np.maximum(n_pool, 1)
    which = (np.floor(start * size).astype(np.int64)[:, None] + slot) % size[:, None]
    explored = able & (lots < share)
    propensity = np.where(explored, share / size[:, None], np.where(able, 1 - share, 1.0))
    return np.where(explored, which, -1), propensity


def nights_to_buy_again(
    customer: np.ndarray, item: np.ndarray, category: np.ndarray, age_nights: np.ndarray, n_categories: int
) -> np.ndarray:
    """(n_categories + 1,) nights after which half of those who bought an item have bought it again, the last one for items
    without a category.

    Of purchases (e,), ages in whole nights: each waits until the next purchase of the same item by the same customer, or
    is still waiting. Waits are exponential at the category's rate, which is drawn to the shop's by a gamma prior:
    rate = (repeats + 5) / (nights waited + 5 / shop's rate), the shop's (repeats + 1) / (nights waited + 1); the median
    wait is ln 2 / rate. Who still waits counts, so that rare repeats do not look quick.
    """
    code = np.where(category >= 0, category, n_categories)
    _, first = np.unique(np.stack([customer, item, age_nights]), axis=1, return_index=True)  # one a night is one
    customer, item, code, age = customer[first], item[first], code[first], age_nights[first].astype(np.float64)
    order = np.lexsort((-age, item, customer))
    customer, item, code, age = customer[order], item[order], code[order], age[order]
    is_repeated = np.zeros(len(order), dtype=bool)
    if len(order):
        is_repeated[:-1] = (customer[1:] == customer[:-1]) & (item[1:] == item[:-1])
    wait = age.copy()
    wait[:-1] = np.where(is_repeated[:-1], age[:-1] - age[1:], age[:-1])
    repeats, waited = (np.bincount(code, values, minlength=n_categories + 1) for values in (is_repeated, wait))
    shop = (repeats.sum() + 1) / (waited.sum() + 1)
    found: np.ndarray = math.log(2) * (waited + REBUYS_AS_SHOP / shop) / (repeats + REBUYS_AS_SHOP)
    return found
