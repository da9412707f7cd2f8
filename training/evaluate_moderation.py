"""Judges moderation on labelled creatives, beside a plain list of banned words and a classifier.

    python -m training.evaluate_moderation SPEC.json     # {"data": folder, "out": folder}
    nightmarket evaluate moderation --data conf/moderation

Rows marked `fit` are those that the rules were made with; `judged` ones were written when the rules were done and were not
looked at for them. A folder of other creatives without marks is judged whole, by the rules of conf/moderation and a
classifier fitted on the project's own.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from pipelines.core.moderating import Moderation, load_moderation, moderation_folder
from pipelines.strategy.judgement import Interval, Metric, resampled
from training.job import run_job
from training.language.moderation import HELD, Creative, Moderator
from training.language.moderation_model import BadTexts
from training.language.moderation_red_team import RedTeam, read_red_team

OURS: Final = "rules"
WORDS: Final = "banned words"
CLASSIFIER: Final = "classifier alone"
BOTH: Final = "rules and classifier"
DOCS: Final = {
    "recall": "share of all bad creatives that are held; higher is better; Wilson's interval",
    "false_alarms": "share of all good creatives that are held; lower is better; Wilson's interval",
    "recall_fit": "the same on creatives that the rules were made with",
    "false_alarms_fit": "the same on creatives that the rules were made with",
    "recall_judged": "the same on creatives that the rules were not made with",
    "false_alarms_judged": "the same on creatives that the rules were not made with",
    "creatives_per_second": "judged by the rules per second of one core; higher is better",
}
_Z: Final = 1.959964  # of a 95% interval


def run(data: Path) -> dict[str, Any]:
    """The judgement as DESIGN.md shapes it, with `rows`, `missed` and `alarmed` (ids and rules of the mistakes)."""
    began = time.perf_counter()
    moderation = load_moderation()
    told = read_red_team(data)
    fit = told if told.is_fit.any() else read_red_team(moderation_folder())
    at = np.flatnonzero(fit.is_fit)
    classifier = BadTexts.fit([fit.creatives[place].text for place in at], fit.is_bad[at])
    texts = [one.text for one in told.creatives]
    moderator = Moderator(moderation)
    clock = time.process_time()
    verdicts = moderator.judge(told.creatives)
    seconds = time.process_time() - clock
    held = {OURS: np.array([verdict.status == HELD for verdict in verdicts])}
    held[WORDS] = says_banned_words(told.creatives, moderation)
    held[CLASSIFIER] = classifier.holds(texts)
    held[BOTH] = held[OURS] | held[CLASSIFIER]
    metrics = {who: shares(told, one) for who, one in held.items()}
    per_second = Interval(len(texts) / max(seconds, 1e-9), np.nan, np.nan)
    wrong = held[OURS] != told.is_bad
    return {
        "name": "moderation",
        "data": data.name,
        "metrics": metrics.pop(OURS) | {"creatives_per_second": per_second.as_dict()},
        "baselines": metrics,
        "paired": {who: paired(told, held[OURS], one) for who, one in held.items() if who != OURS},
        "docs": DOCS,
        "rows": {"bad": int(told.is_bad.sum()), "good": int((~told.is_bad).sum()), "fit": int(told.is_fit.sum())},
        "missed": [one.creative_id for one, is_it in zip(told.creatives, wrong & told.is_bad, strict=True) if is_it],
        "alarmed": {
            one.creative_id: verdict.rule
            for one, verdict, is_it in zip(told.creatives, verdicts, wrong & ~told.is_bad, strict=True)
            if is_it
        },
        "seconds": time.perf_counter() - began,
    }


def says_banned_words(creatives: Sequence[Creative], moderation: Moderation) -> np.ndarray:
    """(n,) what a shop without this program would do: look for each banned phrase as it is written."""
    phrases = [phrase.lower() for _, family in moderation.families() for phrase in family.phrases]
    return np.array([any(phrase in one.text.lower() for phrase in phrases) for one in creatives])


def shares(told: RedTeam, held: np.ndarray) -> dict[str, dict[str, float | None]]:
    """Recall and false alarms of who holds (n,), on all rows and on those that are judged."""
    found = {}
    for name, of in _rows(told).items():
        found[name] = wilson(int(held[of].sum()), int(of.sum())).as_dict()
    return found


def paired(told: RedTeam, ours: np.ndarray, other: np.ndarray) -> dict[str, dict[str, float | None]]:
    """Ours minus another's on the same rows, drawn anew."""
    found = {}
    for name, of in _rows(told).items():
        who = np.arange(int(of.sum()))
        drawn = resampled({"ours": _mean(ours[of]), "other": _mean(other[of])}, who)
        found[name] = Interval.of(drawn["ours"] - drawn["other"]).as_dict()
    return found


def _rows(told: RedTeam) -> Mapping[str, np.ndarray]:
    """Masks (n,) of the rows that each metric is a share of."""
    masks = {"recall": told.is_bad, "false_alarms": ~told.is_bad}
    parts = {"fit": told.is_fit, "judged": ~told.is_fit}
    of = {f"{name}_{part}": mask & rows for name, mask in masks.items() for part, rows in parts.items()}
    return {name: mask for name, mask in (masks | of).items() if mask.any()}


def _mean(values: np.ndarray) -> Metric:
    return lambda weight: (weight @ values.astype(np.float64)) / weight.sum(axis=-1)


def wilson(hits: int, n: int) -> Interval:
    """A share with its 95% score interval (Wilson 1927), which does not shrink to a point at 0 and 1."""
    share = hits / n
    middle = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z * np.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2)) / (1 + _Z**2 / n)
    return Interval(share, max(0.0, float(middle - half)), min(1.0, float(middle + half)))


def _job(spec: dict[str, Any]) -> dict[str, Any]:
    return run(Path(spec["data"]))


if __name__ == "__main__":
    run_job(_job)
