"""Every estimator of zr-obp for benchmarks/off_policy.py: obp's own classes where obp is installed, else ours of the same.

obp 0.5.7 declares Python below 3.11 and imports seaborn for plots; its estimators need neither. So:

    python -m pip install --no-deps --ignore-requires-python --target FOLDER obp==0.5.7
    PYTHONPATH=FOLDER python benchmarks/off_policy.py

Left out: ReplayMethod, which judges deterministic policies only, and balanced IPW, which trains a classifier instead of
using the propensities that all others are given. Tuned ones choose among LAMBDAS by SLOPE++ or by estimated mean
squared error, obp's defaults.
"""

import importlib
import importlib.util
import sys
import types

import numpy as np

from pipelines.strategy import off_policy as ope
from pipelines.strategy.off_policy import Feedback
from pipelines.strategy.off_policy_slope import tuned

LAMBDAS = (10.0, 50.0, 100.0, 500.0, 1000.0, 5000.0, 10000.0, np.inf)  # as in obp's examples
SUB_GAUSSIAN = (0.0, 1e-4, 1e-3, 1e-2, 0.05, 0.1, 0.5, 1.0)
TUNED = ("ips", "dr", "switch-dr", "dr-os", "sg-ips", "sg-dr")
_OBP_TUNED = {
    "ips": "InverseProbabilityWeightingTuning", "dr": "DoublyRobustTuning", "switch-dr": "SwitchDoublyRobustTuning",
    "dr-os": "DoublyRobustWithShrinkageTuning", "sg-ips": "SubGaussianInverseProbabilityWeightingTuning",
    "sg-dr": "SubGaussianDoublyRobustTuning",
}  # fmt: skip
_OBP_PLAIN = {
    "ips": "InverseProbabilityWeighting", "snips": "SelfNormalizedInverseProbabilityWeighting", "dm": "DirectMethod",
    "dr": "DoublyRobust", "sndr": "SelfNormalizedDoublyRobust",
}  # fmt: skip
HOW = "pip install --no-deps --ignore-requires-python --target FOLDER obp==0.5.7, then PYTHONPATH=FOLDER"


def has_obp() -> bool:
    """Whether obp can be imported."""
    return importlib.util.find_spec("obp") is not None


def by_ours(log: Feedback) -> dict[str, float]:
    """obp's estimators, as implemented here."""
    found = {
        "ips": ope.ips(log), "snips": ope.snips(log), "dm": ope.direct(log), "dr": ope.doubly_robust(log),
        "sndr": ope.self_normalised_dr(log),
    }  # fmt: skip
    values = {name: float(terms.mean()) for name, terms in found.items()}
    for name in TUNED:
        weights = [_changed(log.weight, name, most) for most in (SUB_GAUSSIAN if name.startswith("sg") else LAMBDAS)]
        is_ips = name.endswith("ips")
        gap = log.reward if is_ips else log.residual
        start = np.zeros(len(log)) if is_ips else log.expected
        terms = [start + weight * gap for weight in weights]
        values[f"{name}(slope)"] = float(tuned(terms).mean())
        scores = [
            one.var() / len(log) + _bias(log, weight, gap) ** 2 for one, weight in zip(terms, weights, strict=True)
        ]
        values[f"{name}(mse)"] = float(terms[int(np.argmin(scores))].mean())
    return values


def _changed(weight: np.ndarray, name: str, most: float) -> np.ndarray:
    if name.startswith("sg"):  # Metelli, Russo and Restelli 2021
        return weight / (1 - most + most * weight)
    if name == "switch-dr":
        return np.where(weight <= most, weight, 0.0)
    if name == "dr-os":
        return weight if most == np.inf else most * weight / (weight**2 + most)
    return np.minimum(weight, most)


def _bias(log: Feedback, weight: np.ndarray, gap: np.ndarray, delta: float = 0.1) -> float:
    """obp's bound on the bias of changed weights (Su et al. 2020, page 17)."""
    n, far = len(log), np.log(2 / delta)
    found = abs(((log.weight - weight) * gap).mean())
    return float(found + np.sqrt(2 * (log.weight**2).mean() * far / n) + 2 * log.weight.max() * far / (3 * n))


def by_obp(log: Feedback) -> dict[str, float]:
    """obp's estimators, by obp's classes."""
    if "seaborn" not in sys.modules and importlib.util.find_spec("seaborn") is None:
        sys.modules["seaborn"] = types.ModuleType("seaborn")  # for plots only
    obp = importlib.import_module("obp.ope")
    given = {
        "reward": log.reward, "action": log.action, "pscore": log.propensity, "action_dist": log.policy[:, :, None],
        "estimated_rewards_by_reg_model": log.model[:, :, None], "position": np.zeros(len(log), dtype=int),
    }  # fmt: skip
    values = {name: float(getattr(obp, kind)().estimate_policy_value(**given)) for name, kind in _OBP_PLAIN.items()}
    for name, kind in _OBP_TUNED.items():
        lambdas = list(SUB_GAUSSIAN if name.startswith("sg") else LAMBDAS)
        for method in ("slope", "mse"):
            chosen = getattr(obp, kind)(lambdas=lambdas, tuning_method=method)
            values[f"{name}({method})"] = float(chosen.estimate_policy_value_with_tuning(**given))
    return values


def check_equal(log: Feedback) -> None:
    """Ends the program where an estimator of ours differs from obp's."""
    ours, theirs = by_ours(log), by_obp(log)
    far = {name: (ours[name], theirs[name]) for name in theirs if not abs(ours[name] - theirs[name]) < 1e-9}
    if far or set(ours) != set(theirs):
        raise SystemExit(f"estimators differ from obp's: {far or set(ours) ^ set(theirs)}")


def usual_model(log: Feedback, seed: int) -> np.ndarray:
    """(n, a): obp's RegressionModel as its examples use it: logistic regression on context and one-hot action, in 3 folds;
    least squares with a ridge of 1 where rewards are not 0 or 1."""
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.model_selection import KFold

    assert log.context is not None
    n, a = log.policy.shape
    found, actions = np.zeros((n, a)), np.eye(a)
    is_binary = bool(np.isin(log.reward, (0, 1)).all())
    for train, rest in KFold(3, shuffle=True, random_state=seed).split(log.context):
        if is_binary and len(np.unique(log.reward[train])) < 2:
            found[rest] = log.reward[train].mean()  # obp ends with an error here
            continue
        told = np.concatenate([log.context[train], actions[log.action[train]]], axis=1)
        model = (LogisticRegression(max_iter=10_000) if is_binary else Ridge()).fit(told, log.reward[train])
        slopes = np.ravel(model.coef_)
        d = log.context.shape[1]
        raw = (log.context[rest] @ slopes[:d])[:, None] + slopes[d:] + np.ravel(model.intercept_)[0]
        found[rest] = 1 / (1 + np.exp(-raw)) if is_binary else raw
    return found
