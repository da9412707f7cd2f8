"""What a shop's service desk knows, conf/knowledge/NAME.yaml, and how it works, `service` in conf/shops/NAME.yaml.

Answers are written by people, in English and Chinese, with places in braces: what the customer told ({order_number}), what the
catalogue knows of the product ({price}), and the shop's own facts ({return_days}). Nothing else is ever said.
"""

from string import Formatter
from typing import Any, Final, Literal

from pydantic import Field, model_validator

from pipelines.core.settings import Name, Settings

Slot = Literal["order_number", "product", "date", "quantity"]
PRODUCT_FACTS: Final = ("price", "stock")  # what the catalogue tells of a product; {stock} by the facts below
STOCK_FACTS: Final = ("in_stock", "out_of_stock")
NEGATIVE, NEUTRAL, POSITIVE = "negative", "neutral", "positive"  # moods of a conversation
LOW_RATING: Final = 2  # a review with so many stars or fewer is one of an unhappy customer


class Wording(Settings):
    """A text in the languages that the desk speaks."""

    en: str = Field(min_length=1)
    zh: str = Field(min_length=1)

    def of(self, tongue: str) -> str:
        """English for whatever is not Chinese."""
        return self.zh if tongue == "zh" else self.en

    @property
    def places(self) -> set[str]:
        """Names in braces. Raises ValueError for braces that do not close."""
        return {name for text in (self.en, self.zh) for _, name, _, _ in Formatter().parse(text) if name is not None}


class Phrases(Settings):
    """How customers say one thing; what the intent model learns from."""

    en: tuple[str, ...] = Field(min_length=5)
    zh: tuple[str, ...] = Field(min_length=5)


class Intent(Settings):
    """One thing that customers come for."""

    id: str = Name
    topic: str = Name
    examples: Phrases
    answer: Wording
    slots: tuple[Slot, ...] = Field((), description="what must be known before it can be answered, asked in this order")
    confirm: Wording | None = Field(
        None, description="what is asked back before it is done, as it cannot be undone; none by default"
    )
    hand_over: bool = Field(False, description="a person goes on after the answer")
    is_trouble: bool = Field(False, description="who comes with it is not content until it is settled")
    is_complaint: bool = Field(False, description="no promotion for a while, settled or not")
    is_small_talk: bool = Field(False, description="says nothing of why somebody came")
    is_thanks: bool = Field(False, description="closes a conversation as settled")


class Article(Settings):
    """What the shop tells whoever asks, word by word; found by its own words."""

    id: str = Name
    topic: str = Name
    question: Wording
    text: Wording


class Sentences(Settings):
    """What the desk says around its answers."""

    dropped: Wording
    unsure: Wording
    again: Wording = Field(description="what was asked for was not found in the answer")
    hand_over: Wording
    waiting: Wording = Field(description="after the hand-over")
    which_product: Wording = Field(description="holds {products}")


class Knowledge(Settings):
    """A shop's knowledge, conf/knowledge/NAME.yaml."""

    intents: tuple[Intent, ...] = Field(min_length=2)
    articles: tuple[Article, ...] = ()
    ask: dict[Slot, Wording] = Field(description="the question for each slot")
    sentences: Sentences
    facts: dict[str, Wording] = Field({}, description="the shop's own facts, by the name that answers use")

    @model_validator(mode="after")
    def _whole(self) -> "Knowledge":
        ids = [*(intent.id for intent in self.intents), *(article.id for article in self.articles)]
        twice = sorted({one for one in ids if ids.count(one) > 1})
        if twice:
            raise ValueError(f"ids are not unique: {twice}")
        wordings: list[tuple[str, Wording, set[str]]] = []
        for intent in self.intents:
            missing = [slot for slot in intent.slots if slot not in self.ask]
            if missing:
                raise ValueError(f"intent '{intent.id}' needs {missing}, but `ask` has no question for it")
            wordings.append((f"intent '{intent.id}'", intent.answer, {*intent.slots, *self.facts, *_known(intent)}))
        wordings += [(f"intent '{one.id}', confirm", one.confirm, {*one.slots}) for one in self.intents if one.confirm]
        wordings += [(f"article '{article.id}'", article.text, {*self.facts}) for article in self.articles]
        wordings += [(f"ask.{slot}", wording, set()) for slot, wording in self.ask.items()]
        for name in Sentences.model_fields:
            known = {"products"} if name == "which_product" else set()
            wordings.append((f"sentences.{name}", getattr(self.sentences, name), known))
        for where, wording, known in wordings:
            unknown = sorted(wording.places - known)
            if unknown:  # it could never be filled, and a desk that invents is worse than one that asks
                raise ValueError(f"{where}: nothing fills {unknown}; known there are {sorted(known)}")
        if any("stock" in intent.answer.places for intent in self.intents) and not set(STOCK_FACTS) <= set(self.facts):
            raise ValueError(f"an answer holds {{stock}}, so `facts` needs {list(STOCK_FACTS)}")
        of: dict[str, str] = {}
        for text, name in zip(*self.examples, strict=True):
            if of.setdefault(text, name) != name:
                raise ValueError(f"'{text}' is an example of both '{of[text]}' and '{name}'")
        return self

    @property
    def examples(self) -> tuple[list[str], list[str]]:
        """Texts and the intents that they are examples of, both (n,), what an intent model is fitted on."""
        pairs = [(text, one.id) for one in self.intents for text in (*one.examples.en, *one.examples.zh)]
        return [text for text, _ in pairs], [label for _, label in pairs]

    def intent(self, name: str) -> Intent | None:
        """The intent by id; None for an id of an older file."""
        return next((one for one in self.intents if one.id == name), None)

    def article(self, name: str) -> Article | None:
        return next((one for one in self.articles if one.id == name), None)


def _known(intent: Intent) -> tuple[Any, ...]:
    return PRODUCT_FACTS if "product" in intent.slots else ()


class Service(Settings):
    """The service desk of a shop; see training/language/dialogue.py."""

    knowledge: str = Name  # of a file in conf/knowledge/, without .yaml
    window_nights: int = Field(
        7, ge=1, le=60, description="a conversation's earlier turns are looked for in so many nights, its own included"
    )
    encoders: bool = Field(
        False,
        description="wishes are read by pretrained encoders too, fetched once; some seconds more a night, far fewer misread",
    )
    unsure_below: float = Field(0.4, ge=0, le=1, description="confidence in an intent from which on it is acted upon")
    hand_over_after: int = Field(
        2, ge=1, le=5, description="turns in a row not understood, after which a person goes on"
    )
