"""The benchmark of encoders compares what it times: vectors that differ end it."""

import gzip
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import embed


def _turned(degrees: float) -> embed.Encode:
    """An encoder whose vectors lie that far from those of `_turned(0)`."""
    vector = np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], np.float32)
    return lambda texts: np.tile(vector, (len(texts), 1))


def test_deviations_are_cosines_to_the_first_and_the_inexact_may_deviate() -> None:
    found = embed.deviations(
        {"sentence_transformers": _turned(0), "onnx_int8": _turned(60), "ours": _turned(2)}, ["a", "b"]
    )
    assert found["sentence_transformers"]["cosine_min"] == 1
    assert found["onnx_int8"]["cosine_mean"] == pytest.approx(0.5)
    assert found["ours"]["cosine_min"] == pytest.approx(0.99939, abs=1e-5)


@pytest.mark.parametrize(("name", "degrees"), [("ours", 3), ("onnx_fp32", 1)])
def test_a_contender_that_differs_from_what_it_claims_ends_the_benchmark(name: str, degrees: float) -> None:
    with pytest.raises(SystemExit, match=f"{name} differs: cosine 0.99"):
        embed.deviations({"sentence_transformers": _turned(0), name: _turned(degrees)}, ["a"])


def test_speeds_are_medians_and_compared_with_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    slow, fast = iter([8.0, 4.0, 90.0]), iter([1.0, 2.0, 2.0])
    monkeypatch.setattr(embed.time, "perf_counter", lambda: 2 * now[0])
    monkeypatch.setattr(embed.time, "process_time", lambda: now[0])

    def takes(seconds: Iterator[float]) -> embed.Encode:
        return lambda texts: now.__setitem__(0, now[0] + next(seconds))

    rates = embed.speeds({"sentence_transformers": takes(slow), "ours": takes(fast)}, ["a"] * 8, repeat=3)
    assert rates["sentence_transformers"] == {"texts_per_second": 0.5, "texts_per_cpu_second": 1.0, "times_first": 1.0}
    assert rates["ours"] == {"texts_per_second": 2.0, "texts_per_cpu_second": 4.0, "times_first": 4.0}


def test_texts_are_made_the_same_again_or_read_without_the_empty_ones(tmp_path: Path) -> None:
    assert embed.make_texts(5) == embed.make_texts(5)
    assert len(set(embed.make_texts(5))) == 5
    file = tmp_path / "reviews.csv.gz"
    file.write_bytes(gzip.compress(b'ID,Review Text\n0,"fits, well"\n1,\n2,too small\n'))
    assert embed.read_reviews(file, 2) == ["fits, well", "too small"]
    with pytest.raises(SystemExit, match="2 reviews where 3 are wanted"):
        embed.read_reviews(file, 3)
