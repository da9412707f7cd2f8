"""Words many prompts at once with any decoder that transformers loads: key-value cache, prompts of about one length together,
bfloat16 where the device computes in it, an exact budget of tokens, and texts that do not hang on what else is asked.

    texts = Decoder(folder).generate(["Product: ...\\nCopy:"], max_new_tokens=48)

A prompt's width is its length rounded up, every batch has the same number of rows (short ones are filled up), and each
row draws from a seed of its own. So the shape of each matrix product is a function of the prompt alone, and so is its text:
what a night made may be taken from an earlier one. Measured beside transformers' own generate in benchmarks/generate.py.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.cache_utils import StaticCache

from training.loop_settings import Precision, is_bf16
from training.weights import quietly

ROWS: Final = 32  # at a time
_BUCKET: Final = 16  # tokens that a prompt's width is a multiple of
_LIKELY: Final = 50  # tokens that are drawn among
_LINE_ENDS: Final = (
    "\n",
    "Ċ",
    "<0x0A>",
)  # in a vocabulary's tokens: itself, as byte-level BPE and as SentencePiece say it


class Decoder:
    """A decoder and its tokenizer, from a folder as save_pretrained writes it; safetensors only."""

    def __init__(self, folder: Path, *, precision: Precision = "auto", rows: int = ROWS) -> None:
        self.rows = rows
        self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        dtype = torch.bfloat16 if is_bf16(precision) else torch.float32
        with quietly():
            self.model = AutoModelForCausalLM.from_pretrained(
                folder, dtype=dtype, use_safetensors=True, local_files_only=True
            )
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = self.model.eval().requires_grad_(False).to(device)
        # Of a last position that is cut out of others, a product would be made with a copy of the vocabulary per row.
        self.model.get_output_embeddings().register_forward_pre_hook(lambda head, given: (given[0].contiguous(),))
        self.stops = stop_tokens(self.tokenizer, self.model.config)

    def tokens(self, text: str) -> list[int]:
        """Of a prompt. What a text says is text: no token that ends a turn comes of it."""
        found: list[int] = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        return found

    def generate(
        self, prompts: Sequence[str], *, max_new_tokens: int, temperature: float = 0.0, top_p: float = 0.95,
        seeds: Sequence[int] | None = None,
    ) -> list[str]:  # fmt: skip
        """n prompts -> n continuations of at most `max_new_tokens` tokens, up to the first line's end, in their order.

        temperature 0: the likeliest token each time; else one of the likeliest, drawn by the row's seed (0 by default).
        """
        rows = [self.tokens(prompt) for prompt in prompts]
        if max_new_tokens < 1 or not all(rows):
            raise ValueError("every prompt needs a token, and a budget of one token at least")
        drawn = np.array([
            np.random.default_rng(seed).random(max_new_tokens, np.float32) for seed in (seeds or [0] * len(rows))
        ])  # fmt: skip
        texts = [""] * len(rows)
        for places, width in batches([len(row) for row in rows], self.rows):
            filled = [*places, *[places[-1]] * (self.rows - len(places))]
            made = self._batch(
                [rows[at] for at in filled], width, max_new_tokens, torch.from_numpy(drawn[filled]), temperature, top_p
            )
            for at, ids in zip(places, made, strict=False):
                texts[at] = str(self.tokenizer.decode(ids, skip_special_tokens=True)).strip()
        return texts

    @torch.inference_mode()
    def _batch(
        self, rows: list[list[int]], width: int, budget: int, drawn: Tensor, temperature: float, top_p: float
    ) -> list[list[int]]:
        """Token ids of each row up to its stop; drawn: (rows, budget) uniform numbers."""
        device = self.model.device
        missing = torch.tensor([width - len(row) for row in rows], device=device)
        tokens = torch.tensor([[*[0] * (width - len(row)), *row] for row in rows], device=device)
        is_there = (torch.arange(width + budget, device=device) >= missing[:, None]).long()
        places = (torch.arange(width, device=device) - missing[:, None]).clamp(min=0)
        cache = StaticCache(config=self.model.config, max_cache_len=width + budget)
        stops = torch.tensor(sorted(self.stops), dtype=torch.long, device=device)
        found = torch.zeros((len(rows), budget), dtype=torch.long, device=device)
        length = torch.full((len(rows),), budget, device=device)
        for step in range(budget):
            logits = self.model(
                input_ids=tokens, attention_mask=is_there[:, : width + step], position_ids=places,
                past_key_values=cache, use_cache=True, logits_to_keep=1,
            ).logits[:, -1].float()  # fmt: skip
            if step == 0:  # a text has a token at least
                logits[:, stops] = -torch.inf
            chosen = _choose(logits, drawn[:, step].to(device), temperature, top_p)
            found[:, step] = chosen
            length = torch.where((length == budget) & torch.isin(chosen, stops), step, length)
            if bool((length < budget).all()):
                break
            tokens, places = chosen[:, None], places[:, -1:] + 1
        return [ids[:n] for ids, n in zip(found.tolist(), length.tolist(), strict=True)]


def stop_tokens(tokenizer: Any, config: Any) -> set[int]:
    """Tokens that end a text: the model's own, and whatever holds a line's end."""
    told = config.eos_token_id
    ends = set(told) if isinstance(told, list) else {told}
    ends |= {tokenizer.eos_token_id}
    ends |= {at for token, at in tokenizer.get_vocab().items() if any(end in token for end in _LINE_ENDS)}
    return {int(end) for end in ends if end is not None}


def batches(lengths: Sequence[int], rows: int) -> Iterator[tuple[list[int], int]]:
    """Places of prompts that share a width, `rows` at most at a time, and that width."""
    width = [-(-length // _BUCKET) * _BUCKET for length in lengths]
    for one in sorted(set(width)):
        places = [at for at, mine in enumerate(width) if mine == one]
        for start in range(0, len(places), rows):
            yield places[start : start + rows], one


def _choose(logits: Tensor, drawn: Tensor, temperature: float, top_p: float) -> Tensor:
    """(rows,) tokens of logits (rows, vocabulary): the likeliest, or the one at `drawn` (rows,) of the probability of those
    that together have `top_p` (nucleus sampling, Holtzman et al. 2020, arXiv:1904.09751)."""
    if temperature <= 0:
        return logits.argmax(-1)
    likely, token = logits.topk(min(_LIKELY, logits.shape[-1]))
    chance = (likely / temperature).softmax(-1)
    before = chance.cumsum(-1) - chance
    chance = chance * (before < top_p)
    upto = chance.cumsum(-1)
    place = (upto < drawn[:, None] * upto[:, -1:]).sum(-1).clamp(max=token.shape[-1] - 1)
    return token.gather(-1, place[:, None])[:, 0]
