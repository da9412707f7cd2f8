"""The blend of session models: what it reads of a session, by hand, and what it makes of its members."""

import math

import numpy as np
import pytest

from tests.training.recommend.small_sessions import sessions_of
from training.recommend.measures import next_item
from training.recommend.session_blend import CANDIDATES, FIRST, Blend, Facts, Members, fit_blend
from training.recommend.session_data import Sequences
from training.recommend.session_knn import VSTAN, SessionKnn
from training.recommend.session_rules import fit_sequential
from training.task import Fitting

N_ITEMS = 60


def there_and_back(n: int, seed: int) -> Sequences:
    """Sessions a, b, a, b, ... of two items that no other session need have seen together."""
    luck = np.random.default_rng(seed)
    pairs = [luck.choice(N_ITEMS, 2, replace=False).tolist() for _ in range(n)]
    return sessions_of([pair * 3 for pair in pairs], N_ITEMS, np.linspace(0, 3, n).tolist())


@pytest.fixture(scope="module")
def blend() -> Blend:
    past = there_and_back(400, seed=0)
    models = {FIRST[0]: fit_sequential(past), FIRST[1]: SessionKnn.fit(past, VSTAN)}
    members = Members(models, Facts.of(past))
    return Blend(members, fit_blend(members, there_and_back(200, seed=1), Fitting(threads=1)))


def first_hits(scores: np.ndarray, told: Sequences, asked: np.ndarray) -> float:
    return float(next_item(scores, told.item[asked + 1], (1,))[0].mean())


def test_it_learns_from_another_day_what_no_member_says(blend: Blend) -> None:
    now = there_and_back(40, seed=2)
    asked = now.followed[np.arange(len(now.followed)) % 5 > 0]  # from the second click on it is certain what follows
    alone = [first_hits(model.scores(now, asked), now, asked) for model in blend.members.models.values()]
    assert first_hits(blend.scores(now, asked), now, asked) > 0.95 > max(alone)


def test_a_batch_is_its_single_rows_and_two_fits_are_one(blend: Blend) -> None:
    now = there_and_back(4, seed=3)
    found = blend.scores(now, now.followed)
    alone = np.concatenate([blend.scores(now, now.followed[at : at + 1]) for at in range(len(now.followed))])
    np.testing.assert_allclose(found, alone, rtol=1e-9)
    again = fit_blend(blend.members, there_and_back(200, seed=1), Fitting(threads=1))
    assert again.model_to_string() == blend.ranker.model_to_string()
    assert blend.scores(now, now.followed[:0]).shape == (0, N_ITEMS)


def test_no_other_item_comes_before_a_candidate(blend: Blend) -> None:
    now = there_and_back(4, seed=3)
    scores = blend.members.scores(now, now.followed)
    joint, best, _ = blend.members.candidates(now, now.followed, scores)
    found = blend.join(now, now.followed, scores)
    put = np.take_along_axis(found, best, axis=1)
    others = np.ones(found.shape, dtype=bool)
    np.put_along_axis(others, best, False, axis=1)
    behind = np.where(others, found, -np.inf)
    assert best.shape[1] == CANDIDATES
    assert (put.min(axis=1) > behind.max(axis=1)).all()
    assert (np.argsort(-behind, axis=1)[:, :20] == np.argsort(np.where(others, -joint, np.inf), axis=1)[:, :20]).all()


def test_what_is_told_of_a_candidate_is_what_happened() -> None:
    facts = Facts.of(sessions_of([[0, 0, 1], [0, 1], [2, 1]], n_items=3, ends_day=[0, 5, 5]))
    now = sessions_of([[1, 2, 1, 0]], n_items=3, ends_day=[6])
    row, item = np.zeros(3, dtype=np.int64), np.arange(3)
    found = facts.features(now, np.array([3]), row, item)
    assert found["steps_back"].tolist() == [0, 1, 2]
    assert found["n_touched"].tolist() == [1, 2, 1]
    assert found["share_after_last"].tolist() == [1 / 8, 2 / 8, 0]  # three clicks on 0 had a successor
    assert found["again"].tolist() == [2 / 8, 1 / 5, 1 / 6]
    assert set(found["last_again"]) == {2 / 8}
    assert set(found["n_events"]) == {4}
    assert found["gap"] == pytest.approx([math.log1p(60)] * 3)
    assert found["popularity"] == pytest.approx(np.log(np.array([4, 4, 2]) / 10))
    assert found["trend"] == pytest.approx(np.log(np.array([2, 3, 2]) / 7) - found["popularity"])
    first = facts.features(now, np.array([0]), row, item)
    assert first["steps_back"].tolist() == [99, 0, 99]
    assert first["gap"].tolist() == [0, 0, 0]
