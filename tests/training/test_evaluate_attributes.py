"""The judgement of attributes: its parts by hand, and that what a product tells is hidden from it."""

import numpy as np
import pytest

from training.evaluate_attributes import _first, _longest, _measures, parted
from training.language.attribute_words import COLOURS
from training.language.spans import Product


def product(at: int, title: str = "Halm & Co lamp, sky blue", **told: str) -> Product:
    return Product(f"i{at}", title, "", told)


def test_products_that_judge_tell_the_attribute_and_fit_nothing() -> None:
    shelf = [product(at, **({"brand": "Halm"} if at % 2 else {})) for at in range(200)]
    fit, judged = parted(shelf, "brand")
    assert judged
    assert all(one.told for one in judged)
    assert not {one.item_id for one in fit} & {one.item_id for one in judged}
    assert 120 < len(fit) < 160
    assert parted(shelf, "brand") == (fit, judged)


def test_baselines_answer_the_longest_known_value_and_the_first_word_of_a_kind() -> None:
    assert _longest(product(1), {"blue", "sky blue", "red"}) == "sky blue"
    assert _longest(product(1), {"red"}) == ""
    assert _first(product(1), COLOURS.__contains__) == "blue"
    assert _first(product(1), lambda word: True) == "halm"


def test_measures_count_answers_right_answers_and_values_never_seen() -> None:
    answers, truth = ["a", "x", "", "d"], ["a", "b", "c", "d"]
    measures = _measures(answers, truth, np.array([False, True, True, True]))
    found = {name: float(of(np.ones((1, 4)))[0]) for name, of in measures.items()}
    assert found == pytest.approx(
        {"precision": 2 / 3, "recall": 0.5, "f1": 4 / 7, "recall_unseen": 1 / 3, "answered_share": 0.75}
    )
    nothing = _measures(["", ""], ["a", "b"], np.zeros(2, dtype=bool))
    assert np.isnan(nothing["precision"](np.ones((1, 2)))).all()
