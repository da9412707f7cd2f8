"""Judges advertising texts before anybody sees them: clean, or held for a person with the rule that holds them.

    moderator = Moderator.load()                          # conf/moderation
    verdicts = moderator.judge([Creative(...), ...])      # 1,000 creatives in less than a second, no torch

Rules are looked at in one order: privacy, form (what every channel refuses), phrases (conf/moderation/*.yaml), claims (what
is said beside what the catalogue and the offer say), and in a model's text every other word; the first names the verdict.
What a product says of itself is evidence for claims about the product, never an instruction: no phrase becomes allowed
because a title has it, and prices, discounts, delivery and ratings are believed only where the shop's own numbers or its
offer's text say them.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from pipelines.core.moderating import Moderation, load_moderation
from training.language.moderation_claims import number_faults
from training.language.moderation_form import form_faults
from training.language.moderation_grounds import Grounds
from training.language.moderation_known import Known, known_of
from training.language.moderation_phrases import PhraseBook
from training.language.moderation_privacy import personal_faults
from training.language.moderation_views import views
from training.language.moderation_words import ClaimBook

CLEAN: Final = "clean"
HELD: Final = "held"


@dataclass(frozen=True)
class Creative:
    """A text and what is known of what it advertises.

    `facts`, all optional: of the catalogue title, description, brand, category, attributes (name -> value), price_cents,
    list_price_cents, currency (ISO), stock, rating, n_reviews, n_sold; of the offer discount_percent, offer_text (the shop's
    own words, so a deadline or free delivery in it is true), ends (text of the day or hour); of the shop shop_title,
    free_shipping (bool), terms, delivery, returns (its own words). What is not known may not be claimed.
    """

    creative_id: str
    item_id: str
    text: str
    language: str  # en, zh
    channel: str
    offer_id: str = ""
    style: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    by_model: bool = False  # worded by one: then every word must be known or plain


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
        self._channels = moderation.channels
        self._people = moderation.people
        self._phrases = PhraseBook(moderation.families(market))
        self._claims = ClaimBook(moderation.claims)
        self._grounds = Grounds(moderation.plain.words)

    @classmethod
    def load(cls, folder: Path | None = None, market: str | None = None) -> "Moderator":
        """From a folder of rules, conf/moderation by default. Raises ConfigError."""
        return cls(load_moderation(folder), market)

    def judge(self, creatives: Sequence[Creative]) -> list[Verdict]:
        """One verdict per creative, in order. Pure: the same creative gets the same verdict."""
        known: dict[str, Known] = {}  # variants share what is known
        verdicts = []
        for one in creatives:
            key = json.dumps(one.facts, sort_keys=True, default=str)
            if key not in known:
                known[key] = known_of(one.facts)
            fault = next(self._faults(one, known[key]), None)
            verdicts.append(Verdict(HELD, *fault) if fault else Verdict(CLEAN))
        return verdicts

    def faults(self, creative: Creative) -> list[tuple[str, str]]:
        """Every (rule, detail) that holds it, in the order of the rules: what a person who reviews wants to see."""
        return list(self._faults(creative, known_of(creative.facts)))

    def _faults(self, creative: Creative, known: Known) -> Iterator[tuple[str, str]]:
        read = views(creative.text)
        yield from personal_faults(creative.text, read.plain, known.product, self._people)
        yield from form_faults(creative.text, read, creative.language, creative.channel, self._channels)
        for found in self._phrases.search(read, known.granted):
            yield f"phrase.{found.family}", f"'{found.words}': {found.why}"
        text = read.plain
        yield from number_faults(text, known)
        yield from self._claims.faults(text, known)
        if creative.by_model and (words := self._grounds.unsaid(text, known)):
            yield "claim.unsaid", f"a model says '{words[0]}'; neither catalogue nor offer does"
