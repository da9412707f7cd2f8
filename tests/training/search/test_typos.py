"""Slips in queries."""

import pyarrow as pa
import pytest

from pipelines.core.columns import Columns as C
from training.recommend.texts import items_of
from training.search.bm25 import Bm25
from training.search.goods import ALL, Goods
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


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("runningshirt", "running shirt"),  # two titles hold them in a row
        ("shirtlamp", "shirtlamp"),  # only in one
        ("lampshirt", "lampshirt"),  # in another order
        ("inshirt", "inshirt"),  # "in" is no word of a query
        ("shirt", "shirt"),  # known
    ],
)
def test_two_words_typed_as_one_come_apart_where_titles_hold_them_in_a_row(typed: str, meant: str) -> None:
    titles = ["running shirt", "kettle running shirt", "shirt lamp", "in shirt", "in shirt lampp"]
    goods = Goods.of(items_of(pa.table({C.ITEM_ID: list("abcde"), C.TITLE: titles})))
    assert Speller.of([goods.fields[ALL]], goods.in_a_row).mend(typed) == meant


def test_words_come_apart_in_the_query_and_not_in_its_text() -> None:
    goods = Goods.of(items_of(pa.table({C.ITEM_ID: ["a", "b"], C.TITLE: ["E-Cloth, window", "red e cloth, window"]})))
    query = Speller.of([goods.fields[ALL]], goods.in_a_row).mended(read("Ecloth windw"))
    assert query.text == "Ecloth window"
    assert query.words == ("e", "cloth", "window")
