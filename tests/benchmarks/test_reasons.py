"""The benchmark of reasons, on a tiny shop: the formula is Shapley's, contenders agree with it, figures are told."""

from pathlib import Path

import numpy as np
import pytest

import demo_shop
import reasons
from pipelines.core.columns import Columns as C
from pipelines.core.shop import Shop
from pipelines.strategy.attribution import shapley
from tests.training.small_effect import STRATEGIES, profiles, with_strategies
from training.explain import Usual, game
from training.task import Fitting
from training.tasks.effect import TASK
from training.tasks.effect_factors import factors_of


def test_the_formula_over_all_coalitions_shares_what_three_bring_together() -> None:
    def together(coalition: np.ndarray) -> np.ndarray:
        return np.array([6.0 * coalition.all(), coalition @ [1.0, 2.0, 4.0]])

    np.testing.assert_allclose(reasons.exact(together, 3), [[2, 2, 2], [1, 2, 4]])
    np.testing.assert_allclose(shapley(together, 3, n_pairs=50).shares, [[2, 2, 2], [1, 2, 4]], atol=0.4)


def test_coalitions_asked_at_once_are_those_asked_one_by_one() -> None:
    from tests.training.small_effect import examples

    model = TASK.fit(*examples(), Fitting(threads=1, settings={"rounds": 5}))
    people = profiles(20, seed=9)
    rows = with_strategies(people, (STRATEGIES * 3)[:20])
    usual, factors, row = Usual.of(people, rows), factors_of(rows), rows.slice(4, 1)
    coalitions = np.random.default_rng(0).random((6, len(factors))) < 0.5
    at_once = reasons.lift_of(model, row, usual, factors, coalitions)
    one_by_one = [game(model, row, usual, factors)(coalition)[0] for coalition in coalitions]
    np.testing.assert_allclose(at_once, one_by_one, atol=1e-9)
    assert len(set(np.round(at_once, 6))) > 1
    assert row[C.USER_KEY].to_pylist() == ["u00004"]


@pytest.mark.slow
def test_all_figures_are_told_and_what_must_hold_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("shap", reason="shap comes with econml, a development dependency")

    def young(name: str, seed: int, customers: int | None) -> Shop:
        """With five nights behind it instead of fourteen."""
        shop = demo_shop.shop_of(name, seed, customers)
        assert shop.simulator
        return shop.model_copy(update={"simulator": shop.simulator.model_copy(update={"history_nights": 5})})

    monkeypatch.setattr(reasons, "shop_of", young)
    monkeypatch.setattr(reasons, "factors_of", lambda rows: factors_of(rows)[:6])  # 64 coalitions instead of 4,096
    found = reasons.measure("demo", 150, 2, tmp_path)
    assert found["off_cents"] < 1e-9
    assert set(found["contenders"]) == {"nightmarket", "nightmarket_one_pair", "shap_permutation", "shap_kernel"}
    assert found["contenders"]["nightmarket"]["error"] < 0.1
    assert set(found["sanity"]) == {"same_world", "answers_of_others", "scrambled"}
    assert set(found["truth"]) == {"hours", "answers"}
