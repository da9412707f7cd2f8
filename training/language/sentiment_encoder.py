"""An encoder that reads opinions: frozen for its vectors, and with its last layers tuned to tell good from bad.

    reader = Reader(resolve(ENCODER_MULTILINGUAL, cache), threads=2)
    read = reader.read(texts, below=3)                     # vectors (n, width), and the states below the last 3 layers
    top = new_top(reader, 3, mean, scale, head)
    tune(top, reader, read, targets, valid, valid_targets, LoopSettings(), work)    # training/loop.py
    outputs_of(top, reader, read)                          # (n, k) log odds

The layers below the tuned ones are run once, without padding in bfloat16 (training/packed.py), and their states kept; only
the last layers are run again in each epoch: a third of the work of tuning all, for nearly all of what it brings.
"""

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoModel, AutoTokenizer

from pipelines.core.errors import TrainingError, WeightsError
from training.convert import PROMPTS
from training.encode import Precision, batches, has_bf16
from training.language.long_text import Windows, windows_of
from training.loop import LoopSettings, TrainResult, predict, train
from training.loop_trainer import Log
from training.packed import PackedBert, packable
from training.weights import quietly

MAX_TOKENS: Final = 128
_BATCH_TOKENS: Final = 8_192
_MULTILINGUAL_PIECES: Final = 60_000
_UNSEEN: Final = -1e4  # no softmax sees a score this far below


@dataclass(frozen=True)
class Read:
    """What an encoder made of n texts."""

    vectors: np.ndarray  # (n, width) float32, means of the last states
    windows: Windows  # of the texts
    states: list[Tensor]  # per window (tokens, width), below the tuned layers; none where none were asked for

    def take(self, where: np.ndarray) -> "Read":
        """The texts at positions (k,) int, rising."""
        place = np.full(len(self.vectors), -1)
        place[where] = np.arange(len(where))
        kept = np.flatnonzero(place[self.windows.text] >= 0)
        windows = Windows(
            [self.windows.tokens[at] for at in kept], place[self.windows.text[kept]], self.windows.share[kept]
        )
        return Read(self.vectors[where], windows, [self.states[at] for at in kept] if self.states else [])


class Reader:
    """A BERT encoder and its tokenizer; loaded once. Raises WeightsError for another kind of model."""

    def __init__(self, folder: Path, *, threads: int, precision: Precision = "auto") -> None:
        """`precision` fp32: a text's logits do not hang on which texts share its batch."""
        self.threads = threads
        self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        prompts = folder / PROMPTS
        self.prompts: dict[str, Any] = json.loads(prompts.read_text()) if prompts.exists() else {}
        self.prompt: str = self.prompts.get("prompts", {}).get("query", "")
        with quietly():
            # Plain attention: what torch fuses on a CPU takes half of the time of tuning, forwards, on short texts.
            model = AutoModel.from_pretrained(
                folder, dtype=torch.float16, use_safetensors=True, local_files_only=True, attn_implementation="eager"
            )
        if not packable(model):
            raise WeightsError(f"weights {folder}: {model.config.model_type}; sentiment reads with BERT encoders only")
        # Rounded to halves, as it is saved: a model that was loaded again says the same.
        self.model = model.float().eval().requires_grad_(False)
        self.n_layers: int = model.config.num_hidden_layers
        self.width: int = model.config.hidden_size
        self.max_tokens = min(MAX_TOKENS, model.config.max_position_embeddings - 2)
        self.precision = precision
        fast = has_bf16("cpu") if precision == "auto" else precision == "bf16"
        self._packed = PackedBert(self.model, torch.bfloat16 if fast else torch.float32)

    @property
    def is_multilingual(self) -> bool:
        """True where the vocabulary is too large to be of one language: others than those learnt from are read, too."""
        return bool(self.model.config.vocab_size > _MULTILINGUAL_PIECES)

    def save(self, folder: Path) -> None:
        """As a Hugging Face folder of halves, which `Reader(folder)` loads."""
        with quietly():
            copy.deepcopy(self.model).half().save_pretrained(folder)
            self.tokenizer.save_pretrained(folder)
        (folder / PROMPTS).write_text(json.dumps(self.prompts, sort_keys=True))

    def read(self, texts: Sequence[str], below: int = 0) -> Read:
        """n texts, n > 0. `below` more than 0: with the states below the last `below` layers."""
        told = [self.prompt + text for text in texts]
        ids = self.tokenizer(told, add_special_tokens=False, return_attention_mask=False, verbose=False)
        begin, end = self._special()
        windows = windows_of(ids["input_ids"], begin, end, self.max_tokens)
        vectors = np.empty((len(windows.tokens), self.width), np.float32)
        states: list[Tensor] = [torch.empty(0)] * (len(windows.tokens) if below else 0)
        after = (self.n_layers - below, self.n_layers) if below else (self.n_layers,)
        with _threads(self.threads):
            for batch in batches([len(row) for row in windows.tokens], _BATCH_TOKENS):
                found = self._packed.states([windows.tokens[at] for at in batch], after)
                vectors[batch] = torch.cat([part.float().mean(1) for part in found[-1]]).numpy()
                if below:
                    for at, state in zip(batch, (row for part in found[0] for row in part), strict=True):
                        states[at] = state.clone()
        return Read(windows.pooled(vectors).astype(np.float32), windows, states)

    def _special(self) -> tuple[int, int]:
        """The tokens that a text begins and ends with."""
        ids = self.tokenizer("")["input_ids"]
        return ids[0], ids[-1]


class Top(nn.Module):
    """The last layers of a BERT, and log odds linear in the standardised mean of their states."""

    mean: Tensor
    scale: Tensor

    def __init__(self, layers: nn.ModuleList, mean: Tensor, scale: Tensor, n_outputs: int) -> None:
        super().__init__()
        self.layers = layers
        self.head = nn.Linear(len(mean), n_outputs)
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)

    def forward(self, states: Tensor, attention_mask: Tensor) -> tuple[Tensor]:
        """(n, l, width) and (n, l) 0/1 -> logits (n, outputs)."""
        unseen = (1 - attention_mask[:, None, None, :]) * _UNSEEN  # added to scores of attention
        x = states.float()
        for layer in self.layers:
            x = layer(x, attention_mask=unseen)
            x = x if isinstance(x, Tensor) else x[0]
        there = attention_mask[..., None]
        pooled = (x.float() * there).sum(1) / there.sum(1)
        return (self.head((pooled - self.mean) / self.scale),)


def outputs_of(top: Top, reader: Reader, read: Read) -> np.ndarray:
    """(n, outputs) float64 of texts that were read with states: means over their windows."""
    with _threads(reader.threads):
        logits = predict(top, _rows(read), collate=collate, length=_length, precision=reader.precision)
    return read.windows.pooled(logits.astype(np.float64))


def tune(
    top: Top, reader: Reader, read: Read, targets: np.ndarray, valid: Read, valid_targets: np.ndarray,
    settings: LoopSettings, work: Path, log: Log = lambda values, step: None, max_tokens: int = 64,
) -> TrainResult:  # fmt: skip
    """Tunes a top on texts with targets (n, k) from 0 to 1, the first 0 or 1, by their binary cross-entropies; keeps what is
    best on `valid`. Of a window longer than `max_tokens` its beginning and its end are learnt from: what a customer
    thinks stands there, and half the time is saved."""
    half = max_tokens // 2
    states = [one if len(one) <= max_tokens else torch.cat([one[:half], one[-half:]]) for one in read.states]
    with _threads(reader.threads):
        return train(
            top, _rows(replace(read, states=states), targets), _rows(valid, valid_targets), settings, collate=collate,
            length=_length, metric=_log_loss, watch="log_loss", higher_is_better=False, loss=_cross_entropies,
            work=work, log=log,
        )  # fmt: skip


def _cross_entropies(logits: Tensor, targets: Tensor) -> Tensor:
    return nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(1)


def _log_loss(logits: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """Of the first output."""
    sign = 2 * targets[:, 0] - 1
    return {"log_loss": float(np.logaddexp(0, -sign * logits[:, 0]).mean())}


def new_top(
    reader: Reader, layers: int, mean: np.ndarray, scale: np.ndarray, head: tuple[np.ndarray, np.ndarray]
) -> Top:
    """The encoder's own last layers, and `head`: weights (outputs, width) and bias (outputs,) on vectors standardised by
    `mean` and `scale`, where tuning starts. A head that is right already keeps the first steps from spoiling the layers
    below it (Kumar et al. 2022, arXiv:2202.10054). Raises TrainingError where the encoder has fewer layers."""
    if layers > reader.n_layers:
        raise TrainingError(f"tuned_layers is {layers}, but the encoder has {reader.n_layers} layers: take fewer")
    kept = copy.deepcopy(reader.model.encoder.layer[-layers:]).requires_grad_(True)
    told = [torch.tensor(array, dtype=torch.float32) for array in (mean, scale, *head)]  # copies: they are loaded into
    top = Top(kept, told[0], told[1], len(told[3]))
    with torch.no_grad():
        top.head.weight.copy_(told[2])
        top.head.bias.copy_(told[3])
    return top


def collate(rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
    """Windows of unequal length -> states (k, longest, width), padded with zeros, and labels where there are."""
    states = [row["states"] for row in rows]
    batch = {"states": nn.utils.rnn.pad_sequence(states, batch_first=True)}
    lengths = torch.tensor([len(state) for state in states])
    batch["attention_mask"] = (torch.arange(int(lengths.max())) < lengths[:, None]).long()
    if "labels" in rows[0]:
        batch["labels"] = torch.from_numpy(np.stack([row["labels"] for row in rows]).astype(np.float32))
    return batch


def _length(row: Mapping[str, Any]) -> int:
    return len(row["states"])


def _rows(read: Read, targets: np.ndarray | None = None) -> list[dict[str, Any]]:
    if targets is None:
        return [{"states": state} for state in read.states]
    labels = targets[read.windows.text]
    return [{"states": state, "labels": label} for state, label in zip(read.states, labels, strict=True)]


@contextmanager
def _threads(n: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)
