"""Windows over long texts: nothing left out, each text counted once."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from training.language.long_text import MAX_WINDOWS, windows_of

BEGIN, END = -1, -2


def test_a_short_text_is_one_window_and_an_empty_one_is_its_ends() -> None:
    found = windows_of([[5, 6], []], BEGIN, END, max_tokens=6)
    assert found.tokens == [[BEGIN, 5, 6, END], [BEGIN, END]]
    assert found.text.tolist() == [0, 1]
    assert found.share.tolist() == [1.0, 1.0]


def test_the_last_window_is_as_long_as_the_others_and_ends_where_the_text_ends() -> None:
    found = windows_of([[1, 2, 3, 4, 5, 6, 7]], BEGIN, END, max_tokens=6, overlap=1)
    assert found.tokens == [[BEGIN, 1, 2, 3, 4, END], [BEGIN, 4, 5, 6, 7, END]]


@given(st.lists(st.integers(0, 400), min_size=1, max_size=6), st.integers(12, 40), st.integers(0, 8))
def test_every_token_of_every_text_is_read(lengths: list[int], max_tokens: int, overlap: int) -> None:
    texts = [list(range(length)) for length in lengths]
    found = windows_of(texts, BEGIN, END, max_tokens, overlap)
    for at, text in enumerate(texts):
        own = [found.tokens[place][1:-1] for place in np.flatnonzero(found.text == at)]
        assert {token for window in own for token in window} == set(text)
        assert max(len(window) for window in own) <= max_tokens - 2
    pooled = found.pooled(np.ones((len(found.tokens), 2)))
    np.testing.assert_allclose(pooled, np.ones((len(texts), 2)))


def test_what_a_text_is_told_is_the_mean_over_its_windows() -> None:
    found = windows_of([[1], list(range(10)), [2]], BEGIN, END, max_tokens=7, overlap=0)
    assert found.text.tolist() == [0, 1, 1, 2]
    assert found.pooled(np.array([4.0, 1.0, 3.0, 8.0])).tolist() == [4.0, 2.0, 8.0]


def test_of_a_text_without_end_windows_at_even_distances_are_read() -> None:
    found = windows_of([list(range(100_000))], BEGIN, END)
    assert len(found.tokens) == MAX_WINDOWS
    assert found.tokens[0][1] == 0
    assert found.tokens[-1][-2] == 99_999
