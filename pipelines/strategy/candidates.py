"""Candidate strategies: every offer x channel x send window x frequency x creative style that the shop's rules and the
channels' quiet hours leave.

A candidate's id, such as `email.save10.evening.x1.warm`, stays the same for as long as its parts do.
"""

import re
from dataclasses import dataclass
from itertools import product

import numpy as np

from pipelines.core.errors import ConfigError
from pipelines.core.experiments import Arm as ExperimentArm
from pipelines.core.shop import Rule, Strategy
from pipelines.strategy.placement import open_hours

NOTHING = "none"  # the strategy id of a customer who gets nothing

_NAME = re.compile(r"[a-z0-9][a-z0-9_\-]{0,62}")
_FORMULA = ("=", "+", "-", "@")


@dataclass(frozen=True)
class Candidate:
    """One strategy that the shop could use on a customer."""

    strategy_id: str
    offer: str
    discount_percent: int
    channel: str
    send_window: str
    frequency: int  # messages, all of them charged and counted against tomorrow's capacity
    creative_style: str
    message_cost_cents: int  # of all its messages together
    discount_share: float  # expected discount of all its messages, as a share of the customer's order value

    def expected_cost_cents(self, order_cents: np.ndarray) -> np.ndarray:
        """(n,) cents: messages and expected discounts, for customers with order values `order_cents` (n,)."""
        return self.message_cost_cents + self.discount_share * np.asarray(order_cents, dtype=np.float64)


@dataclass(frozen=True)
class Arm:
    """Candidates that no limit of the night tells apart: same channel, frequency and discount, allowed in the same arms
    of all experiments, and same send window where that has a capacity of its own. Limits work on arms, and the candidate
    within an arm is drawn uniformly."""

    channel: int  # position in Strategy.channels
    frequency: int
    discount_percent: int
    message_cost_cents: int
    discount_share: float
    members: tuple[int, ...]  # positions in the list of candidates
    send_window: str = ""  # "": any


def candidates(strategy: Strategy) -> list[Candidate]:
    """All candidates in the order of the configuration. Raises ConfigError for parts that make no safe, unique id."""
    _check(strategy)
    found = []
    for channel, offer, window, frequency, style in product(
        strategy.channels, strategy.offers, strategy.send_windows, strategy.frequencies, strategy.creative_styles
    ):
        candidate = Candidate(
            strategy_id=f"{channel.id}.{offer.id}.{window.id}.x{frequency}.{style}",
            offer=offer.id,
            discount_percent=offer.discount_percent,
            channel=channel.id,
            send_window=window.id,
            frequency=frequency,
            creative_style=style,
            message_cost_cents=channel.cost_cents * frequency,
            discount_share=frequency * strategy.redemption_percent / 100 * offer.discount_percent / 100,
        )
        if not open_hours(window, channel.quiet_hours).any():
            continue
        if not any(_forbids(rule, candidate) for rule in strategy.forbid):
            found.append(candidate)
    for experiment in strategy.experiments:
        for arm in experiment.arms:
            if found and not any(allows(arm, candidate) for candidate in found):
                raise ConfigError(
                    f"strategy.experiments ({experiment.id}.{arm.id}): allows no strategy of {len(found)}; "
                    "an arm leaves one at least, who gets nothing at all is the holdout"
                )
    return found


def arms(found: list[Candidate], strategy: Strategy) -> list[Arm]:
    """The candidates gathered by what limits tell apart, in order of first appearance."""
    position = {channel.id: i for i, channel in enumerate(strategy.channels)}
    tried = [arm for experiment in strategy.experiments for arm in experiment.arms]
    gathered: dict[tuple[int, int, int, str, tuple[bool, ...]], list[int]] = {}
    for i, candidate in enumerate(found):
        channel = position[candidate.channel]
        window = candidate.send_window if candidate.send_window in strategy.channels[channel].window_capacity else ""
        allowed = tuple(allows(arm, candidate) for arm in tried)
        key = (channel, candidate.frequency, candidate.discount_percent, window, allowed)
        gathered.setdefault(key, []).append(i)
    return [
        Arm(*key[:3], found[members[0]].message_cost_cents, found[members[0]].discount_share, tuple(members), key[3])
        for key, members in gathered.items()
    ]


def allows(arm: ExperimentArm, candidate: Candidate) -> bool:
    """Whether customers of this arm of an experiment may be sent the candidate."""
    return all(part in allowed for allowed, part in _parts(arm, candidate) if allowed)


def _forbids(rule: Rule, candidate: Candidate) -> bool:
    """A rule forbids what matches every field it gives; a rule that gives none forbids nothing."""
    given = _parts(rule, candidate)
    return any(named for named, _ in given) and all(part in named for named, part in given if named)


def _parts(named: Rule | ExperimentArm, candidate: Candidate) -> list[tuple[tuple[str | int, ...], str | int]]:
    """What a rule or an arm names of each field, beside what the candidate is there."""
    return [
        (named.offers, candidate.offer),
        (named.channels, candidate.channel),
        (named.send_windows, candidate.send_window),
        (named.frequencies, candidate.frequency),
        (named.creative_styles, candidate.creative_style),
    ]


def _check(strategy: Strategy) -> None:
    for style in strategy.creative_styles:
        if not _NAME.fullmatch(style):
            raise ConfigError(
                f"strategy.creative_styles: '{style}' is no name: use lower-case letters, digits, - and _"
            )
    for frequency in strategy.frequencies:
        if frequency < 1:
            raise ConfigError(f"strategy.frequencies: {frequency} is below 1; a strategy sends one message at least")
    for field in ("frequencies", "creative_styles"):
        values = getattr(strategy, field)
        if len(values) != len(set(values)):
            raise ConfigError(f"strategy.{field}: {list(values)} has a value twice; name each once")
    for offer in strategy.offers:
        # The export is opened in spreadsheets, which run text that starts like a formula.
        if offer.text.lstrip().startswith(_FORMULA) or not offer.text.isprintable():
            raise ConfigError(
                f"strategy.offers: text of '{offer.id}' starts with = + - @ or holds a control character; reword it"
            )
    known: dict[str, set[str | int]] = {
        "offers": {part.id for part in strategy.offers},
        "channels": {part.id for part in strategy.channels},
        "send_windows": {part.id for part in strategy.send_windows},
        "frequencies": set(strategy.frequencies),
        "creative_styles": set(strategy.creative_styles),
    }
    named: list[tuple[str, Rule | ExperimentArm]] = [(f"forbid ('{rule.why}')", rule) for rule in strategy.forbid]
    named += [(f"experiments ({one.id}.{arm.id})", arm) for one in strategy.experiments for arm in one.arms]
    for where, parts in named:
        for field, ids in known.items():
            unknown = sorted(set(getattr(parts, field)) - ids, key=str)
            if unknown:  # misspelt, it would forbid or allow nothing
                raise ConfigError(f"strategy.{where}: {field} {unknown} are unknown; known are {sorted(ids, key=str)}")
