"""The desk's side of a conversation: what the customer wants, what is still to be asked, what is answered, when a person goes on.

    desk = Dialogue(knowledge, intents, goods)
    desk.replies(["Please cancel my order", "It is A-20458", "yes"], date(2026, 3, 14))[-1].answer

A reply is a function of the customer's turns so far and of nothing else: the same transcript, the same answer, whoever asks and
however often. What customers write is looked at for intent, mood and slots and goes masked or quoted into answers; none of it is
an instruction, whatever it says.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, Final, Protocol

import numpy as np

from pipelines.core.servicing import NEGATIVE, NEUTRAL, Article, Intent, Knowledge, Wording
from training.language.answers import Shelf, fill
from training.language.mood import is_upset, mood_of
from training.language.slots import Goods, slots_of
from training.language.tongue import tongue_of

_YES: Final = re.compile(
    r"(?:yes|yep|yeah|sure|correct|right|ok|okay|exactly|please do|do it|go ahead|that(?: i|')s right)(?:,? please)?|"
    r"对的?|是的?|好的?|嗯|没错|确认|可以|行"
)
_NO: Final = re.compile(
    r"(?:no|nope|not that|wrong|don't|do not|stop)(?:,? thanks?(?: you)?)?|不是?|不对|不要了?|不用了?|别|算了"
)
_BREAK: Final = re.compile(r"[.!?;。！？；，\n]+|, (?:and|but|or) ")
_MOST_PARTS: Final = 20  # of a message, that are read by themselves
_SHOWN_PRODUCTS: Final = 3  # of those that a message may mean
_SURE: Final = 0.6  # confidence in an intent above which no article is looked for
# Why a person goes on.
UPSET, NOT_UNDERSTOOD, BY_RULE, NO_FACT = "upset", "not_understood", "by_rule", "no_fact"


class Understood(Protocol):
    """What an intent model says of n texts."""

    @property
    def label(self) -> Any: ...  # (n,) str
    @property
    def confidence(self) -> Any: ...  # (n,) float, 0 to 1
    @property
    def is_out_of_scope(self) -> Any: ...  # (n,) bool


class IntentReader(Protocol):
    """What `training.language.intent_model.IntentModel` is to a dialogue."""

    def predict(self, texts: Sequence[str]) -> Understood: ...


Sentiment = Callable[[Sequence[str]], np.ndarray]  # n texts -> (n,) probabilities that they are positive


@dataclass(frozen=True)
class Turn:
    """What is read out of one message of a customer."""

    text: str
    tongue: str
    intent: str  # "" where it is none of ours, or not sure enough
    article: str  # that answers it, where the intent is not sure; "" for none
    confidence: float
    mood: str
    is_upset: bool


@dataclass(frozen=True)
class State:
    """Where a conversation stands after a turn."""

    intent: str = ""  # that is worked on
    slots: dict[str, str] = field(default_factory=dict)
    asked: str = ""  # the slot that was asked for, or "confirm"
    n_unsure: int = 0  # turns in a row that were not understood
    mood: str = NEUTRAL
    tongue: str = "en"  # that the customer wrote last; digits alone are of none
    handed_over: str = ""  # why a person goes on; "" while none does


@dataclass(frozen=True)
class Reply:
    """The desk's answer to a turn; `intent` "" and `article` "" where it was not understood."""

    answer: str
    intent: str
    article: str
    confidence: float
    hand_over: bool
    state: State


class Dialogue:
    """A shop's desk. `goods` None: nobody is asked which product is meant, as where talks are only read."""

    def __init__(
        self,
        knowledge: Knowledge,
        intents: IntentReader,
        goods: Goods | None = None,
        sentiment: Sentiment | None = None,
        unsure_below: float = 0.4,
        hand_over_after: int = 2,
    ) -> None:
        self.knowledge, self.intents, self.goods, self.sentiment = knowledge, intents, goods, sentiment
        self.unsure_below, self.hand_over_after = unsure_below, hand_over_after
        self._shelf = Shelf(knowledge)

    def read(self, texts: Sequence[str]) -> list[Turn]:
        """n messages of customers, each by itself. Of one that asks several things the first part that is understood counts,
        where the whole is not."""
        if not texts:
            return []
        parts = [_parts(text) for text in texts]
        told = self.intents.predict([part for one in parts for part in one])
        positive = self.sentiment(list(texts)) if self.sentiment else None
        turns, first = [], 0
        for at, (text, one) in enumerate(zip(texts, parts, strict=True)):
            places = range(first, first + len(one))
            first += len(one)
            place = next((n for n in places if self._is_sure(told, n)), places[0])
            known = self.knowledge.intent(str(told.label[place])) if self._is_sure(told, place) else None
            confidence = float(told.confidence[place])
            mood = mood_of(text, None if positive is None else float(positive[at]))
            if known and known.is_trouble and mood == NEUTRAL:
                mood = NEGATIVE
            tongue = tongue_of(text)
            article = None if known and confidence >= _SURE else self._shelf.article(text, tongue)
            intent, found = known.id if known else "", article.id if article else ""
            turns.append(Turn(text, tongue, intent, found, confidence, mood, is_upset(text)))
        return turns

    def _is_sure(self, told: Understood, at: int) -> bool:
        return not told.is_out_of_scope[at] and float(told.confidence[at]) >= self.unsure_below

    def replies(self, texts: Sequence[str], today: date) -> list[Reply]:
        """The desk's answer after each of a customer's n turns, in the order in which they came."""
        return self.fold(self.read(texts), today)

    def fold(self, turns: Sequence[Turn], today: date) -> list[Reply]:
        state, made = State(), []
        for turn in turns:
            made.append(self._step(state, turn, today))
            state = made[-1].state
        return made

    def wish(self, turn: Turn) -> Intent | Article | None:
        """What the turn asks for, in the shop's knowledge."""
        return self.knowledge.article(turn.article) or self.knowledge.intent(turn.intent)

    # -- one turn

    def _step(self, state: State, turn: Turn, today: date) -> Reply:
        if turn.mood != NEUTRAL:
            state = replace(state, mood=turn.mood)
        if turn.tongue != "other":
            state = replace(state, tongue=turn.tongue)
        if state.handed_over:
            return self._say(self.knowledge.sentences.waiting, state, turn)
        named = slots_of(turn.text, today, self.goods or Goods(), state.asked)
        state = replace(state, slots=state.slots | named)
        if turn.is_upset:
            return self._hand_over(UPSET, state, turn)
        wanted = self.knowledge.intent(state.intent)
        if wanted and state.asked == "confirm":
            said = turn.text.strip().lower().strip(" .!,。！，")
            if _YES.fullmatch(said):
                return self._go_on(wanted, state, turn)
            if _NO.fullmatch(said):
                return self._say(self.knowledge.sentences.dropped, replace(state, intent="", asked=""), turn)
        if wanted and state.asked and state.asked in named:
            return self._go_on(wanted, replace(state, asked="", n_unsure=0), turn)
        found = self.knowledge.intent(turn.intent)
        article = self.knowledge.article(turn.article)
        if article:
            text = fill(article.text, state.tongue, {}, self.knowledge, Goods())
            assert text is not None, "the knowledge was checked when it was read"
            return Reply(text, "", article.id, turn.confidence, False, replace(state, n_unsure=0))
        if found and wanted and state.asked:
            if found.id == wanted.id:  # said again, without what was asked for
                return self._not_understood(state, turn)
            if found.is_small_talk and not found.is_thanks:  # "hello?": the question stands
                return self._ask(wanted, state, turn)
        if found:
            kept = state if found.id == state.intent or found.is_small_talk else replace(state, intent=found.id)
            return self._go_on(found, replace(kept, asked="", n_unsure=0), turn)
        return self._not_understood(state, turn)

    def _go_on(self, wanted: Intent, state: State, turn: Turn) -> Reply:
        """Asks for what is missing, then for leave, then answers."""
        if self._missing(wanted, state) or (wanted.confirm and state.asked != "confirm"):
            return self._ask(wanted, state, turn)
        return self._answer(wanted, state, turn)

    def _missing(self, wanted: Intent, state: State) -> list[str]:
        needed = [slot for slot in wanted.slots if self.goods is not None or slot != "product"]
        return [slot for slot in needed if slot not in state.slots]

    def _ask(self, wanted: Intent, state: State, turn: Turn) -> Reply:
        missing = self._missing(wanted, state)
        if not missing:
            assert wanted.confirm
            return self._say(wanted.confirm, replace(state, asked="confirm"), turn)
        slot = missing[0]
        state = replace(state, intent=wanted.id, asked=slot)
        goods = self.goods or Goods()
        named = goods.named_in(turn.text) if slot == "product" else []
        if 1 < len(named) <= _SHOWN_PRODUCTS:
            listed = "; ".join(goods.titles[at] for at in named)
            wording = self.knowledge.sentences.which_product
            return self._say(wording, state, turn, {"products": listed})
        return self._say(self.knowledge.ask[slot], state, turn)  # type: ignore[index]

    def _answer(self, wanted: Intent, state: State, turn: Turn) -> Reply:
        text = fill(wanted.answer, state.tongue, state.slots, self.knowledge, self.goods or Goods())
        if text is None and self.goods is not None:
            return self._hand_over(NO_FACT, state, turn)
        state = replace(state, intent="" if wanted.is_small_talk else wanted.id, asked="", n_unsure=0)
        if wanted.hand_over:
            state = replace(state, handed_over=BY_RULE)
        return Reply(text or "", wanted.id, "", turn.confidence, wanted.hand_over, state)

    def _not_understood(self, state: State, turn: Turn) -> Reply:
        state = replace(state, n_unsure=state.n_unsure + 1)
        if state.n_unsure >= self.hand_over_after:
            return self._hand_over(NOT_UNDERSTOOD, state, turn)
        wanted = self.knowledge.intent(state.intent)
        if wanted and state.asked == "confirm":
            return self._ask(wanted, state, turn)
        if wanted and state.asked:
            asked = self._ask(wanted, state, turn)
            sorry = self.knowledge.sentences.again.of(state.tongue)
            return replace(asked, answer=sorry + ("" if state.tongue == "zh" else " ") + asked.answer)
        return self._say(self.knowledge.sentences.unsure, state, turn)

    def _hand_over(self, why: str, state: State, turn: Turn) -> Reply:
        return self._say(self.knowledge.sentences.hand_over, replace(state, handed_over=why), turn)

    def _say(self, wording: Wording, state: State, turn: Turn, more: dict[str, str] | None = None) -> Reply:
        text = fill(wording, state.tongue, state.slots | (more or {}), self.knowledge, self.goods or Goods())
        assert text is not None, "the knowledge was checked when it was read"
        return Reply(text, turn.intent, "", turn.confidence, bool(state.handed_over), state)


def _parts(text: str) -> list[str]:
    """The message, and what it asks one by one where that is several things."""
    parts = [part for part in _BREAK.split(text) if any(map(str.isalpha, part))]
    return [text, *parts[:_MOST_PARTS]] if len(parts) > 1 else [text]
