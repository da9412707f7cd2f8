"""A transformer over a customer's recent events: a pretrained encoder, read from left to right, one position per event.

An event stands where a word would: its vector is the mean of its words' pieces. With a causal mask one pass over a
customer's events gives a prediction after each of them, so a night's examples cost about what their events cost, not 32
times that. What the features know joins behind the last layer.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import torch
from safetensors import SafetensorError
from safetensors.torch import load_model, save_model
from scipy.special import log_softmax, logsumexp
from scipy.stats import norm
from torch import Tensor, nn
from transformers import AutoTokenizer, BertConfig, BertModel

from pipelines.core.errors import TrainingError
from training.loop import IGNORED, LoopSettings, predict, train
from training.loop_trainer import Log
from training.task import Examples, Fitting
from training.tasks.behaviour_events import BETWEEN, CONTEXT, TEXT
from training.weights import quietly, resolve

_STEP: Final = 32  # events of a customer that a training row predicts after; up to CONTEXT more stand before them
_KNOTS: Final = 65  # quantiles that a feature is spread by
_MAX_PIECES: Final = 16  # of one event


class EventNet(nn.Module):
    """Logits (b, l, classes) after each event, or (b, classes) after the last, where `numbers` are given of that alone."""

    def __init__(self, bert: BertModel, n_numbers: int, n_classes: int) -> None:
        super().__init__()
        hidden = bert.config.hidden_size
        self.bert = bert
        self.numbers = nn.Linear(n_numbers, hidden)
        self.both = nn.Linear(2 * hidden, hidden)
        self.dropout = nn.Dropout(bert.config.hidden_dropout_prob)
        self.out = nn.Linear(hidden, n_classes)

    def forward(self, pieces: Tensor, attention_mask: Tensor, numbers: Tensor) -> tuple[Tensor]:
        """pieces: (b, l, w) int, 1 + place in the vocabulary, 0 for none; attention_mask: (b, l); numbers: (b, [l,] f)."""
        there = (pieces > 0).unsqueeze(-1)
        words = self.bert.embeddings.word_embeddings((pieces - 1).clamp(min=0))
        events = (words * there).sum(2) / there.sum(2).clamp(min=1)
        state = self.bert(inputs_embeds=events, attention_mask=attention_mask).last_hidden_state
        if numbers.ndim == 2:
            state = state[torch.arange(len(state)), attention_mask.sum(1) - 1]
        known = nn.functional.gelu(self.numbers(numbers))
        both = nn.functional.gelu(self.both(self.dropout(torch.cat([state, known], -1))))
        return (self.out(self.dropout(both)),)


@dataclass(frozen=True)
class Encoder:
    """Trained nets, whose mean probability counts, with what turns rows into their tensors."""

    nets: tuple[EventNet, ...]
    tokenizer: Any
    names: tuple[str, ...]  # features
    knots: np.ndarray  # (f, _KNOTS) quantiles of each feature, NaN where it never was told

    def logits(self, rows: pa.Table) -> np.ndarray:
        """(n, classes) float32."""
        if not rows.num_rows:
            return np.zeros((0, self.nets[0].out.out_features), np.float32)
        numbers = spread(rows, self.names, self.knots)
        told = [text.split(BETWEEN)[-CONTEXT:] for text in rows[TEXT].to_pylist()]
        pieces, places = _pieces(self.tokenizer, told)
        asked = [{"events": where, "numbers": numbers[row]} for row, where in enumerate(places)]
        # fp32: a row's prediction does not hang on which rows share its batch
        found = [
            predict(net, asked, collate=_Collate(pieces), length=_length, batch_size=128, precision="fp32")
            for net in self.nets
        ]
        return np.asarray(logsumexp(log_softmax(found, axis=-1), axis=0))

    def save(self, folder: Path) -> None:
        """Writes tokenizer, configuration, nets and knots.json into a new folder."""
        folder.mkdir()
        self.nets[0].bert.config.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        for number, net in enumerate(self.nets):
            save_model(net, str(folder / f"net_{number}.safetensors"))
        knots = [[None if np.isnan(one) else float(one) for one in row] for row in self.knots]
        told = {
            "names": list(self.names),
            "knots": knots,
            "classes": self.nets[0].out.out_features,
            "nets": len(self.nets),
        }
        (folder / "knots.json").write_text(json.dumps(told))

    @classmethod
    def load(cls, folder: Path) -> "Encoder":
        """What `save` wrote. Raises TrainingError where a file is missing or damaged."""
        try:
            told = json.loads((folder / "knots.json").read_text())
            nets = []
            for number in range(told["nets"]):
                net = EventNet(BertModel(_config(folder), add_pooling_layer=False), len(told["names"]), told["classes"])
                load_model(net, str(folder / f"net_{number}.safetensors"))
                nets.append(net.eval())
            tokenizer = AutoTokenizer.from_pretrained(folder)
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise TrainingError(f"{folder}: no readable encoder ({error}); train again") from error
        return cls(tuple(nets), tokenizer, tuple(told["names"]), np.array(told["knots"], dtype=np.float64))


def fit_encoder(
    train_on: Examples, valid: Examples, target: np.ndarray, valid_target: np.ndarray, names: Sequence[str],
    address: str, layers: int, n_nets: int, settings: LoopSettings, how: Fitting, work: Path,
) -> Encoder:  # fmt: skip
    """Fine-tunes the first `layers` layers of a pretrained encoder, `n_nets` times with other seeds.

    Targets: (n,) class codes. Raises TrainingError.
    """
    folder = resolve(address, how.weights or Path("weights"))
    torch.set_num_threads(how.threads)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    knots = knots_of(train_on.rows, names)
    parts = [(train_on, target), (valid, valid_target)]
    streams = [_streams(part, codes, spread(part.rows, names, knots)) for part, codes in parts]
    pieces, places = _pieces(tokenizer, [stream[0] for part in streams for stream in part])
    rows: list[list[dict[str, Any]]] = []
    taken = 0
    for part in streams:
        rows.append([row for at, stream in enumerate(part) for row in _windows(places[taken + at], *stream[1:])])
        taken += len(part)
    nets = []
    for number in range(n_nets):
        seeded = settings.model_copy(update={"seed": settings.seed + number})
        net = _new_net(folder, layers, len(names), target, seeded.seed)
        train(
            net, rows[0], rows[1], seeded, collate=_Collate(pieces), metric=_log_loss, watch="log_loss",
            higher_is_better=False, length=_length, work=work / str(number), log=_log_of(number, how.log),
            unlabelled=rows[1],  # with pseudo_confidence: the newest nights teach by what the first model is sure of there
        )  # fmt: skip
        nets.append(net)
    return Encoder(tuple(nets), tokenizer, tuple(names), knots)


def _new_net(folder: Path, layers: int, n_numbers: int, target: np.ndarray, seed: int) -> EventNet:
    """Pretrained layers under a new head, which starts from the classes' shares."""
    torch.manual_seed(seed)
    with quietly():  # else it lists the layers and heads that are left out
        bert = BertModel.from_pretrained(folder, config=_config(folder, layers), add_pooling_layer=False)
    net = EventNet(bert, n_numbers, int(target.max()) + 1)
    share = np.bincount(target) / len(target)
    with torch.no_grad():
        net.out.bias.copy_(torch.from_numpy(np.log(np.maximum(share, 1e-6))))
    return net


def _log_of(number: int, log: Log) -> Log:
    """Curves of the first net by their own names, of the others with their number before."""
    return lambda values, step: log(
        {f"net_{number}_{name}" if number else name: value for name, value in values.items()}, step
    )


def knots_of(rows: pa.Table, names: Sequence[str]) -> np.ndarray:
    """(f, _KNOTS) quantiles of each feature, NaN where no row tells it."""
    grid = np.linspace(0, 1, _KNOTS)
    found = np.full((len(names), _KNOTS), np.nan)
    for at, name in enumerate(names):
        values = rows[name].to_numpy().astype(np.float64)
        values = values[np.isfinite(values)]
        if len(values):
            found[at] = np.quantile(values, grid)
    return found


def spread(rows: pa.Table, names: Sequence[str], knots: np.ndarray) -> np.ndarray:
    """(n, f) float32: each feature by rank as a standard normal, within 2.5 of 0; 0 where it is not told."""
    grid = norm.ppf(np.linspace(0.0062, 0.9938, _KNOTS))
    found = np.zeros((rows.num_rows, len(names)), np.float32)
    for at, name in enumerate(names):
        if name in rows.schema.names and not np.isnan(knots[at, 0]):
            values = rows[name].to_numpy().astype(np.float64)
            # the middle of equal knots: a value that many rows share is no extreme
            low = np.interp(values, knots[at], grid)
            high = -np.interp(-values, -knots[at][::-1], -grid[::-1])
            found[:, at] = np.nan_to_num((low + high) / 2)
    return found


class _Collate:
    """Rows {"events": (l,) places in `pieces`, "numbers": (l, f) or (f,), "labels": (l,)} -> tensors of equal length."""

    def __init__(self, pieces: np.ndarray) -> None:
        self.pieces = pieces  # (distinct events, w)

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        lengths = np.array([len(row["events"]) for row in rows])
        there = np.arange(lengths.max()) < lengths[:, None]
        batch = {
            "pieces": np.zeros((*there.shape, self.pieces.shape[1]), np.int64),
            "attention_mask": there.astype(np.int64),
        }
        batch["pieces"][there] = self.pieces[np.concatenate([row["events"] for row in rows])]
        if "labels" not in rows[0]:
            batch["numbers"] = np.stack([row["numbers"] for row in rows])
            return {key: torch.from_numpy(values) for key, values in batch.items()}
        batch["numbers"] = np.zeros((*there.shape, rows[0]["numbers"].shape[1]), np.float32)
        batch["labels"] = np.full(there.shape, IGNORED, np.int64)
        for key in ("numbers", "labels"):
            batch[key][there] = np.concatenate([row[key] for row in rows])
        return {key: torch.from_numpy(values) for key, values in batch.items()}


def _length(row: dict[str, Any]) -> int:
    return len(row["events"])


def _log_loss(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    counts = labels != IGNORED
    chance = torch.from_numpy(logits[counts]).log_softmax(-1).numpy()
    return {"log_loss": float(-chance[np.arange(len(chance)), labels[counts]].mean())}


def _streams(part: Examples, target: np.ndarray, numbers: np.ndarray) -> list[tuple[list[str], np.ndarray, np.ndarray]]:
    """Per customer the events that their examples tell, with features and target after each; IGNORED before the first.

    Examples of one customer tell overlapping pasts: each adds its last event to those of the first.
    """
    told = part.rows[TEXT].to_pylist()
    _, code = np.unique(part.customer.astype(str), return_inverse=True)
    order = np.argsort(code, kind="stable")
    found = []
    for rows in np.split(order, np.flatnonzero(np.diff(code[order])) + 1) if len(order) else []:
        past = told[rows[0]].split(BETWEEN)[-CONTEXT:]
        events = past + [told[row].rsplit(BETWEEN, 1)[-1] for row in rows[1:]]
        before = len(past) - 1
        labels = np.concatenate([np.full(before, IGNORED), target[rows]])
        found.append((events, np.vstack([np.zeros((before, numbers.shape[1]), np.float32), numbers[rows]]), labels))
    return found


def _windows(events: np.ndarray, numbers: np.ndarray, labels: np.ndarray) -> list[dict[str, Any]]:
    """Rows that predict after _STEP events each, every event once, with up to CONTEXT events before them."""
    found = []
    for start in range(0, len(events), _STEP):
        first, end = max(0, start - CONTEXT), min(len(events), start + _STEP)
        asked = labels[first:end].copy()
        asked[: start - first] = IGNORED
        if (asked != IGNORED).any():
            found.append({"events": events[first:end], "numbers": numbers[first:end], "labels": asked})
    return found


def _pieces(tokenizer: Any, told: Sequence[Sequence[str]]) -> tuple[np.ndarray, list[np.ndarray]]:
    """1 + word pieces (distinct events, w) int, 0 behind the last; and per sequence its events' places among them."""
    known: dict[str, int] = {}
    places = [np.array([known.setdefault(event, len(known)) for event in events]) for events in told]
    found = tokenizer(list(known), add_special_tokens=False)["input_ids"]
    found = [one[:_MAX_PIECES] for one in found]
    pieces = np.zeros((len(found), max(1, max(map(len, found)))), np.int64)
    for row, one in enumerate(found):
        pieces[row, : len(one)] = np.array(one) + 1
    return pieces, places


def _config(folder: Path, layers: int | None = None) -> BertConfig:
    """The encoder's configuration, made to look back only. Raises TrainingError for another architecture."""
    told = json.loads((folder / "config.json").read_text())
    if told.get("model_type") != "bert":
        raise TrainingError(
            f"{folder}: the encoder is {told.get('model_type')!r}, expected a BERT; set another encoder"
        )
    if layers is not None:
        told["num_hidden_layers"] = min(layers, told["num_hidden_layers"])
    return BertConfig(**{**told, "is_decoder": True, "use_cache": False})
