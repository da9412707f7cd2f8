"""The logs and peers of the off-policy benchmark: obp's own where it is installed, the rule's report always."""

import importlib.util
import json

import numpy as np
import pytest

import off_policy
from off_policy_logs import Setting, polynomial, shop, synthetic
from off_policy_peers import by_ours, check_equal, usual_model
from pipelines.strategy.off_policy import Feedback, direct, doubly_robust

needs_obp = pytest.mark.skipif(importlib.util.find_spec("obp") is None, reason="zr-obp is not installed")


def feedback(setting: Setting, seed: int) -> Feedback:
    log = off_policy.drawn(setting, seed)
    told = Feedback(log.action, log.reward, log.propensity, log.policy, context=log.context)
    return Feedback(log.action, log.reward, log.propensity, log.policy, usual_model(told, seed), log.context)


@needs_obp
def test_estimators_equal_those_of_obp() -> None:
    for setting in (Setting("few", n_actions=4, rows=300), Setting("rare", shift=6.5, rows=300)):
        check_equal(feedback(setting, 3))


def test_a_difference_from_obp_ends_the_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    log = feedback(Setting("few", n_actions=4, rows=200), 1)
    monkeypatch.setattr("off_policy_peers.by_obp", lambda told: by_ours(told) | {"ips": 7.0})
    with pytest.raises(SystemExit, match=r"estimators differ from obp's: \{'ips'"):
        check_equal(log)


def test_powers_of_columns_come_in_scikit_learn_s_order() -> None:
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    x = np.random.default_rng(1).normal(size=(4, 3))
    np.testing.assert_allclose(polynomial(x, 3), preprocessing.PolynomialFeatures(3).fit_transform(x))


def test_the_same_seed_gives_the_same_log_and_another_one_another_truth() -> None:
    setting = Setting("small", rows=200)
    one, again, other = synthetic(setting, 1), synthetic(setting, 1), synthetic(setting, 2)
    np.testing.assert_array_equal(one.reward, again.reward)
    assert one.truth == again.truth != other.truth


def test_settings_differ_in_what_they_are_named_for() -> None:
    logs = {one.name: synthetic(one, 5) for one in off_policy.SIX}
    spread = {name: float((log.policy.max(axis=1) / log.propensity).max()) for name, log in logs.items()}
    assert spread["large overlap"] < spread["frequent rewards"] < spread["small overlap"]
    assert logs["rare rewards"].reward.mean() < 0.1 < logs["frequent rewards"].reward.mean()
    assert (logs["few actions"].policy.shape[1], logs["many actions"].policy.shape[1]) == (4, 50)


def test_the_shop_s_propensities_are_those_that_its_treatments_were_drawn_with() -> None:
    for name in ("shop clicks", "shop profit"):
        log = shop(Setting(name), 3)
        taken = log.policy[np.arange(len(log.action)), log.action] / log.propensity
        assert taken.mean() == pytest.approx(1, abs=4 * taken.std() / len(taken) ** 0.5)
        told = Feedback(log.action, log.reward, log.propensity, log.policy, np.zeros(log.policy.shape))
        terms = doubly_robust(told)
        assert abs(terms.mean() - log.truth) < 4 * terms.std() / len(terms) ** 0.5


def test_the_report_has_all_settings_and_what_was_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(off_policy, "SIX", (Setting("tiny", n_actions=3, rows=300),))
    monkeypatch.setattr(off_policy, "MORE", ())
    monkeypatch.setattr(off_policy, "has_obp", lambda: False)
    monkeypatch.setattr("sys.argv", ["off_policy.py", "--repeats", "3", "--json"])
    off_policy.main()
    out = capsys.readouterr()
    assert "obp is not installed" in out.err
    told = json.loads(out.out)["settings"][0]
    for model in (off_policy.OURS, off_policy.USUAL):
        best = told[model]["best_of_obp"]
        assert best["mse"] == min(told[model]["obp"].values())
        assert told[model]["ours_over_best"] == pytest.approx(told[model]["ours"] / best["mse"])
    monkeypatch.setattr("sys.argv", ["off_policy.py", "--settings", "huge"])
    with pytest.raises(SystemExit, match=r"no setting called \['huge'\]: expected some of \['tiny'\]"):
        off_policy.main()


def test_the_usual_model_survives_a_fold_without_any_reward() -> None:
    log = feedback(Setting("none", rows=60, shift=30.0), 1)
    assert log.reward.sum() == 0
    assert (direct(log) == 0).all()
