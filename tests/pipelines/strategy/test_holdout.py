"""The holdout and the customers' own random numbers are stable hashes."""

import hashlib
from datetime import date

import numpy as np
import pytest

from pipelines.strategy.holdout import is_holdout, night_draws, night_generator

KEYS = [f"{i:064x}" for i in range(20_000)]


def test_a_customer_is_held_out_by_the_hash_of_seed_and_key() -> None:
    share = int.from_bytes(hashlib.sha256(b"7:anna").digest()[:8], "big") / 2**64
    assert is_holdout(["anna"], 7, 100 * share + 1e-6).tolist() == [True]
    assert is_holdout(["anna"], 7, 100 * share - 1e-6).tolist() == [False]


def test_the_share_is_as_configured_and_the_company_changes_nobody() -> None:
    held = is_holdout(KEYS, 7, 10)
    assert abs(held.mean() - 0.1) < 5 * np.sqrt(0.1 * 0.9 / len(KEYS))
    assert is_holdout(KEYS[::-1][:50], 7, 10).tolist() == held[::-1][:50].tolist()


def test_a_higher_percentage_only_adds_customers() -> None:
    assert not (is_holdout(KEYS, 7, 10) & ~is_holdout(KEYS, 7, 20)).any()


def test_none_and_all_are_none_and_all() -> None:
    assert not is_holdout(KEYS, 7, 0).any()
    assert is_holdout(KEYS, 7, 100).all()
    assert is_holdout([], 7, 50).shape == (0,)


def test_draws_are_uniform_new_every_night_and_independent_of_the_holdout() -> None:
    first = night_draws(KEYS, 7, date(2026, 3, 1))
    second = night_draws(KEYS, 7, date(2026, 3, 2))
    held = is_holdout(KEYS, 7, 30)
    together = np.column_stack([first, second, held])
    assert first.min() >= 0
    assert first.max() < 1
    assert np.abs(first.mean(axis=0) - 0.5).max() < 5 / np.sqrt(12 * len(KEYS))
    correlation = np.corrcoef(together, rowvar=False) - np.eye(together.shape[1])
    assert np.abs(correlation).max() < 5 / np.sqrt(len(KEYS))


def test_the_same_night_draws_the_same_numbers() -> None:
    night = date(2026, 3, 1)
    assert np.array_equal(night_draws(KEYS[:9], 7, night), night_draws(KEYS[:9], 7, night))
    assert night_generator(7, night).random() == night_generator(7, night).random()
    assert night_generator(7, night).random() != night_generator(8, night).random()


def test_more_draws_than_a_digest_holds_are_refused() -> None:
    with pytest.raises(ValueError, match="4 draws"):
        night_draws(KEYS[:1], 7, date(2026, 3, 1), 5)
