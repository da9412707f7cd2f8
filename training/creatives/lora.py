"""Fine-tunes a decoder on a shop's own product texts by LoRA, through the one loop; perplexity of texts held back.

The model is judged and taught by the words that it is asked for alone, not by the prompt's; the vocabulary's matrix
product is made at those positions only, which is most of the cost of short texts.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from training.loop import IGNORED, LoopSettings, Padding, predict, train
from training.loop_trainer import Log, TrainResult
from training.weights import quietly


@dataclass(frozen=True)
class Pair:
    """What is asked and the text that should come."""

    prompt: str
    text: str


class WordLosses(nn.Module):
    """(b, l) minus the log of the probability of each label (b, l) int, 0 where there is none: what the loop calls logits."""

    def __init__(self, decoder: nn.Module) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, input_ids: Tensor, attention_mask: Tensor, wanted: Tensor) -> tuple[Tensor]:
        base: Any = self.decoder.base_model
        states = base(input_ids=input_ids, attention_mask=attention_mask, use_cache=False).last_hidden_state
        asked = wanted != IGNORED
        logits = self.decoder.get_output_embeddings()(states[asked]).float()  # type: ignore[operator]
        losses = torch.zeros(wanted.shape, device=logits.device)
        return (losses.masked_scatter(asked, nn.functional.cross_entropy(logits, wanted[asked], reduction="none")),)


def rows_of(tokenizer: Any, pairs: Sequence[Pair], max_tokens: int) -> list[dict[str, Any]]:
    """Rows for the loop: each position's label is the next token of the text, the last one's the end."""
    end = tokenizer.eos_token_id
    rows = []
    for pair in pairs:
        asked = tokenizer(pair.prompt, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        said = tokenizer(f" {pair.text}", add_special_tokens=False, split_special_tokens=True)["input_ids"]
        ids = [*asked, *said][:max_tokens]
        labels = [IGNORED] * (len(asked) - 1) + [*said, end]
        labels = labels[: len(ids)]
        if any(label != IGNORED for label in labels):
            rows.append({"input_ids": ids, "wanted": labels, "labels": labels})
    return rows


def fit(
    folder: Path, pairs: Sequence[Pair], valid: Sequence[Pair], settings: LoopSettings, *, work: Path, max_tokens: int,
    log: Log = lambda values, step: None,
) -> tuple[nn.Module, Any, TrainResult]:  # fmt: skip
    """The decoder of a folder, tuned on `pairs` and kept where `valid` is likeliest; its tokenizer; what the run came to.

    Raises TrainingError where there is nothing to learn from.
    """
    model, tokenizer = _load(folder)
    rows, held = (rows_of(tokenizer, part, max_tokens) for part in (pairs, valid))
    result = train(
        model, rows, held, settings, collate=_collate(tokenizer), metric=_measure, watch="nats_per_token", work=work,
        higher_is_better=False, length=lambda row: len(row["input_ids"]), loss=lambda losses, labels: losses, log=log,
    )  # fmt: skip
    return model.decoder, tokenizer, result


def perplexity(folder: Path, pairs: Sequence[Pair], max_tokens: int) -> np.ndarray:
    """(n, 2) nats and tokens of each pair's text, by the decoder of a folder."""
    model, tokenizer = _load(folder)
    return nats(model, tokenizer, pairs, max_tokens)


def nats(model: nn.Module, tokenizer: Any, pairs: Sequence[Pair], max_tokens: int) -> np.ndarray:
    """(n, 2) nats and tokens of each pair's text; exp(sum of nats / sum of tokens) is the perplexity."""
    rows = rows_of(tokenizer, pairs, max_tokens)
    sums = _Sums(model if isinstance(model, WordLosses) else WordLosses(model))
    found = predict(sums, rows, collate=_collate(tokenizer), length=lambda row: len(row["input_ids"]), batch_size=16)
    counts = np.array([sum(label != IGNORED for label in row["labels"]) for row in rows], dtype=np.float64)
    return np.stack([found, counts], axis=1)


class _Sums(nn.Module):
    """(b,) nats of each row."""

    def __init__(self, losses: WordLosses) -> None:
        super().__init__()
        self.losses = losses

    def forward(self, **batch: Tensor) -> tuple[Tensor]:
        return (self.losses(**batch)[0].sum(1),)


def _load(folder: Path) -> tuple[WordLosses, Any]:
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    with quietly():
        decoder = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, local_files_only=True
        )
    return WordLosses(decoder), tokenizer


def _collate(tokenizer: Any) -> Padding:
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    return Padding({"input_ids": pad, "wanted": IGNORED})


def _measure(losses: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    asked = labels != IGNORED
    mean = float(losses[asked].sum() / asked.sum())
    return {"nats_per_token": mean, "perplexity": math.exp(min(mean, 50))}
