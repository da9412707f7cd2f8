"""Slips in queries."""

import pytest

from training.search.bm25 import Bm25
from training.search.typos import Speller
from training.search.words import read

TEXTS = [["shirt", "running"], ["shirt", "short", "lamp"], ["short", "lamp", "kettle"], ["running", "shirt", "kettel"]]
SPELLER = Speller.of([Bm25.fit([*TEXTS, ["lamp", "kettle"]])])


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("sihrt", "shirt"),  # swapped
        ("shrt", "shirt"),  # left out; shirt is more common than short
        ("lampp", "lamp"),
        ("runing", "running"),
        ("shirt", "shirt"),
        ("kettel", "kettel"),  # known, though one text alone holds it
        ("kettl", "kettle"),  # and never what is meant
        ("xyzzy", "xyzzy"),
        ("lam", "lam"),  # too short to tell
        ("台灯", "台灯"),
    ],
)
def test_words_are_mended_to_the_nearest_known_one(typed: str, meant: str) -> None:
    assert SPELLER.mend(typed) == meant


def test_a_querys_text_is_mended_with_its_words_and_words_of_negation_stay() -> None:
    query = SPELLER.mended(read("Sihrt without lampp 2"))
    assert query.text == "shirt without lamp 2"
    assert query.words == ("shirt", "lamp", "2")
    assert query.unwanted == {"lamp", "2"}


def test_nothing_known_mends_nothing() -> None:
    assert Speller.of([Bm25.fit([])]).mend("sihrt") == "sihrt"
