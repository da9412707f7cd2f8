import lightgbm
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.core.errors import TrainingError
from training.grid import Grid


def booster_of(x: np.ndarray, y: np.ndarray, rounds: int = 5, **given: object) -> lightgbm.Booster:
    params = {"objective": "regression", "verbosity": -1, "num_threads": 1, "min_data_in_leaf": 1, "min_data_in_bin": 1}
    categories = given.pop("categories", "auto")
    data = lightgbm.Dataset(x, y, categorical_feature=categories, params=params | given)
    return lightgbm.train(params | given, data, rounds)


def product_of(customers: np.ndarray, strategies: np.ndarray) -> np.ndarray:
    n, s = len(customers), len(strategies)
    return np.concatenate([np.repeat(customers, s, axis=0), np.tile(strategies, (n, 1))], axis=1)


def agree(booster: lightgbm.Booster, customers: np.ndarray, strategies: np.ndarray) -> None:
    expected = booster.predict(product_of(customers, strategies), raw_score=True).reshape(len(customers), -1)
    found = Grid(booster, customers.shape[1], strategies).raw(customers)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


def test_a_tree_of_one_split_is_scored_by_hand() -> None:
    x = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]] * 5)
    booster = booster_of(x, x[:, 0] * x[:, 1] * 8, rounds=1, learning_rate=1.0, num_leaves=4)
    found = Grid(booster, 1, np.array([[0.0], [1.0]])).raw(np.array([[0.0], [1.0]]))
    np.testing.assert_allclose(found, [[0, 0], [0, 8]], atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_customer=st.integers(1, 4),
    n_strategy=st.integers(0, 3),
    n_strategies=st.integers(1, 9),
    leaves=st.integers(2, 12),
    missing=st.sampled_from([0.0, 0.3]),
    is_categorical=st.booleans(),
)
def test_a_grid_says_what_lightgbm_says(
    seed: int, n_customer: int, n_strategy: int, n_strategies: int, leaves: int, missing: float, is_categorical: bool
) -> None:
    rng = np.random.default_rng(seed)
    customers = rng.integers(-3, 40, (200, n_customer)).astype(np.float64)
    strategies = rng.integers(0, 3, (n_strategies, n_strategy)).astype(np.float64)
    x = np.concatenate([customers, strategies[rng.integers(0, n_strategies, 200)]], axis=1)
    x[rng.random(x.shape) < missing] = np.nan
    y = np.nan_to_num(x).sum(axis=1) + np.nan_to_num(x).prod(axis=1) + rng.normal(size=200)
    categories = [0] if is_categorical else "auto"
    booster = booster_of(np.abs(x), y, num_leaves=leaves, categories=categories, cat_smooth=1, min_data_per_group=1)
    other = rng.normal(0, 30, (40, n_customer)).round(1)  # values that were never met, and fractions
    other[rng.random(other.shape) < 0.2] = np.nan
    agree(booster, other, strategies)


def test_many_customers_are_scored_in_blocks_as_one_by_one() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3_000, 4))
    grid = Grid(booster_of(x, x[:, 0] * x[:, 3], rounds=20), 3, rng.normal(size=(5, 1)))
    whole = grid.raw(x[:, :3])
    assert whole.shape == (3_000, 5)
    np.testing.assert_allclose(
        whole[[0, 1_500, 2_999]], np.concatenate([grid.raw(x[[i], :3]) for i in (0, 1_500, 2_999)])
    )
    assert grid.raw(x[:0, :3]).shape == (0, 5)


def test_trees_of_customers_alone_or_strategies_alone_are_fine() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 2))
    agree(booster_of(x, x[:, 0]), x[:, :1], x[:4, 1:])
    agree(booster_of(x, x[:, 1]), x[:, :1], x[:4, 1:])
    agree(booster_of(x, np.zeros(300)), x[:, :1], x[:4, 1:])  # trees of one leaf


def test_models_that_a_grid_cannot_score_are_refused() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(300, 2)), rng.integers(0, 3, 300).astype(np.float64)
    for settings_of, told in (
        ({"objective": "multiclass", "num_class": 3}, "several classes"),
        ({"linear_tree": True}, "linear"),
        ({"zero_as_missing": True}, "zero as missing"),
        ({"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5}, "average_output"),
    ):
        with pytest.raises(TrainingError, match=told):
            Grid(booster_of(x, y, **settings_of), 1, x[:2, 1:])
