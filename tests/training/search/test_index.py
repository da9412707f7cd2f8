"""The index: what is found, in which order, by words, by vectors and by a ranker, and what has no answer."""

from pathlib import Path

import numpy as np
import pytest

from pipelines.core.errors import TrainingError
from tests.training.search.small_catalog import Meanings, catalog
from training.search.features import NAMES, features
from training.search.filters import parse
from training.search.goods import MULTILINGUAL, largest
from training.search.index import Index
from training.search.ranker import Ranker
from training.search.words import read
from training.task import Fitting

TITLES = [title or "" for title in catalog()["title"].to_pylist()]


@pytest.fixture(scope="module")
def words() -> Index:
    return Index.build(catalog(), {})


@pytest.fixture(scope="module")
def both() -> Index:
    return Index.build(catalog(), {MULTILINGUAL: Meanings().encode(TITLES)}, {MULTILINGUAL: Meanings()})


def test_words_find_items_that_hold_them(words: Index) -> None:
    hits = words.search("red shoes")
    assert hits.items[0] == "a1"
    assert hits.scores == sorted(hits.scores, reverse=True)
    assert "b3" not in hits.items
    assert words.search("台灯").items[0] == "b1"


def test_typos_are_mended(words: Index) -> None:
    hits = words.search("runing sheos")
    assert hits.mended
    assert hits.query.text == "running shoe"
    assert set(hits.items[:2]) == {"a1", "a2"}


def test_filters_leave_what_they_allow(words: Index) -> None:
    assert words.search("running shoes", filters=parse(["brand=lumo", "in_stock"])).items[0] == "a1"
    assert "a2" not in words.search("running shoes", filters=parse(["in_stock"])).items


def test_vectors_find_what_no_word_names_across_languages(both: Index, words: Index) -> None:
    assert words.search("sneaker").items == []
    assert set(both.search("sneaker", k=4).items) == {"a1", "a2", "a3", "a9"}


@pytest.mark.parametrize("query", ["", "   ", "!!! ??? ---", "the of"])
def test_a_query_that_says_nothing_finds_nothing(words: Index, both: Index, query: str) -> None:
    assert words.search(query).items == both.search(query).items == []


def test_a_very_long_query_and_an_unknown_language_are_answered(words: Index, both: Index) -> None:
    assert both.search("red lamp " * 1_200) == both.search(("red lamp " * 1_200)[:500])
    assert words.search("ποδήλατο").items == []
    assert len(both.search("ποδήλατο", k=3).items) == 3  # a vector is near to something; words are not


def test_an_empty_catalogue_finds_nothing() -> None:
    assert Index.build(catalog(0), {}).search("red shoes").items == []


def test_features_are_numbers_of_each_candidate_and_say_what_is_not_wanted(both: Index) -> None:
    sight, _ = both.sight("brown belt without buckle")
    x = features(both.goods, sight)
    assert x.shape == (len(sight.places), len(NAMES))
    of = {
        item: dict(zip(NAMES, row, strict=True))
        for item, row in zip(both.goods.items.ids[sight.places], x, strict=True)
    }
    assert of["a4"]["unwanted"] == of["a5"]["unwanted"] == 1
    assert (of["a4"]["says_without"], of["a5"]["says_without"]) == (0, 1)
    assert of["a5"]["phrase"] == 1
    assert of["a8"]["missing_in_name"] == 2
    assert np.isnan(of["a4"]["numbers"])


def test_features_tell_a_thing_from_what_is_made_for_it(both: Index) -> None:
    sight, _ = both.sight("airpods 2")
    x = dict(zip(both.goods.items.ids[sight.places], features(both.goods, sight), strict=True))
    for item, behind in (("a6", 1), ("a7", 0)):
        assert x[item][NAMES.index("behind_for")] == behind
        assert x[item][NAMES.index("numbers")] == 1


def test_features_do_not_hang_on_what_else_is_looked_at(both: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.search.goods.CANDIDATES", 5)
    vectors = {MULTILINGUAL: Meanings().encode(["red shoes"])[0]}
    alone = both.goods.sight(read("red shoes"), vectors)
    more = both.goods.sight(read("red shoes"), vectors, also=range(len(both.goods)))
    assert (alone.n_found, len(more.places)) == (5, len(both.goods))
    np.testing.assert_allclose(features(both.goods, alone), features(both.goods, more)[:5], rtol=1e-4, atol=1e-5)


def ranker(index: Index) -> Ranker:
    """Learns that what is cheap answers best."""
    rng = np.random.default_rng(5)
    asked = ("red shoes", "lamp", "brown belt", "airpods", "running")
    sights = [index.sight(query)[0] for query in asked for _ in range(12)]
    cheap = index.goods.items.prices < 5_000
    gain = [np.clip(cheap[sight.places] + 0.05 * rng.standard_normal(len(sight.places)), 0, 1) for sight in sights]
    return Ranker.fit([features(index.goods, one) for one in sights], gain, Fitting(threads=1), views=[MULTILINGUAL])


def test_a_ranker_orders_candidates_and_is_saved_with_the_index(both: Index, tmp_path: Path) -> None:
    ranked = both.with_ranker(ranker(both))
    found = ranked.search("red shoes")
    assert found.scores != both.search("red shoes").scores
    ranked.save(tmp_path)
    loaded = Index.load(tmp_path, {MULTILINGUAL: Meanings()})
    for query in ("red shoes", "sneaker", "runing sheos", "台灯"):
        assert loaded.search(query) == ranked.search(query)


def test_a_ranker_that_learnt_from_vectors_is_not_asked_without_them(both: Index, words: Index) -> None:
    assert words.with_ranker(ranker(both)).search("red shoes") == words.search("red shoes")


def test_a_folder_without_an_index_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no readable search index") as refused:
        Index.load(tmp_path)
    assert "\n" not in str(refused.value)


def test_the_largest_come_by_falling_score_and_equal_ones_in_their_order() -> None:
    assert largest(np.array([1.0, 3, 2, 3, 2]), 3).tolist() == [1, 3, 2]
    assert largest(np.array([1.0]), 5).tolist() == [0]
    assert largest(np.zeros(0), 5).tolist() == []
