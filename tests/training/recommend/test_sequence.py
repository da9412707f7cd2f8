"""The transformer over sequences: a tiny real training run that must learn a ring, and what every model has to hold."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines.core.errors import TrainingError
from tests.training.recommend.small_sessions import cycle, sessions_of
from training.loop import LoopSettings
from training.recommend.measures import next_item
from training.recommend.sequence import SequenceModel, SequenceSettings, fit_sequence, together
from training.recommend.sequence_net import SequenceNet, Shape
from training.recommend.session_data import Sequences
from training.recommend.session_rules import fit_popularity

SMALL = SequenceSettings(
    Shape(width=16, dropout=0.1, longest=6),
    2,
    LoopSettings(learning_rate=2e-2, epochs=4, batch_size=16, precision="fp32"),
)
RING, LATER = cycle(120, 5, 9), cycle(10, 5, 9, seed=3)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> SequenceModel:
    torch.set_num_threads(1)
    return fit_sequence(RING, SMALL, tmp_path_factory.mktemp("sequence"))


def hit_rate(scores: np.ndarray, told: Sequences) -> float:
    return float(next_item(scores, told.item[told.followed + 1], (1,))[0].mean())


def test_it_learns_what_follows_what_where_popularity_cannot(fitted: SequenceModel) -> None:
    assert hit_rate(fitted.scores(LATER, LATER.followed), LATER) > 0.95
    assert hit_rate(fit_popularity(RING).scores(LATER, LATER.followed), LATER) < 0.3


def test_scores_are_chances_and_the_next_item_changes_nothing_before_it(fitted: SequenceModel) -> None:
    told, other = sessions_of([[0, 1, 2, 3]], 9), sessions_of([[0, 1, 7, 7]], 9)
    found, changed = (fitted.scores(one, np.arange(4)) for one in (told, other))
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(found[:2], changed[:2], rtol=1e-5)
    assert abs(found[3] - changed[3]).max() > 0.1


def test_a_saved_model_scores_alike_and_a_batch_is_its_single_rows(fitted: SequenceModel, tmp_path: Path) -> None:
    asked = LATER.followed[:7]
    found = fitted.scores(LATER, asked)
    fitted.save(tmp_path / "model")
    loaded = SequenceModel.load(tmp_path / "model")
    assert (loaded.scores(LATER, asked) == found).all()
    alone = np.concatenate([fitted.scores(LATER, asked[at : at + 1]) for at in range(len(asked))])
    np.testing.assert_allclose(alone, found, rtol=1e-4, atol=1e-7)
    (tmp_path / "model" / "net_1.safetensors").write_bytes(b"cut")
    with pytest.raises(TrainingError, match="train again"):
        SequenceModel.load(tmp_path / "model")


def test_two_fits_are_one(tmp_path: Path) -> None:
    short = replace(SMALL, n_nets=1, loop=SMALL.loop.model_copy(update={"max_steps": 3}))
    one, two = (fit_sequence(RING, short, tmp_path / name).scores(LATER, LATER.followed) for name in ("a", "b"))
    assert (one == two).all()


def test_sessions_of_one_event_teach_nothing_and_say_so(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no training rows"):
        fit_sequence(sessions_of([[0], [1]], 3), SMALL, tmp_path)


def test_an_item_that_nobody_touched_follows_what_its_category_follows(tmp_path: Path) -> None:
    """Any even item, then any odd one, and so on; item 20, of the even ones' category, was never touched."""
    luck = np.random.default_rng(0)
    told = sessions_of([(2 * luck.integers(0, 10, 6) + np.arange(6) % 2).tolist() for _ in range(150)], 21)
    longer = replace(SMALL, n_nets=1, loop=SMALL.loop.model_copy(update={"epochs": 10}))
    model = fit_sequence(told, longer, tmp_path, category=np.arange(21) % 2)
    asked = sessions_of([[4, 3], [4]], 21)
    after_odd, after_even = model.scores(asked, asked.newest)[:, 20]
    assert after_odd > 5 * after_even


def test_a_behaviour_and_a_long_gap_are_seen(fitted: SequenceModel) -> None:
    told = sessions_of([[0, 1]], 9)
    bought = Sequences(9, told.item, told.seconds, np.array([3, 3], dtype=np.int8), told.start)
    later = Sequences(9, told.item, told.seconds + np.array([0, 1e6]), told.behaviour, told.start)
    usual = fitted.scores(told, np.array([1]))
    assert not np.allclose(usual, fitted.scores(bought, np.array([1])), rtol=1e-4)
    assert not np.allclose(usual, fitted.scores(later, np.array([1])), rtol=1e-4)


def test_items_of_the_same_sessions_start_near_one_another() -> None:
    told = sessions_of([[0, 1], [1, 0], [2, 3], [3, 2]] * 3, 5, [0] * 12)
    found = together(told, 4)
    assert found[0] @ found[1] > 0.5 > abs(found[0] @ found[2])
    assert found[4].tolist() == [0, 0, 0, 0]
    assert together(sessions_of([[0, 0]], 1), 4).tolist() == [[0, 0, 0, 0]]


def test_the_loss_over_a_sample_is_that_over_all_items_on_average() -> None:
    torch.manual_seed(0)
    share = np.array([0.4, 0.3, 0.2, 0.1])
    vectors, category = np.random.default_rng(0).normal(size=(4, 8)), np.zeros(4, dtype=np.int64)
    net = SequenceNet(Shape(width=8, dropout=0.0, sampled_from=4), vectors, category, share)
    ids, zero, wanted = torch.tensor([[1, 2, 3]]), torch.zeros((1, 3), dtype=torch.int64), torch.tensor([[1, 2, 3]])
    all_items = net.eval()(ids, ids, zero, zero, wanted)[0][..., 0]
    net.train()
    sampled = torch.stack([net(ids, ids, zero, zero, wanted)[0][..., 0] for _ in range(20)]).mean(0)
    torch.testing.assert_close(sampled, all_items, rtol=0.02, atol=0.02)
