"""What the policies of two effect models would have earned on nights that neither has seen, by the logs of those nights.

A model's policy gives each customer the strategy that it expects to earn most of those that the log holds, or nothing
where none earns more than it costs; budget, capacity and what single customers may not get are left out, for both alike.
The log: who was planned what with which probability (campaign_plan), what was delivered, and the profit of the customer's
night. Estimates are doubly robust (pipelines/strategy/off_policy.py) with the mean of both models' expectations as the
reward model, so neither is favoured and none has seen a row. Beside them stand, on the same rows and draws, what sending
nothing would have earned, and what the rows earned for which a lot decided.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.core.columns import Columns as C
from pipelines.core.reading import read
from pipelines.core.shop import Shop
from pipelines.core.storage import Store
from pipelines.strategy.candidates import NOTHING, Candidate, candidates
from pipelines.strategy.exploit import profit_lift
from pipelines.strategy.judgement import Interval, Metric, resampled
from pipelines.strategy.off_policy import Feedback, doubly_robust, usual_clip
from training.task import Examples
from training.tasks.effect_examples import COMPLAINED

CHALLENGER, CHAMPION, DIFFERENCE = "challenger", "champion", "difference"
BY_LOT, SEND_NOTHING = "by_lot", "send_nothing"


class Scores(Protocol):
    """A model of effects, as far as a policy needs it."""

    def score_grid(self, profiles: pa.Table, strategies: Sequence[Candidate]) -> dict[str, np.ndarray]:
        """SPEND_CENTS, LIFT_SPEND_CENTS and P_COMPLAINT of n customers under each of s strategies, (n, s) each."""
        ...


def compare_policies(
    shop: Shop, store: Store, examples: Examples, challenger: Scores, champion: Scores
) -> dict[str, Any]:
    """Profit per customer and night in cents of both policies, with intervals by resampling customers on the same draws.

    {rows, disagree: share of rows on which they differ, effective_rows: that tell them apart, and where there are rows
    challenger, champion, difference, send_nothing and, where any were drawn, by_lot: Interval.as_dict}. Rows without a
    choice are left out: the holdout, customers who may not be written to, and what was not delivered as planned or without
    a plan, whose propensity nobody knows.
    """
    known = candidates(shop.strategy)
    propensity, is_lot = propensities(store, examples)
    actions = pa.array([NOTHING, *(one.strategy_id for one in known)])
    action = pc.fill_null(pc.index_in(examples.rows[C.STRATEGY_ID], value_set=actions), -1).to_numpy()
    kept = np.flatnonzero((propensity > 0) & (propensity < 1) & (action >= 0))
    if not len(kept):
        return {"rows": 0, "disagree": 0.0, "effective_rows": 0.0}
    examples, action, propensity, is_lot = examples.take(kept), action[kept], propensity[kept], is_lot[kept]
    expected = {
        name: profits(shop, model, examples.rows, known)
        for name, model in ((CHALLENGER, challenger), (CHAMPION, champion))
    }
    q = (expected[CHALLENGER] + expected[CHAMPION]) / 2
    is_logged = np.bincount(action, minlength=q.shape[1]) > 0
    earned = rewards(shop, examples, known, action)
    logs = {
        name: Feedback(action, earned, propensity, greedy(profit, is_logged), q) for name, profit in expected.items()
    }
    nothing = Feedback(action, earned, propensity, np.eye(q.shape[1])[np.zeros(len(q), dtype=np.int64)], q)
    terms = {name: doubly_robust(log, usual_clip(len(log))) for name, log in (logs | {SEND_NOTHING: nothing}).items()}
    terms[DIFFERENCE] = terms[CHALLENGER] - terms[CHAMPION]

    def mean_of(values: np.ndarray, rows: np.ndarray) -> Metric:
        return lambda weight: (weight * rows) @ values / np.maximum((weight * rows).sum(axis=-1), 1e-300)

    metrics = {name: mean_of(values, np.ones(len(q))) for name, values in terms.items()}
    if is_lot.any():  # the lot's own rows: nothing to weigh
        metrics[BY_LOT] = mean_of(earned, is_lot.astype(np.float64))
    drawn = resampled(metrics, examples.customer)
    differ = (logs[CHALLENGER].policy != logs[CHAMPION].policy).any(axis=1)
    apart = np.abs(logs[CHALLENGER].weight - logs[CHAMPION].weight)
    squares = float((apart**2).sum())
    return {
        "rows": len(examples),
        "disagree": float(differ.mean()),
        "effective_rows": float(apart.sum()) ** 2 / squares if squares > 0 else 0.0,
        **{name: Interval.of(values).as_dict() for name, values in drawn.items()},
    }


def propensities(store: Store, examples: Examples) -> tuple[np.ndarray, np.ndarray]:
    """(n,) probability with which the plan of the night before gave a customer what was delivered; NaN where nothing was
    planned, something else was delivered, or nothing but this was possible. (n,) bool: a lot decided, not a model."""
    keys, strategy = examples.rows[C.USER_KEY], examples.rows[C.STRATEGY_ID]
    found, is_lot = np.full(len(examples), np.nan), np.zeros(len(examples), dtype=bool)
    for night in np.unique(examples.night):
        here = np.flatnonzero(examples.night == night)
        columns = (C.USER_KEY, C.STRATEGY_ID, C.PROPENSITY, C.IS_HOLDOUT, C.N_ALLOWED, C.WHY)
        plan = read(store, "campaign_plan", [night.item() - timedelta(days=1)], *columns)
        if plan is None:
            continue
        place = pc.index_in(keys.take(here), value_set=plan[C.USER_KEY].combine_chunks())
        mine = plan.take(place)
        as_planned = pc.equal(mine[C.STRATEGY_ID], strategy.take(here))
        has_choice = pc.and_(pc.invert(mine[C.IS_HOLDOUT]), pc.greater(mine[C.N_ALLOWED], 0))
        told = pc.fill_null(pc.and_(as_planned, has_choice), False).to_numpy(zero_copy_only=False)
        chance = pc.fill_null(mine[C.PROPENSITY], np.nan).to_numpy()
        found[here[told]] = chance[told]
        by_model = pc.fill_null(pc.match_substring(mine[C.WHY], "exploit: "), False)
        is_lot[here[told]] = ~by_model.to_numpy(zero_copy_only=False)[told]
    return found, is_lot


def profits(shop: Shop, model: Scores, rows: pa.Table, known: list[Candidate]) -> np.ndarray:
    """(n, 1 + s) cents of profit expected of a customer's night under nothing and under each candidate."""
    scores = model.score_grid(rows, known)
    margin = shop.strategy.default_margin_percent
    spend, lift = scores[C.SPEND_CENTS], scores[C.LIFT_SPEND_CENTS]
    unasked = (spend - lift).mean(axis=1) * margin / 100
    gain = profit_lift(
        spend, lift, scores[C.P_COMPLAINT], margin, [one.discount_percent for one in known],
        [one.message_cost_cents for one in known], shop.strategy.complaint_cost_cents,
    )  # fmt: skip
    return unasked[:, None] + np.concatenate([np.zeros((len(gain), 1)), gain], axis=1)


def rewards(shop: Shop, examples: Examples, known: list[Candidate], action: np.ndarray) -> np.ndarray:
    """(n,) cents of profit of a customer's night: margin on what was paid, less messages and complaints."""
    margin = shop.strategy.default_margin_percent / 100
    kept = 1 - (1 - margin) / (1 - np.array([0, *(one.discount_percent for one in known)]) / 100)
    cost = np.array([0, *(one.message_cost_cents for one in known)])
    complained = np.nan_to_num(examples.target[COMPLAINED].to_numpy())
    spent = examples.target[C.SPEND_CENTS].to_numpy()
    return np.asarray(spent * kept[action] - cost[action] - complained * shop.strategy.complaint_cost_cents)


def greedy(profit: np.ndarray, is_logged: np.ndarray) -> np.ndarray:
    """(n, a) 1 for the most profitable action of those logged (a,) bool; nothing, the first, where it is a tie."""
    best = np.where(is_logged | (np.arange(profit.shape[1]) == 0), profit, -np.inf).argmax(axis=1)
    return np.eye(profit.shape[1])[best]
