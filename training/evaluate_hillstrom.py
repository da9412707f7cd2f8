"""Judges the effect model on the randomised Hillstrom e-mail trial: 20 half splits, one half fits, the other judges.

    python -m training.evaluate_hillstrom SPEC.json     # {"data": folder, "out": folder, "threads": 0}
    nightmarket evaluate hillstrom --data ../shared/data/hillstrom

Columns, splits and the judge of policies (doubly robust, its outcome model fitted on the training half) are those of
peers/DEFINITIONS.md. Everything that is chosen is chosen by cross-fitting inside a training half. Intervals are the 2.5%
and 97.5% quantiles over the splits; these share the same 64,000 customers, so they tell how a result depends on the
split, not how sure it is of other customers.
"""

import sys
import time
from pathlib import Path
from typing import Any, Final

import lightgbm
import numpy as np

from pipelines.strategy.judgement import Interval
from training.hillstrom import ARM_NAMES, FEATURES, Hillstrom, read_hillstrom, read_masks
from training.hillstrom_peers import COLUMNS, POLICY_COLUMNS, RANKING_COLUMNS, Peers, read_peers
from training.job import run_job
from training.uplift.blend import Blend, blend_of, blend_through, candidates_for, cross_fits
from training.uplift.measures import policy_value, qini_area, qini_coefficient, uplift_at, uplift_coefficient
from training.uplift.trial import Trial

COST_DOLLARS: Final = 0.05  # of an e-mail
CHANCE: Final = 1 / 3  # of each arm, known
NEVER, MENS, WOMENS = range(3)
BEST_PEER, SINGLE_PEER, RANDOM, PAST_SPEND = "best peer", "best single peer", "random", "past spend"
ALWAYS: Final = {"never": NEVER, "always mens": MENS, "always womens": WOMENS}
AREAS: Final = ("womens_spend_qini_area", "mens_spend_qini_area")
CHECKS: Final = tuple(f"{column}_{how}" for column in POLICY_COLUMNS for how in ("ips", "snips"))
_DOCS: Final = {
    **{
        column: f"{field} of the {task.replace('-', ' email on ')}; higher is better"
        for column, (task, field) in RANKING_COLUMNS.items()
    },
    **dict.fromkeys(AREAS, "area between Qini curve and line per customer and treated, dollars; higher is better"),
    **{
        column: f"doubly robust value per customer ({name}); higher is better"
        for column, name in POLICY_COLUMNS.items()
    },
    **dict.fromkeys(CHECKS, "the same value by inverse propensities, plain or self-normalised; higher is better"),
}


def features(x: np.ndarray) -> np.ndarray:
    """The 13 features, and who bought from both departments, which a linear model cannot tell from the two flags."""
    return np.column_stack([x, x[:, 4] * x[:, 5]])


def fit_split(told: Hillstrom, train: np.ndarray, seed: int) -> tuple[Blend, Blend]:
    """Effects on visits and on spend, from one training half."""
    x, arm, chances = features(told.x[train]), told.arm[train], np.full(3, CHANCE)
    visit, spend = (Trial.of(x, arm, y[train], chances) for y in (told.visit, told.spend))
    simple = {PAST_SPEND: FEATURES.index("history")}
    on_visit, on_spend = (
        cross_fits(trial, candidates_for(is_binary=trial.is_binary, simple=simple), seed) for trial in (visit, spend)
    )
    visits = blend_of(visit, on_visit)
    return visits, blend_through(spend, on_spend, visit, on_visit, visits)


def judging_means(x: np.ndarray, arm: np.ndarray, y: np.ndarray, seen: np.ndarray, is_class: bool) -> np.ndarray:
    """(n unseen, 3) expected outcomes by `lgbm-tiny` of DEFINITIONS per arm: the same judge for all policies."""
    how = {
        "objective": "binary" if is_class else "l2", "learning_rate": 0.05, "num_leaves": 4, "min_data_in_leaf": 500,
        "lambda_l2": 10.0, "bagging_fraction": 0.8, "bagging_freq": 1, "feature_fraction": 0.8, "seed": 0,
        "num_threads": 1, "deterministic": True, "force_row_wise": True, "verbosity": -1,
    }  # fmt: skip
    found = []
    for at in range(3):
        rows = seen & (arm == at)
        booster = lightgbm.train(how, lightgbm.Dataset(x[rows], y[rows], params=how), num_boost_round=60)
        found.append(booster.predict(x[~seen], num_threads=1))
    return np.stack(found, axis=1)


def rank_columns(
    scores: dict[str, np.ndarray], arm: np.ndarray, visit: np.ndarray, spend: np.ndarray
) -> dict[str, float]:
    """Ranking columns of test rows from scores `womens_visit`, ... (n,)."""
    found = {}
    for name, treatment in (("womens", WOMENS), ("mens", MENS)):
        pair = (arm == treatment) | (arm == NEVER)
        treated = (arm[pair] == treatment).astype(np.float64)
        score, y = scores[f"{name}_visit"][pair], visit[pair]
        found[f"{name}_visit_uplift_at_10"] = uplift_at(score, treated, y, 0.1)
        found[f"{name}_visit_uplift_at_30"] = uplift_at(score, treated, y, 0.3)
        found[f"{name}_visit_qini"] = qini_coefficient(score, treated, y)
        found[f"{name}_visit_auuc"] = uplift_coefficient(score, treated, y)
        score, y = scores[f"{name}_spend"][pair], spend[pair]
        found[f"{name}_spend_uplift_at_10_dollars"] = uplift_at(score, treated, y, 0.1)
        found[f"{name}_spend_uplift_at_30_dollars"] = uplift_at(score, treated, y, 0.3)
        found[f"{name}_spend_qini_area"] = qini_area(score, treated, y)
    return found


def judge_split(told: Hillstrom, test: np.ndarray, split: int) -> dict[str, dict[str, float]]:
    """who -> column -> value, of ours and of what needs no fitting, on one split."""
    visits, spends = fit_split(told, ~test, split)
    x, arm, n = features(told.x[test]), told.arm[test], int(test.sum())
    visit, spend = told.visit[test], told.spend[test]
    on_visit, on_spend = visits.effect(x), spends.effect(x)
    luck = np.random.default_rng(split)
    ours = {f"{ARM_NAMES[at]}_{name}": effect[:, at - 1] for at in (MENS, WOMENS) for name, effect in
            (("visit", on_visit), ("spend", on_spend))}  # fmt: skip
    found = {
        "ours": rank_columns(ours, arm, visit, spend),
        RANDOM: rank_columns({name: luck.random(n) for name in ours}, arm, visit, spend),
        PAST_SPEND: rank_columns(dict.fromkeys(ours, x[:, 1]), arm, visit, spend),
        **{who: {} for who in ALWAYS},
    }
    means = [judging_means(told.x, told.arm, y, ~test, is_class=y is told.visit) for y in (told.visit, told.spend)]
    costs = np.array([0.0, COST_DOLLARS, COST_DOLLARS])
    tasks = (("policy_visit", on_visit, visit, means[0], costs * 0), ("policy_spend_dollars", on_spend, spend, means[1],
             costs * 0), ("policy_spend_less_cost_dollars", on_spend, spend, means[1], costs))  # fmt: skip
    chance = np.full(n, CHANCE)
    for column, effect, y, mean, cost in tasks:
        chosen = (np.column_stack([np.zeros(n), effect]) - cost).argmax(axis=1)
        policies = {"ours": chosen, RANDOM: luck.integers(3, size=n)}
        policies |= {who: np.full(n, always) for who, always in ALWAYS.items()}
        for who, policy in policies.items():
            ips, snips, dr = policy_value(policy, arm, y - cost[arm], chance, mean - cost)
            found[who] |= {column: dr, f"{column}_ips": ips, f"{column}_snips": snips}
    return found


def interval(values: np.ndarray) -> Interval:
    """Mean over the splits, 2.5% and 97.5% quantiles."""
    low, high = np.quantile(values, [0.025, 0.975])
    return Interval(float(values.mean()), float(low), float(high))


def summary(found: dict[str, dict[str, np.ndarray]], peers: Peers) -> dict[str, Any]:
    """metrics, baselines, paired differences and what the issue counts; `found`: who -> column -> (splits,)."""
    single, single_values = peers.best_single()
    others = {
        BEST_PEER: {column: peers.columns[column][peers.best(column)] for column in COLUMNS},
        SINGLE_PEER: single_values,
        **{who: values for who, values in found.items() if who != "ours"},
    }
    ours = found["ours"]
    paired = {
        who: {column: ours[column] - theirs for column, theirs in values.items()} for who, values in others.items()
    }
    to_best, to_single = paired[BEST_PEER], paired[SINGLE_PEER]
    below = [column for column in COLUMNS if to_best[column].mean() < -to_best[column].std(ddof=1)]
    return {
        "metrics": {column: interval(values).as_dict() for column, values in ours.items()},
        "baselines": {who: _told(values) for who, values in others.items()},
        "paired": {who: _told(values) for who, values in paired.items()},
        "best_peers": {column: peers.best(column) for column in COLUMNS},
        "best_single_peer": single,
        "counts": {
            "columns": len(COLUMNS),
            "at_or_above_best_peer": sum(bool(to_best[column].mean() >= 0) for column in COLUMNS),
            "below_best_peer_by_more_than_one_paired_sd": below,
            "above_best_single_peer": sum(bool(to_single[column].mean() > 0) for column in COLUMNS),
            "splits_spend_less_cost_above_always_mens": int(
                (paired["always mens"]["policy_spend_less_cost_dollars"] > 0).sum()
            ),
        },
    }


def run(data: Path, n_splits: int | None = None) -> dict[str, Any]:
    """The judgement as DESIGN.md shapes it, and `counts` beside it; `n_splits`: only the first few, for tests."""
    began = time.perf_counter()
    told = read_hillstrom(data)
    masks = read_masks(data, len(told.arm))
    peers = read_peers(data, masks.shape[1])
    splits = range(masks.shape[1] if n_splits is None else n_splits)
    rows = []
    for split in splits:
        rows.append(judge_split(told, masks[:, split], split))
        gain = (
            rows[-1]["ours"]["policy_spend_less_cost_dollars"]
            - rows[-1]["always mens"]["policy_spend_less_cost_dollars"]
        )
        print(
            f"split {split + 1} of {len(splits)}: spend less cost {gain:+.3f} dollars against always mens, "
            f"{time.perf_counter() - began:.0f} s",
            file=sys.stderr,
            flush=True,
        )
    found = {
        who: {column: np.array([row[who][column] for row in rows]) for column in values}
        for who, values in rows[0].items()
    }
    return {
        "name": "hillstrom",
        "data": data.name,
        **summary(found, peers.first(len(splits))),
        "docs": _DOCS,
        "rows": {"customers": len(told.arm), "splits": len(splits)},
        "seconds": time.perf_counter() - began,
    }


def _told(values: dict[str, np.ndarray]) -> dict[str, dict[str, float | None]]:
    return {column: interval(numbers).as_dict() for column, numbers in values.items()}


if __name__ == "__main__":
    run_job(lambda spec: run(Path(spec["data"]), spec.get("n_splits")))
