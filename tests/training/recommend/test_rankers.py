"""What holds for every ranker: the one shape, saving, new customers and items, catalogues that are small or empty."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest

from pipelines.core.errors import TrainingError
from tests.training.recommend.small_interactions import NOW_S, shop, told
from training.recommend.als import Als
from training.recommend.ease import Ease
from training.recommend.history import History
from training.recommend.interactions import NO_ITEM, Interactions
from training.recommend.item_knn import ItemKnn
from training.recommend.popularity import Popularity
from training.recommend.ranker import Blender, Blending
from training.recommend.ranker_protocol import DAY_S, Ranker, best
from training.recommend.rankers import RANKERS, load_ranker

SMALL = Blending(nights=3, n_fresh=8, rounds=10, n_boosters=1)
FITS: dict[str, Callable[[Interactions, float], Ranker]] = {
    "popularity": Popularity.fit,
    "history": History.fit,
    "item-knn": ItemKnn.fit,
    "ease": Ease.fit,
    "als": partial(Als.fit, n_factors=4, iterations=3),
    "blender": partial(Blender.fit, how=SMALL),
}
SHOP = shop()
EVERYBODY = np.arange(len(SHOP.customers))
every_ranker = pytest.mark.parametrize("kind", FITS)


@cache
def fitted(kind: str) -> Ranker:
    return FITS[kind](SHOP, NOW_S)


def test_every_kind_is_held_to_the_contract() -> None:
    assert set(FITS) == set(RANKERS)


@every_ranker
def test_fitted_twice_is_fitted_once(kind: str) -> None:
    again = FITS[kind](SHOP, NOW_S)
    np.testing.assert_array_equal(again.score(SHOP, EVERYBODY, NOW_S), fitted(kind).score(SHOP, EVERYBODY, NOW_S))


@every_ranker
def test_saved_and_loaded_it_scores_the_same(kind: str, tmp_path: Path) -> None:
    fitted(kind).save(tmp_path)
    loaded = load_ranker(tmp_path)
    assert type(loaded) is type(fitted(kind))
    np.testing.assert_array_equal(loaded.score(SHOP, EVERYBODY, NOW_S), fitted(kind).score(SHOP, EVERYBODY, NOW_S))
    assert not {path.suffix for path in tmp_path.iterdir()} - {".json", ".npz", ".txt"}


@every_ranker
def test_a_customer_is_scored_alone_as_among_others_in_the_order_that_was_asked(kind: str) -> None:
    together = fitted(kind).score(SHOP, np.array([7, 2, 7]), NOW_S)
    for row, customer in enumerate((7, 2, 7)):
        alone = fitted(kind).score(SHOP, np.array([customer]), NOW_S)[0]
        np.testing.assert_allclose(together[row], alone, rtol=1e-12, atol=1e-12)


@every_ranker
def test_all_items_are_scored_and_what_comes_later_is_not_looked_at(kind: str) -> None:
    before_s = NOW_S - DAY_S
    model = FITS[kind](SHOP, before_s)
    scores = model.score(SHOP, EVERYBODY, before_s)
    assert scores.shape == (len(SHOP.customers), len(SHOP.items))
    assert np.isfinite(scores).all()
    known = SHOP.before(before_s)
    np.testing.assert_array_equal(FITS[kind](known, before_s).score(known, EVERYBODY, before_s), scores)


@every_ranker
def test_a_customer_without_history_gets_what_is_popular(kind: str) -> None:
    with_new = replace(SHOP, customers=np.append(SHOP.customers, "new"))
    scores = fitted(kind).score(with_new, np.array([len(SHOP.customers)]), NOW_S)
    popular = Popularity.fit(SHOP, NOW_S).score(SHOP, np.array([0]), NOW_S)
    np.testing.assert_array_equal(best(scores, 10), best(popular, 10))


@every_ranker
def test_items_that_came_after_the_fit_are_scored_and_shift_nothing(kind: str) -> None:
    """A new item stands first in the catalogue's order, so every place moves by one."""
    grown = replace(
        SHOP, items=np.append("a-new-item", SHOP.items), item=SHOP.item + 1, category=np.append(9, SHOP.category_of)
    )
    scores = fitted(kind).score(grown, EVERYBODY, NOW_S)
    assert np.isfinite(scores).all()
    np.testing.assert_allclose(scores[:, 1:], fitted(kind).score(SHOP, EVERYBODY, NOW_S), rtol=1e-9, atol=1e-9)


@every_ranker
def test_a_catalogue_of_one_item_ranks_it(kind: str) -> None:
    events = [(f"c{n}", "only", "view", age) for n in range(4) for age in (3.5, 2.5, 1.5, 0.5) if n or age > 1]
    one = told(events, {"only": 0})
    scores = FITS[kind](one, NOW_S).score(one, np.array([0, 3]), NOW_S)
    assert best(scores, 3).tolist() == [[0, NO_ITEM, NO_ITEM]] * 2


@pytest.mark.parametrize("kind", [kind for kind in FITS if kind != "blender"])
def test_an_empty_catalogue_makes_empty_lists(kind: str) -> None:
    empty = replace(told([]), customers=np.array(["c0"]))
    scores = FITS[kind](empty, NOW_S).score(empty, np.array([0]), NOW_S)
    assert best(scores, 2).tolist() == [[NO_ITEM, NO_ITEM]]


def test_a_blender_that_has_no_past_night_says_so() -> None:
    with pytest.raises(TrainingError, match="two days"):
        Blender.fit(told([]), NOW_S)
    with pytest.raises(TrainingError, match="two days"):
        Blender.fit(told([("c", "i", "view", 0.5)]), NOW_S)


@pytest.mark.parametrize("name", ["model.json", "arrays.npz"])
@every_ranker
def test_a_damaged_or_missing_part_is_refused_in_one_line(kind: str, name: str, tmp_path: Path) -> None:
    fitted(kind).save(tmp_path)
    part = tmp_path / name
    part.write_bytes(part.read_bytes()[: part.stat().st_size // 2])
    with pytest.raises(TrainingError, match=r"train again$"):
        load_ranker(tmp_path)
    part.unlink()
    with pytest.raises(TrainingError, match=r"train again$"):
        load_ranker(tmp_path)


def test_a_blender_keeps_its_crowd_and_what_the_crowd_likes_rises_among_new_items(tmp_path: Path) -> None:
    luck = np.random.default_rng(1)
    liked = Popularity(SHOP.items, np.where(np.arange(len(SHOP.items)) < 10, 500.0, 0.0))
    events = [(f"c{n:02}", f"i{luck.integers(30):02}", "view", day + 0.5) for n in range(40) for day in range(1, 5)]
    events += [(f"c{n:02}", f"i{luck.integers(10):02}", "view", day + 0.1) for n in range(40) for day in range(1, 5)]
    world = told(events, {f"i{item:02}": 0 for item in range(30)})
    blender = Blender.fit(world, NOW_S, how=replace(SMALL, n_fresh=30), crowd=liked)
    blender.save(tmp_path)
    scores = load_ranker(tmp_path).score(world, np.arange(40), NOW_S)
    np.testing.assert_array_equal(scores, blender.score(world, np.arange(40), NOW_S))
    lists = best(scores, 3, world.matrix()[:40])
    assert (lists < 10).mean() > 0.8, "what is liked by the crowd is what everybody finds here"


def test_an_unknown_kind_names_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text('{"kind": "oracle"}')
    with pytest.raises(TrainingError, match="unknown ranker 'oracle', expected one of als, blender"):
        load_ranker(tmp_path)


def test_a_list_is_the_highest_scores_first_ties_in_the_order_of_the_catalogue() -> None:
    scores = np.array([[1.0, 3.0, 3.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    assert best(scores, 3).tolist() == [[1, 2, 0], [0, 1, 2]]


def test_what_was_seen_is_left_out_and_places_stay_empty() -> None:
    seen = told([("a", "i0", "view", 1), ("a", "i1", "view", 1), ("b", "i2", "view", 1)]).matrix()
    scores = np.array([[1.0, 3.0, 2.0], [1.0, 3.0, 2.0]])
    assert best(scores, 2, seen).tolist() == [[2, NO_ITEM], [1, 0]]
    assert scores[0, 0] == 1.0, "the scores are left as they were"
