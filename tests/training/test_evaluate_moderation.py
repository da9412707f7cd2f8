"""The judgement of moderation, on the red team that is shipped and on small files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.core.config import PROJECT
from pipelines.core.errors import NoDataError, TrainingError
from training.evaluate_moderation import BOTH, CLASSIFIER, WORDS, run, wilson
from training.language.moderation_model import BadTexts
from training.language.moderation_red_team import read_red_team

SHIPPED = PROJECT / "conf" / "moderation"


@pytest.fixture(scope="module")
def judged() -> dict[str, Any]:
    return run(SHIPPED)


def test_bad_creatives_are_held_and_good_ones_pass(judged: dict[str, Any]) -> None:
    assert (judged["rows"]["bad"], judged["rows"]["good"], judged["rows"]["fit"]) == (420, 360, 700)
    assert judged["metrics"]["recall_fit"]["value"] >= 0.99
    assert judged["metrics"]["false_alarms"]["value"] <= 0.03
    assert judged["metrics"]["recall_judged"]["value"] >= 0.60  # of attacks that were written before they were run
    assert judged["metrics"]["false_alarms_judged"]["value"] <= 0.03


def test_every_metric_has_its_meaning_and_stands_beside_the_baselines(judged: dict[str, Any]) -> None:
    assert set(judged["metrics"]) == set(judged["docs"])
    assert set(judged["baselines"]) == set(judged["paired"]) == {WORDS, CLASSIFIER, BOTH}
    assert judged["paired"][WORDS]["recall"]["low"] > 0
    assert judged["paired"][CLASSIFIER]["recall"]["low"] > 0


def test_mistakes_are_named(judged: dict[str, Any]) -> None:
    n_bad, n_good = judged["rows"]["bad"], judged["rows"]["good"]
    assert len(judged["missed"]) == round((1 - judged["metrics"]["recall"]["value"]) * n_bad)
    assert len(judged["alarmed"]) == round(judged["metrics"]["false_alarms"]["value"] * n_good)


def test_the_red_team_has_both_languages_and_no_text_twice() -> None:
    told = read_red_team(SHIPPED)
    for is_bad in (True, False):
        mine = [one for one, bad in zip(told.creatives, told.is_bad, strict=True) if bad == is_bad]
        assert min(sum(one.language == language for one in mine) for language in ("en", "zh")) >= 90
    assert len({(one.text, str(one.facts)) for one in told.creatives}) == len(told.creatives)
    assert {one.language for one in told.creatives} == {"en", "zh"}


def test_a_folder_of_others_creatives_is_judged_whole(tmp_path: Path) -> None:
    rows = [
        {"label": "bad", "text": "The best lamp in the world."},
        {"label": "bad", "text": "A pleasant lamp, says nobody."},  # no rule knows it
        {"label": "good", "text": "20% off the lamp.", "facts": {"title": "lamp"}, "offer": {"discount_percent": 20}},
    ]
    (tmp_path / "theirs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    told = run(tmp_path)
    assert told["metrics"]["recall_judged"]["value"] == told["metrics"]["recall"]["value"] == 0.5
    assert told["metrics"]["false_alarms"]["value"] == 0
    assert told["missed"] == ["2"]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{", "line 1: no JSON"),
        ("[]", "line 1: no object"),
        ('{"label": "ugly", "text": "x"}', "line 1: label must be bad or good"),
        ('{"label": "bad"}', "line 1: label must be bad or good, and text a text"),
        ('{"label": "bad", "text": "x", "facts": "lamp"}', "line 1: no facts or offer is named 'lamp'; known: none"),
        ('{"label": "bad", "text": "x", "note": 1}', "line 1: unknown key 'note'; allowed: id, label"),
        ("", "no labelled creative"),
    ],
)
def test_a_file_that_is_none_is_told_in_one_line(tmp_path: Path, line: str, why: str) -> None:
    (tmp_path / "theirs.jsonl").write_text(line + "\n")
    with pytest.raises(NoDataError, match=why):
        read_red_team(tmp_path)


def test_wilsons_interval_does_not_shrink_to_a_point() -> None:
    all_of = wilson(300, 300)
    assert (all_of.value, all_of.high) == (1.0, pytest.approx(1.0))
    assert all_of.low == pytest.approx(300 / (300 + 1.959964**2))
    half = wilson(50, 100)
    assert (half.low, half.high) == (pytest.approx(0.4038, abs=1e-4), pytest.approx(0.5962, abs=1e-4))


def test_the_classifier_learns_words_and_refuses_one_class() -> None:
    good = [f"a quiet lamp for evening {n}" for n in range(20)]
    bad = [f"win free money now {n}" for n in range(20)]
    model = BadTexts.fit([*good, *bad], np.arange(40) >= 20)
    assert model.holds(["win free money today", "a quiet lamp for the evening"]).tolist() == [True, False]
    with pytest.raises(TrainingError, match="at least 5 bad and 5 good"):
        BadTexts.fit(good, np.zeros(20, bool))
