"""Candidate strategies: every offer x channel x send window x frequency x creative style that the shop's rules leave.

A candidate's id, such as `email.save10.evening.x1.warm`, stays the same for as long as its parts do.
"""

import re
from dataclasses import dataclass
from itertools import product

import numpy as np

from pipelines.core.errors import ConfigError
from pipelines.core.shop import Rule, Strategy

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
    """Candidates that no limit of the night tells apart: same channel, frequency and discount, and same send window
    where that has a capacity of its own. Limits work on arms, and the candidate within an arm is drawn uniformly."""

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
        if not any(_forbids(rule, candidate) for rule in strategy.forbid):
            found.append(candidate)
    return found


def arms(found: list[Candidate], strategy: Strategy) -> list[Arm]:
    """The candidates gathered by what limits tell apart, in order of first appearance."""
    position = {channel.id: i for i, channel in enumerate(strategy.channels)}
    gathered: dict[tuple[int, int, int, str], list[int]] = {}
    for i, candidate in enumerate(found):
        channel = position[candidate.channel]
        window = candidate.send_window if candidate.send_window in strategy.channels[channel].window_capacity else ""
        gathered.setdefault((channel, candidate.frequency, candidate.discount_percent, window), []).append(i)
    return [
        Arm(*key[:3], found[members[0]].message_cost_cents, found[members[0]].discount_share, tuple(members), key[3])
        for key, members in gathered.items()
    ]


def _forbids(rule: Rule, candidate: Candidate) -> bool:
    """A rule forbids what matches every field it gives; a rule that gives none forbids nothing."""
    given = [
        (rule.offers, candidate.offer),
        (rule.channels, candidate.channel),
        (rule.send_windows, candidate.send_window),
        (rule.frequencies, candidate.frequency),
        (rule.creative_styles, candidate.creative_style),
    ]
    return any(allowed for allowed, _ in given) and all(part in allowed for allowed, part in given if allowed)


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
    for rule in strategy.forbid:
        for field, ids in known.items():
            unknown = sorted(set(getattr(rule, field)) - ids, key=str)
            if unknown:  # a misspelt rule would forbid nothing
                raise ConfigError(
                    f"strategy.forbid ('{rule.why}'): {field} {unknown} are unknown; known are {sorted(ids, key=str)}"
                )
