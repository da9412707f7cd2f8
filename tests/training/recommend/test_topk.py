"""Exact top-k against sorting everything: ties, hidden items, wrong numbers; and the same lists from every engine."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from pipelines.core.errors import TrainingError, WrongUseError
from pipelines.launch import java_version
from tests.conftest import PROJECT
from tests.training.recommend.spark_lists import IDS, customers, rank
from training.recommend import topk
from training.recommend.interactions import NO_ITEM
from training.recommend.topk import Lists, ranked, top_k, top_k_of


def sorted_lists(scores: np.ndarray, k: int) -> Lists:
    """By sorting all: scores (n, m) with -inf where an item may not be listed."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    best = np.take_along_axis(scores, order, axis=1)
    lists = np.full((len(scores), k), NO_ITEM), np.full((len(scores), k), -np.inf)
    lists[0][:, : order.shape[1]] = np.where(np.isneginf(best), NO_ITEM, order)
    lists[1][:, : order.shape[1]] = best
    return lists


def same(found: Lists, wanted: Lists) -> None:
    np.testing.assert_array_equal(found[0], wanted[0])
    np.testing.assert_array_equal(found[1], wanted[1])


@st.composite
def cases(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, int, csr_matrix | None, np.ndarray | None, int]:
    """Small whole numbers, so that products are exact and ties are everywhere; lengths that differ more or less."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, m, d = draw(st.integers(0, 9)), draw(st.integers(0, 40)), draw(st.integers(1, 6))
    spread = draw(st.sampled_from([1, 3, 100]))
    queries, items = random.integers(-spread, spread + 1, (n, d)), random.integers(-spread, spread + 1, (m, d))
    queries[random.random(n) < 0.2] = 0
    items[random.random(m) < draw(st.sampled_from([0.0, 0.9]))] = 0
    exclude = (
        csr_matrix(random.random((n, m)) < draw(st.sampled_from([0.1, 0.7, 1.0]))) if draw(st.booleans()) else None
    )
    allowed = random.random(m) < draw(st.sampled_from([0.0, 0.5, 1.0])) if draw(st.booleans()) else None
    return queries, items, draw(st.sampled_from([1, 2, 5, 50])), exclude, allowed, draw(st.integers(1, 2))


def shown(scores: np.ndarray, exclude: csr_matrix | None, allowed: np.ndarray | None) -> np.ndarray:
    scores = scores.astype(np.float64)
    if exclude is not None:
        scores[exclude.toarray()] = -np.inf
    if allowed is not None:
        scores[:, ~allowed] = -np.inf
    return scores


@pytest.fixture(scope="module", autouse=True)
def _small_blocks() -> Iterator[None]:
    """So that small cases cross the borders of blocks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(topk, "BLOCK_ROWS", 4)
        patch.setattr(topk, "BLOCK_ITEMS", 7)
        patch.setattr(topk, "BLOCK_BYTES", 300)
        yield


@settings(max_examples=150, deadline=None)
@given(cases())
def test_inner_products_are_listed_as_sorting_all_of_them_would(
    case: tuple[np.ndarray, np.ndarray, int, csr_matrix | None, np.ndarray | None, int],
) -> None:
    queries, items, k, exclude, allowed, threads = case
    found = top_k(queries, items, k, exclude=exclude, allowed=allowed, threads=threads)
    same(found, sorted_lists(shown(queries @ items.T, exclude, allowed), k))


@settings(max_examples=100, deadline=None)
@given(cases(), st.booleans())
def test_any_scores_are_listed_as_sorting_all_of_them_would(
    case: tuple[np.ndarray, np.ndarray, int, csr_matrix | None, np.ndarray | None, int], sparse: bool
) -> None:
    queries, items, k, exclude, allowed, threads = case
    scores = (queries @ items.T).astype(np.float64)
    scores[scores == 1], scores[scores == 2] = -np.inf, -0.0
    kept = csr_matrix(scores)  # zeros are not held
    found = top_k_of(
        lambda rows: kept[rows] if sparse else scores[rows], scores.shape, k,
        exclude=exclude, allowed=allowed, threads=threads,
    )  # fmt: skip
    wanted = np.where(scores == 0, -np.inf, scores) if sparse else scores
    same(found, sorted_lists(shown(wanted, exclude, allowed), k))


def test_rounding_and_the_size_of_blocks_change_no_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """Products that a float32 sum of large terms rounds into another order; and every item has a twin, a tie."""
    random = np.random.default_rng(5)
    half, queries = random.standard_normal((2, 700, 33)).astype(np.float32)
    half[:, 0] = queries[:, 0] = 1000  # a product is a million and a little
    queries = queries[:90]
    items = np.concatenate([half, half])
    exact = queries.astype(np.float64) @ half.T.astype(np.float64)
    wanted, scores = sorted_lists(np.concatenate([exact, exact], axis=1), 31)
    assert (np.sort(sorted_lists(queries @ items.T, 31)[0]) != np.sort(wanted)).any()
    for rows, columns in ((4, 7), (64, 350), (90, 701), (256, 4096)):
        monkeypatch.setattr(topk, "BLOCK_ROWS", rows)
        monkeypatch.setattr(topk, "BLOCK_ITEMS", columns)
        found = top_k(queries, items, 31)
        np.testing.assert_array_equal(found[0], wanted)
        np.testing.assert_allclose(found[1], scores, rtol=1e-6)


def test_a_short_item_that_points_the_query_s_way_is_found_behind_long_ones() -> None:
    long = np.tile([6.0, 8.0], (21, 1))  # length 10, score 6; three blocks
    places, scores = top_k(np.array([[1.0, 0.0]]), np.concatenate([long, [[5.9, 0.0], [6.1, 0.0]]]), 2)
    assert places.tolist() == [[22, 0]]
    assert scores.tolist() == [[np.float32(6.1), 6.0]]


@pytest.mark.parametrize("scale", [1e-25, 1.0, 1e15])
def test_lists_do_not_depend_on_the_unit_of_scores(scale: float) -> None:
    random = np.random.default_rng(6)
    queries, items = random.standard_normal((20, 8)), random.standard_normal((300, 8)) * random.gamma(0.3, 1, (300, 1))
    usual = top_k(queries.astype(np.float32), items.astype(np.float32), 5)[0]
    scaled = top_k(queries.astype(np.float32) * np.float32(scale), items.astype(np.float32) * np.float32(scale), 5)[0]
    assert (usual == scaled).mean() > 0.95  # at 1e-25 and 1e15 the scaled vectors themselves are rounded


def test_items_that_cannot_reach_the_list_are_not_multiplied(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(7)
    items = random.standard_normal((7 * 100, 4))
    items[5:] *= 0.01
    multiplied: list[int] = []
    matmul = np.matmul
    monkeypatch.setattr(np, "matmul", lambda a, b, out: multiplied.append(out.size) or matmul(a, b, out=out))
    queries = random.standard_normal((40, 4))
    places, _ = top_k(queries, items, 2)
    np.testing.assert_array_equal(places, sorted_lists(queries.astype(np.float32) @ items.T.astype(np.float32), 2)[0])
    assert sum(multiplied) < 0.5 * 40 * 700


def test_the_caller_s_scores_stay_as_they_are() -> None:
    scores = np.arange(12, dtype=np.float32).reshape(3, 4)
    top_k_of(lambda rows: scores[rows], (3, 4), 2, exclude=csr_matrix(np.ones((3, 4))), allowed=np.ones(4, dtype=bool))
    np.testing.assert_array_equal(scores, np.arange(12).reshape(3, 4))


def test_what_is_no_number_or_does_not_fit_is_refused() -> None:
    good, bad = np.ones((3, 2)), np.array([[1.0, 2.0], [np.nan, 1.0], [0.0, 0.0]])
    with pytest.raises(TrainingError, match="the vector of item 1 is not finite"):
        top_k(good, bad, 1)
    with pytest.raises(TrainingError, match="the vector of query 1 is not finite"):
        top_k(bad, good, 1)
    with pytest.raises(TrainingError, match="beyond what float32 holds"):
        top_k(np.full((1, 2), 1e30), np.full((1, 2), 1e30), 1)
    with pytest.raises(TrainingError, match="a score is no number"):
        top_k_of(lambda rows: bad[rows], bad.shape, 1)
    with pytest.raises(TrainingError, match="a score is no number"):
        top_k_of(lambda rows: csr_matrix(bad)[rows], bad.shape, 1)
    with pytest.raises(WrongUseError, match="k is 0"):
        top_k(good, good, 0)
    with pytest.raises(WrongUseError, match=r"queries \(3, 2\) and items \(3, 3\)"):
        top_k(good, np.ones((3, 3)), 1)
    with pytest.raises(WrongUseError, match="exclude has shape"):
        top_k(good, good, 1, exclude=csr_matrix((3, 2)))
    with pytest.raises(WrongUseError, match="allowed is float64"):
        top_k(good, good, 1, allowed=np.ones(3))
    with pytest.raises(WrongUseError, match="scores have shape"):
        top_k_of(lambda rows: good, (5, 2), 1)


def rows_of(table: pa.Table) -> list[dict[str, object]]:
    return sorted(table.to_pylist(), key=lambda row: (row["user_key"], row["slot"]))


def test_lists_become_rows_in_the_order_of_customers_and_slots() -> None:
    table = pa.Table.from_batches(ranked(customers().to_batches(5), rank, IDS))
    assert table["user_key"].to_pylist() == [f"u{n:02d}" for n in range(23) for _ in range(4)]
    assert table["slot"].to_pylist() == [1, 2, 3, 4] * 23
    places, scores = rank(customers().to_batches()[0])
    assert table["item_id"].to_pylist() == [f"i{place}" for place in places.ravel()]
    assert table["score"].to_pylist() == scores.ravel().tolist()


@pytest.mark.slow
@pytest.mark.skipif(java_version() is None, reason="Spark needs Java: make java")
def test_spark_lists_what_one_machine_lists(tmp_path: Path) -> None:
    """In a process of its own: a session that ends would end the one that other tests share."""
    told = {"PYSPARK_PYTHON": sys.executable, "PYTHONPATH": os.pathsep.join([str(PROJECT), *sys.path])}
    script = str(PROJECT / "tests" / "training" / "recommend" / "spark_lists.py")
    done = subprocess.run(
        [sys.executable, script, str(tmp_path / "lists.parquet")],
        env=os.environ | told, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    alone = pa.Table.from_batches(ranked(customers().to_batches(), rank, IDS))
    assert rows_of(pq.read_table(tmp_path / "lists.parquet")) == rows_of(alone)
