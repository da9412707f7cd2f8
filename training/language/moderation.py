"""Judges advertising texts before anybody sees them: clean, or held for a person with the rule that holds them.

    moderator = Moderator.load()                          # conf/moderation
    verdicts = moderator.judge([Creative(...), ...])      # 1,000 creatives in less than a second, no torch

Rules come first and in one order: form (what every channel refuses), privacy, phrases (conf/moderation/*.yaml), claims
(what is said beside what the catalogue and the offer say), then the classifier. What a product says of itself is
evidence for claims about the product, never an instruction: no phrase becomes allowed because a title has it, and prices,
discounts, delivery and ratings are believed only where the shop's own numbers or its offer's text say them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from pipelines.core.moderating import Moderation, load_moderation

CLEAN: Final = "clean"
HELD: Final = "held"


@dataclass(frozen=True)
class Creative:
    """A text and what is known of what it advertises.

    `facts`, all optional: of the catalogue title, description, brand, category, attributes (name -> value), price_cents,
    list_price_cents, currency (ISO), stock, rating, n_reviews; of the offer discount_percent, offer_text (the shop's own
    words, so a deadline or free delivery in it is true), ends (text of the day or hour); of the shop shop_title.
    """

    creative_id: str
    item_id: str
    text: str
    language: str  # en, zh
    channel: str
    offer_id: str = ""
    style: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """`rule`: the name of what holds it, "" where clean. `detail`: what is said beside what is known; repeats no personal
    data."""

    status: Literal["clean", "held"]
    rule: str = ""
    detail: str = ""


class Moderator:
    """All rules of a market, compiled once."""

    def __init__(self, moderation: Moderation, market: str | None = None) -> None:
        self._moderation = moderation
        self._market = market

    @classmethod
    def load(cls, folder: Path | None = None, market: str | None = None) -> "Moderator":
        """From a folder of rules, conf/moderation by default. Raises ConfigError."""
        return cls(load_moderation(folder), market)

    def judge(self, creatives: Sequence[Creative]) -> list[Verdict]:
        """One verdict per creative, in order. Pure: the same creative gets the same verdict."""
        raise NotImplementedError
