"""Models of sessions, against sums done by hand and against a plain loop over neighbours."""

import math
from dataclasses import replace

import numpy as np
import pytest

from tests.training.recommend.small_sessions import DAY_S, cycle, sessions_of
from training.recommend.interactions import Interactions
from training.recommend.session_data import Pasts, Sequences
from training.recommend.session_knn import SKNN, STAN, VSKNN, VSTAN, Decay, Neighbours, SessionKnn
from training.recommend.session_linear import RIDGE, SELF_BOUND, fit_following, fit_together
from training.recommend.session_rules import fit_association, fit_item_knn, fit_popularity, fit_sequential

PAST = sessions_of([[0, 1, 2], [1, 3], [0, 0, 1], [4, 2]], n_items=5)
NOW = sessions_of([[0, 1], [4]], n_items=5, ends_day=[5, 5])


def test_histories_stand_by_customer_in_the_order_of_time() -> None:
    told = Interactions(
        customers=np.array(["a", "b", "c"]), items=np.array(["x", "y"]), customer=np.array([2, 0, 2, 0]),
        item=np.array([0, 0, 1, 1]), behaviour=np.array([0, 1, 2, 3], dtype=np.int8), seconds=np.array([9.0, 5, 3, 5]),
    )  # fmt: skip
    found = Sequences.of(told)
    assert found.start.tolist() == [0, 2, 4]  # b did nothing
    assert found.item.tolist() == [0, 1, 1, 0]
    assert found.behaviour.tolist() == [1, 3, 2, 0]
    assert found.newest.tolist() == [1, 3]
    assert found.followed.tolist() == [0, 2]


def test_a_past_ends_with_what_was_asked_and_never_reaches_into_another_session() -> None:
    past = Pasts.of(PAST, np.array([1, 3, 7]))
    assert past.query.tolist() == [0, 0, 1, 2, 2, 2]
    assert past.event.tolist() == [0, 1, 3, 5, 6, 7]
    assert past.back.tolist() == [1, 0, 0, 2, 1, 0]
    assert Pasts.of(PAST, np.array([7]), most=2).event.tolist() == [6, 7]
    newest = past.last_of_each(PAST.item, PAST.n_items)
    assert newest.event.tolist() == [0, 1, 3, 6, 7]  # item 0 of the third session once, the later time


def test_sequential_rules_weigh_a_follower_by_its_distance() -> None:
    told = fit_sequential(PAST).matrix.toarray()
    assert told[0].tolist() == [1, 1 + 1 + 1 / 4, 1 / 4, 0, 0]
    assert told[1].tolist() == [0, 0, 1, 1, 0]
    assert fit_sequential(PAST).scores(NOW, np.array([1])).tolist() == [[0, 0, 1, 1, 0]]
    assert fit_sequential(PAST, keep=1).matrix.toarray()[0].tolist() == [0, 2.25, 0, 0, 0]


def test_association_rules_count_both_directions_and_item_knn_never_names_the_item_itself() -> None:
    assert fit_association(PAST).matrix.toarray()[0].tolist() == [2, 3, 1, 0, 0]
    found = fit_item_knn(PAST, damping=0.0, alpha=1.0).matrix.toarray()
    assert found[0].tolist() == [0, 1, 1 / 3, 0, 0]  # of the three clicks on 0 all had 1 in their session, one had 2
    assert fit_popularity(PAST).scores(NOW, np.array([0])).tolist() == [[3, 3, 2, 1, 1]]


def test_vstan_gives_what_its_formula_gives() -> None:
    how = replace(VSTAN, k=10, sample=10)
    found = SessionKnn.fit(PAST, how).scores(NOW, np.array([1]))[0]

    def vote(session: int, item: int, apart: int, weights: list[float], n_items: int, back: int, clicks: int) -> float:
        norm = math.sqrt(math.exp(-1 / 8) ** 2 + 1)
        age = NOW.seconds[1] - PAST.ends[session]
        similar = sum(weights) / (norm * math.sqrt(n_items)) * math.exp(-age / (10 * DAY_S))
        return similar * math.exp(-back / 0.5) * math.exp(-apart / 8) * (1 + 2 * math.log(4 / clicks))

    older = math.exp(-1 / 8)
    assert found[3] == pytest.approx(vote(1, 3, 1, [1], 2, 0, clicks=1))
    assert found[2] == pytest.approx(vote(0, 2, 1, [older, 1], 3, 0, clicks=2))
    in_first, in_third = vote(0, 0, 1, [older, 1], 3, 0, clicks=3), vote(2, 0, 1, [older, 1], 2, 0, clicks=3)
    assert found[0] == pytest.approx(in_first + in_third)
    assert found[4] == 0


def test_the_newest_sessions_are_looked_at_and_the_likest_vote() -> None:
    past = sessions_of([[0, 1], [0, 2], [0, 3]], n_items=4)
    now = sessions_of([[0]], n_items=4, ends_day=[9])
    newest = SessionKnn.fit(past, Neighbours(k=10, sample=2)).scores(now, np.array([0]))
    assert newest.tolist() == [[2, 0, 1, 1]]
    longer = sessions_of([[0, 1], [0, 2, 1, 3]], n_items=4)
    likest = SessionKnn.fit(longer, Neighbours(k=1, sample=10, similarity="jaccard")).scores(now, np.array([0]))
    assert likest.tolist() == [[0.5, 0.5, 0, 0]]


@pytest.mark.parametrize("how", [SKNN, VSKNN, STAN, VSTAN])
def test_a_batch_is_its_single_rows_and_one_fit_is_the_next(how: Neighbours) -> None:
    past, now = cycle(30, 5, 7, seed=1), cycle(8, 4, 7, seed=2)
    asked = now.followed
    found = SessionKnn.fit(past, how).scores(now, asked)
    assert (found == SessionKnn.fit(past, how).scores(now, asked)).all()
    alone = np.concatenate([SessionKnn.fit(past, how).scores(now, asked[at : at + 1]) for at in range(len(asked))])
    np.testing.assert_allclose(found, alone, rtol=1e-12)
    assert SessionKnn.fit(past, how).scores(now, asked[:0]).shape == (0, 7)


def test_decays_fall_with_the_steps() -> None:
    steps = np.array([0, 1, 2])
    assert Decay("exp", 2.0)(steps) == pytest.approx([1, math.exp(-0.5), math.exp(-1)])
    assert Decay("quadratic")(steps) == pytest.approx([1, 1 / 4, 1 / 9])
    assert Decay("log")(steps) == pytest.approx([1 / math.log10(1.7), 1 / math.log10(2.7), 1 / math.log10(3.7)])
    assert Decay()(steps).tolist() == [1, 1, 1]


def test_slis_keeps_to_its_bound_and_solves_its_regression() -> None:
    past = sessions_of([[0, 1]] * 400 + [[2]] * 3, n_items=3, ends_day=[0] * 403)
    found = fit_together(past).matrix
    assert found[0, 0] == pytest.approx(SELF_BOUND) or found[0, 0] < SELF_BOUND
    assert found[0, 1] > 0.1
    assert found[2, 2] == pytest.approx(1 - RIDGE / (3 + RIDGE))  # 3 sessions of item 2 alone, shrunk towards 0
    assert found[0, 2] == pytest.approx(0)


def test_slit_learns_what_follows_and_not_what_went_before() -> None:
    past = sessions_of([[0, 1]] * 90, n_items=3, ends_day=[0] * 90)
    found = fit_following(past)
    assert found.matrix[0].tolist() == pytest.approx([0, 90 / (90 + RIDGE), 0])
    assert found.matrix[1].tolist() == [0, 0, 0]
    both = fit_together(past) + found
    assert both.scores(NOW_OF_THREE, np.array([0]))[0].argmax() == 1


NOW_OF_THREE = sessions_of([[0]], n_items=3, ends_day=[2])
