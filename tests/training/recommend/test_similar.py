"""Nearest products: checked by hand on a few, and where the truth is known."""

import numpy as np
import pyarrow as pa
import pytest

from pipelines.core.columns import Columns as C
from training.recommend import similar
from training.recommend.interactions import NO_ITEM
from training.recommend.similar import COMPANY, SHELF, WORDS, Similar, fit_weights, nearest_by, views_of
from training.recommend.texts import Items, items_of


def shelf(titles: list[str], paths: list[str] | None = None) -> Items:
    """Items with these titles, and categories where they are told."""
    columns = {C.ITEM_ID: [str(at) for at in range(len(titles))], C.TITLE: titles}
    return items_of(pa.table(columns | ({C.CATEGORY_PATH: paths} if paths else {})))


def unit(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def clusters(seed: int, noise: float, n: int = 20, size: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors around `n` centres, `size` each, and which centre is whose."""
    rng = np.random.default_rng(seed)
    own = np.repeat(np.arange(n), size)
    return unit(np.random.default_rng(1).normal(size=(n, 16))[own] + noise * rng.normal(size=(n * size, 16))), own


def test_products_that_share_words_and_a_shelf_come_first_and_a_product_is_not_like_itself() -> None:
    items = shelf(
        ["red cotton shirt", "blue cotton shirts", "garden hose", "shirt hanger", "green dress"],
        ["clothes > shirts", "clothes > shirts", "garden", "home", "clothes > dresses"],
    )
    lists, scores = Similar(views_of(items, {})).nearest(np.array([0, 2]), 4)
    assert lists[0, :2].tolist() == [1, 3]
    assert 0 not in lists[0]
    assert 2 not in lists[1]
    assert (np.diff(scores, axis=1) <= 0).all()


def test_sums_of_views_are_by_weight_and_equal_ones_come_in_order_of_places() -> None:
    near = {
        "x": unit(np.array([[1, 0], [1, 0], [0, 1], [0, 1.0]])),
        "y": unit(np.array([[1, 0], [0, 1], [1, 0], [0, 1.0]])),
    }
    lists, sums = nearest_by(near, {"x": 1.0, "y": 2.0}, np.array([0]), 3)
    assert lists.tolist() == [[2, 1, 3]]
    assert sums.tolist() == [[2.0, 1.0, 0.0]]
    assert nearest_by(near, {"x": 1.0}, np.array([3]), 3)[0].tolist() == [[2, 0, 1]]


@pytest.mark.parametrize("n", [1, 2])
def test_a_catalogue_of_one_or_two_items_leaves_places_empty(n: int) -> None:
    lists, scores = Similar(views_of(shelf(["shirt"] * n), {})).nearest(np.arange(n), 3)
    assert lists.tolist() == [[NO_ITEM] * 3] if n == 1 else [[1, NO_ITEM, NO_ITEM], [0, NO_ITEM, NO_ITEM]]
    assert np.isneginf(scores[:, n - 1 :]).all()


def test_an_empty_catalogue_has_no_lists() -> None:
    lists, scores = Similar(views_of(shelf([]), {})).nearest(np.arange(0), 3)
    assert lists.shape == scores.shape == (0, 3)


def test_items_without_text_have_a_list_and_no_score_that_is_no_number() -> None:
    items = shelf(["", "red shirt", "", "red dress"])
    lists, scores = Similar(views_of(items, {"title": np.zeros((4, 8), np.float32)})).nearest(np.arange(4), 3)
    assert np.isfinite(scores).all()
    assert [sorted(row) for row in lists.tolist()] == [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]]
    assert lists[1, 0] == 3


def test_company_tells_what_one_noisy_cosine_does_not() -> None:
    vectors, own = clusters(3, noise=0.8, n=12, size=20)
    model = Similar({"title": vectors}, n_candidates=100)

    def right(weights: dict[str, float]) -> float:
        return float((own[Similar(model.views, weights, 100).nearest(np.arange(240), 10)[0]] == own[:, None]).mean())

    alone = right({"title": 1.0})
    assert right({"title": 1.0, "company of 15": 1.0}) > alone + 0.03


def test_how_rows_are_blocked_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, _ = clusters(4, noise=0.5)
    whole = Similar({"title": vectors}).nearest(np.arange(120), 7)
    monkeypatch.setattr(similar, "_BLOCK", 7)
    for one, other in zip(whole, Similar({"title": vectors}).nearest(np.arange(120), 7), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


def test_fitted_weights_trust_the_view_that_tells_what_belongs_together() -> None:
    good, own = clusters(5, noise=0.6)
    poor = unit(np.random.default_rng(6).normal(size=good.shape))
    model = Similar({"title": poor, "text": good})
    rows, judged = np.arange(0, 60), np.arange(60, 120)
    features, places = model.features(rows), model.candidates[rows]
    belongs = own[places] == own[rows][:, None]
    allowed = np.isin(places, rows)  # nothing of the judged rows is looked at
    weights = fit_weights(features, belongs, np.full(60, 5), model.names, allowed)
    assert weights["title"] < 0.5 * weights["text"]

    def right(model: Similar) -> float:
        return float((own[model.nearest(judged, 5)[0]] == own[judged][:, None]).mean())

    assert right(Similar(model.views, weights)) > right(model)
    assert set(weights) == {"title", "text", *COMPANY}


def test_views_are_named_and_rows_of_unit_length() -> None:
    views = views_of(shelf(["red shirt", ""], ["a > b", ""]), {})
    assert set(views) == {WORDS, SHELF}
    for view in views.values():
        np.testing.assert_allclose(np.asarray(view.multiply(view).sum(axis=1)).ravel(), [1, 0], atol=1e-6)
