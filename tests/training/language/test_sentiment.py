"""Sentiment: what counts how much, what nobody can read, and what happens without weights or without two classes."""

import logging
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from scipy.special import expit

from pipelines.core.errors import TrainingError
from tests.training.small_sentiment import reviews
from training.language import sentiment_encoder, sentiment_fit
from training.language.sentiment import SentimentModel, SentimentSettings, Told
from training.language.sentiment_fit import best_threshold, fit_blend, fit_sentiment, fit_words_alone
from training.language.sentiment_words import _log_ratio, fit_words
from training.task import Fitting

WORDS = SentimentSettings(encoders=())


@pytest.fixture(scope="module")
def words() -> SentimentModel:
    return fit_sentiment(reviews(800, 0), reviews(200, 1), WORDS, Fitting(threads=1))


@pytest.fixture(scope="module")
def model(tiny_encoder: Path) -> SentimentModel:
    settings = SentimentSettings(
        encoders=(f"path:{tiny_encoder}",), tuned_layers=1, least_tuned_rows=10, precision="fp32",
        loop={"max_steps": 6, "learning_rate": 0.01},
    )  # fmt: skip
    return fit_sentiment(reviews(200, 0), reviews(80, 1), settings, Fitting(threads=1))


def test_reviews_are_told_apart_and_the_chance_is_calibrated(words: SentimentModel) -> None:
    judged = reviews(400, 2)
    found = words.predict(judged.texts)
    assert (found.is_positive == judged.positive).mean() > 0.8  # one in eight says the contrary of what is meant
    assert abs(found.positive.mean() - 0.5) < 0.05
    sure = found.positive > 0.7
    assert abs(found.positive[sure].mean() - judged.positive[sure].mean()) < 0.08


def test_a_text_that_says_nothing_or_nobody_here_reads_gets_the_usual_share(words: SentimentModel) -> None:
    found = words.predict(["", "   ", "очень хорошо", "质量很好", "good"])
    assert found.is_read.tolist() == [False, False, False, False, True]
    np.testing.assert_allclose(found.positive[:4], words.usual)
    assert found.positive[4] > 0.7


def test_stars_and_emoji_are_read_in_any_language(words: SentimentModel) -> None:
    assert words.predict(["★★★★★", "👍"]).is_read.all()


def test_a_multilingual_encoder_reads_what_words_were_not_learnt_in(
    tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By what the encoder says alone, weighed for that."""
    monkeypatch.setattr(sentiment_encoder, "_MULTILINGUAL_PIECES", 0)
    settings = SentimentSettings(encoders=(f"path:{tiny_encoder}",), precision="fp32")
    found = fit_sentiment(reviews(100, 0), reviews(60, 1), settings, Fitting(threads=1))
    text = ["质量很好", "очень хорошо"]
    opinions = found.predict(text)
    assert opinions.is_read.all()
    np.testing.assert_allclose(opinions.positive, expit(found.far(found.outputs(text)[:, 1:])))
    assert not found.predict([""]).is_read.any()


def test_the_end_of_a_review_of_ten_thousand_characters_counts(model: SentimentModel) -> None:
    start = "the dress it is red and blue " * 340
    outputs = model.outputs([start + "good fits well " * 40, start + "bad poor returned " * 40])
    assert len(start) > 9_500
    assert np.abs(outputs[0] - outputs[1]).min() > 1e-4  # words, the frozen encoder and the tuned one


def test_equal_texts_get_equal_answers_whatever_stands_beside_them(model: SentimentModel) -> None:
    found = model.predict(["good dress", "the red shirt is poor", "good dress", ""]).positive
    assert found[0] == found[2]
    assert model.predict(["good dress"]).positive[0] == pytest.approx(found[0], rel=1e-5)


def test_reviews_of_one_class_are_refused_in_one_line() -> None:
    alike = Told(["good", "well"], np.ones((2, 1)))
    with pytest.raises(TrainingError, match="all 2 reviews positive, so there is nothing to tell apart; wait"):
        fit_words_alone(alike, WORDS)
    with pytest.raises(TrainingError, match="all 2 reviews positive"):
        fit_sentiment(alike, reviews(20, 0), WORDS, Fitting())
    with pytest.raises(TrainingError, match="all 2 validation reviews are of one class"):
        fit_sentiment(reviews(20, 0), alike, WORDS, Fitting())
    with pytest.raises(TrainingError, match="no reviews"):
        fit_words_alone(Told([], np.zeros((0, 1))), WORDS)


def test_a_term_is_told_by_its_share_in_good_reviews_over_that_in_bad_ones() -> None:
    counts = csr_matrix([[1.0, 0.0], [1.0, 2.0]])  # and a half of each beforehand: 1.5, 0.5 good; 1.5, 2.5 bad
    np.testing.assert_allclose(_log_ratio(counts, np.array([True, False])), np.log([0.75 / 0.375, 0.25 / 0.625]))


def test_ratios_of_words_tell_once_more_and_change_nothing_of_what_is_told_already() -> None:
    train, judged = reviews(400, 0), reviews(200, 1)
    plain = fit_words(train.texts, train.targets, 30.0).outputs(judged.texts)
    told = fit_words(train.texts, train.targets, 30.0, ratio_strength=3.0).outputs(judged.texts)
    np.testing.assert_array_equal(told[:, :-1], plain)
    assert ((told[:, -1] > 0) == judged.positive).mean() > 0.8
    assert not np.allclose(told[:, -1], plain[:, 0])


def test_texts_without_a_word_are_refused_in_one_line() -> None:
    with pytest.raises(TrainingError, match="2 texts without a word to learn from"):
        fit_words_alone(Told(["", " "], np.array([[0.0], [1.0]])), WORDS)


def test_without_weights_words_alone_answer_and_a_note_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = SentimentSettings(encoders=(f"path:{tmp_path}",))
    with caplog.at_level(logging.WARNING, logger=sentiment_fit.__name__):
        found = fit_sentiment(reviews(60, 0), reviews(30, 1), settings, Fitting())
    (note,) = found.notes
    assert note.startswith("sentiment: no encoder, so words alone answer (weights ")
    assert "\n" not in note
    assert note in caplog.text
    assert found.kind == "words"
    assert found.predict(["good"]).positive[0] > 0.5


def test_too_few_reviews_tune_nothing(tiny_encoder: Path) -> None:
    settings = SentimentSettings(encoders=(f"path:{tiny_encoder}",), tuned_layers=1, least_tuned_rows=100)
    found = fit_sentiment(reviews(60, 0), reviews(30, 1), settings, Fitting(threads=1))
    assert found.kind == "words, encoder"


def test_more_tuned_layers_than_there_are_is_refused(tiny_encoder: Path) -> None:
    settings = SentimentSettings(encoders=(f"path:{tiny_encoder}",), tuned_layers=3, least_tuned_rows=10)
    with pytest.raises(TrainingError, match="tuned_layers is 3, but the encoder has 2 layers"):
        fit_sentiment(reviews(60, 0), reviews(30, 1), settings, Fitting(threads=1))


def test_a_push_on_word_embeddings_is_refused_where_they_are_not_run(tiny_encoder: Path) -> None:
    settings = SentimentSettings(
        encoders=(f"path:{tiny_encoder}",), tuned_layers=1, least_tuned_rows=10, loop={"adversarial_epsilon": 0.5}
    )
    with pytest.raises(TrainingError, match="Top trains no embeddings: set adversarial_epsilon to 0"):
        fit_sentiment(reviews(60, 0), reviews(30, 1), settings, Fitting(threads=1))


def test_a_part_that_tells_nothing_weighs_little_and_overconfidence_is_taken_back() -> None:
    rng = np.random.default_rng(0)
    odds = rng.normal(size=4_000)
    true = rng.random(4_000) < expit(odds)
    blend = fit_blend(np.column_stack([5 * odds, rng.normal(size=4_000)]), true)
    assert blend.weights[0] == pytest.approx(0.2, abs=0.03)
    assert abs(blend.weights[1]) < 0.1


def test_few_reviews_leave_the_parts_as_they_are() -> None:
    """What six reviews say of a part's worth is luck: one part stays itself, two parts count the same."""
    odds = np.array([2.0, 1.0, -1.0, -2.0, 0.5, -0.5])
    true = np.array([1, 1, 0, 0, 0, 1])
    alone = fit_blend(odds[:, None], true)
    np.testing.assert_allclose(alone.weights, 1, atol=0.2)
    assert abs(alone.bias) < 0.05
    np.testing.assert_allclose(alone(odds[:, None]), odds, atol=0.4)
    np.testing.assert_allclose(fit_blend(np.column_stack([odds, odds]), true).weights, 0.5, atol=0.1)


def test_the_threshold_lies_below_a_half_where_the_good_are_few() -> None:
    even = np.linspace(0.001, 0.999, 999)
    assert best_threshold(even) == pytest.approx(0.5, abs=0.01)
    assert best_threshold(even**6) < 0.48
    assert best_threshold(1 - even**6) > 0.52
