"""Learners find known effects, agree with econml's on the same data and base models, and hold out what they say they do."""

import numpy as np
import pytest
from scipy.special import logit
from sklearn.linear_model import ARDRegression, LogisticRegression, Ridge

from tests.training.uplift.simulated import simulated
from training.uplift.bases import fit_base, fit_linear, model_from_json
from training.uplift.crossfit import cross_fit
from training.uplift.effects import crossed, effects_from_json
from training.uplift.learners import Learner, fit_outcomes
from training.uplift.trial import Trial, doubly_robust, folds_of

EVERY = [Learner(kind, base) for kind in ("T", "X", "DR", "R", "CT") for base in ("linear", "trees")]
EVERY += [Learner("S", "linear", has_crosses=True), Learner("S", "trees")]


@pytest.fixture(scope="module")
def told() -> tuple[Trial, np.ndarray]:
    return simulated(1)


@pytest.mark.parametrize("is_binary", [True, False])
@pytest.mark.parametrize("learner", EVERY, ids=lambda learner: learner.name)
def test_every_learner_finds_who_is_moved_and_how_much(learner: Learner, is_binary: bool) -> None:
    trial, truth = simulated(2, is_binary=is_binary)
    mean = fit_outcomes("linear", trial).mean(trial.x)
    effects = learner.fit(trial, mean, seed=3)
    found = effects.effect(trial.x)
    assert np.corrcoef(found[:, 0], truth[:, 0])[0, 1] > (0.6 if is_binary else 0.45)
    if learner != Learner("S", "trees"):  # whose trees split by arm late, so that its effects are too small
        assert found.mean(axis=0) == pytest.approx(truth.mean(axis=0), abs=0.05 * (1 if is_binary else 25))
    again = effects_from_json(effects.to_json())
    np.testing.assert_array_equal(again.effect(trial.x), found)


def test_an_unequal_assignment_is_made_good_by_propensities() -> None:
    luck = np.random.default_rng(0)
    x = luck.normal(size=(20_000, 2))
    chance = 1 / (1 + np.exp(-1.5 * x[:, 0]))
    arm = (luck.random(len(x)) < chance).astype(np.int64)
    y = x[:, 0] + 0.3 * arm + luck.normal(size=len(x))
    trial = Trial.of(x, arm, y, np.column_stack([1 - chance, chance]))
    assert y[arm == 1].mean() - y[arm == 0].mean() > 1.0, "who is treated would have done better anyway"
    flat = np.full((len(x), 2), y.mean())  # outcome models that know nothing
    assert doubly_robust(trial, flat).mean() == pytest.approx(0.3, abs=0.15)
    assert Learner("DR", "linear").fit(trial, fit_outcomes("linear", trial).mean(x)).effect(x).mean() == pytest.approx(
        0.3, abs=0.1
    )


def test_linear_bases_are_those_of_scikit_learn(told: tuple[Trial, np.ndarray]) -> None:
    trial, _ = told
    x = (trial.x - trial.x.mean(axis=0)) / trial.x.std(axis=0)
    ours = fit_linear(trial.x, trial.y, trial.weight, is_class=True, penalty=20.0).predict(trial.x)
    theirs = LogisticRegression(C=1 / 20, tol=1e-10).fit(x, trial.y).predict_proba(x)[:, 1]
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    ours = fit_linear(trial.x, trial.y, trial.weight, penalty=20.0).predict(trial.x)
    np.testing.assert_allclose(ours, Ridge(alpha=20.0).fit(x, trial.y).predict(x), atol=1e-9)


def test_penalties_that_the_data_tell_are_those_of_scikit_learn() -> None:
    luck = np.random.default_rng(4)
    x = luck.normal(size=(3_000, 4))
    y = x @ [0.5, 0.1, 0.0, 0.0] + luck.normal(size=3_000)
    ours = fit_linear(x, y, np.ones(3_000), is_learnt=np.full(4, True)).predict(x)
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    np.testing.assert_allclose(ours, ARDRegression().fit(z, y).predict(z), atol=2e-3)


def test_crosses_that_the_data_do_not_bear_out_leave_an_arm_its_one_odds_ratio() -> None:
    luck = np.random.default_rng(6)
    x, arm = luck.normal(size=(20_000, 4)), luck.integers(3, size=20_000)
    odds = -1.0 + 0.5 * x[:, 1] + 0.4 * (arm > 0) + 0.3 * (arm == 2) * x[:, 0] + 0.2 * (arm > 0) * x[:, 2]
    trial = Trial.of(x, arm, (luck.random(20_000) < 1 / (1 + np.exp(-odds))).astype(float), np.full(3, 1 / 3))
    log_odds = logit(Learner("S", "linear", has_crosses=True).fit_joined(trial).mean(x))
    ratio = log_odds[:, 1:] - log_odds[:, :1]
    found = np.linalg.lstsq(np.column_stack([np.ones(len(x)), x]), ratio, rcond=None)[0]
    three_errors = 0.11
    assert found[0] == pytest.approx([0.4, 0.4], abs=three_errors)
    assert found[1] == pytest.approx([0.0, 0.3], abs=three_errors)
    assert found[3] == pytest.approx([0.2, 0.2], abs=three_errors), "what any treatment does"
    assert np.abs(found[[2, 4]]).max() < 0.02, "and nothing else, where unpenalised slopes err by .04"


def test_crosses_by_hand_have_one_for_any_treatment_where_there_are_several() -> None:
    x = np.array([[2.0, 3.0]])
    several = crossed(x, np.array([2]), 3, with_crosses=True)
    assert several.tolist() == [[2, 3, 0, 1, 0, 0, 2, 3, 2, 3]]
    assert crossed(x, np.array([1]), 2, with_crosses=True).tolist() == [[2, 3, 1, 2, 3]]
    assert crossed(x, np.array([0]), 3, with_crosses=False).tolist() == [[2, 3, 0, 0]]


def test_one_class_only_gives_a_small_rate_and_no_slope() -> None:
    model = fit_linear(np.arange(10.0)[:, None], np.zeros(10), np.ones(10), is_class=True)
    assert model.predict(np.array([[0.0], [99.0]])) == pytest.approx([0.5 / 11, 0.5 / 11])


def test_a_saved_base_that_is_none_is_refused() -> None:
    with pytest.raises(Exception, match="expected trees or linear"):
        model_from_json({"kind": "forest"})


class Base:
    """Our ridge as scikit-learn's estimators are shaped."""

    def fit(self, x: np.ndarray, y: np.ndarray) -> "Base":
        self.model = fit_base("linear", x, np.ravel(y), np.ones(len(x)))
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        return self.model.predict(x)

    def get_params(self, deep: bool = True) -> dict[str, object]:
        return {}


class Share:
    """The treated share as a model of propensity."""

    def fit(self, x: np.ndarray, arm: np.ndarray) -> "Share":
        self.share = np.bincount(arm) / len(arm)
        return self

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        return np.tile(self.share, (len(x), 1))

    def get_params(self, deep: bool = True) -> dict[str, object]:
        return {}


def test_t_x_and_dr_are_those_of_econml_on_the_same_base() -> None:
    metalearners, dr = pytest.importorskip("econml.metalearners"), pytest.importorskip("econml.dr")
    trial, _ = simulated(5, n=3_000, is_binary=False)
    trial, treated, _ = trial.pair(1)
    arm, share = treated.astype(np.int64), float(treated.mean())
    pair = Trial.of(trial.x, arm, trial.y, np.array([1 - share, share]))
    outcomes = fit_outcomes("linear", pair)
    theirs = metalearners.TLearner(models=Base()).fit(pair.y, arm, X=pair.x).effect(pair.x)
    np.testing.assert_allclose(outcomes.effect(pair.x)[:, 0], theirs, atol=1e-8)
    ours = Learner("X", "linear").fit(pair, outcomes.mean(pair.x)).effect(pair.x)[:, 0]
    x_learner = metalearners.XLearner(models=Base(), cate_models=Base(), propensity_model=Share())
    np.testing.assert_allclose(ours, x_learner.fit(pair.y, arm, X=pair.x).effect(pair.x), atol=1e-8)
    fold = folds_of(pair, 3, seed=0)
    held = cross_fit(pair, {}, fold, seed=0)
    ours = Learner("DR", "linear").fit(pair, held.mean).effect(pair.x)[:, 0]
    dr_learner = dr.DRLearner(
        model_propensity=Share(), model_regression=Ridge(100.0), model_final=Base(), cv=3, random_state=0
    )
    theirs = dr_learner.fit(pair.y, arm, X=pair.x).effect(pair.x)
    assert np.corrcoef(ours, np.ravel(theirs))[0, 1] > 0.95
    assert ours.mean() == pytest.approx(float(np.mean(theirs)), abs=0.3)


def test_what_is_said_of_a_fold_does_not_depend_on_its_outcomes(told: tuple[Trial, np.ndarray]) -> None:
    trial, _ = told
    fold = folds_of(trial, 3, seed=0)
    changed = Trial(trial.x, trial.arm, np.where(fold == 1, 1 - trial.y, trial.y), trial.propensity, trial.weight)
    candidates = {learner.name: learner.fit for learner in (Learner("X", "linear"), Learner("R", "linear"))}
    one, other = cross_fit(trial, candidates, fold, 0), cross_fit(changed, candidates, fold, 0)
    for name in candidates:
        np.testing.assert_allclose(one.effect[name][fold == 1], other.effect[name][fold == 1], atol=1e-12)
        assert np.abs(one.effect[name][fold == 0] - other.effect[name][fold == 0]).max() > 1e-6
    np.testing.assert_allclose(one.mean[fold == 1], other.mean[fold == 1], atol=1e-12)
