"""An encoder that learnt from a shop's searches: a query's vector near to what was wanted, far from what was not.

    tune(folder, queries, titles, pairs, work=work, out=out)        # `out`: an encoder's folder like another

In a batch every other query's item counts as not wanted (Karpukhin et al. 2020, arXiv:2004.04906), and each row brings one
more that came close and was not: judged worse, or found first and not clicked.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.convert import PROMPTS
from training.loop import LoopSettings, train
from training.loop_trainer import TrainResult
from training.weights import quietly

SETTINGS: Final = LoopSettings(learning_rate=3e-5, epochs=1, batch_size=32)
_QUERY_TOKENS: Final = 24
_TITLE_TOKENS: Final = 40
_SCALE: Final = 20.0  # of cosines in the softmax
_PARTS: Final = ("query", "wanted", "other")


@dataclass(frozen=True)
class Pairs:
    """r rows of a query, an item that was wanted for it and one that was not."""

    query: np.ndarray  # (r,) places
    wanted: np.ndarray  # (r,) places of items
    other: np.ndarray  # (r,)


def pairs_of(
    query: np.ndarray, item: np.ndarray, gain: np.ndarray, near: Sequence[np.ndarray], most: int, seed: int
) -> Pairs:
    """Rows from judgements (j,) with gains of 0 to 1: each item of gain 1 beside one that was judged worse for the same
    query, or, where none was, one of those that came `near` it (places by query) and is not judged. At most `most` rows
    of a query, by lot."""
    rng = np.random.default_rng(seed)
    rows: list[tuple[int, int, int]] = []
    for asked in np.unique(query).tolist():
        mine = query == asked
        wanted, worse = item[mine & (gain >= 1)], item[mine & (gain < 1)]
        others = worse if len(worse) else np.setdiff1d(near[asked], item[mine])
        if len(wanted) and len(others):
            some = rng.permutation(wanted)[:most]
            rows += [
                (asked, int(one), int(other)) for one, other in zip(some, rng.choice(others, len(some)), strict=True)
            ]
    return Pairs(*np.array(rows, np.int64).reshape(-1, 3).T)


class BiEncoder(nn.Module):
    """Vectors (b, 3, width) of unit length of b rows: the query's, that of what was wanted and that of what was not."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, **batch: Tensor) -> dict[str, Tensor]:
        vectors = [self._vector(batch[part], batch[f"{part}_mask"]) for part in _PARTS]
        return {"logits": torch.stack(vectors, dim=1)}

    def _vector(self, tokens: Tensor, mask: Tensor) -> Tensor:
        states = self.encoder(input_ids=tokens, attention_mask=mask).last_hidden_state
        return F.normalize((states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True), dim=-1)


def contrastive(vectors: Tensor, labels: Tensor) -> Tensor:
    """(b,) losses of vectors (b, 3, width): a query finds its own item among those of all rows. labels (b,): the queries;
    rows of the same query take nothing from each other."""
    asked, wanted, other = vectors.unbind(1)
    cosines = asked @ torch.cat([wanted, other]).T * _SCALE
    b = len(labels)
    same = (labels[:, None] == labels) & ~torch.eye(b, dtype=torch.bool, device=labels.device)
    never = torch.cat([same, torch.zeros_like(same)], dim=1)
    target = torch.arange(b, device=labels.device)
    return F.cross_entropy(cosines.masked_fill(never, -torch.inf), target, reduction="none")


def tune(
    folder: Path,
    queries: Sequence[str],
    titles: Sequence[str],
    pairs: Pairs,
    *,
    work: Path,
    out: Path,
    settings: LoopSettings = SETTINGS,
    valid_share: float = 0.1,
) -> TrainResult:
    """Fits the encoder of `folder` and writes it to `out`. Some queries, by lot, say which step was best.

    Raises TrainingError, as training/loop.py does, where there are no rows.
    """
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    with quietly():
        encoder = AutoModel.from_pretrained(folder, dtype=torch.float32, use_safetensors=True, local_files_only=True)
    prompts = _prompts(folder)
    told = {
        "query": _cut(tokenizer, [prompts.get("query", "") + text for text in queries], _QUERY_TOKENS),
        "wanted": _cut(tokenizer, [prompts.get("passage", "") + text for text in titles], _TITLE_TOKENS),
    }
    told["other"] = told["wanted"]
    places = dict(zip(_PARTS, (pairs.query, pairs.wanted, pairs.other), strict=True))
    rows = [
        {part: told[part][int(places[part][at])] for part in _PARTS} | {"labels": int(pairs.query[at])}
        for at in range(len(pairs.query))
    ]
    known = np.unique(pairs.query)
    held = set(
        np.random.default_rng(settings.seed).permutation(known)[: max(1, round(valid_share * len(known)))].tolist()
    )
    model = BiEncoder(encoder)
    result = train(
        model, [row for row in rows if row["labels"] not in held], [row for row in rows if row["labels"] in held],
        settings, collate=_Collate(tokenizer.pad_token_id or 0), length=lambda row: len(row["wanted"]) + len(row["other"]),
        loss=contrastive, metric=_told_apart, watch="told_apart", work=work,
    )  # fmt: skip
    with quietly():
        encoder.save_pretrained(out)
    tokenizer.save_pretrained(out)
    if (folder / PROMPTS).exists():
        shutil.copyfile(folder / PROMPTS, out / PROMPTS)
    return result


def _prompts(folder: Path) -> dict[str, str]:
    path = folder / PROMPTS
    found: dict[str, str] = json.loads(path.read_text()).get("prompts", {}) if path.exists() else {}
    return found


def _cut(tokenizer: Any, texts: list[str], longest: int) -> list[list[int]]:
    found: list[list[int]] = tokenizer(texts, truncation=True, max_length=longest, return_attention_mask=False)[
        "input_ids"
    ]
    return found


class _Collate:
    """Rows -> tokens and masks of the three parts, each padded to its longest, and labels."""

    def __init__(self, pad: int) -> None:
        self.pad = pad

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        batch = {"labels": torch.tensor([row["labels"] for row in rows])}
        for part in _PARTS:
            longest = max(len(row[part]) for row in rows)
            filled = [row[part] + [self.pad] * (longest - len(row[part])) for row in rows]
            lengths = torch.tensor([len(row[part]) for row in rows])
            batch[part] = torch.tensor(filled)
            batch[f"{part}_mask"] = (torch.arange(longest) < lengths[:, None]).long()
        return batch


def _told_apart(vectors: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """The mean margin of the wanted item over the other (a share would not move from one step to the next)."""
    asked, wanted, other = np.moveaxis(vectors.astype(np.float32), 1, 0)
    return {"told_apart": float((asked * (wanted - other)).sum(axis=-1).mean())}
