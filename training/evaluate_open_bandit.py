"""Judges off-policy evaluation on the Open Bandit data: what Thompson sampling earns, from logs of random choices.

    python -m training.evaluate_open_bandit SPEC.json     # {"data": folder, "out": folder}
    nightmarket evaluate open-bandit --data ../shared/data/open-bandit

obp's protocol for all three campaigns: on each of 30 resamples of the random log every estimator tells the clicks per
impression of the Thompson policy; its relative error is the distance to the mean of the log that this policy made
itself. That mean rests on 42 to 69 clicks, a standard error of 12% to 16%, so smaller errors tell luck from skill no more;
"ignore the policy" is the random log's own mean. Then a policy learnt on one half of the days is judged on the other.
"""

import time
from pathlib import Path
from typing import Any, Final

import numpy as np

from pipelines.strategy import off_policy as ope
from pipelines.strategy.off_policy import Feedback
from pipelines.strategy.off_policy_interval import student_t
from pipelines.strategy.off_policy_slope import tuned
from pipelines.strategy.off_policy_value import Evaluation, evaluate_policy
from pipelines.strategy.reward_model import Precision, design, fit_hierarchical, fit_ridge
from training.job import run_job
from training.open_bandit import CAMPAIGNS, N_POSITIONS, Impressions, read_impressions, thompson, usual_model

N_RESAMPLES: Final = 30
LAMBDAS: Final = (10.0, 50.0, 100.0, 500.0, 1000.0, 5000.0, 10000.0, np.inf)
USUAL, HELD_BACK = 100.0, 0.01  # C of obp's reward model in its examples, and one that few clicks can carry
OURS, OURS_ON_USUAL, IGNORE, BEST = "ours", "ours on obp's model", "ignore the policy", "obp's best"
SHARPNESS: Final = 3.0  # of the learnt policy: softmax of this times the log odds of a click
_LEVEL = Precision(level=10.0, slope=1e6)


def feedback(log: Impressions, policy: np.ndarray, q: np.ndarray | None = None) -> Feedback:
    """The log as the estimators take it; `policy` (n, k)."""
    at = np.eye(N_POSITIONS)[log.position][:, 1:]
    return Feedback(
        log.item, log.click, log.propensity, policy, q, np.concatenate([log.user, at], axis=1), cluster=log.row
    )


def obp_values(log: Feedback) -> dict[str, float]:
    """obp's estimators of the published comparison."""
    weight = log.weight
    switched = [ope.switch_dr(log, most) for most in LAMBDAS]
    shrunken = [ope.dr_shrunken(log, most) for most in LAMBDAS]
    terms = {
        "dm": ope.direct(log), "ips": ope.ips(log), "ips-clip10": np.minimum(weight, 10) * log.reward,
        "snips": ope.snips(log), "dr": ope.doubly_robust(log), "sndr": ope.self_normalised_dr(log),
        "switch-dr(slope)": tuned(switched), "dr-os(slope)": tuned(shrunken), "dr-os(lam=1)": ope.dr_shrunken(log, 1.0),
        "dr-os(lam=100)": ope.dr_shrunken(log, 100.0),
    }  # fmt: skip
    return {name: float(found.mean()) for name, found in terms.items()}


def values_of(log: Impressions, dist: np.ndarray, seed: int) -> dict[str, float]:
    """What each estimator says of the policy `dist` (k, 3) on one resample."""
    policy = dist.T[log.position]
    usual = feedback(log, policy, usual_model(log, USUAL))
    held_back = obp_values(feedback(log, policy, usual_model(log, HELD_BACK)))
    found = obp_values(usual)
    found |= {f"{name}[C=.01]": held_back[name] for name in ("dm", "dr", "dr-os(slope)")}
    found[IGNORE] = float(log.click.mean())
    found[OURS_ON_USUAL] = evaluate_policy(usual, seed=seed).value.value
    return found | {OURS: evaluate_policy(feedback(log, policy), seed=seed).value.value}


def learnt_policy(train: Impressions, judged: Impressions) -> np.ndarray:
    """(n, k) for impressions `judged`: softmax of log odds that items' own levels and clicks on them before tell."""
    n_items = train.affinity.shape[1]
    model = fit_hierarchical(design(None, len(train)), train.item, train.click, n_items, _LEVEL, True)
    levels = (model.common + model.own)[:, 0]
    of_row = np.stack([levels[train.item], np.log1p(train.affinity[np.arange(len(train)), train.item])], axis=1)
    slopes = fit_ridge(of_row, train.click, np.ones(len(train)), np.array([1.0, 0.0]), np.array([100.0, 1.0]), True)
    raw = SHARPNESS * (slopes[0] * levels + slopes[1] * np.log1p(judged.affinity))
    odds = np.exp(raw - raw.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def judge_learnt(log: Impressions, dist: np.ndarray) -> dict[str, Any]:
    """The learnt policy's value beside random and Thompson. It is recommended only if its lower bound is above both."""
    half = np.arange(len(log)) < len(log) // 2
    policy = np.empty(log.affinity.shape)
    for judged in (half, ~half):
        policy[judged] = learnt_policy(log.take(np.flatnonzero(~judged)), log.take(np.flatnonzero(judged)))
    learnt, bts = evaluate_policy(feedback(log, policy)), evaluate_policy(feedback(log, dist.T[log.position]))
    random = float(log.click.mean())
    reason = learnt.refusal
    if not reason and learnt.value.low < max(random, bts.value.value):
        reason = (
            f"its lower bound, {learnt.value.low:.4f} clicks per impression, is not above random's {random:.4f} and "
            f"Thompson's {bts.value.value:.4f}: {len(log)} rows with {int(log.click.sum())} clicks cannot tell"
        )
    return {
        "learnt": _told(learnt), "thompson": _told(bts), "random": student_t(log.click).as_dict(),
        "verdict": "refused" if reason else "recommended", "why": reason or "its lower bound is above both",
    }  # fmt: skip


def judge(data: Path, campaign: str, n_resamples: int) -> dict[str, Any]:
    """Relative errors (resamples,) of each estimator and what is said of the learnt policy."""
    log, dist = read_impressions(data, "random", campaign), thompson(data, campaign)
    truth = float(read_impressions(data, "bts", campaign).click.mean())
    values = [values_of(log.resampled(b), dist, b) for b in range(n_resamples)]
    errors = {who: np.abs(np.array([one[who] for one in values]) - truth) / truth for who in values[0]}
    whole = evaluate_policy(feedback(log, dist.T[log.position]))
    return {"errors": errors, "truth": truth, "whole": _told(whole), "policies": judge_learnt(log, dist)}


def run(data: Path, n_resamples: int = N_RESAMPLES) -> dict[str, Any]:
    """The judgement as DESIGN.md shapes it; intervals are of the mean over resamples."""
    began = time.perf_counter()
    found = {campaign: judge(data, campaign, n_resamples) for campaign in CAMPAIGNS}
    own = (OURS, OURS_ON_USUAL, IGNORE)
    best = {
        campaign: min((who for who in one["errors"] if who not in own), key=lambda who: one["errors"][who].mean())
        for campaign, one in found.items()
    }

    def told(who: str, other: str | None = None) -> dict[str, Any]:
        cells = {}
        for campaign, one in found.items():
            errors = one["errors"]
            values = errors[best[campaign] if who == BEST else who]
            if other:
                values = values - errors[best[campaign] if other == BEST else other]
            cells[f"{campaign}_relative_error"] = student_t(values).as_dict()
        return cells

    others = (BEST, IGNORE, OURS_ON_USUAL)
    return {
        "name": "open-bandit",
        "data": f"Open Bandit, small: random -> Thompson, {n_resamples} resamples",
        "metrics": told(OURS),
        "baselines": {who: told(who) for who in others},
        "paired": {who: told(OURS, who) for who in others},
        "docs": {f"{c}_relative_error": "mean |value - truth| / truth over resamples; lower is better" for c in found},
        "obp_best": best,
        "estimators": {c: {who: float(e.mean()) for who, e in one["errors"].items()} for c, one in found.items()},
        "truth_clicks_per_impression": {campaign: one["truth"] for campaign, one in found.items()},
        "thompson_by_the_whole_log": {campaign: one["whole"] for campaign, one in found.items()},
        "policies": {campaign: one["policies"] for campaign, one in found.items()},
        "seconds": time.perf_counter() - began,
    }


def _told(found: Evaluation) -> dict[str, Any]:
    return {
        "clicks_per_impression": found.value.as_dict(), "calibration_kept": found.kept, "interval": found.method,
        "reward_model": found.reward_model, "overlap": found.overlap.as_dict(), "refusal": found.refusal,
    }  # fmt: skip


if __name__ == "__main__":
    run_job(lambda spec: run(Path(spec["data"])))
