"""Words of items and their weights, by hand."""

import numpy as np

from training.recommend.words import Words, split


def test_plurals_are_one_word_with_their_singular_and_chinese_runs_are_pairs() -> None:
    assert split("Shirts, glass & batteries x2 a") == ["shirt", "glass", "battery", "x2"]
    assert split("T恤衫 bus 红") == ["恤衫", "bus", "红"]


def test_a_row_has_unit_length_and_a_rare_word_weighs_more() -> None:
    told = [["red", "shirt"], ["red", "dress"], ["red"]]
    words = Words.fit(told)
    rows = words.rows([*told, ["unknown"]]).toarray()
    np.testing.assert_allclose((rows**2).sum(axis=1), [1, 1, 1, 0], atol=1e-6)
    assert rows[0, words.places["shirt"]] > rows[0, words.places["red"]]
    np.testing.assert_allclose(words.rarity[words.places["shirt"]], 1 + np.log(4 / 2), rtol=1e-6)


def test_words_of_too_few_texts_are_not_known_and_no_text_is_fine() -> None:
    assert list(Words.fit([["red", "red"], ["blue"], ["blue"]], least=2).places) == ["blue"]
    assert Words.fit([]).rows([]).shape == (0, 1)
    assert not Words.fit([[]]).rows([[]]).toarray().any()
