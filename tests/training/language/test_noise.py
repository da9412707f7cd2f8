"""Noise in texts: how much, where, and the same again by the same seed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.language.noise import case_noise, mixed, typos, with_emoji


def rng(seed: int = 7) -> np.random.Generator:
    return np.random.default_rng(seed)


@given(st.text(max_size=60), st.integers(0, 99))
def test_no_rate_changes_nothing_and_one_seed_makes_one_text(text: str, seed: int) -> None:
    assert typos(text, 0, rng(seed)) == case_noise(text, 0, rng(seed)) == text
    assert typos(text, 0.3, rng(seed)) == typos(text, 0.3, rng(seed))
    assert case_noise(text, 0.3, rng(seed)) == case_noise(text, 0.3, rng(seed))


@given(st.text(alphabet="0123456789 -#.", max_size=40), st.integers(0, 99))
def test_what_is_no_letter_stays(text: str, seed: int) -> None:
    assert typos(text, 1, rng(seed)) == case_noise(text, 1, rng(seed)) == text


@pytest.mark.parametrize("text", ["where is my order and when does it come ", "订单什么时候发货我想退货"])
def test_about_the_rate_of_letters_is_hit(text: str) -> None:
    drawn = rng()
    letters = list(text.replace(" ", "")) * 100
    hits = np.mean([typos(letter, 0.1, drawn) != letter for letter in letters])
    assert 0.07 < hits < 0.13
    assert abs(len(typos("".join(letters), 0.1, rng())) - len(letters)) < 0.05 * len(letters)


def test_case_noise_changes_case_alone_and_at_its_rate() -> None:
    text = "please cancel the order" * 100
    made = case_noise(text, 0.1, rng())
    assert made.lower() == text
    letters = sum(letter.isalpha() for letter in text)
    assert 0.07 < sum(letter.isupper() for letter in made) / letters < 0.13


def test_a_replaced_letter_lies_beside_it_and_keeps_its_case() -> None:
    made = {typos("G", 1, rng(seed)) for seed in range(60)}
    assert made == {"", "GG", "F", "H", "T", "Y", "V", "B"}


@given(st.text(min_size=1, max_size=40), st.integers(0, 99))
def test_emoji_and_words_of_another_language_are_added_and_nothing_is_taken(text: str, seed: int) -> None:
    for made in (with_emoji(text, rng(seed)), mixed(text, rng(seed))):
        assert len(made) > len(text)
        rest = iter(made)
        assert all(letter in rest for letter in text)  # a subsequence


def test_a_chinese_text_is_mixed_with_english_words_and_an_english_one_with_chinese() -> None:
    assert any(letter.isascii() and letter.isalpha() for letter in mixed("我要退货", rng()))
    assert any("\u4e00" <= letter <= "\u9fff" for letter in mixed("my order", rng()))
