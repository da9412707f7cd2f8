"""BM25 against its formula."""

import math

import numpy as np
import pytest

from training.search.bm25 import K1, B, Bm25

TEXTS = [["red", "lamp"], ["red", "red", "shoe", "box"], ["shoe"], []]


def by_hand(words: list[str]) -> list[float]:
    """Lucene's form: idf ln(1 + (n - df + .5) / (df + .5)), without the constant k1 + 1."""
    mean = sum(map(len, TEXTS)) / len(TEXTS)
    found = []
    for text in TEXTS:
        total = 0.0
        for word in words:
            held = sum(word in other for other in TEXTS)
            if count := text.count(word):
                idf = math.log(1 + (len(TEXTS) - held + 0.5) / (held + 0.5))
                total += idf * count / (count + K1 * (1 - B + B * len(text) / mean))
        found.append(total)
    return found


@pytest.mark.parametrize("words", [["red"], ["red", "shoe"], ["shoe", "shoe"], ["nobody"], []])
def test_scores_are_the_formulas(words: list[str]) -> None:
    assert Bm25.fit(TEXTS).scores(words) == pytest.approx(by_hand(words), abs=1e-6)


def test_what_each_word_brings_adds_up() -> None:
    field, some = Bm25.fit(TEXTS), np.array([3, 0, 1])
    each = field.each(("red", "shoe", "nobody"), some)
    assert each.shape == (3, 3)
    assert each.sum(axis=0) == pytest.approx(field.scores(("red", "shoe"))[some])
    assert (each[2] == 0).all()


def test_every_words_list_is_in_the_order_of_texts() -> None:
    rng = np.random.default_rng(3)
    field = Bm25.fit([[f"w{at}" for at in rng.integers(30, size=12)] for _ in range(200)])
    for start, end in zip(field.start[:-1], field.start[1:], strict=True):
        assert (np.diff(field.text[start:end]) > 0).all()


def test_without_a_word_nothing_is_found() -> None:
    assert Bm25.fit([[], []]).scores(["red"]).tolist() == [0, 0]
    assert Bm25.fit([]).scores(["red"]).tolist() == []
    assert Bm25.fit(TEXTS).rarity(["nobody"])[0] > Bm25.fit(TEXTS).rarity(["red"])[0]
