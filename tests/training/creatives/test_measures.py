"""Measures of copy, counted by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.creatives.measures import (
    bleu,
    coverage,
    distinct,
    invented,
    rouge_l,
    self_bleu,
    unbacked,
    vocabulary,
    words,
)

WORDS = st.lists(st.sampled_from("abcde"), max_size=12)


def test_words_are_latin_words_numbers_and_single_characters() -> None:
    assert words("A Chef's knife, 24.5 cm: 纯棉T恤!") == ["a", "chef's", "knife", "24.5", "cm", "纯", "棉", "t", "恤"]


def test_coverage_counts_the_values_that_are_said_whole() -> None:
    assert coverage("An oak lamp, 30 cm.", ["Oak", "30 cm", "matt black steel"]) == pytest.approx(2 / 3)
    assert math.isnan(coverage("An oak lamp", []))


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("Oak lamp, 30 cm.", []),
        ("Oak lamp, 40 cm.", ["number"]),
        ("Oak lamp for 30 €", ["price"]),
        ("Oak lamp, save today", ["discount"]),
        ("The best oak lamp", ["superlative"]),
        ("Walnut lamp", ["material"]),
        ("橡木台灯，纯棉灯罩，全场最低价", ["superlative", "material"]),
    ],
)
def test_a_claim_that_no_fact_holds_is_invented(text: str, kinds: list[str]) -> None:
    assert invented(text, "Oak lamp | 30 cm | 橡木台灯") == kinds
    assert invented(text, f"Oak lamp 30 cm {text}") == []


def test_distinct_is_the_share_of_different_n_grams() -> None:
    assert distinct(["a b a", "a b"], 1) == pytest.approx(2 / 5)
    assert distinct(["a b a", "a b"], 2) == pytest.approx(2 / 3)
    assert math.isnan(distinct([], 1))


def test_bleu_of_a_text_worked_by_hand() -> None:
    # 1-grams 4/5, 2-grams 2/4, 3-grams 1/3, no 4-gram of 2: smoothed to 1/2 / 2; five words against six.
    said, reference = words("the lamp is of oak"), words("the lamp is made in oak")
    expected = math.exp(1 - 6 / 5) * (4 / 5 * 2 / 4 * 1 / 3 * (0.5 / 2)) ** 0.25
    assert bleu(said, [reference]) == pytest.approx(expected)
    assert bleu(reference, [reference]) == pytest.approx(1)
    assert bleu(["other"], [reference]) == bleu([], [reference]) == 0


def test_rouge_l_counts_what_comes_in_the_same_order() -> None:
    assert rouge_l(list("abcd"), list("acbd")) == pytest.approx(3 / 4)
    assert rouge_l([], ["a"]) == 0


@given(WORDS, WORDS)
def test_rouge_l_is_the_longest_common_subsequence_of_the_textbook(one: list[str], other: list[str]) -> None:
    table = [[0] * (len(other) + 1) for _ in range(len(one) + 1)]
    for i, a in enumerate(one):
        for j, b in enumerate(other):
            table[i + 1][j + 1] = table[i][j] + 1 if a == b else max(table[i][j + 1], table[i + 1][j])
    longest = table[-1][-1]
    assert rouge_l(one, other) == pytest.approx(2 * longest / (len(one) + len(other)) if one and other else 0)


def test_self_bleu_is_one_where_all_variants_are_alike_and_none_for_a_single_one() -> None:
    assert self_bleu(["an oak lamp for you"] * 3) == pytest.approx(1)
    assert self_bleu(["an oak lamp for you", "come and see our teas"]) == 0
    assert math.isnan(self_bleu(["an oak lamp"]))


def test_words_that_are_values_of_two_products_are_claims_and_longer_values_are_not() -> None:
    assert vocabulary(["Oak", "oak", "brass", "30 cm", "30 cm", "rose gold", "rose gold"]) == {"oak"}
    assert vocabulary(["蕾丝", "蕾丝", "红", "红"]) == {"蕾丝"}


def test_numbers_and_values_of_other_products_are_unbacked_where_no_fact_says_them() -> None:
    claims, facts = frozenset({"oak", "brass", "蕾丝"}), "Nordlys oak lamp | 30 cm, set of 2"
    assert unbacked("The oak lamp by Nordlys: 30 cm, two of them.", facts, claims) == []
    assert unbacked("A brass lamp for twenty minutes.", facts, claims) == ["20", "brass"]
    assert unbacked("红色蕾丝裙", "红色裙", claims) == ["蕾丝"]


def test_a_claim_within_another_word_is_none() -> None:
    assert unbacked("Soaked in light.", "lamp", frozenset({"oak"})) == []
