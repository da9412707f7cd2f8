"""The English part of training/evaluate_copy.py: a decoder tuned by LoRA on some products' own texts, judged on others.

Products are split by a hash of their id; what is tuned is kept by the validation products, and the judged ones are read
once. Beside it the same decoder untuned, and the templates.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from pipelines.core.columns import Columns as C
from pipelines.strategy.holdout import hashed
from pipelines.strategy.judgement import Interval, Metric, resampled
from training.creatives import templates
from training.creatives.generate import Decoder
from training.creatives.lora import Pair, perplexity
from training.creatives.measures import self_bleu
from training.creatives.prompts import as_data, prompt
from training.creatives.writer import NEW_TOKENS, TEMPERATURE, ended, tuned
from training.esci import read_esci
from training.evaluate_copy import DOCS, Case, mean_of, told_of
from training.loop import LoopSettings
from training.tasks.copywriter import own_text, page_brief
from training.weights import DECODER, resolve

N_TRAIN, N_VALID, N_JUDGED = 320, 48, 96
MAX_CHARS, MAX_TOKENS = 300, 192
SETTINGS: Final = LoopSettings(tune="lora", epochs=1, batch_size=16, learning_rate=1e-3, lora_rank=8)
TUNED, UNTUNED = "tuned decoder", "untuned decoder"
DOCS_EN: Final = {f"en_{name}": text for name, text in DOCS.items() if name != "bleu_4_percent"} | {
    "en_rouge_l_percent": "F1 of the longest common subsequence of words with the product's own text; higher is better",
    "en_perplexity": "per token, of the own texts of products held back; lower is better",
    "en_self_bleu": "mean BLEU-4 of each of three wordings beside the others; lower is more varied",
}


def judge_english(folder: Path, threads: int, weights: Path) -> dict[str, Any]:
    """`metrics`, `baselines`, `paired` and `rows`, by names that begin with en_."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        train, valid, judged = split_cases(folder)
        base = resolve(DECODER, weights)
        with tempfile.TemporaryDirectory() as work:
            writers, _ = tuned(
                {"en": base}, {"en": pairs_of(train)}, {"en": pairs_of(valid)}, SETTINGS, max_tokens=MAX_TOKENS,
                work=Path(work), log=lambda values, step: None,
            )  # fmt: skip
            told = {TUNED: writers.folders["en"], UNTUNED: base}
            lost = {who: perplexity(one, pairs_of(judged), MAX_TOKENS) for who, one in told.items()}
            made, varied = {}, {}
            for who, one in told.items():
                decoder = Decoder(one)
                prompts = [prompt(case.brief, MAX_CHARS) for case in judged]
                made[who] = [ended(text) for text in decoder.generate(prompts, max_new_tokens=NEW_TOKENS)]
                if who == TUNED:
                    varied[who] = _variants(decoder, prompts)
    finally:
        torch.set_num_threads(before)
    made["templates"] = [next(iter(templates.safe(case.brief, 1)), "") for case in judged]
    found = told_of(made, judged, TUNED, "en")
    clusters = np.array([case.brief.item_id for case in judged])
    drawn = resampled({who: _perplexity(one) for who, one in lost.items()}, clusters)
    alike = resampled({"self": mean_of(varied[TUNED])}, clusters)["self"]
    found["metrics"] |= {"en_perplexity": _told(drawn[TUNED]), "en_self_bleu": _told(alike)}
    found["baselines"][UNTUNED]["en_perplexity"] = _told(drawn[UNTUNED])
    found["paired"][UNTUNED]["en_perplexity"] = _told(drawn[TUNED] - drawn[UNTUNED])
    return found | {"rows": {"en_train": len(train), "en_valid": len(valid), "en_judged": len(judged)}}


def split_cases(folder: Path) -> tuple[list[Case], list[Case], list[Case]]:
    """Products with a text of their own to learn from, to choose by and to judge on."""
    rows = [row for row in read_esci(folder).catalog.to_pylist() if own_text(row[C.DESCRIPTION], MAX_CHARS)]
    lot = hashed([f"copy:{row[C.ITEM_ID]}" for row in rows])
    order = np.argsort(lot)[: N_TRAIN + N_VALID + N_JUDGED].tolist()
    cases = [_case(rows[at]) for at in order]
    return cases[N_VALID + N_JUDGED :], cases[N_JUDGED : N_VALID + N_JUDGED], cases[:N_JUDGED]


def pairs_of(cases: Sequence[Case]) -> list[Pair]:
    return [Pair(prompt(case.brief, MAX_CHARS), case.reference) for case in cases]


def _case(row: dict[str, Any]) -> Case:
    brief = page_brief({**row, C.LANGUAGE: "en"}, MAX_CHARS)
    said = [brief.title, brief.brand, brief.category, *brief.values, as_data(row[C.DESCRIPTION], 10_000)]
    return Case(brief, " | ".join(said), own_text(row[C.DESCRIPTION], MAX_CHARS))


def _variants(decoder: Decoder, prompts: Sequence[str], n: int = 3) -> np.ndarray:
    """(prompts,) self-BLEU of n sampled wordings each; NaN where fewer than two came out."""
    asked = [one for one in prompts for _ in range(n)]
    made = decoder.generate(asked, max_new_tokens=NEW_TOKENS, temperature=TEMPERATURE, seeds=list(range(len(asked))))
    texts = [[text for one in made[at : at + n] if (text := ended(one))] for at in range(0, len(made), n)]
    return np.array([self_bleu(some) for some in texts])


def _perplexity(lost: np.ndarray) -> Metric:
    """Of (n, 2) nats and tokens."""
    return lambda weight: np.exp((weight @ lost[:, 0]) / (weight @ lost[:, 1]))


def _told(drawn: np.ndarray) -> dict[str, float | None]:
    return Interval.of(drawn).as_dict()
