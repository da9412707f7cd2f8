"""Texts into vectors, by the encoder of a Hugging Face folder: for scoring and for embedding.

    Encoder(resolve(ENCODER_EN, cache)).encode(["fits well", "too small"])      # (2, 384) float32, unit length

Equal texts are encoded once, texts of like length together. On a CPU a BERT runs without padding (training/packed.py), in
bfloat16 where the CPU computes in it and in float32 elsewhere; other models and GPUs run as they are, in sorted batches.
Integers of eight bits were measured and left: twice as fast at most, but 0.995 in cosine to float32 at worst (0.986 with
ONNX Runtime's), where bfloat16 keeps 0.9998.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoModel, AutoTokenizer

from training.convert import PROMPTS
from training.packed import PackedBert, Pooling, packable
from training.weights import quietly

Precision = Literal["auto", "fp32", "bf16"]

_TOKENS = {"cpu": 8_192, "cuda": 65_536}  # per batch; half or twice as many are slower on a CPU
_TEXTS = 16_384  # tokenised and sorted at a time, so that memory does not grow with the number of texts


class Encoder:
    """Loaded once, then called often."""

    def __init__(
        self,
        folder: Path,
        *,
        precision: Precision = "auto",
        threads: int | None = None,
        max_tokens: int = 128,
        pooling: Pooling = "mean",
        normalise: bool = True,
        device: str = "cpu",
    ) -> None:
        """`max_tokens`: longer texts are cut. `threads` None: as many as torch has. `normalise`: to unit length.

        `precision` auto is bf16 where `device` computes in it. Fine-tuned models are loaded without their heads.
        """
        self.threads, self.max_tokens, self.normalise, self.device = threads, max_tokens, normalise, device
        self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        with quietly():
            model = AutoModel.from_pretrained(folder, dtype=torch.float32, use_safetensors=True, local_files_only=True)
        model = model.eval().requires_grad_(False).to(device)
        self.width: int = model.config.hidden_size
        fast = has_bf16(device) if precision == "auto" else precision == "bf16"
        self.dtype = torch.bfloat16 if fast else torch.float32
        self._pooled = (
            PackedBert(model, self.dtype, pooling)
            if packable(model)
            else _Padded(model, self.dtype, pooling, self.tokenizer.pad_token_id or 0)
        )
        prompts = folder / PROMPTS
        self.prompts: dict[str, str] = json.loads(prompts.read_text()).get("prompts", {}) if prompts.exists() else {}

    def encode(self, texts: Sequence[str], kind: Literal["query", "passage"] = "query") -> np.ndarray:
        """n texts -> (n, width) float32, in their order; the same again for the same texts.

        `kind` chooses the prefix of models that were trained with two ("query" for both sides of a symmetric comparison).
        A text's vector depends on its batch by rounding only (cosine above 0.9999 in bf16, 0.999999 in fp32).
        """
        prefix = self.prompts.get(kind, "")
        places: dict[str, int] = {}
        of_text = np.fromiter((places.setdefault(text, len(places)) for text in texts), np.int64)
        distinct = [prefix + text for text in places]
        vectors = np.empty((len(distinct), self.width), np.float32)
        threads = torch.get_num_threads()
        if self.threads:
            torch.set_num_threads(self.threads)
        try:
            for start in range(0, len(distinct), _TEXTS):
                self._encode(distinct[start : start + _TEXTS], vectors[start : start + _TEXTS])
        finally:
            torch.set_num_threads(threads)
        return vectors[of_text]

    def _encode(self, texts: list[str], out: np.ndarray) -> None:
        """Fills `out` (n, width)."""
        rows = self.tokenizer(texts, truncation=True, max_length=self.max_tokens, return_attention_mask=False)[
            "input_ids"
        ]
        for batch in batches([len(row) for row in rows], _TOKENS[torch.device(self.device).type]):
            pooled = self._pooled([rows[place] for place in batch])
            out[batch] = (F.normalize(pooled) if self.normalise else pooled).cpu().numpy()


class _Padded:
    """Any encoder as transformers runs it: rows padded to the longest of their batch, autocast to bfloat16."""

    def __init__(self, model: nn.Module, dtype: torch.dtype, pooling: Pooling, pad: int) -> None:
        self.model, self.dtype, self.pooling, self.pad = model, dtype, pooling, pad
        self.device = next(model.parameters()).device

    def __call__(self, rows: Sequence[Sequence[int]]) -> Tensor:
        longest = len(rows[-1])
        tokens = torch.tensor([[*row, *[self.pad] * (longest - len(row))] for row in rows], device=self.device)
        lengths = torch.tensor([len(row) for row in rows], device=self.device)
        mask = torch.arange(longest, device=self.device) < lengths[:, None]
        with (
            torch.inference_mode(),
            torch.autocast(self.device.type, torch.bfloat16, enabled=self.dtype is torch.bfloat16),
        ):
            states = self.model(input_ids=tokens, attention_mask=mask.long()).last_hidden_state
        if self.pooling == "cls":
            return states[:, 0].float()
        return (states * mask[..., None]).sum(1, dtype=torch.float32) / lengths[:, None]


def batches(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Positions of rows, sorted by length, in batches of `budget` tokens with padding, one row at least."""
    found: list[list[int]] = []
    for place in np.argsort(lengths, kind="stable").tolist():
        if not found or (len(found[-1]) + 1) * lengths[place] > budget:
            found.append([])
        found[-1].append(place)
    return found


def has_bf16(device: str) -> bool:
    """True if the device multiplies bfloat16 faster than float32; elsewhere it is emulated."""
    if torch.device(device).type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    can = torch.cpu.get_capabilities()
    return bool(can.get("avx512_bf16") or can.get("amx_bf16"))
