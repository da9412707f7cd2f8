"""What another recommender's lists would have been clicked, from the log of lists in which some slots were drawn by lot.

Clicks follow the position-based model (Richardson, Dominowska and Ragno 2007): slot s is looked at with chance t_s, and
an item that is looked at is clicked with a chance a of its own, of this customer on this night, whatever stands in the
other slots. So an item seen in one slot tells what it would do in another (item-position model, Li et al. 2018, "Offline
Evaluation of Ranking Policies with Click Models", table 1). The alternative without it, pseudo-inverse weights over whole
lists (Swaminathan et al. 2017), needs the joint law of the slots; here they are drawn one by one.

Row r shows item i_r in slot s_r of one list; the judged recommender would show it in slot v_r of that list, or not at all.
With c_r the click, p_r the logged chance that the slot got the item and T_r = sum over slots of t_s times the chance that
the item stands there, V = mean over lists of sum over their rows of c_r t(v_r) / T_r is unbiased for the clicks per list,
where each item of the judged lists had a chance to be shown. It is self-normalised here: its weights t(s_r) t(v_r) / T_r
add up to the sum of all t_s per list, on average.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from pipelines.core.errors import OffPolicyError
from pipelines.strategy.judgement import Interval
from pipelines.strategy.off_policy_interval import bootstrap_t, freedom, per_cluster, student_t, widest

LEAST_SUPPORTED: Final = 0.7  # of the looks at judged lists: with less, the rest is guesswork
_FADE: Final = (0.5, 0.5)  # prior mean and deviation of how fast slots fade, in powers of the slot's number
_STEPS: Final = 50


@dataclass(frozen=True)
class SlotLog:
    """n impressions of lists with k slots. Raises OffPolicyError for what cannot be weighed."""

    list: np.ndarray  # (n,) int: rows of one customer and night stand in one list
    customer: np.ndarray  # (n,) whose it was: resampled together
    slot: np.ndarray  # (n,) int from 1
    click: np.ndarray  # (n,) 0 or 1
    propensity: np.ndarray  # (n,) in (0, 1]: that this slot got this item, the toss whether a lot is drawn included
    is_explore: np.ndarray  # (n,) bool: drawn by lot, for any slot alike; else the recommender's own choice
    n_slots: int

    def __post_init__(self) -> None:
        n = len(self.slot)
        for name in ("list", "customer", "click", "propensity", "is_explore"):
            if len(getattr(self, name)) != n:
                raise OffPolicyError(f"log of slots: {len(getattr(self, name))} values of {name} for {n} impressions")
        bad = np.flatnonzero(~((self.propensity > 0) & (self.propensity <= 1)))
        if len(bad):
            raise OffPolicyError(
                f"log of slots: propensity of {len(bad)} of {n} impressions is missing or outside (0, 1], row {bad[0]} has "
                f"{self.propensity[bad[0]]:g}; log the probability with which the slot got the item"
            )
        if n and not (self.slot.min() >= 1 and self.slot.max() <= self.n_slots):
            raise OffPolicyError(
                f"log of slots: slots from {self.slot.min()} to {self.slot.max()}, expected 1 to {self.n_slots}"
            )

    def __len__(self) -> int:
        return len(self.slot)


def fading(slot: np.ndarray, click: np.ndarray, n_slots: int) -> np.ndarray:
    """(n_slots,) chance that a slot is looked at, relative to the first: slot ** -f.

    From impressions (n,) whose items were drawn by lot, alike in each slot, so that their clicks differ by the slot alone.
    f by penalised Poisson likelihood of the clicks (Newton's method), drawn to 0.5 where they are few; never below 0.
    """
    x = np.log(np.arange(1, n_slots + 1))
    shown = np.bincount(slot - 1, minlength=n_slots).astype(np.float64)
    clicks = np.bincount(slot - 1, weights=click, minlength=n_slots)
    mean, deviation = _FADE
    f = mean
    for _ in range(_STEPS):
        expected = shown * np.exp(-f * x)
        share = expected / max(float(expected.sum()), 1e-300)  # of the clicks, whose number is given
        centre = float(share @ x)
        slope = clicks.sum() * centre - float(clicks @ x) - (f - mean) / deviation**2
        bend = clicks.sum() * (float(share @ x**2) - centre**2) + 1 / deviation**2
        step = slope / bend
        f = max(f + step, 0.0)
        if abs(step) < 1e-9:
            break
    return np.asarray(np.exp(-f * x))


def places(lists: np.ndarray, row: np.ndarray, item: np.ndarray) -> np.ndarray:
    """(n,) slot from 1 at which an item (n,) stands in row (n,) of `lists` (L, k), 0 where it does not."""
    same = lists[row] == item[:, None]
    return np.where(same.any(axis=1), same.argmax(axis=1) + 1, 0)


def weights(log: SlotLog, place: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """(n,) how many looks at the logged item by the judged lists each row stands for: t(s) t(v) / T.

    T of an item drawn by lot is p times the sum of all t: it could have come up in any slot. T of the recommender's own
    choice is p t(s): it had one slot. `seen` (n_slots,): t.
    """
    own, judged = seen[log.slot - 1], np.where(place > 0, seen[np.maximum(place, 1) - 1], 0.0)
    could = log.propensity * np.where(log.is_explore, seen.sum(), own)
    return np.asarray(own * judged / could)


def terms(log: SlotLog, place: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, float]:
    """Per list (L,) a term whose mean is the clicks that a judged list would get, by all its slots, as if slot 1 were always
    looked at; and the share of its looks that the log supports, 1 on average where all could be shown.

    The spread of the terms is that of the self-normalised estimate (its influence function).
    """
    _, code = np.unique(log.list, return_inverse=True)
    n, whole = int(code.max(initial=-1)) + 1, float(seen.sum())
    weight = weights(log, place, seen)
    looks = np.bincount(code, weight, minlength=n)
    clicks = np.bincount(code, weight * log.click / seen[log.slot - 1], minlength=n)
    total = float(looks.sum())
    if not total > 0:
        return np.full(n, np.nan), 0.0
    rate = float(clicks.sum()) / total
    value = rate * whole
    return value + (clicks - rate * looks) * whole * n / total, total / (n * whole)


def compare_lists(log: SlotLog, challenger: np.ndarray, champion: np.ndarray) -> dict[str, Any]:
    """Clicks per list shown of two recommenders on the same log, as pipelines.strategy.judgement.judge_policy takes it.

    `challenger` and `champion` (n,): the slot at which each would show the logged item in that list, 0 not at all (`places`).
    {rows: lists, disagree: share of logged items that they place otherwise, effective_rows: that tell the two apart,
    supported: {who: share}, unit, refusal: why the log cannot answer, "" where it can, and where there are rows challenger,
    champion, difference: Interval.as_dict}. Looks that the log could not have shown are taken for as good as the others, so
    it does not answer where these are many.
    """
    judged = {"challenger": challenger, "champion": champion}
    if not len(log) or not all((place > 0).any() for place in judged.values()):
        return {"rows": 0, "disagree": 0.0, "effective_rows": 0.0}
    drawn = log.is_explore
    seen = fading(log.slot[drawn], log.click[drawn], log.n_slots)
    found = {name: terms(log, place, seen) for name, place in judged.items()}
    lists, first = np.unique(log.list, return_index=True)
    customer = log.customer[first]
    value = {name: of_lists for name, (of_lists, _) in found.items()}
    value["difference"] = value["challenger"] - value["champion"]
    apart = np.abs(weights(log, challenger, seen) - weights(log, champion, seen))
    squares = float((apart**2).sum())
    least = min(found, key=lambda name: found[name][1])
    told = f"the logged lists and lots could have shown only {found[least][1]:.0%} of what the {least} lists"
    return {
        "rows": len(lists),
        "disagree": float((challenger != champion).mean()),
        "effective_rows": float(apart.sum()) ** 2 / squares if squares > 0 else 0.0,
        "supported": {name: share for name, (_, share) in found.items()},
        "unit": "clicks per list shown",
        "refusal": told if found[least][1] < LEAST_SUPPORTED else "",
        **{name: interval(of_lists, customer).as_dict() for name, of_lists in value.items()},
    }


def interval(of_lists: np.ndarray, customer: np.ndarray) -> Interval:
    """Of the mean of terms (L,), by customers (L,): what both the studentised bootstrap and Student's t say, widened where few
    clicks on lots tell the variance."""
    own = per_cluster(of_lists, customer)
    if not np.ptp(own):
        return Interval(float(own[0]), float(own[0]), float(own[0]))
    return widest([bootstrap_t(own), student_t(own)], freedom(own), len(own))
