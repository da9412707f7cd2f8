"""The encoder that learns from searches: its rows, its loss by hand, and a tiny real run."""

from pathlib import Path

import numpy as np
import pytest
import torch

from training.encode import Encoder
from training.loop import LoopSettings
from training.search.bi_encoder import contrastive, pairs_of, tune


def test_a_wanted_item_stands_beside_one_judged_worse_or_else_beside_one_that_came_near() -> None:
    query, item, gain = np.array([0, 0, 0, 1, 2]), np.array([1, 2, 3, 4, 5]), np.array([1.0, 1.0, 0.1, 1.0, 0.0])
    near = [np.array([9]), np.array([4, 7]), np.array([9])]
    pairs = pairs_of(query, item, gain, near, most=5, seed=1)
    told = sorted(zip(pairs.query.tolist(), pairs.wanted.tolist(), pairs.other.tolist(), strict=True))
    assert told == [(0, 1, 3), (0, 2, 3), (1, 4, 7)]  # nothing was wanted for query 2


def test_rows_of_one_query_take_nothing_from_each_other() -> None:
    east, north, west = [1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]
    vectors = torch.tensor([[east, east, west], [east, east, west], [north, north, west]])
    loss = contrastive(vectors, torch.tensor([7, 7, 8]))
    # Cosines x 20 of row 0: its own 20, (row 1's masked), row 2's 0, others -20 three times.
    by_hand = np.log(1 + np.exp(-20) + 3 * np.exp(-40))
    assert loss[:2].tolist() == pytest.approx([by_hand] * 2, abs=1e-6)


def test_a_tiny_run_brings_queries_nearer_to_what_was_wanted(tiny_encoder: Path, tmp_path: Path) -> None:
    queries = [f"w{at}" for at in range(8)]
    titles = [f"title {at} good" for at in range(8)] + [f"title {at} bad" for at in range(8)]
    query = np.repeat(np.arange(8), 2)
    item = np.stack([np.arange(8), np.arange(8) + 8], axis=1).ravel()
    pairs = pairs_of(query, item, np.tile([1.0, 0.0], 8), [], most=1, seed=1)
    out = tmp_path / "tuned"
    settings = LoopSettings(epochs=15, batch_size=4, learning_rate=1e-2, precision="fp32", dropout=0)
    result = tune(tiny_encoder, queries, titles, pairs, work=tmp_path / "work", out=out, settings=settings)
    assert result.steps == 30

    def margin(folder: Path) -> float:
        encoder = Encoder(folder, threads=1, precision="fp32")
        asked, told = encoder.encode(queries), encoder.encode(titles)
        return float((asked * (told[:8] - told[8:])).sum(axis=1).mean())

    assert margin(out) > margin(tiny_encoder)
