"""Decoders that word messages: tuned on the shop's texts, asked in batches, put into the frames that hold the offer."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import torch

from pipelines.core.moderating import load_moderation
from training.creatives.generate import Decoder
from training.creatives.lora import Pair, fit
from training.creatives.measures import coverage, invented
from training.creatives.prompts import Brief, prompt
from training.creatives.templates import room_for, shortened, worded
from training.language.moderation_amounts import quantities
from training.language.moderation_grounds import Grounds
from training.language.moderation_known import known_of
from training.language.moderation_views import normal
from training.loop import LoopSettings
from training.loop_trainer import Log

NEW_TOKENS: Final = 64  # of one text; about 250 English characters
TEMPERATURE: Final = 0.8  # of all variants but the first, which is the likeliest
DRAWN: Final = 4  # texts asked for per brief at least: the likeliest and others by lot, of which the best are kept
SPARE: Final = 1  # more drawn than variants wanted, as some come out alike


@dataclass(frozen=True)
class Writers:
    """A tuned decoder per language, as folders."""

    folders: Mapping[str, Path]

    def write(self, briefs: Sequence[Brief], variants: int, seed: int, threads: int) -> list[list[str]]:
        """Up to `variants` different messages per brief, within its limit; none for a language without a decoder."""
        before = torch.get_num_threads()
        torch.set_num_threads(threads or before)
        found: list[list[str]] = [[] for _ in briefs]
        try:
            for language in sorted({brief.language for brief in briefs} & set(self.folders)):
                mine = [at for at, brief in enumerate(briefs) if brief.language == language]
                bodies = self._bodies(language, [briefs[at] for at in mine], variants, seed)
                for at, said in zip(mine, bodies, strict=True):
                    found[at] = worded(briefs[at], said, variants)
        finally:
            torch.set_num_threads(before)
        return found

    def _bodies(self, language: str, briefs: Sequence[Brief], variants: int, seed: int) -> list[list[str]]:
        decoder = Decoder(self.folders[language])
        prompts = [prompt(brief, room_for(brief)) for brief in briefs]
        told = [decoder.generate(prompts, max_new_tokens=NEW_TOKENS)]
        n = max(DRAWN, variants + SPARE) - 1
        seeds = [int(brief.id[:8], 16) + seed + number for brief in briefs for number in range(n)]
        asked = [one for one in prompts for _ in range(n)]
        drawn = decoder.generate(asked, max_new_tokens=NEW_TOKENS, temperature=TEMPERATURE, seeds=seeds)
        told += [drawn[number::n] for number in range(n)]
        return [best(texts, brief) for texts, brief in zip(zip(*told, strict=True), briefs, strict=True)]

    def save(self, folder: Path) -> None:
        """Copies each decoder into folder/LANGUAGE."""
        for language, source in self.folders.items():
            shutil.copytree(source, folder / language)


def ended(text: str) -> str:
    """A generated text up to the end of its last whole sentence; "" where none ended within the budget."""
    parts = shortened(text)
    return text if len(parts) == 1 and text and text[-1] in ".!?。！？" else parts[1] if len(parts) > 1 else ""


def best(texts: Sequence[str], brief: Brief) -> list[str]:
    """Whole sentences of generated texts, those that say most of the attributes first, the likeliest of these before others;
    without those that say what the brief does not tell, so none where all do. 20 bags are no ground for 20 minutes."""
    amounts, known = _amounts(brief.said), known_of(brief.facts)
    whole = [
        one
        for text in texts
        if (one := ended(text))
        and not invented(one, brief.said)
        and _amounts(one) <= amounts
        and not _grounds().unsaid(normal(one), known)
    ]
    share = {one: coverage(one, brief.values) for one in whole}
    return sorted(whole, key=lambda one: -share[one] if brief.values else 0.0)


@cache
def _grounds() -> Grounds:
    return Grounds(load_moderation().plain.words)


def _amounts(text: str) -> set[tuple[str, float]]:
    """Quantities with their unit, in one base each."""
    return {(kind, round(value, 6)) for kind, value, _ in quantities(normal(text)) if kind}


def tuned(
    folders: Mapping[str, Path], pairs: Mapping[str, Sequence[Pair]], valid: Mapping[str, Sequence[Pair]],
    settings: LoopSettings, *, max_tokens: int, work: Path, log: Log,
) -> tuple[Writers, list[str]]:  # fmt: skip
    """Decoders of some folders, each tuned on the pairs of its language, and what a reader should know of each run."""
    made, notes = {}, []
    for language, folder in sorted(folders.items()):
        model, tokenizer, result = fit(
            folder,
            pairs[language],
            valid[language],
            settings,
            work=work / f"loop-{language}",
            max_tokens=max_tokens,
            log=log,
        )
        saved = work / language
        shutil.rmtree(saved, ignore_errors=True)
        model.to(torch.bfloat16).save_pretrained(saved)  # type: ignore[operator]
        tokenizer.chat_template = None  # it is asked by prompts of our own
        tokenizer.save_pretrained(saved)
        made[language] = saved
        notes.append(f"{language}: {result.steps} steps in {result.seconds:.0f} s, nats per token {result.best:.3f}")
    return Writers(made), notes
