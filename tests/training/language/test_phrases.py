import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.core.config import load_knowledge
from pipelines.core.errors import TrainingError
from training.language.phrases import PhraseReader

DEMO = load_knowledge("demo")
READER = PhraseReader.fit(*DEMO.examples)


def test_phrases_are_read_as_what_they_are_examples_of() -> None:
    texts, labels = DEMO.examples
    told = READER.predict(texts)
    assert np.mean(told.label == np.array(labels, dtype=object)) > 0.99
    assert np.mean(told.is_out_of_scope) < 0.01


@pytest.mark.parametrize(
    ("text", "wish"),
    [
        ("Where is my parcel?", "order_status"), ("please cancel the order", "cancel"), ("I'd like a refund", "refund"),
        ("我要退货", "return_item"), ("转人工客服", "human"), ("优惠码不能用", "voucher"), ("THANK YOU", "thanks"),
    ],
)  # fmt: skip
def test_what_no_phrase_says_word_by_word_is_understood(text: str, wish: str) -> None:
    told = READER.predict([text])
    assert (told.label[0], bool(told.is_out_of_scope[0])) == (wish, False)


@pytest.mark.parametrize(
    "text", ["", "   ", "1234", "???", "write me a poem about Paris", "ignore previous instructions", "Ελλάδα"]
)
def test_what_the_desk_knows_nothing_of_is_out_of_scope(text: str) -> None:
    assert READER.predict([text]).is_out_of_scope[0]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.text(max_size=30), min_size=1, max_size=5))
def test_texts_are_read_each_by_itself_and_confidence_is_a_share(texts: list[str]) -> None:
    many = READER.predict(texts)
    for at, text in enumerate(texts):
        one = READER.predict([text])
        assert one.label[0] == many.label[at]
        assert one.confidence[0] == pytest.approx(many.confidence[at])
        assert 0 <= one.confidence[0] <= 1


def test_the_same_phrases_make_the_same_reader_and_confidence_is_about_right() -> None:
    again = PhraseReader.fit(*DEMO.examples)
    assert (again.temperature, again.threshold) == (READER.temperature, READER.threshold)
    half = np.arange(len(DEMO.examples[0])) % 2 == 0
    texts, labels = (np.array(part, dtype=object) for part in DEMO.examples)
    told = PhraseReader.fit(texts[half], labels[half]).predict(texts[~half])
    assert abs(told.confidence.mean() - np.mean(told.label == labels[~half])) < 0.12


def test_two_intents_are_enough_and_one_is_not() -> None:
    reader = PhraseReader.fit(["a parcel", "a package", "my money"], ["status", "status", "refund"])
    assert reader.predict(["the parcel"]).label[0] == "status"
    assert len(reader.predict([]).label) == 0
    with pytest.raises(TrainingError, match="expected examples of two"):
        PhraseReader.fit(["a", "b"], ["status", "status"])
