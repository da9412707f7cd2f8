"""The judgement of intents: what may not be seen, what counts as rejected, and the same for ours and its peers."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from pipelines.strategy.judgement import Metric
from training import evaluate_intents
from training.evaluate_intents import DOCS, OURS, _few, _left_out, _rejection, _told, _unseen, few_of, run
from training.language.intent_peers import Guesses
from training.language.intent_sets import OUT, Messages

NAMES = ("cancel", "track", "refund", "invoice", "address")


def messages(n_each: int, tags: Sequence[str] = ("B", "BQ")) -> Messages:
    told = [(f"{name} number {at} please", name, tags[at % len(tags)]) for name in NAMES for at in range(n_each)]
    texts, intents, tag = zip(*told, strict=True)
    return Messages(texts, np.array(intents), tag)


def first_word(train: Messages, asked: Sequence[str], rejects: bool) -> Guesses:
    """A judge that knows the intents it learnt by their first word, and takes the first for all others."""
    known = sorted(set(train.intents.tolist()))
    words = [text.split()[0] for text in asked]
    label = [word if word in known else known[0] for word in words]
    return Guesses(np.array(label), np.array([float(word not in known) for word in words]))


def value(metric: Metric, n: int) -> float:
    return float(metric(np.ones((1, n)))[0])


def test_intents_that_were_left_out_are_not_learnt_and_all_found_by_who_knows_the_others() -> None:
    test = messages(4)
    found = {name: value(metric, len(test)) for name, metric in _left_out(messages(6), test, first_word).items()}
    assert found == dict.fromkeys(found, 1.0)
    assert set(found) <= set(DOCS)


def test_a_message_rejected_wrongly_counts_against_precision_and_accuracy_in_scope() -> None:
    is_out = np.array([True, True, False, False, False])
    found = Guesses(np.array(["a", "a", "a", "b", "b"]), np.zeros(5))
    rejected = np.array([True, False, True, False, False])
    told = _rejection([(is_out, found)], [rejected], np.array(["x", "x", "a", "b", "a"]))
    assert value(told["oos_recall"], 5) == 1 / 2
    assert value(told["oos_precision"], 5) == 1 / 2
    assert value(told["oos_in_scope_accuracy"], 5) == pytest.approx(1 / 3)


def test_what_bears_a_tag_is_judged_by_who_learnt_nothing_with_it() -> None:
    learnt: list[Messages] = []

    def judge(train: Messages, asked: Sequence[str], rejects: bool) -> Guesses:
        learnt.append(train)
        assert len(asked) == 10
        return first_word(train, asked, rejects)

    test = messages(4)
    metrics = _unseen(messages(6), test, judge)
    assert value(metrics["accuracy_unseen_phrasing"], len(test)) == 1
    assert len(learnt) == 1  # B is borne by all, so nothing would be left
    assert not any("Q" in tags for tags in learnt[0].tags)
    assert _unseen(messages(6, ["B"]), messages(4, ["B"]), judge) == {}


def test_few_examples_are_as_many_of_each_intent_and_others_by_another_draw() -> None:
    one, other = (few_of(messages(30), 10, np.random.default_rng(seed)) for seed in (1, 2))
    assert {name: int((one.intents == name).sum()) for name in NAMES} == dict.fromkeys(NAMES, 10)
    assert one.texts != other.texts
    assert len(few_of(messages(3), 10, np.random.default_rng(1))) == 3 * len(NAMES)
    assert set(_few(messages(3), messages(2), first_word)) == {"accuracy_10", "accuracy_50"}


def test_messages_that_the_set_says_are_out_of_scope_are_judged_apart() -> None:
    test = messages(2)
    more = Messages((*test.texts, "who won"), np.append(test.intents, OUT), (*test.tags, ""))
    found = _told(messages(4), more, first_word)
    assert set(found) == {"told_oos_recall", "told_oos_precision", "told_in_scope_accuracy", "told_oos_auroc"}
    assert {value(metric, len(more)) for metric in found.values()} == {1.0}


def test_the_whole_judgement_sets_ours_beside_its_peers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate_intents, "DRAWS", 1)
    monkeypatch.setattr(evaluate_intents, "FEW", (10,))
    monkeypatch.setattr(evaluate_intents, "encoders", lambda tongues, weights, threads: {})
    for part, count in (("train", 12), ("test", 4)):
        told = messages(count)
        rows = [f"{text},{label},{tag}" for text, label, tag in zip(told.texts, told.intents, told.tags, strict=True)]
        rows += ["what is the tallest mountain,oos,B", "does a fish sleep,,B"]
        (tmp_path / f"{part}.csv").write_text("\n".join(["text,intent,tags", *rows]) + "\n")
    found = run(tmp_path, 1, tmp_path)
    assert found["rows"] == {
        "intents": 5, "train": 60, "encoders": 0, "test": 20, "told_out_of_scope": 2,
    }  # fmt: skip
    assert set(found["metrics"]) == set(found["docs"]) == set(DOCS) - {"accuracy_50"}
    assert found["metrics"]["accuracy"]["value"] == 1
    assert set(found["baselines"]) == set(found["paired"]) != {OURS}
    assert all("ece" not in told for told in found["baselines"].values())
    json.dumps(found, allow_nan=False)
