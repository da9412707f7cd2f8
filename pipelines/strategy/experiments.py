"""Experiments: who is in which arm, and what may be said about the arms, in words that cannot be misread.

Arms are drawn by weighted rendezvous hashing (Schindelhauer and Schomaker 2005): each arm bids -ln(u) / share with a
uniform number u of its own per customer, and the lowest bid wins. So an arm's chance is its share exactly, and where
shares change a customer moves only from an arm whose part shrinks to one whose part grows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from pipelines.core.experiments import Experiment
from pipelines.core.shop import Strategy
from pipelines.strategy.holdout import hashed
from pipelines.strategy.sample_ratio import SampleRatio

State = Literal["better", "worse", "open", "harmful", "ratio_broken", "no_data"]
GuardrailState = Literal["held", "open", "broken"]
MIN_BUYERS: Final = 30  # customers of an arm who bought, before its mean spend may be taken for normally distributed


def assign(user_keys: Sequence[str], seed: int, experiment: Experiment) -> np.ndarray:
    """(n,) int64: position of each customer's arm; a function of seed, experiment, arms and the customer alone."""
    bids = np.empty((len(experiment.arms), len(user_keys)))
    for k, arm in enumerate(experiment.arms):
        uniform = hashed([f"{seed}:{experiment.id}:{arm.id}:{key}" for key in user_keys])
        bids[k] = -np.log1p(-uniform) / arm.share
    return bids.argmin(axis=0).astype(np.int64)


def arm_names(user_keys: Sequence[str], is_holdout: np.ndarray, strategy: Strategy) -> list[str]:
    """ "experiment=arm" of all experiments for each customer, ";" between them, "" for the holdout, as the plan tells it."""
    if not strategy.experiments:
        return [""] * len(user_keys)
    told = []
    for experiment in strategy.experiments:
        names = [f"{experiment.id}={arm.id}" for arm in experiment.arms]
        told.append([names[k] for k in assign(user_keys, strategy.seed, experiment)])
    return ["" if held else ";".join(parts) for held, *parts in zip(is_holdout, *told, strict=True)]


@dataclass(frozen=True)
class Reading:
    """One metric of one arm against the control, as known at a night: what a verdict is made of."""

    arm: str
    control: str
    unit: str  # "cents of profit per customer and night"
    effect: float
    low: float  # holds at all nights together
    high: float
    looks_needed: int | None  # in all, were the effect as estimated


@dataclass(frozen=True)
class Guardrail:
    """A metric that may not get worse by more than its margin: shown only if the whole interval says so."""

    name: str
    unit: str
    effect: float  # arm less control, more is worse
    low: float
    high: float
    margin: float

    @property
    def state(self) -> GuardrailState:
        """Held: not worse than the margin, at all nights (non-inferiority); broken: worse than that beyond doubt."""
        if self.high <= self.margin:
            return "held"
        return "broken" if self.low > self.margin else "open"

    @property
    def text(self) -> str:
        found = f"{self.effect:+.2f} [{self.low:+.2f}, {self.high:+.2f}] {self.unit}, at most {self.margin:+g} allowed"
        told = {"held": "hold", "open": "are not yet shown to hold", "broken": "are broken"}[self.state]
        return f"{self.name} {told}: {found}"


def decide(reading: Reading, guardrails: Sequence[Guardrail]) -> State:
    """The state of an arm whose ratio holds and whose numbers are there."""
    if any(one.state == "broken" for one in guardrails):
        return "harmful"
    if reading.low > 0:
        return "better"
    return "worse" if reading.high < 0 else "open"


def verdict(reading: Reading, guardrails: Sequence[Guardrail], n_looks: int) -> str:
    """One arm's verdict in a sentence."""
    arm, control = reading.arm, reading.control
    found = f"{reading.effect:+.2f} [{reading.low:+.2f}, {reading.high:+.2f}] {reading.unit}"
    state = decide(reading, guardrails)
    if state == "harmful":
        broken = "; ".join(one.text for one in guardrails if one.state == "broken")
        return f"stop {arm}: {broken}; it brought {found} against {control}"
    if state == "worse":
        return f"{arm} lost to {control}: {found}; safe to stop, stay with {control}"
    unsettled = [one.text for one in guardrails if one.state == "open"]
    if state == "better" and unsettled:
        return f"{arm} beat {control}: {found}; do not stop yet: {'; '.join(unsettled)}"
    if state == "better":
        return f"{arm} beat {control}: {found}; safe to stop"
    looks = reading.looks_needed
    when = (
        f"about {nights(looks)} are needed in all, {n_looks} so far, were the effect as estimated"
        if looks is not None
        else "no number of nights would settle an effect as small as the estimate"
    )
    return f"no verdict yet: {arm} against {control} {found} may be nothing; {when}"


def broken_ratio(ratio: SampleRatio, arm: str, unit: str) -> str:
    """The verdict of an experiment whose lots did not fall as designed."""
    return (
        f"stopped: sample ratio broken: {arm} has {ratio.observed:,.0f} {unit} where {ratio.designed:,.0f} were designed "
        f"(p = {ratio.p_value:.1g}); the arms are not alike, believe no difference until the cause is found"
    )


def empty_arm(arm: str, *, by_lot: bool) -> str:
    """The verdict where an arm has no data."""
    return f"no verdict: {arm} has no customers; " + (
        "no lot fell on it yet" if by_lot else "check its share and what it allows"
    )


def nights(n: int) -> str:
    return f"{n} night{'' if n == 1 else 's'}"


def too_few(arm: str, n_buyers: int) -> str:
    """The verdict before an interval may be told."""
    return (
        f"no verdict yet: only {n_buyers} customers of {arm} bought anything, {MIN_BUYERS} are needed before an interval "
        "is told"
    )
