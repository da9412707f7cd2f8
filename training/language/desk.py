"""A shop's service desk as it stands tonight: its knowledge, what the newest catalogue tells, and who reads customers' wishes.

    desk = Desk.of(shop, knowledge, store)
    desk.answer("c1", ["Please cancel my order A-20458"], date.today())["answer"]

Answers as a mapping, for whoever asks: the command line, MLflow's server, a test.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, Final

from pipelines.core.columns import Columns as C
from pipelines.core.reading import read
from pipelines.core.servicing import Knowledge, Service
from pipelines.core.shop import Shop
from pipelines.core.storage import Store, default_root
from training.language.dialogue import Dialogue, IntentReader, Reply
from training.language.phrases import PhraseReader
from training.language.slots import Goods, goods_of

CONVERSATION, TURNS, TODAY = C.CONVERSATION_ID, "turns", "today"  # of a row that asks
MAX_CHARS: Final = 10_000  # of one turn that are read: its beginning and its end
MAX_TURNS: Final = 200  # the newest, of one conversation


@dataclass(frozen=True)
class Desk:
    """What is needed to answer, and no more: it can be written down as JSON and made again."""

    knowledge: Knowledge
    service: Service
    goods: Goods

    @classmethod
    def of(cls, shop: Shop, knowledge: Knowledge, store: Store) -> "Desk":
        """The desk with the newest catalogue, without one where none has landed."""
        nights = store.nights("catalog")
        told = read(store, "catalog", nights[-1:], C.TITLE, C.PRICE_CENTS, C.STOCK) if nights else None
        assert shop.service
        return cls(knowledge, shop.service, goods_of(told, shop.currency))

    def to_json(self) -> dict[str, Any]:
        goods = {name: getattr(self.goods, name) for name in ("titles", "price_cents", "stock", "currency")}
        return {
            "knowledge": self.knowledge.model_dump(mode="json"),
            "service": self.service.model_dump(mode="json"),
            "goods": goods,
        }

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> "Desk":
        goods: dict[str, Any] = {
            name: tuple(part) if isinstance(part, list) else part for name, part in told["goods"].items()
        }
        return cls(Knowledge.model_validate(told["knowledge"]), Service.model_validate(told["service"]), Goods(**goods))

    def open(self) -> "OpenDesk":
        """Fits who reads customers' wishes, some hundred phrases; raises TrainingError where they do not suffice."""
        service = self.service
        reader = reader_of(self.knowledge, service)
        return OpenDesk(
            Dialogue(self.knowledge, reader, self.goods, None, service.unsure_below, service.hand_over_after)
        )


def reader_of(knowledge: Knowledge, service: Service, labelled: Sequence[tuple[str, str]] = ()) -> IntentReader:
    """Who reads wishes out of messages: phrases alone, or with `service.encoders` the intent model and its encoders, whose
    weights lie in the store's root; where they cannot be had, words alone. `labelled`: messages and their intents beside the
    knowledge's own examples. Raises TrainingError for less than two intents."""
    texts, intents = knowledge.examples
    texts, intents = texts + [text for text, _ in labelled], intents + [intent for _, intent in labelled]
    if not service.encoders:
        return PhraseReader.fit(texts, intents)
    from training.language.intent_model import IntentModel  # torch takes seconds to load

    return IntentModel.fit(texts, intents, weights=default_root() / "weights")


@dataclass(frozen=True)
class OpenDesk:
    """Answers the last of a customer's turns."""

    dialogue: Dialogue

    def answer(self, conversation_id: str, turns: Sequence[str], today: date) -> dict[str, Any]:
        """The customer's turns so far, the oldest first -> answer, intent, confidence, hand_over, state as JSON."""
        read = [_shortened(str(turn)) for turn in turns][-MAX_TURNS:]
        replies = self.dialogue.replies(read or [""], today)
        return {CONVERSATION: conversation_id, **_told(replies[-1])}


def _told(reply: Reply) -> dict[str, Any]:
    return {
        "answer": reply.answer,
        "intent": reply.intent or reply.article,
        "confidence": round(reply.confidence, 6),
        "hand_over": reply.hand_over,
        "state": json.dumps(asdict(reply.state), ensure_ascii=False, sort_keys=True),
    }


def _shortened(text: str) -> str:
    half = MAX_CHARS // 2
    return text if len(text) <= MAX_CHARS else f"{text[:half]} {text[-half:]}"
