"""The language of a text, by its script."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.language.tongue import tongue_of


@pytest.mark.parametrize(
    ("text", "tongue"),
    [
        ("Fits well, true to size", "en"),
        ("très jolie robe", "en"),
        ("物流很快，质量不错", "zh"),
        ("买了一台 iPhone，屏幕非常清楚，电池也耐用", "zh"),  # mixed: the larger part
        ("The 红 dress fits very well", "en"),
        ("とても良い商品です", "other"),
        ("очень хорошая рубашка", "other"),
        ("", "other"),
        ("12345 !!! 👍", "other"),
        ("ＡＢＣ", "en"),
    ],
)
def test_a_text_counts_by_its_larger_part(text: str, tongue: str) -> None:
    assert tongue_of(text) == tongue


@given(st.text(max_size=200))
def test_every_text_has_a_language_and_twice_the_text_the_same_one(text: str) -> None:
    assert tongue_of(text) == tongue_of(text + text)


@given(st.text(alphabet="abcdefgh ", min_size=1, max_size=40), st.text(alphabet="好坏很快慢", min_size=1, max_size=40))
def test_of_english_and_chinese_the_order_does_not_matter(english: str, chinese: str) -> None:
    assert tongue_of(english + chinese) == tongue_of(chinese + english) != "other"
