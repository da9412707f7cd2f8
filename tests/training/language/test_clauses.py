"""Clauses and their words, in English and Chinese."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.language.clauses import LONGEST, NOT, clauses, sentences, words


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("Lovely lamp, but it does not dim.", ["Lovely lamp", "it does not dim"]),
        ("Warm and soft although pricey", ["Warm and soft", "pricey"]),
        ("Costs 1,299.50 in all. Worth it!", ["Costs 1,299.50 in all", "Worth it"]),
        ("质量很好，但是物流太慢。", ["质量很好", "物流太慢"]),
        ("!!! ... 。。。", []),
        ("", []),
    ],
)
def test_a_text_parts_where_a_thought_ends(text: str, parts: list[str]) -> None:
    assert [clause.text for clause in clauses(text)] == parts


@settings(max_examples=40)
@given(st.text(alphabet="ab ,.!? 好坏，。但是\n5", max_size=900))
def test_a_clause_stands_where_it_says_and_none_is_endless_or_overlaps(text: str) -> None:
    for part in (clauses, sentences):
        found = part(text)
        assert all(text[one.start : one.end] == one.text and 0 < len(one.text) <= LONGEST for one in found)
        assert all(left.end <= right.start for left, right in pairwise(found))


def test_a_sentence_keeps_its_mark_and_its_clauses() -> None:
    assert [one.text for one in sentences("It broke, sadly! I sent 2.5 kg back. ")] == [
        "It broke, sadly!",
        "I sent 2.5 kg back.",
    ]


def test_words_shortly_behind_a_denial_are_marked_and_others_are_not() -> None:
    assert words("it does not dim well") == [NOT + "dim", NOT + "well"]
    assert words("well it dims, never mind") == ["well", "dim", NOT + "mind"]
    assert words("isn't warm") == [NOT + "warm"]
    chinese = words("不满意这个包装")
    assert NOT + "满意" in chinese
    assert "包装" in chinese
    assert NOT + "包装" not in chinese


@settings(max_examples=40)
@given(st.text(max_size=80))
def test_any_text_has_words_that_are_not_empty(text: str) -> None:
    assert all(word.removeprefix(NOT) for word in words(text))
