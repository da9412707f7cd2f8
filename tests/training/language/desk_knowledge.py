"""A knowledge small enough to know by heart, and a reader of wishes that goes by one word each."""

from collections.abc import Sequence

import numpy as np

from pipelines.core.servicing import Article, Intent, Knowledge, Phrases, Sentences, Wording
from training.language.dialogue import Dialogue
from training.language.phrases import Wishes
from training.language.slots import Goods

GOODS = Goods(
    ("Lumo foldable desk lamp, steel", "Lumo warm desk lamp, oak", "Kite kettle, glass", *(f"Brand{i} thing" for i in range(20))),
    (1999, 2999, None, *(100,) * 20),
    (3, 0, 5, *(1,) * 20),
    "EUR",
)  # fmt: skip
WORDS = {"cancel": "cancel", "取消": "cancel", "stock": "stock", "有货": "stock", "human": "human", "thanks": "thanks", "谢谢": "thanks",
         "hello": "greeting", "terrible": "complaint", "late": "status", "price": "price"}  # fmt: skip


def both(en: str, zh: str = "好") -> Wording:
    return Wording(en=en, zh=zh)


def intent(name: str, answer: str, **told: object) -> Intent:
    examples = Phrases(en=tuple(f"{name} number {i}" for i in range(5)), zh=tuple(f"{name}第{i}" for i in "一二三四五"))
    return Intent.model_validate(
        {"id": name, "topic": "t", "examples": examples, "answer": both(answer, answer), **told}
    )


KNOWLEDGE = Knowledge(
    intents=(
        intent("cancel", "Cancelled {order_number}.", slots=("order_number",), hand_over=True,
               confirm=both("Cancel {order_number}?", "取消{order_number}？")),
        intent("status", "Asked for {order_number}.", slots=("order_number",), is_trouble=True),
        intent("stock", "{product}: {stock}.", slots=("product",)),
        intent("price", "{product}: {price}.", slots=("product",)),
        intent("human", "A person.", hand_over=True),
        intent("complaint", "Sorry.", hand_over=True, is_trouble=True, is_complaint=True),
        intent("greeting", "Hello.", is_small_talk=True),
        intent("thanks", "Welcome.", is_small_talk=True, is_thanks=True),
    ),
    articles=(
        Article(id="abroad", topic="delivery", question=both("Which countries do you ship to abroad?", "可以寄国外吗？"),
                text=both("To Norway, in {days} days.", "寄到挪威。")),
        Article(id="warranty", topic="product", question=both("How long is the warranty?", "保修多久？"),
                text=both("Two years.", "两年。")),
    ),
    ask={"order_number": both("Which order?", "哪个订单？"), "product": both("Which product?", "哪件商品？")},
    sentences=Sentences(
        dropped=both("Nothing changed."), unsure=both("Say it again?", "再说一次？"), again=both("Not found.", "没找到。"),
        hand_over=both("A colleague comes.", "同事来。"), waiting=both("Wait."), which_product=both("One of {products}?"),
    ),
    facts={"days": both("3"), "in_stock": both("here", "有"), "out_of_stock": both("gone", "没有")},
)  # fmt: skip


class ByWord:
    """Understands a text by the first of WORDS in it, else nothing."""

    def predict(self, texts: Sequence[str]) -> Wishes:
        found = [next((name for word, name in WORDS.items() if word in text.lower()), "") for text in texts]
        known = np.array([bool(name) for name in found])
        return Wishes(np.array(found, dtype=object), np.where(known, 0.9, 0.1), ~known)


def desk() -> Dialogue:
    return Dialogue(KNOWLEDGE, ByWord(), GOODS)
