import numpy as np
import pytest

from pipelines.strategy.reward_model import Precision, cross_fitted, design, fit_hierarchical, fit_ridge, sigmoid


def world(n: int, seed: int = 0, level: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Context (n, 2), action of three, click, true chances (n, 3): each action likes another direction."""
    rng = np.random.default_rng(seed)
    context = rng.normal(size=(n, 2))
    chance = sigmoid(level + context @ np.array([[1.5, -1.5, 0.0], [0.0, 0.5, -1.0]]) + np.array([0.5, 0.0, -0.5]))
    action = rng.integers(0, 3, n)
    return context, action, (rng.random(n) < chance[np.arange(n), action]).astype(float), chance


def test_the_arrow_of_blocks_finds_what_scikit_learn_finds_on_the_full_matrix() -> None:
    linear = pytest.importorskip("sklearn.linear_model")
    context, action, click, _ = world(400)
    x = design(context, 400)
    found = fit_hierarchical(x, action, click, 3, Precision(1.0, 1.0), True)
    # The same penalised likelihood with a column per coefficient, scaled so that one ridge of 1 holds them all; the
    # general level, hardly penalised here, is scaled up.
    own = np.concatenate([x * (action == k)[:, None] for k in range(3)], axis=1)
    shared = x * np.array([1e3**0.5, 1.0, 1.0])
    full = linear.LogisticRegression(C=1.0, fit_intercept=False, max_iter=20_000, tol=1e-10)
    coefficients = full.fit(np.concatenate([shared, own], axis=1), click).coef_[0]
    common = coefficients[:3] * np.array([1e3**0.5, 1.0, 1.0])
    assert found.common + found.own == pytest.approx(common + coefficients[3:].reshape(3, 3), abs=1e-3)


def test_a_model_with_each_action_s_own_slopes_is_chosen_where_they_differ_and_predicts_held_out_rows() -> None:
    context, action, click, chance = world(3_000)
    found = cross_fitted(context, action, click, 3, seed=1)
    assert np.abs(found.q - chance).mean() < 0.05
    assert found.losses[found.chosen] == min(found.losses.values())
    assert found.losses["ridge 1/1/1"] < found.losses["ridge 100/1e+06/10000"]
    assert "lightgbm" in found.losses


def test_a_row_does_not_see_its_own_reward() -> None:
    context, action, click, _ = world(300)
    before = cross_fitted(context, action, click, 3, trees=False).q[7]
    click[7] = 1 - click[7]
    after = cross_fitted(context, action, click, 3, trees=False)
    others = np.delete(np.arange(300), 7)
    assert after.q[7] == pytest.approx(before)
    assert not np.allclose(after.q[others].mean(axis=0), before)


@pytest.mark.parametrize("n_clicks", [0, 1, 2])
def test_folds_without_a_click_do_not_break_it(n_clicks: int) -> None:
    context, action, click, _ = world(90)
    click = (np.arange(90) < n_clicks).astype(float)
    found = cross_fitted(context, action, click, 3)
    assert np.isfinite(found.q).all()
    assert 0 < found.q.mean() < 0.08


def test_actions_never_logged_and_logs_without_context_are_fine() -> None:
    rng = np.random.default_rng(5)
    action = rng.integers(0, 2, 400)
    click = (rng.random(400) < np.array([0.2, 0.6])[action]).astype(float)
    found = cross_fitted(None, action, click, 4, seed=2)
    assert found.q.shape == (400, 4)
    assert found.q.mean(axis=0)[:2] == pytest.approx([0.2, 0.6], abs=0.08)
    assert 0.2 < found.q[:, 2].mean() < 0.6  # what actions do on average


def test_rewards_in_cents_are_fitted_by_least_squares_in_any_unit() -> None:
    context, action, _, chance = world(600)
    cents = 1_000 * chance[np.arange(600), action]
    euros = cross_fitted(context, action, cents / 100, 3, trees=False)
    assert cross_fitted(context, action, cents, 3, trees=False).q == pytest.approx(100 * euros.q)
    assert np.abs(euros.q * 100 - 1_000 * chance).mean() < 60


def test_a_customer_s_rows_share_a_fold() -> None:
    context, action, click, _ = world(200)
    twice = [np.repeat(one, 2, axis=0) for one in (context, action, click)]
    found = cross_fitted(*twice, 3, cluster=np.repeat(np.arange(200), 2), trees=False)
    assert found.q[::2] == pytest.approx(found.q[1::2])


def test_coefficients_without_data_stay_where_the_prior_holds_them() -> None:
    prior = np.array([0.5, -1.0])
    found = fit_ridge(np.zeros((5, 2)), np.ones(5), np.ones(5), prior, np.ones(2), True)
    assert found == pytest.approx(prior)
    x, y = np.array([[1.0], [1.0]]), np.array([3.0, 5.0])
    assert fit_ridge(x, y, np.ones(2), np.zeros(1), np.ones(1), False) == pytest.approx([8 / 3])
