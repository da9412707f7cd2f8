import copy
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from training import loop, loop_settings, tune
from training.adversarial import embeddings, pushed
from training.loop_data import Padding, TrainOrder

_SPEC = importlib.util.spec_from_file_location("tiny_loop", Path(__file__).with_name("tiny_loop.py"))
assert _SPEC is not None
assert _SPEC.loader is not None
tiny = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(tiny)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def seen_accuracy(model: nn.Module) -> float:
    valid = tiny.make_rows(40, seed=1)
    logits = loop.predict(model, valid, collate=Padding(), length=tiny.length, precision="fp32")
    return float(tiny.accuracy(logits, np.array([row["labels"] for row in valid]))["accuracy"])


# -- what a run comes to ---------------------------------------------------------------------------------------------------


def test_it_learns_and_the_model_is_as_good_as_the_result_says(tmp_path: Path) -> None:
    model = tiny.make_model()
    result = tiny.fit(model, tmp_path, epochs=12)
    assert result.best >= 0.9
    assert seen_accuracy(model) == result.best
    assert result.steps == 12 * 5  # 80 rows, 16 at a time
    losses = [entry["loss"] for entry in result.curve if "loss" in entry]
    assert len(losses) == result.steps
    assert losses[-1] < losses[0] / 2
    assert not model.training


def test_fitting_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    one, other = tiny.make_model(), tiny.make_model()
    results = [tiny.fit(model, tmp_path / name) for model, name in ((one, "a"), (other, "b"))]
    assert results[0].curve == results[1].curve
    assert equal(weights(one), weights(other))


def test_the_best_weights_come_back_and_not_the_last(tmp_path: Path) -> None:
    model, after = tiny.make_model(), []
    scores = iter([0.2, 0.9, 0.9, 0.5])

    def log(values: Any, step: int) -> None:
        if "valid_score" in values:
            after.append(weights(model))

    result = tiny.fit(model, tmp_path, metric=lambda *_: {"score": next(scores)}, watch="score", log=log)
    assert (result.best, result.best_step, result.steps) == (0.9, 10, 20)
    assert equal(weights(model), after[1])
    assert not equal(weights(model), after[3])


def test_a_metric_where_less_is_better_is_watched_the_other_way(tmp_path: Path) -> None:
    scores = iter([0.7, 0.3, 0.4, 0.5])
    result = tiny.fit(
        tiny.make_model(), tmp_path, metric=lambda *_: {"loss": next(scores)}, watch="loss", higher_is_better=False
    )
    assert (result.best, result.best_step) == (0.3, 10)


def test_patience_ends_a_run_that_gets_no_better(tmp_path: Path) -> None:
    scores = iter([0.5, 0.6, 0.5, 0.6, 0.9])
    result = tiny.fit(
        tiny.make_model(), tmp_path, metric=lambda *_: {"s": next(scores)}, watch="s", epochs=9, patience=2
    )
    assert (result.best_step, result.steps) == (10, 20)


def test_the_metric_gets_rows_in_the_order_they_were_given(tmp_path: Path) -> None:
    valid, model, seen = tiny.make_rows(37, seed=5), tiny.make_model(), []

    def metric(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        seen.append((logits, labels))
        return {"one": 1.0}

    tiny.fit(model, tmp_path, valid=valid, metric=metric, watch="one", max_steps=1)
    assert seen[0][1].tolist() == [row["labels"] for row in valid]
    expected = loop.predict(model, valid, collate=Padding(), length=tiny.length, precision="fp32")
    np.testing.assert_allclose(seen[0][0], expected, atol=1e-5)


def test_learning_curves_go_to_the_log_in_steps(tmp_path: Path) -> None:
    logged: list[tuple[int, set[str]]] = []
    result = tiny.fit(tiny.make_model(), tmp_path, log_steps=5, epochs=2, log=lambda v, s: logged.append((s, set(v))))
    losses, scores = {"loss", "learning_rate", "grad_norm"}, {"valid_accuracy", "valid_loss"}
    assert logged == [(5, losses), (5, scores), (10, losses), (10, scores)]
    assert [{"step", *names} for _, names in logged] == [set(entry) for entry in result.curve]


def test_nothing_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    tiny.fit(tiny.make_model(), tmp_path, epochs=1)
    assert capfd.readouterr() == ("", "")


# -- the loss --------------------------------------------------------------------------------------------------------------


def test_class_weights_and_label_smoothing_give_the_loss_that_is_written_down(tmp_path: Path) -> None:
    model, rows = tiny.make_model(dropout=0), tiny.make_rows(16)
    logits = torch.from_numpy(loop.predict(model, rows, collate=Padding(), precision="fp32")).log_softmax(-1)
    told = {"class_weights": (1.0, 3.0), "label_smoothing": 0.2}
    result = tiny.fit(model, tmp_path, rows=rows, max_steps=1, **told)
    by_hand = 0.0
    for row, chances in zip(rows, logits.tolist(), strict=True):
        share = [0.1, 0.9] if row["labels"] else [0.9, 0.1]
        by_hand -= share[0] * chances[0] * 1 + share[1] * chances[1] * 3
    assert result.curve[0]["loss"] == pytest.approx(by_hand / 16, rel=1e-5)


def test_a_batch_cut_into_parts_is_the_same_batch(tmp_path: Path) -> None:
    whole, cut = tiny.make_model(dropout=0), tiny.make_model(dropout=0)
    results = [tiny.fit(whole, tmp_path / "a"), tiny.fit(cut, tmp_path / "b", accumulate=4)]
    for one, other in zip(results[0].curve, results[1].curve, strict=True):
        assert one == pytest.approx(other, abs=2e-4)
    for name, tensor in whole.state_dict().items():
        torch.testing.assert_close(cut.state_dict()[name], tensor, atol=2e-4, rtol=0)


class TwoTasks(nn.Module):
    """A net that is none of Hugging Face's: bags of words, two numbers to be met."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words = nn.EmbeddingBag(50, 8, padding_idx=0)
        self.heads = nn.Linear(8, 2)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"bag": self.words(input_ids), "logits": self.heads(self.words(input_ids))}


def test_any_module_with_a_loss_of_its_own_is_trained(tmp_path: Path) -> None:
    rows = [{"input_ids": row["input_ids"], "labels": [0.5, float(row["labels"])]} for row in tiny.make_rows()]
    first = TwoTasks()(**{k: v for k, v in Padding()(rows[:16]).items() if k != "labels"})["logits"]
    expected = (first - torch.tensor([row["labels"] for row in rows[:16]])).square().sum() / 16
    net = TwoTasks()
    result = tiny.fit(
        net, tmp_path, rows=rows[:16], valid=rows, epochs=40, loss=lambda out, want: (out - want).square(),
        metric=lambda out, want: {"error": float(np.square(out - want).mean())}, watch="error", higher_is_better=False,
    )  # fmt: skip
    assert result.curve[0]["loss"] == pytest.approx(expected.item(), rel=1e-5)
    assert result.best < 0.3


class Tagger(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words = nn.Embedding(50, 3)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> tuple[torch.Tensor]:
        return (self.words(input_ids),)


def test_labels_of_tokens_count_once_each_and_ignored_ones_not_at_all(tmp_path: Path) -> None:
    rows = [{"input_ids": [7, 8, 9], "labels": [0, 2, 1]}, {"input_ids": [7], "labels": [loop.IGNORED]}]
    chances = Tagger().words.weight.log_softmax(-1)
    by_hand = -(chances[7, 0] + chances[8, 2] + chances[9, 1]) / 3
    result = tiny.fit(
        Tagger(), tmp_path, rows=rows, valid=rows, batch_size=2, accumulate=2, max_steps=1,
        metric=lambda out, want: {"one": 1.0}, watch="one",
    )  # fmt: skip
    assert result.curve[0]["loss"] == pytest.approx(by_hand.item(), rel=1e-5)


# -- what is trained -------------------------------------------------------------------------------------------------------


def changed(before: dict[str, torch.Tensor], model: nn.Module) -> set[str]:
    return {name for name, tensor in weights(model).items() if not torch.equal(tensor, before[name])}


def test_frozen_layers_and_what_is_below_them_stay(tmp_path: Path) -> None:
    model = tiny.make_model(layers=3)
    before = weights(model)
    tiny.fit(model, tmp_path, tune="frozen", frozen_layers=2, epochs=1)
    moved = changed(before, model)
    below = ("bert.embeddings", "bert.encoder.layer.0.", "bert.encoder.layer.1.")
    assert not [name for name in moved if name.startswith(below)]
    assert {"bert.encoder.layer.2.output.dense.weight", "bert.pooler.dense.weight", "classifier.weight"} <= moved
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_all_layers_may_be_frozen_but_not_more(tmp_path: Path) -> None:
    model = tiny.make_model()
    before = weights(model)
    tiny.fit(model, tmp_path / "a", tune="frozen", frozen_layers=2, epochs=1)
    assert {name.split(".")[0] + "." + name.split(".")[1] for name in changed(before, model)} == {
        "bert.pooler", "classifier.weight", "classifier.bias"
    }  # fmt: skip
    with pytest.raises(loop.TrainingError, match=r"frozen_layers is 3, but .* has 2 layers"):
        tiny.fit(model, tmp_path / "b", tune="frozen", frozen_layers=3)


def test_lora_changes_layers_by_matrices_of_low_rank_and_leaves_no_trace_else(tmp_path: Path) -> None:
    model = tiny.make_model()
    before = weights(model)
    result = tiny.fit(model, tmp_path, tune="lora", lora_rank=2, epochs=12)
    assert weights(model).keys() == before.keys()
    moved = changed(before, model)
    assert not [name for name in moved if "embeddings" in name or "LayerNorm" in name]
    for name in ("attention.self.query", "attention.output.dense", "intermediate.dense", "output.dense"):
        change = weights(model)[f"bert.encoder.layer.0.{name}.weight"] - before[f"bert.encoder.layer.0.{name}.weight"]
        assert torch.linalg.matrix_rank(change, atol=1e-5) == 2
    assert "classifier.weight" in moved
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert seen_accuracy(model) == result.best > 0.7


def test_a_model_without_layers_is_told_so() -> None:
    with pytest.raises(loop.TrainingError, match="Tagger has no stack of layers: train it with tune=full"):
        tune.lora(Tagger(), 2, seed=0).__enter__()


def test_dropout_is_set_in_all_layers(tmp_path: Path) -> None:
    model, other = tiny.make_model(dropout=0.3), tiny.make_model(dropout=0)
    tiny.fit(model, tmp_path / "a", dropout=0, epochs=1)
    tiny.fit(other, tmp_path / "b", epochs=1)
    assert equal(weights(model), weights(other))


# -- precision and compiling -----------------------------------------------------------------------------------------------


def test_bf16_learns_as_well_and_leaves_a_model_that_computes_in_full(tmp_path: Path) -> None:
    rough, exact = tiny.make_model(), tiny.make_model()
    results = [tiny.fit(rough, tmp_path / "a", precision="bf16"), tiny.fit(exact, tmp_path / "b")]
    for one, other in zip(*[[e["loss"] for e in r.curve if "loss" in e] for r in results], strict=True):
        assert one == pytest.approx(other, abs=0.05)
        assert one != other
    batch = {key: tensor for key, tensor in Padding()(tiny.make_rows(4)).items() if key != "labels"}
    twin = copy.deepcopy(rough)
    with torch.no_grad():
        twin.classifier.bias += 1
        # The copy runs its own forward, and in fp32: bf16 would be off by some 1e-3.
        torch.testing.assert_close(twin(**batch).logits, rough(**batch).logits + 1, atol=1e-6, rtol=0)
    assert rough.config._attn_implementation == "sdpa"


@pytest.mark.parametrize(
    ("able", "precision", "bf16"),
    [
        ({"avx512_bf16": True}, "auto", True),
        ({"amx_bf16": True}, "auto", True),
        ({"avx512_f": True}, "auto", False),
        ({"avx512_bf16": True}, "fp32", False),
        ({}, "bf16", True),
    ],
)
def test_bf16_is_used_where_the_processor_computes_in_it(
    monkeypatch: pytest.MonkeyPatch, able: dict[str, bool], precision: Any, bf16: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    assert loop_settings.is_bf16(precision) is bf16


def test_a_compiled_run_is_the_same_run_and_the_model_is_plain_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def without_code_generation(function: Any, **_: Any) -> Any:
        def counted(*args: Any, **kwargs: Any) -> Any:
            calls.append(1)
            return function(*args, **kwargs)

        return counted

    monkeypatch.setattr(torch, "compile", without_code_generation)
    model, other = tiny.make_model(), tiny.make_model()
    tiny.fit(model, tmp_path / "a", epochs=1, compile=True)
    tiny.fit(other, tmp_path / "b", epochs=1)
    assert len(calls) >= 5
    assert equal(weights(model), weights(other))
    calls.clear()
    seen_accuracy(model)
    assert not calls


# -- adversarial training and pseudo-labels --------------------------------------------------------------------------------


def test_the_push_goes_up_the_gradient_by_its_length_and_is_taken_back() -> None:
    model = Tagger()
    before = weights(model)
    model.words.weight.grad = torch.zeros(50, 3)
    model.words.weight.grad[7] = torch.tensor([3.0, 0.0, 4.0])
    with pushed(model, 0.5):
        move = model.words.weight.detach() - before["words.weight"]
        torch.testing.assert_close(move[7], torch.tensor([0.3, 0.0, 0.4]))
        assert move.abs().sum() == pytest.approx(0.7, abs=1e-5)
    assert equal(weights(model), before)


def test_adversarial_training_learns_from_the_pushed_words_too(tmp_path: Path) -> None:
    plain, hard = tiny.make_model(dropout=0), tiny.make_model(dropout=0)
    results = [
        tiny.fit(plain, tmp_path / "a", max_steps=1),
        tiny.fit(hard, tmp_path / "b", max_steps=1, adversarial_epsilon=0.5),
    ]
    assert results[0].curve[0]["loss"] == results[1].curve[0]["loss"]
    assert results[1].curve[0]["grad_norm"] > 1.5 * results[0].curve[0]["grad_norm"]  # the sum of two gradients


def test_without_trained_words_there_is_nothing_to_push(tmp_path: Path) -> None:
    with pytest.raises(loop.TrainingError, match="trains no embeddings: set adversarial_epsilon to 0"):
        tiny.fit(tiny.make_model(), tmp_path, tune="frozen", frozen_layers=1, adversarial_epsilon=1)
    assert embeddings(tiny.make_model()).num_embeddings == 50


def test_only_rows_that_the_model_is_sure_of_get_pseudo_labels() -> None:
    rows = [{"input_ids": [4]}, {"input_ids": [5]}, {"input_ids": [6], "labels": 0}]
    logits = np.log(np.array([[0.05, 0.95], [0.4, 0.6], [0.1, 0.9]], dtype=np.float32))
    assert loop.pseudo_labelled(rows, logits, 0.9) == [{"input_ids": [4], "labels": 1}, {"input_ids": [6], "labels": 1}]


def test_positions_of_a_sequence_get_pseudo_labels_where_the_model_is_sure_and_was_asked() -> None:
    rows = [{"labels": np.array([loop.IGNORED, 0, 0])}, {"labels": np.array([0])}, {"labels": np.array([0])}]
    sure, unsure, unused = [0.0, 9.0], [0.0, 0.1], [0.0, 0.0]
    logits = np.array([[sure, sure, unsure], [sure, unused, unused], [unsure, unused, unused]], np.float32)
    first, second = loop.pseudo_labelled(rows, logits, 0.9)
    assert first["labels"].tolist() == [loop.IGNORED, 1, loop.IGNORED]
    assert second["labels"].tolist() == [1]


@pytest.mark.parametrize("second", [0.4, 0.9])
def test_pseudo_labels_are_kept_only_where_they_help(tmp_path: Path, second: float) -> None:
    scores, kept = iter([0.5, second]), []
    unlabelled = [{"input_ids": row["input_ids"]} for row in tiny.make_rows(30, seed=9)]
    model, alone = tiny.make_model(), tiny.make_model()

    def log(values: Any, step: int) -> None:
        if "valid_s" in values:
            kept.append(weights(model))

    result = tiny.fit(
        model, tmp_path / "a", metric=lambda *_: {"s": next(scores)}, watch="s", max_steps=5, log=log,
        unlabelled=unlabelled, pseudo_confidence=0.5,
    )  # fmt: skip
    assert result.best == max(0.5, second)
    assert equal(weights(model), kept[0 if second < 0.5 else 1])
    assert result.notes == [f"30 of 30 rows pseudo-labelled: s 0.5000 before, {second:.4f} after"]
    tiny.fit(alone, tmp_path / "b", max_steps=5)
    assert equal(weights(alone), kept[0])
    assert not equal(kept[1], kept[0])


# -- order and padding -----------------------------------------------------------------------------------------------------


def test_an_epoch_holds_every_row_and_depends_on_seed_and_epoch_alone() -> None:
    lengths = np.arange(1, 101)
    order = TrainOrder(lengths, 16, seed=3)
    first = list(order)
    assert list(order) == first
    assert len(first) == len(order) == 112  # seven whole batches
    assert set(first) == set(range(100))
    order.epoch = 1
    second = list(order)
    assert second != first
    assert set(second) == set(range(100))
    assert list(TrainOrder(lengths, 16, seed=4)) != first


def test_batches_hold_rows_of_about_one_length_in_no_order() -> None:
    lengths = np.random.default_rng(0).integers(5, 129, 5_000)
    batches = lengths[list(TrainOrder(lengths, 32, seed=0))].reshape(-1, 32)
    assert batches.sum() / (batches.max(axis=1) * 32).sum() > 0.95
    random = lengths[: 32 * 156].reshape(-1, 32)
    assert random.sum() / (random.max(axis=1) * 32).sum() < 0.6
    means = batches.mean(axis=1)
    assert abs(np.corrcoef(means[:-1], means[1:])[0, 1]) < 0.3
    assert batches[0].sum() == batches.sum(axis=1).max()  # what does not fit fails at once


def test_fewer_rows_than_a_batch_fill_one() -> None:
    counts = np.bincount(list(TrainOrder(np.zeros(3, int), 8, seed=0)))
    assert sorted(counts.tolist()) == [2, 3, 3]


def test_padding_fills_lists_to_the_longest() -> None:
    rows = [{"input_ids": [5, 6, 7], "gaps": [1, 2, 3], "labels": 1}, {"input_ids": [8], "gaps": [4], "labels": 0}]
    batch = Padding({"input_ids": 9})(rows)
    assert {key: tensor.tolist() for key, tensor in batch.items()} == {
        "input_ids": [[5, 6, 7], [8, 9, 9]],
        "attention_mask": [[1, 1, 1], [1, 0, 0]],
        "gaps": [[1, 2, 3], [4, 0, 0]],
        "labels": [1, 0],
    }
    assert Padding()([{"labels": [0.5]}, {"labels": [1.0]}])["labels"].dtype == torch.float32
    assert Padding()([{"labels": [1, 2]}, {"labels": [1]}])["labels"].tolist() == [[1, 2], [1, loop.IGNORED]]


def test_predicting_a_batch_is_predicting_each_row() -> None:
    model, rows = tiny.make_model(), tiny.make_rows(30)
    together = loop.predict(model, rows, collate=Padding(), length=tiny.length, batch_size=7, precision="fp32")
    alone = [loop.predict(model, [row], collate=Padding(), precision="fp32")[0] for row in rows]
    np.testing.assert_allclose(together, alone, atol=1e-5)
