"""Item relations on counts that can be checked by hand, and on made sessions whose truth is known."""

import numpy as np
import pytest

from pipelines.core.errors import TrainingError
from training.recommend.interactions import NO_ITEM
from training.recommend.relations import (
    COMPLEMENT,
    RELATED,
    SUBSTITUTE,
    Meetings,
    Weighting,
    choose,
    lift_by_cosine,
    meetings,
    related,
    relations,
    shares_found,
)

BY_LIFT, BY_CHANCE = Weighting(0.0, 0.0), Weighting(0.0, 1.0)


def four_sessions(half_life: float = 1e9) -> Meetings:
    """Items 0 and 1 meet in sessions 0 and 1, items 0 and 2 in session 2; item 3 is alone in session 3, item 0 twice."""
    session = np.array([0, 0, 1, 1, 2, 2, 3, 3, 0])
    item = np.array([0, 1, 0, 1, 0, 2, 3, 3, 0])
    return meetings(session, item, 5, np.array([0, 1, 2, 3]), half_life)


def test_sessions_with_both_are_counted_once_however_often_an_item_was_touched() -> None:
    met = four_sessions()
    assert met.sessions.toarray()[:3, :3].tolist() == [[0, 2, 1], [2, 0, 0], [1, 0, 0]]
    assert met.single == pytest.approx([3, 2, 1, 1, 0])
    assert met.total == pytest.approx(4)


def test_a_session_is_worth_half_after_the_half_life() -> None:
    met = four_sessions(half_life=1.0)
    assert met.together.toarray()[0, :3].tolist() == [0, 1.5, 0.25]
    assert met.single.tolist() == [1.75, 1.5, 0.25, 0.125, 0]
    assert met.total == 1.875
    assert met.sessions[0, 1] == 2


def test_lists_of_sessions_alone_are_by_lift_or_by_chance() -> None:
    met = four_sessions()
    places, lift = related(met, None, BY_LIFT, 2)
    assert places[0].tolist() == [1, 2]  # a tie: 2 * 4 / (3 * 2) = 1 * 4 / (3 * 1)
    assert lift[0] == pytest.approx([4 / 3, 4 / 3])
    assert related(met, None, BY_CHANCE, 2)[0][0].tolist() == [1, 2]
    assert places[3:].tolist() == [[NO_ITEM, NO_ITEM]] * 2


def test_the_prior_counts_as_alpha_expected_sessions() -> None:
    _, lift = related(four_sessions(), None, Weighting(0.5, 0.0), 2)
    assert lift[0] == pytest.approx([(2 + 0.5) / (1.5 + 0.5), (1 + 0.5) / (0.75 + 0.5)])


Touches = tuple[np.ndarray, np.ndarray]
KINDS_OF_ITEM = 400


def made(seed: int, n: int) -> Touches:
    """n sessions of three items: two of one group of ten, the third too, or in one of four sessions from anywhere."""
    random = np.random.default_rng(seed)
    popular = np.repeat([8.0, 1.0], 5) / 45
    inside = np.array([random.choice(10, 3, replace=False, p=popular) for _ in range(n)])
    items = random.integers(0, 40, n)[:, None] * 10 + inside
    away = random.random(n) < 0.25
    items[away, 2] = (items[away, 0] + random.integers(10, 390, away.sum())) % KINDS_OF_ITEM
    return np.repeat(np.arange(n), 3), items.ravel()


def counted(touches: Touches) -> Meetings:
    return meetings(*touches, KINDS_OF_ITEM, np.zeros(touches[0].max() + 1), 1.0)


def vectors() -> np.ndarray:
    """Of each item its group's, blurred."""
    random = np.random.default_rng(1)
    return np.repeat(random.standard_normal((40, 12)), 10, axis=0) + 0.6 * random.standard_normal((KINDS_OF_ITEM, 12))


def test_the_lift_rises_with_the_cosine_and_adds_up_to_the_meetings_there_were() -> None:
    met, random = counted(made(2, 3_000)), np.random.default_rng(0)
    unit = vectors() / np.linalg.norm(vectors(), axis=1)[:, None]
    cosine, lift = lift_by_cosine(met, unit, seed=0)
    assert (np.diff(cosine) > 0).all()
    assert (np.diff(lift) >= 0).all()
    assert lift[0] < 0.5 < 10 < lift[-1]
    a, b = random.choice(KINDS_OF_ITEM, (2, 100_000), p=met.single / met.single.sum())
    by_chance = (met.single.sum() ** 2 - (met.single**2).sum()) / (2 * met.total)
    told = np.interp(np.vecdot(unit[a], unit[b])[a != b], cosine, lift).mean() * by_chance
    assert told == pytest.approx(met.together.sum() / 2, rel=0.1)


def test_both_together_find_more_of_later_sessions_than_sessions_or_vectors_alone() -> None:
    met, later, last = counted(made(3, 700)), made(4, 400), made(5, 2_000)
    weightings = [Weighting(alpha, 1.0) for alpha in (0.0, 0.01, 0.1, 1.0, 1e6)]
    best, told = choose(met, vectors(), later, weightings, 10)
    assert told[best] == max(told.values())
    assert 0 < best.alpha < 1e6

    def found(weighting: Weighting) -> np.ndarray:
        return shares_found(related(met, vectors(), weighting, 10)[0], *last)

    both = found(best)
    for alone in (weightings[0], weightings[-1]):
        gain = both - found(alone)
        assert gain.mean() > 3 * gain.std() / len(gain) ** 0.5


def test_an_item_that_nobody_met_gets_its_neighbours_by_vector_and_one_without_a_vector_those_it_met() -> None:
    session, item = made(6, 1_500)
    new, plain = np.arange(7, KINDS_OF_ITEM, 50), 13
    seen = ~np.isin(item, new)
    met, known = counted((session[seen], item[seen])), vectors()
    known[plain] = 0
    places, lift = related(met, known, Weighting(0.1, 1.0), 5)
    assert (places[new] // 10 == new[:, None] // 10).mean() > 0.4  # by chance 0.02
    assert not (places == np.arange(KINDS_OF_ITEM)[:, None]).any()
    assert (lift[new] > 1).all()
    assert set(places[plain]) <= set(met.together[[plain]].indices)
    assert (places[plain] != NO_ITEM).all()


def test_a_later_session_s_share_is_that_of_its_ordered_pairs() -> None:
    lists = np.array([[1, NO_ITEM], [0, 2], [NO_ITEM, NO_ITEM], [0, 1]])
    session, item = np.array([5, 9, 5, 5, 7, 9]), np.array([0, 3, 1, 2, 0, 0])
    # session 5 has 0, 1, 2: found are (0, 1), (1, 0), (1, 2) of six; 7 has one item; 9 has 3, 0: found is (3, 0) of two
    assert shares_found(lists, session, item).tolist() == [0.5, 0.5]


def test_a_relation_is_a_substitute_within_a_category_and_a_complement_where_both_were_bought() -> None:
    met = four_sessions()
    baskets = meetings(np.array([0, 0, 1, 1]), np.array([0, 2, 0, 2]), 5, np.zeros(2), 1.0)
    lists = related(met, None, BY_LIFT, 2)
    found = relations(lists, met, baskets, np.array([4, 4, 6, 4, 4]))
    assert list(zip(found.item, found.other, found.kind, found.support, strict=True)) == [
        (0, 1, SUBSTITUTE, 2),
        (0, 2, COMPLEMENT, 2),
        (1, 0, SUBSTITUTE, 2),
        (2, 0, COMPLEMENT, 2),
    ]
    once = relations(lists, met, baskets, np.array([-1, -1, 6, 4, 4]), min_together=3)
    assert once.kind.tolist() == [RELATED] * 4  # no category is no common one
    assert once.support.tolist() == [2, 1, 2, 1]


def test_without_a_session_there_is_nothing_to_learn() -> None:
    with pytest.raises(TrainingError, match="no session"):
        meetings(np.zeros(0, np.int64), np.zeros(0, np.int64), 3, np.zeros(0), 1.0)
