"""The judgement of the next click in a session: what is read, what is refused, and figures that are known."""

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.core.errors import NoDataError
from tests.training.recommend.small_sessions import cycle
from training.evaluate_next_item import (
    HEADER,
    OURS,
    TEST,
    TRAIN,
    compare,
    listed,
    read_clicks,
    read_peers,
    run,
)
from training.loop import LoopSettings
from training.recommend.measures import next_item
from training.recommend.sequence import SequenceSettings
from training.recommend.sequence_net import Shape
from training.recommend.session_data import Sequences
from training.recommend.session_knn import STAN, VSKNN, VSTAN, Neighbours, SessionKnn
from training.recommend.session_rules import fit_association, fit_item_knn, fit_popularity, fit_sequential
from training.task import Fitting

SHARED = Path(__file__).parents[3] / "shared" / "data" / "yoochoose-100k"
needs_data = pytest.mark.skipif(not (SHARED / TRAIN).is_file(), reason=f"no {SHARED / TRAIN}")
TINY = SequenceSettings(
    Shape(width=16, dropout=0.1), 1, LoopSettings(learning_rate=2e-2, epochs=3, batch_size=16, precision="fp32")
)
NAMES = tuple(f"{measure}_{k}" for measure in ("hr", "mrr") for k in (5, 10, 20))


def write(folder: Path, file: str, lines: list[str]) -> Path:
    (folder / file).write_bytes(gzip.compress("\n".join([HEADER, *lines]).encode()))
    return folder


def lines_of(told: Sequences, first: int = 0) -> list[str]:
    """As the files have them, in no order; items by names that are no places."""
    made = [
        f"{first + session}\t{100 + 7 * item}\t{seconds:.3f}"
        for session, item, seconds in zip(told.session, told.item, told.seconds, strict=True)
    ]
    return [made[at] for at in np.random.default_rng(0).permutation(len(made))]


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sessions of a ring of 60 items, so that what follows is certain, and one peer's result beside them."""
    folder = tmp_path_factory.mktemp("ring")
    write(folder, TRAIN, lines_of(cycle(300, 5, 60)))
    write(folder, TEST, lines_of(cycle(40, 4, 60, seed=8), first=1_000))
    (folder / "peers").mkdir()
    numbers = {f"{measure}@{k}": [0.5, 0.4, 0.6] for measure in ("HR", "MRR") for k in (5, 10, 20)}
    rows = [{"method": "sasrec", "setting": f"{how} on valid", **numbers} for how in ("published", "tuned for HR@20")]
    (folder / "peers" / "a.json").write_text(json.dumps({"rows": rows}))
    return folder


@pytest.fixture(scope="module")
def result(ring: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return run(ring, replace(Fitting(), threads=1, work=tmp_path_factory.mktemp("work")), TINY)


def test_the_blend_finds_what_is_certain_and_its_pairs_are_ours_minus_theirs(result: dict[str, Any]) -> None:
    ours, others = result["metrics"], result["baselines"]
    assert ours["hr_5"]["value"] > 0.99
    assert ours["mrr_20"]["value"] > 0.9
    assert others["popularity"]["hr_5"]["value"] < 0.3
    assert set(NAMES) < set(ours) == set(result["docs"])
    for who, paired in result["paired"].items():
        for name in NAMES:
            gap = ours[name]["value"] - others[who][name]["value"]
            assert paired[name]["value"] == pytest.approx(gap)
    assert result["paired"]["popularity"]["hr_5"]["low"] > 0.5
    assert result["rows"] == {"sessions": 300, "items": 60, "judged_sessions": 40, "judged": 120}


def test_everyone_has_a_coverage_and_the_same_list_for_all_covers_least(result: dict[str, Any]) -> None:
    assert result["baselines"]["popularity"]["coverage_20"]["value"] == pytest.approx(20 / 60)
    assert result["metrics"]["coverage_20"]["value"] == 1
    assert result["metrics"]["popularity_lift_20"]["value"] == pytest.approx(0, abs=0.4)  # on a ring nothing is popular
    assert result["metrics"]["popularity_lift_20"]["low"] is None  # it is no mean over sessions


def test_peers_stand_beside_with_their_own_intervals_and_without_a_pair(result: dict[str, Any]) -> None:
    peers = {who: one for who, one in result["baselines"].items() if who.startswith("peer")}
    assert list(peers) == ["peer: SASRec (RecTools) (tuned for HR@20)"]  # the published setting was tuned
    assert peers["peer: SASRec (RecTools) (tuned for HR@20)"]["mrr_10"] == {"value": 0.5, "low": 0.4, "high": 0.6}
    assert not any(who.startswith("peer") for who in result["paired"])


def test_intervals_resample_sessions_not_clicks() -> None:
    hits = np.repeat([1.0, 0.0], 50)[:, None] * np.ones(6)
    beyond = {who: {"coverage_20": 1.0} for who in (OURS, "other")}
    values = {OURS: hits, "other": np.zeros((100, 6))}
    alike = compare(values, beyond, np.repeat(np.arange(2), 50), {})["metrics"]["hr_5"]
    apart = compare(values, beyond, np.arange(100), {})["metrics"]["hr_5"]
    assert (alike["value"], alike["low"], alike["high"]) == (0.5, 0, 1)  # either session may be drawn twice
    assert 0.35 < apart["low"] < 0.45 < 0.55 < apart["high"] < 0.65


def test_a_list_holds_no_item_that_the_row_scores_lowest() -> None:
    found = listed(np.array([[0.0, 2.0, 0.0, 1.0, 1.0] + [0.0] * 20]))
    assert found[0, :4].tolist() == [1, 3, 4, -1]
    assert (found[0, 3:] == -1).all()


@pytest.mark.parametrize(
    ("file", "lines", "told"),
    [
        (TRAIN, ["1\t5\t1.0", "1\t6"], "line 3.*'1.t6'"),
        (TRAIN, ["1\tshoe\t1.0"], "line 2.*three numbers"),
        (TRAIN, ["1\t5\tnan"], "line 2"),
        (TRAIN, ["1\t99999999999999999999\t1.0"], "line 2"),
        (TRAIN, [], "line 1"),
        (TEST, ["7\t99\t1.0"], "item 99"),
    ],
)
def test_a_damaged_line_is_named(tmp_path: Path, file: str, lines: list[str], told: str) -> None:
    write(tmp_path, TRAIN, ["1\t5\t1.0", "1\t6\t2.0"])
    write(tmp_path, TEST, ["2\t5\t9.0", "2\t6\t9.5"])
    with pytest.raises(NoDataError, match=f"{file}.*{told}"):
        read_clicks(write(tmp_path, file, lines))


def test_a_missing_or_cut_file_and_peers_of_another_kind_are_told(tmp_path: Path, ring: Path) -> None:
    with pytest.raises(NoDataError, match=TRAIN):
        read_clicks(tmp_path)
    (tmp_path / TRAIN).write_bytes((ring / TRAIN).read_bytes()[:500])
    with pytest.raises(NoDataError, match=TRAIN):
        read_clicks(tmp_path)
    assert read_peers(tmp_path / "none") == {}
    (tmp_path / "peer.json").write_text('{"rows": [{"method": "x"}]}')
    with pytest.raises(NoDataError, match=r"peer\.json"):
        read_peers(tmp_path)


def test_sessions_of_a_single_day_cannot_fit_a_blend(tmp_path: Path) -> None:
    write(tmp_path, TRAIN, ["1\t5\t1.0", "1\t6\t2.0"])
    write(tmp_path, TEST, ["2\t5\t9.0", "2\t6\t9.5"])
    with pytest.raises(NoDataError, match="one day"):
        run(tmp_path, Fitting(), TINY)


@needs_data
@pytest.mark.parametrize(
    ("how", "peer"),
    [(VSKNN, "V-SKNN (tuned for MRR@20)"), (STAN, "STAN (tuned for MRR@20)"), (VSTAN, "VSTAN (tuned for MRR@20)")],
)
def test_neighbours_are_those_of_the_peers_on_their_own_files(how: Neighbours, peer: str) -> None:
    told, test = read_clicks(SHARED)
    _same_as(SessionKnn.fit(told, how), test, peer, 0.0005)


@needs_data
def test_rules_are_those_of_the_peers_on_their_own_files() -> None:
    told, test = read_clicks(SHARED)
    _same_as(fit_sequential(told), test, "SR (tuned for MRR@20)", 0.0005)
    _same_as(fit_association(told), test, "AR (tuned for MRR@20)", 0.002)  # which of equal rules are cut is chance
    _same_as(fit_item_knn(told), test, "item-kNN (tuned for MRR@20)", 0.002)
    _same_as(fit_popularity(told), test, "popularity (published: default)", 0.0005)


def _same_as(model: Any, test: Sequences, peer: str, margin: float) -> None:
    asked = test.followed
    parts = [asked[at : at + 2_000] for at in range(0, len(asked), 2_000)]
    found = [np.hstack(next_item(model.scores(test, part), test.item[part + 1], (5, 10, 20))) for part in parts]
    theirs = read_peers(SHARED / "peers")[f"peer: {peer}"]
    assert np.concatenate(found).mean(axis=0) == pytest.approx([theirs[name]["value"] for name in NAMES], abs=margin)
