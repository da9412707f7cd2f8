"""Judges ad copy: Chinese on AdvertiseGen's attribute lists, English on the ESCI sample's products where it lies beside.

    python -m training.evaluate_copy SPEC.json     # {"data": folder, "out": folder, "threads": 2, "weights": folder}
    nightmarket evaluate copy --data ../shared/data/advertisegen
    NIGHTMARKET_DECODER_ZH=path:models/chinese nightmarket evaluate copy --data ../shared/data/advertisegen

Chinese: with a decoder (tuned elsewhere; the training part of the set is not at hand) BLEU-4 by characters and ROUGE-L by
jieba's words as ChatGLM-6B's ptuning/main.py has them (8.10 and 25.08 for its 6.2 billion parameters); without one these
are skipped, with the reason, and the templates that then write the shop's Chinese are judged. English:
training/evaluate_copy_en.py.
"""

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np

from pipelines.core.errors import NoDataError
from pipelines.strategy.judgement import Interval, Metric, resampled
from training.creatives import templates
from training.creatives.measures import bleu, coverage, distinct, invented, rouge_l, unbacked, vocabulary, words
from training.creatives.prompts import Brief, as_data, prompt
from training.job import run_job
from training.language.moderation import CLEAN, Creative, Moderator

DATA: Final = "dev.json"
PERSON: Final = "a person"
TYPE: Final = "类型"  # the attribute that says what the thing is
MAX_CHARS: Final = 200
NEW_TOKENS: Final = 128
DOCS: Final = {
    "coverage": "share of the attributes whose value the copy says; higher is better",
    "invented_share": "copies that claim a number, price, discount, superlative or material that no fact holds, before "
    "moderation; lower is better",
    "invented_after_moderation_share": "the same among copies that moderation finds clean; lower is better",
    "unbacked_share": "copies that say a number, or a value of other things' attributes, that no fact holds: a stricter "
    "measure that uses no list of claims, only the data's own words; lower is better",
    "unbacked_after_moderation_share": "the same among copies that moderation finds clean; lower is better",
    "held_share": "copies that moderation holds for a person; lower is better where what is held was true",
    "distinct_2": "different pairs of words over all pairs; higher is more varied",
    "bleu_4_percent": "as ChatGLM-6B's script: sentence BLEU-4 by characters, NIST smoothing; higher is better",
    "rouge_l_percent": "F1 of the longest common subsequence of jieba's words, or of characters where its name says so",
}


@dataclass(frozen=True)
class Case:
    """One thing to write about, and what a person wrote."""

    brief: Brief
    facts: str  # all that is told, as one text
    reference: str


def run(data: Path, threads: int, weights: Path, decoder_zh: str = "", english: Path | None = None) -> dict[str, Any]:
    """The judgement as DESIGN.md shapes it, `rows` and what was `skipped` and why."""
    began = time.perf_counter()
    cases = read_cases(data)
    copies = {
        "templates": [next(iter(templates.safe(case.brief, 1)), "") for case in cases],
        PERSON: [case.reference for case in cases],
    }
    ours, skipped = "templates", {}
    if decoder_zh:
        copies["decoder"], ours = _decoded(cases, decoder_zh, weights), "decoder"
    else:
        skipped["bleu_4_percent, rouge_l_percent of a Chinese decoder"] = (
            "no Chinese decoder: none is on disk by default; name one in NIGHTMARKET_DECODER_ZH (path: or hub:)"
        )
    known = vocabulary([value for case in cases for value in case.brief.values])
    found = told_of(copies, cases, ours, "zh", known)
    rows = {"zh": len(cases)}
    docs = {f"zh_{name}": text for name, text in DOCS.items()}
    if english and english.is_dir():
        from training.evaluate_copy_en import DOCS_EN, judge_english

        part = judge_english(english, threads, weights)
        for key in ("metrics", "baselines", "paired", "let_through"):
            _merge(found[key], part[key])
        rows |= part["rows"]
        docs |= DOCS_EN
    else:
        skipped["en_"] = "no esci-us folder beside the data: no English product texts to judge on"
    return {
        "name": "copy", "data": DATA, **found, "docs": docs, "rows": rows, "skipped": skipped,
        "seconds": time.perf_counter() - began,
    }  # fmt: skip


def read_cases(folder: Path) -> list[Case]:
    """Raises NoDataError, in one line that names file and line, where the file is missing or is not this data set."""
    path = folder / DATA
    found = []
    try:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            told = json.loads(line)
            pairs = [part.split("#", 1) for part in told["content"].split("*")]
            attributes = tuple((name, as_data(value, 40)) for name, value in pairs)
            found.append(_case(attributes, as_data(told["summary"], 2_000), number))
    except (OSError, UnicodeDecodeError) as error:
        raise NoDataError(f"{path}: {error}; expected AdvertiseGen's dev set that SOURCE.md describes") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise NoDataError(f"{path}: line {len(found) + 1}: no content and summary ({error!r}); see SOURCE.md") from None
    if not found:
        raise NoDataError(f"{path}: no line; expected AdvertiseGen's dev set that SOURCE.md describes")
    return found


def _case(attributes: tuple[tuple[str, str], ...], reference: str, number: int) -> Case:
    title = next((value for name, value in attributes if name == TYPE), attributes[0][1])
    brief = Brief(
        offer_id="", offer_text="", discount_percent=0, channel="page", style="plain", language="zh", max_chars=MAX_CHARS,
        item_id=str(number), title=title, attributes=attributes, item_language="zh",
    )  # fmt: skip
    return Case(brief, " | ".join(value for _, value in attributes), reference)


def told_of(
    copies: Mapping[str, Sequence[str]], cases: Sequence[Case], ours: str, language: str, known: frozenset[str]
) -> dict[str, Any]:
    """`metrics`, `baselines` and `paired` of copies by writer, intervals over things written about; `let_through`: what our
    writer says that no fact holds and moderation finds clean. `known`: words that are values, as of `vocabulary`."""
    clusters = np.array([case.brief.item_id for case in cases])
    moderator = Moderator.load()
    values = {
        who: resampled(_metrics(texts, cases, moderator, known, language, who), clusters)
        for who, texts in copies.items()
    }
    for name in [name for name in values.get(PERSON, {}) if name.split("_")[1] in ("bleu", "rouge")]:
        del values[PERSON][name]  # beside itself
    for who, texts in copies.items():
        values[who][f"{language}_distinct_2"] = np.full(len(next(iter(values[who].values()))), distinct(texts, 2))

    def intervals(numbers: Mapping[str, np.ndarray]) -> dict[str, Any]:
        return {name: Interval.of(drawn).as_dict() for name, drawn in numbers.items()}

    mine, others = values[ours], {who: numbers for who, numbers in values.items() if who != ours}
    return {
        "metrics": intervals(mine),
        "baselines": {who: intervals(numbers) for who, numbers in others.items()},
        "paired": {
            who: intervals({name: mine[name] - drawn for name, drawn in numbers.items() if "distinct" not in name})
            for who, numbers in others.items()
        },
        "let_through": {language: _let_through(copies[ours], cases, moderator, known, language, ours)},
    }


def is_clean_by(
    moderator: Moderator, texts: Sequence[str], cases: Sequence[Case], language: str, who: str
) -> np.ndarray:
    """(n,) whether moderation finds them clean; what a model wrote may say only what is known."""
    by_model = who not in ("templates", PERSON)
    asked = [
        Creative(
            f"{at}", case.brief.item_id, text, language, case.brief.channel, "", "plain", case.brief.facts, by_model
        )
        for at, (case, text) in enumerate(zip(cases, texts, strict=True))
    ]
    return np.array([verdict.status == CLEAN for verdict in moderator.judge(asked)])


def _let_through(
    texts: Sequence[str], cases: Sequence[Case], moderator: Moderator, known: frozenset[str], language: str, who: str
) -> list[dict[str, Any]]:
    told = []
    for case, text, is_clean in zip(cases, texts, is_clean_by(moderator, texts, cases, language, who), strict=True):
        says = [*invented(text, case.facts), *unbacked(text, case.facts, known)]
        if is_clean and says:
            told.append({"text": text, "says": says, "title": case.brief.title})
    return told


def _metrics(
    texts: Sequence[str], cases: Sequence[Case], moderator: Moderator, known: frozenset[str], language: str, who: str
) -> dict[str, Metric]:
    is_clean = is_clean_by(moderator, texts, cases, language, who)
    claims = np.array([float(bool(invented(text, case.facts))) for case, text in zip(cases, texts, strict=True)])
    strange = np.array([float(bool(unbacked(text, one.facts, known))) for one, text in zip(cases, texts, strict=True)])
    covered = np.array([coverage(text, case.brief.values) for case, text in zip(cases, texts, strict=True)])
    pairs = [(text, case.reference) for case, text in zip(cases, texts, strict=True)]
    found = {
        "coverage": mean_of(covered),
        "invented_share": mean_of(claims),
        "invented_after_moderation_share": mean_of(np.where(is_clean, claims, np.nan)),
        "unbacked_share": mean_of(strange),
        "unbacked_after_moderation_share": mean_of(np.where(is_clean, strange, np.nan)),
        "held_share": mean_of(1.0 - is_clean),
    }
    if language == "zh":
        found["bleu_4_percent"] = mean_of(np.array([100 * bleu(list(text), [list(own)]) for text, own in pairs]))
        # ChatGLM's script asks jieba for words; without it characters stand for them, which is another number.
        name, split = ("rouge_l_percent", _jieba) if find_spec("jieba") else ("rouge_l_characters_percent", list)
        found[name] = mean_of(np.array([100 * rouge_l(split(text), split(own)) for text, own in pairs]))
    else:
        found["rouge_l_percent"] = mean_of(np.array([100 * rouge_l(words(text), words(own)) for text, own in pairs]))
    return {f"{language}_{name}": metric for name, metric in found.items()}


def _jieba(text: str) -> list[str]:
    import jieba

    jieba.setLogLevel(60)
    return list(jieba.cut(text))


def mean_of(values: np.ndarray) -> Metric:
    """The weighted mean of those that are numbers."""
    known = np.isfinite(values)
    kept = np.where(known, values, 0.0)
    return lambda weight: (weight @ kept) / np.maximum((weight @ known.astype(np.float64)), 1e-12)


def _decoded(cases: Sequence[Case], address: str, weights: Path) -> list[str]:
    from training.creatives.generate import Decoder
    from training.weights import resolve

    decoder = Decoder(resolve(address, weights))
    return decoder.generate([prompt(case.brief, MAX_CHARS) for case in cases], max_new_tokens=NEW_TOKENS)


def _merge(into: dict[str, Any], more: Mapping[str, Any]) -> None:
    for key, value in more.items():
        if isinstance(into.get(key), dict) and isinstance(value, Mapping) and "value" not in value:
            _merge(into[key], value)
        else:
            into[key] = value


def _job(spec: dict[str, Any]) -> dict[str, Any]:
    data = Path(spec["data"])
    decoder = str(spec.get("decoder_zh") or os.environ.get("NIGHTMARKET_DECODER_ZH", ""))
    return run(
        data, int(spec["threads"]) or os.cpu_count() or 1, Path(spec["weights"]), decoder, data.parent / "esci-us"
    )


if __name__ == "__main__":
    run_job(_job)
