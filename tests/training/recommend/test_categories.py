"""Told categories: right where words say it, silent where they do not, sure as often as right."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipelines.core.columns import Columns as C
from pipelines.core.errors import TrainingError
from training.recommend.categories import (
    NO_ANSWER,
    OTHER,
    Categories,
    fit_categories,
    learnt,
    least_confidence,
)
from training.recommend.texts import Items, items_of

NAMES = ("shirts", "hoses", "lamps")
SAID = {"shirts": "cotton shirt", "hoses": "garden hose", "lamps": "desk lamp"}


def shop(n: int, seed: int, share_told: float = 1.0) -> tuple[Items, np.ndarray, np.ndarray]:
    """Items of three categories; of some the title tells it, of the others it says nothing. Vectors say nothing at all."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(NAMES, n)
    is_told = rng.random(n) < share_told
    titles = [SAID[label] if told else "good thing" for label, told in zip(labels.tolist(), is_told, strict=True)]
    items = items_of(pa.table({C.ITEM_ID: [str(at) for at in range(n)], C.TITLE: titles}))
    return items, rng.normal(size=(n, 4)).astype(np.float32) / 10, labels


def halves(n: int) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(n) % 2 == 0, np.arange(n) % 2 == 1


def test_what_the_title_says_is_told_surely() -> None:
    items, vectors, labels = shop(200, seed=1)
    guess = fit_categories(items, vectors, labels, *halves(200)).predict(*shop(60, seed=2)[:2])
    assert (guess.labels == shop(60, seed=2)[2]).all()
    assert guess.confidence.min() > 0.95


def test_it_abstains_where_titles_say_nothing_and_what_it_says_is_right_as_often_as_wanted() -> None:
    precision = []
    for seed in range(4):
        items, vectors, labels = shop(1_200, seed=100 + seed, share_told=0.6)
        model = fit_categories(items, vectors, labels, *halves(1_200), precision=0.95)
        fresh, rows, truth = shop(1_000, seed=200 + seed, share_told=0.6)
        guess = model.predict(fresh, rows)
        is_told = np.array([title != "good thing" for title in fresh.titles])
        answered, right = guess.labels != "", guess.likeliest == truth
        precision.append(right[answered].mean())
        assert answered[is_told].all()
        assert answered[~is_told].mean() < 0.25
        assert abs(guess.confidence.mean() - right.mean()) < 0.04  # it is as sure as it is right
        assert guess.confidence[~is_told].max() < 0.6
    assert 0.94 < np.mean(precision) < 0.97


def test_a_category_that_only_validation_knows_is_never_told_and_makes_it_more_careful() -> None:
    items, vectors, labels = shop(400, seed=5)
    train, valid = halves(400)
    labels = labels.astype("U20")
    labels[valid & (labels == "lamps")] = "gift cards"  # looks like a lamp, is none
    labels[train & (labels == "lamps")] = np.where(
        np.arange((train & (labels == "lamps")).sum()) % 2, "lamps", "torches"
    )
    model = fit_categories(items, vectors, labels, train, valid, precision=0.95)
    guess = model.predict(items, vectors)
    assert "gift cards" not in model.rule.classes
    assert "gift cards" not in guess.labels
    wrong = valid & (labels == "gift cards")
    assert (guess.labels[wrong] == "").all()
    assert (guess.labels[valid & (labels == "shirts")] == "shirts").all()


def test_rare_categories_are_learnt_together_as_none_of_the_others() -> None:
    labels = np.array(["a"] * 20 + ["b"] * 20 + [f"rare {at}" for at in range(15)] + [""] * 5)
    classes, codes = learnt(labels, np.ones(60, dtype=bool))
    assert classes.tolist() == [OTHER, "a", "b"]
    assert codes.tolist() == [1] * 20 + [2] * 20 + [0] * 15 + [-1] * 5
    classes, codes = learnt(labels, np.arange(60) < 54)  # one rare item fewer: too few to learn from
    assert classes.tolist() == ["a", "b"]
    assert set(codes[40:]) == {-1}


def test_fewer_than_two_categories_are_nothing_to_tell_apart() -> None:
    items, vectors, _ = shop(40, seed=6)
    with pytest.raises(TrainingError, match="two at least are needed"):
        fit_categories(items, vectors, np.full(40, "shirts"), *halves(40))


def test_the_least_confidence_counts_one_error_more_than_there_was() -> None:
    confidence = np.linspace(0.99, 0.5, 50)
    is_right = np.arange(50) < 40
    found = least_confidence(confidence, is_right, 0.9)  # of 42 answers two are wrong, with one more 3 of 43
    assert found == confidence[42]  # of 43 answers three are wrong, with one more 4 of 44: 0.909
    assert least_confidence(confidence, is_right, 0.99) == NO_ANSWER  # 40 right ones do not show as much
    assert least_confidence(np.zeros(0), np.zeros(0, dtype=bool), 0.5) == NO_ANSWER
    assert least_confidence(np.full(10, 0.7), np.arange(10) < 5, 0.7) == NO_ANSWER  # equal ones are answered together


def test_without_validation_items_nothing_is_answered_and_no_item_is_no_guess() -> None:
    items, vectors, labels = shop(100, seed=7)
    model = fit_categories(items, vectors, labels, np.ones(100, dtype=bool), np.zeros(100, dtype=bool))
    assert set(model.predict(items, vectors).labels.tolist()) == {""}
    none = np.zeros(100, dtype=bool)
    assert len(model.predict(items.take(none), vectors[none]).labels) == 0


def test_a_saved_model_guesses_the_same_and_a_damaged_one_says_so(tmp_path: Path) -> None:
    items, vectors, labels = shop(200, seed=8, share_told=0.5)
    model = fit_categories(items, vectors, labels, *halves(200))
    model.save(tmp_path)
    again = Categories.load(tmp_path).predict(items, vectors)
    guess = model.predict(items, vectors)
    assert np.array_equal(again.labels, guess.labels)
    np.testing.assert_allclose(again.confidence, guess.confidence, rtol=1e-6)
    (tmp_path / "categories.json").write_text("{")
    with pytest.raises(TrainingError, match="train again"):
        Categories.load(tmp_path)
