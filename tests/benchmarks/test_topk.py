"""The benchmark of exact top-k, on tiny sizes: all contenders agree, and one that lists another item ends it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import topk

SIZES = (400, 300, 8, 5)


def test_all_contenders_list_what_float64_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    for library in topk.NEEDS.values():
        pytest.importorskip(library)
    monkeypatch.setattr(topk, "CHECKED", 50)
    assert set(topk.here()) == set(topk.CONTENDERS)
    assert 0 < topk.agree(*SIZES[1:]) < 1e-5


def test_a_contender_that_lists_another_item_ends_the_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(queries: np.ndarray, items: np.ndarray, k: int) -> topk.Lists:
        places, scores = topk.nightmarket(queries, items, k)
        places[3, 2] = (places[3, 2] + 1) % len(items)
        return places, scores

    monkeypatch.setattr(topk, "CHECKED", 50)
    monkeypatch.setattr(topk, "CONTENDERS", {"wrong": wrong})
    with pytest.raises(SystemExit, match="wrong differs on random vectors"):
        topk.agree(*SIZES[1:])


def test_rates_are_told_over_that_of_the_machine_s_product(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topk, "CONTENDERS", {"numpy": topk.numpy})
    monkeypatch.setattr(
        topk, "child", lambda name, kind, *sizes: {"seconds": 2.0, "cpu_seconds": 4.0, "beyond_mb": 1.0}
    )
    sizes = (10**6, 10**4, 50, 20)  # 1,000 GFLOP
    found = topk.compare(sizes, 1, {"per_second": 1000.0, "per_cpu_second": 500.0})
    assert found["random"]["numpy"] == {
        "seconds": 2.0, "cpu_seconds": 4.0, "beyond_mb": 1.0,
        "gflop_per_second": 500.0, "of_product": 0.5, "of_product_by_cpu": 0.5,
    }  # fmt: skip


def test_a_contender_is_measured_in_a_process_of_its_own() -> None:
    command = [sys.executable, str(Path(topk.__file__)), "--only", "nightmarket", "uneven", "--customers", "400"]
    done = subprocess.run([*command, "--items", "300", "--dims", "8"], check=True, capture_output=True, text=True)
    assert json.loads(done.stdout).keys() == {"seconds", "cpu_seconds", "beyond_mb"}
