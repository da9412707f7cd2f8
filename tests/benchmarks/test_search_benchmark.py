"""The benchmark of search, on tiny sizes: what is compared agrees, and a difference ends it."""

from pathlib import Path

import pytest

import search as benchmark
from training.search.bm25 import Bm25


def test_a_small_catalogue_is_searched_by_all_contenders() -> None:
    found = benchmark.measure(300, 12, Path("no data"), Path("no weights"))
    assert found["texts"] == "made up"
    assert found["encoders"] == []
    assert found["largest_difference"] < 1e-4
    for name in ("ours", "ours_words_alone", "bm25s", "numpy_cosine"):
        assert 0 < found[name]["median_ms"] <= found[name]["p95_ms"]


def test_scores_that_differ_end_the_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Bm25.scores
    monkeypatch.setattr(Bm25, "scores", lambda self, words: right(self, words) * 1.01)
    with pytest.raises(SystemExit, match="scores differ"):
        benchmark.measure(100, 5, Path("no data"), Path("no weights"))
