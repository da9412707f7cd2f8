"""The English part of training/evaluate_copy.py: a decoder tuned by LoRA on some products' own texts, judged on others.

Products are split by a hash of their id; what is tuned is kept by the validation products, and the judged ones are read
once. Judged as it serves: the best of several texts, a template where none is left. Beside it its likeliest text alone, the
same decoder untuned, and the templates.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
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
from training.creatives.measures import invented, self_bleu, unbacked, vocabulary
from training.creatives.prompts import as_data, attributes_of, prompt
from training.creatives.writer import DRAWN, NEW_TOKENS, TEMPERATURE, best, ended, tuned
from training.esci import read_esci
from training.evaluate_copy import DOCS, Case, is_clean_by, mean_of, told_of
from training.evaluate_moderation import wilson
from training.language.moderation import Moderator
from training.loop import LoopSettings
from training.tasks.copywriter import own_text, page_brief
from training.weights import DECODER, resolve

N_TRAIN, N_VALID, N_JUDGED = 96, 16, 64  # some minutes of two cores, most of them for tuning
MAX_CHARS, MAX_TOKENS = 200, 160
SETTINGS: Final = LoopSettings(tune="lora", epochs=1, batch_size=16, learning_rate=1e-3, lora_rank=8)
TUNED, LIKELIEST, UNTUNED = f"tuned decoder, best of {DRAWN}", "tuned decoder, likeliest text", "untuned decoder"
DOCS_EN: Final = {f"en_{name}": text for name, text in DOCS.items() if name != "bleu_4_percent"} | {
    "en_rouge_l_percent": "F1 of the longest common subsequence of words with the product's own text; higher is better",
    "en_perplexity": "per token, of the own texts of products held back; lower is better",
    "en_every_text_unbacked_share": "of all texts that the tuned decoder wrote, before the best is chosen, those that claim or "
    "say what no fact holds; Wilson's interval; lower is better",
    "en_every_text_unbacked_after_moderation_share": "the same among those that moderation finds clean, how many slip through",
    "en_self_bleu": "mean BLEU-4 of each of the wordings drawn by lot beside the others; lower is more varied",
}


def judge_english(folder: Path, threads: int, weights: Path) -> dict[str, Any]:
    """`metrics`, `baselines`, `paired` and `rows`, by names that begin with en_."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        rows = read_esci(folder).catalog.to_pylist()
        train, valid, judged = split_cases(rows)
        base = resolve(DECODER, weights)
        with tempfile.TemporaryDirectory() as work:
            writers, _ = tuned(
                {"en": base}, {"en": pairs_of(train)}, {"en": pairs_of(valid)}, SETTINGS, max_tokens=MAX_TOKENS,
                work=Path(work), log=lambda values, step: None,
            )  # fmt: skip
            ours = writers.folders["en"]
            lost = {who: perplexity(one, pairs_of(judged), MAX_TOKENS) for who, one in ((TUNED, ours), (UNTUNED, base))}
            likeliest, others = _written(Decoder(ours), judged, DRAWN - 1)
            untuned, _ = _written(Decoder(base), judged, 0)
    finally:
        torch.set_num_threads(before)
    safe = [next(iter(templates.safe(case.brief, 1)), "") for case in judged]
    told = zip(judged, likeliest, others, safe, strict=True)
    made = {
        TUNED: [next(iter(best([first, *more], case.brief)), template) for case, first, more, template in told],
        LIKELIEST: [ended(text) for text in likeliest],
        UNTUNED: [ended(text) for text in untuned],
        "templates": safe,
    }
    known = vocabulary([value for row in rows for _, value in attributes_of(row[C.ATTRIBUTES])])
    found = told_of(made, judged, TUNED, "en", known)
    clusters = np.array([case.brief.item_id for case in judged])
    drawn = resampled({who: _perplexity(one) for who, one in lost.items()}, clusters)
    varied = np.array([self_bleu([one for text in more if (one := ended(text))]) for more in others])
    alike = resampled({"self": mean_of(varied)}, clusters)["self"]
    found["metrics"] |= {"en_perplexity": _told(drawn[TUNED]), "en_self_bleu": _told(alike)}
    every = [(case, whole) for case, *texts in zip(judged, likeliest, *zip(*others, strict=True), strict=True)
             for text in texts if (whole := ended(text))]  # fmt: skip
    found["metrics"] |= _of_every_text(every, known)
    found["baselines"][UNTUNED]["en_perplexity"] = _told(drawn[UNTUNED])
    found["paired"][UNTUNED]["en_perplexity"] = _told(drawn[TUNED] - drawn[UNTUNED])
    return found | {"rows": {"en_train": len(train), "en_valid": len(valid), "en_judged": len(judged)}}


def split_cases(rows: Sequence[dict[str, Any]]) -> tuple[list[Case], list[Case], list[Case]]:
    """Products of a catalogue with a text of their own, to learn from, to choose by and to judge on."""
    rows = [row for row in rows if own_text(row[C.DESCRIPTION], MAX_CHARS)]
    lot = hashed([f"copy:{row[C.ITEM_ID]}" for row in rows])
    order = np.argsort(lot)[: N_TRAIN + N_VALID + N_JUDGED].tolist()
    cases = [_case(rows[at]) for at in order]
    return cases[N_VALID + N_JUDGED :], cases[N_JUDGED : N_VALID + N_JUDGED], cases[:N_JUDGED]


def pairs_of(cases: Sequence[Case]) -> list[Pair]:
    return [Pair(prompt(case.brief, MAX_CHARS), case.reference) for case in cases]


def _case(row: dict[str, Any]) -> Case:
    description = as_data(row[C.DESCRIPTION], 10_000)
    brief = replace(page_brief({**row, C.LANGUAGE: "en"}, MAX_CHARS), told={"description": description})
    return Case(brief, f"{brief.said} | {description}", own_text(row[C.DESCRIPTION], MAX_CHARS))


def _written(decoder: Decoder, cases: Sequence[Case], n: int) -> tuple[list[str], list[list[str]]]:
    """The likeliest text of each case, and n others drawn by lot."""
    prompts = [prompt(case.brief, MAX_CHARS) for case in cases]
    first = decoder.generate(prompts, max_new_tokens=NEW_TOKENS)
    asked = [one for one in prompts for _ in range(n)]
    seeds = list(range(len(asked)))
    drawn = decoder.generate(asked, max_new_tokens=NEW_TOKENS, temperature=TEMPERATURE, seeds=seeds) if n else []
    return first, [drawn[at * n : (at + 1) * n] for at in range(len(cases))]


def _of_every_text(texts: Sequence[tuple[Case, str]], known: frozenset[str]) -> dict[str, dict[str, float | None]]:
    """How many texts say what no fact holds; a share of few or none has no spread to draw anew, so its interval is a score's."""
    is_clean = is_clean_by(Moderator.load(), [text for _, text in texts], [case for case, _ in texts], "en", TUNED)
    says = np.array([bool(invented(one, case.facts) or unbacked(one, case.facts, known)) for case, one in texts])
    name, found = "en_every_text_unbacked", {}
    for what, of in ((f"{name}_share", np.ones(len(texts), dtype=bool)), (f"{name}_after_moderation_share", is_clean)):
        if of.any():
            found[what] = wilson(int(says[of].sum()), int(of.sum())).as_dict()
    return found


def _perplexity(lost: np.ndarray) -> Metric:
    """Of (n, 2) nats and tokens."""
    return lambda weight: np.exp((weight @ lost[:, 0]) / (weight @ lost[:, 1]))


def _told(drawn: np.ndarray) -> dict[str, float | None]:
    return Interval.of(drawn).as_dict()
