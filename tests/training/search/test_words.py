"""Queries as words."""

from hypothesis import given, settings
from hypothesis import strategies as st

from training.search.words import MAX_CHARACTERS, MAX_WORDS, read, tokens


def test_numbers_stand_apart_from_letters_and_plurals_are_singular() -> None:
    assert tokens("128GB Desks, women's 2.5in") == ["128", "gb", "desk", "women", "2.5", "in"]


def test_chinese_runs_are_pairs_of_characters() -> None:
    assert tokens("红色台灯 lamp") == ["红色", "色台", "台灯", "lamp"]


def test_what_a_query_does_not_want_is_told_apart() -> None:
    query = read("white desk chair without wheels for the office")
    assert query.words == ("white", "desk", "chair", "wheel", "office")
    assert query.unwanted == {"wheel"}
    assert query.wanted == ("white", "desk", "chair", "office")


def test_symbols_alone_say_nothing_and_long_queries_are_cut() -> None:
    assert read("!!! ???  \n").words == ()
    long = read("lamp and " * 3_000)
    assert long.words == ("lamp",)
    assert len(long.text) <= MAX_CHARACTERS


@given(st.text(max_size=700))
@settings(max_examples=60, deadline=None)
def test_any_text_can_be_read(text: str) -> None:
    query = read(text)
    assert len(query.words) <= MAX_WORDS
    assert len(set(query.words)) == len(query.words)
    assert query.unwanted <= set(query.words)
