"""Decides whether a challenger becomes champion, and says why.

    nightmarket promote effect --shop demo
    nightmarket rollback effect --shop demo

Both models predict the same nights, which neither has seen (training/judge.py); pipelines/strategy/judgement.py compares.
Verdict and reasons become tags and the last part of the model card. The alias moves only where every check passed; a tie
keeps the champion, unless that one learnt from a customer who was erased since.
"""

import json
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

from pipelines.core.errors import NoDataError, RegistryError
from pipelines.core.registry import CHALLENGER, CHAMPION, LINEAGE_FILE, MAX_TEXT, RETRAIN, Registry, Version
from pipelines.core.shop import Models
from pipelines.core.storage import ABSENT, Store
from pipelines.core.tables import TABLES
from pipelines.judged_policies import keep
from pipelines.launch import launch
from pipelines.stage import Context
from pipelines.strategy.judgement import (
    Finding,
    Interval,
    judge_calibration,
    judge_metric,
    judge_policy,
    judge_segments,
)
from pipelines.train import check_task, registry_of

PROMOTED, KEPT, WAITING, ROLLED_BACK = "promoted", "kept", "waiting", "rolled back"
CALIBRATION: Final = "ece"  # measures of this name, or ending in _ece, are calibration errors
_VERDICT_HEADING = "\n## Verdict\n"


@dataclass(frozen=True)
class Verdict:
    """What was decided about a challenger: `promoted`, `kept` (the champion stays) or `waiting` (for a review)."""

    name: str
    version: str
    verdict: str
    champion: str  # version that is champion now
    reasons: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "version": self.version,
            "verdict": self.verdict,
            "champion": self.champion,
            "reasons": list(self.reasons),
        }


def promote(task: str, night: date, context: Context, version: str | None = None) -> Verdict:
    """Judges a version, by default the one with the alias `challenger`; promoted, it scores from `night` on.

    Raises RegistryError (down, tampered files, no challenger, the champion changed meanwhile), NoDataError, JobError.
    """
    check_task(task)
    registry = registry_of(context)
    challenger = registry.get(task, version) if version else registry.aliased(task, CHALLENGER)
    if challenger is None:
        raise RegistryError(
            f"{registry.name(task)} has no challenger: `nightmarket train {task} --shop {context.shop.shop}` makes one"
        )
    champion = registry.aliased(task, CHAMPION) or _first_champion(task, night, registry)
    if _is_decided(task, challenger, champion, night, registry):
        return _told(challenger, champion)

    findings = _before_judging(challenger, champion, night, context)
    card, found = challenger.description.partition(_VERDICT_HEADING)[0], {}
    if all(finding.passed for finding in findings):
        context.progress(f"judging {challenger} against {champion}")
        found = _judge(task, challenger, champion, context)
        card = found["card"]
        findings = judged_findings(found, context.shop.models, tie_is_enough=RETRAIN in champion.tags) + findings
        if all(finding.passed for finding in findings) and task in context.shop.models.needs_review:
            findings.append(_review(challenger))
    failed = [finding for finding in findings if not finding.passed]
    is_waiting = [finding.check for finding in failed] == [WAITING]
    verdict = WAITING if is_waiting else KEPT if failed else PROMOTED
    # The report tells of profit; what is measured in another unit has no place there.
    if found.get("off_policy", {}).get("rows") and "unit" not in found["off_policy"]:
        judged = challenger.judged_nights
        told = {"night": night.isoformat(), "first": min(judged).isoformat(), "last": max(judged).isoformat()}
        versions = {"challenger": str(challenger), "champion": str(champion)}
        keep(told | {"verdict": verdict, "versions": versions} | found["off_policy"], night, context.store)
    return _decide(task, verdict, findings, card, challenger, champion, night, registry)


def next_night(context: Context) -> date:
    """The first night without a plan: what is promoted now changes no plan that was made. Raises NoDataError."""
    planned = context.store.nights("campaign_plan") or context.store.nights("events")
    if not planned:
        raise NoDataError(f"shop {context.shop.shop} has no night yet: run `nightmarket night` first")
    return planned[-1] + timedelta(days=1)


def rollback(task: str, context: Context) -> dict[str, str]:
    """Makes the champion before champion again: {name, champion, rolled_back}. Raises RegistryError where there is none."""
    check_task(task)
    registry = registry_of(context)
    with registry.deciding(task):
        restored, dethroned = registry.dethrone(task, ROLLED_BACK)
    return {"name": restored.name, "champion": restored.version, "rolled_back": dethroned.version}


def judged_findings(found: dict[str, Any], models: Models, *, tie_is_enough: bool = False) -> list[Finding]:
    """What the result of training.judge says about the challenger: metric, calibration, segments, latency, size and, where
    they are told, fairness and the policy's value."""

    def interval(told: dict[str, Any]) -> Interval:
        return Interval.from_dict(told)

    metric, differences = found["metric"], found["paired"]["champion"]
    better = found["higher_is_better"][metric]
    seconds, size = found["speed"]["challenger"]["seconds_per_row"], found["speed"]["challenger"]["size_mb"]
    most = found.get("max_seconds_per_row", models.max_seconds_per_row)
    return [
        judge_metric(metric, interval(differences[metric]), higher_is_better=better, tie_is_enough=tie_is_enough),
        judge_calibration(
            {
                name: interval(told)
                for name, told in differences.items()
                if name == CALIBRATION or name.endswith(f"_{CALIBRATION}")
            }
        ),
        judge_segments(
            {name: interval(part["paired"]["champion"][metric]) for name, part in found["segments"].items()},
            higher_is_better=better,
        ),
        Finding(
            "latency",
            seconds <= most,
            f"{seconds:.2g} s a row, at most {most:g} (max_seconds_per_row)",
        ),
        Finding("size", size <= models.max_model_mb, f"{size:.3g} MB, at most {models.max_model_mb:g} (max_model_mb)"),
        *([Finding(**found["fairness"])] if "fairness" in found else []),
        *([judge_policy(found["off_policy"])] if "off_policy" in found else []),
    ]


def _first_champion(task: str, night: date, registry: Registry) -> Version:
    """Where there is no champion the baseline is: it would score anyway, and the challenger has something to beat."""
    baselines = registry.versions(task, role="baseline")
    if not baselines:
        raise RegistryError(
            f"{registry.name(task)} has neither champion nor baseline: `nightmarket train {task}` makes one"
        )
    with registry.deciding(task):
        champion = registry.aliased(task, CHAMPION)
        if champion is None:
            champion = baselines[0]
            registry.tell(champion, {"verdict": PROMOTED, "reasons": "the first champion: nothing was there before"})
            registry.crown(task, champion, None, night)
    return registry.get(task, champion.version)


def _is_decided(task: str, challenger: Version, champion: Version, night: date, registry: Registry) -> bool:
    """Whether the challenger was or is champion, or was refused for this very night: a rerun repeats what was decided."""
    at: Version | None = champion
    while at:
        if at.version == challenger.version:
            return True
        at = registry.get(task, at.previous_champion) if at.previous_champion else None
    return challenger.tags.get("verdict") == KEPT and challenger.tags.get("verdict_night") == night.isoformat()


def _before_judging(challenger: Version, champion: Version, night: date, context: Context) -> list[Finding]:
    """What can be said without a prediction: nights that overlap, age and audit of the data, an earlier decision."""
    judged = challenger.judged_nights
    found = []
    for who, version in (("challenger", challenger), ("champion", champion)):
        last = version.night("data_last")
        if not judged or last is None or last >= min(judged):
            found.append(
                Finding(
                    "overlap", False, f"{who} {version} learnt from data up to {last}, judged nights begin "
                    f"{min(judged, default=None)}: it has seen what it would be judged on; train again"
                )
            )  # fmt: skip
    later = champion.night("promoted_night")
    if later and later > night:
        found.append(Finding("order", False, f"{champion} was promoted for a later night, {later}"))
    if challenger.tags.get("verdict") == ROLLED_BACK:
        found.append(Finding("rollback", False, f"{challenger} was champion and was rolled back; train a new one"))
    if RETRAIN in challenger.tags:
        found.append(
            Finding("erasure", False, f"{challenger} learnt from a customer who was erased since; train a new one")
        )
    last, most = challenger.night("data_last") or date.min, context.shop.models.max_data_age_nights
    age = (night - last).days
    found.append(Finding("age", age <= most, f"its data ends {age} nights ago, at most {most} (max_data_age_nights)"))
    found.append(_audits(challenger, context.store, registry_of(context)))
    return found


def _audits(challenger: Version, store: Store, registry: Registry) -> Finding:
    """Whether each partition that it learnt from has passed its audit."""
    lineage = json.loads(registry.file(challenger, LINEAGE_FILE).read_text())
    bad, n_read = [], 0
    for name in sorted(name for name, digest in lineage.items() if digest != ABSENT):
        table, _, night = name.partition("/")
        manifest = store.manifest(table, date.fromisoformat(night))
        if manifest is None and date.fromisoformat(night) < store.kept_from(TABLES[table].layer):
            continue  # it passed before it was published, and is kept no longer
        n_read += 1
        if manifest is None or not manifest.audit.get("success"):
            bad.append(name)
    told = f"no passed audit: {', '.join(bad[:3])}" if bad else f"all {n_read} partitions that it learnt from passed"
    return Finding("audit", not bad, told)


def _judge(task: str, challenger: Version, champion: Version, context: Context) -> dict[str, Any]:
    store = context.store
    with store.staging() as staging:
        return launch(
            "training.judge",
            {
                "shop": context.shop.model_dump(mode="json"),
                "root": str(store.root),
                "mlflow_uri": context.machine.mlflow_uri,
                "task": task,
                "nights": [one.isoformat() for one in challenger.judged_nights],
                "challenger": challenger.version,
                "champion": champion.version,
            },
            context.machine.without_spark,
            staging,
            store.folder / "logs",
        )


def _review(challenger: Version) -> Finding:
    """What a person has said in MLflow's page by the tags `review` and `review_note`."""
    review, note = challenger.tags.get("review", ""), challenger.tags.get("review_note", "")
    if review == "approved":
        return Finding("review", True, f"approved{f': {note}' if note else ''}")
    if review == "rejected":
        return Finding("review", False, f"rejected: {note or 'no review_note was left'}")
    return Finding(WAITING, False, f"needs a review: set the tag review=approved or rejected on {challenger} in MLflow")


def _decide(
    task: str,
    verdict: str,
    findings: list[Finding],
    card: str,
    challenger: Version,
    champion: Version,
    night: date,
    registry: Registry,
) -> Verdict:
    """Writes verdict and reasons, and moves the alias where it passed; both under the lock of the task."""
    reasons = [f"{'pass' if one.passed else 'FAIL'} {one.check}: {one.text}" for one in findings]
    lines = "\n".join(f"- {reason}" for reason in reasons)
    tags = {
        "verdict": verdict,
        "verdict_night": night.isoformat(),
        "judged_against": champion.version,
        "reasons": "\n".join(reasons),
        "needs_review": str(any(one.check == WAITING for one in findings)).lower(),
        **{f"check_{one.check}": f"{'pass' if one.passed else 'fail'}: {one.text}" for one in findings},
    }
    text = f"{card}{_VERDICT_HEADING}**{verdict}** for {night}, against {champion}\n{lines}"
    with registry.deciding(task):
        now = registry.aliased(task, CHAMPION)
        if now and now.version == challenger.version:  # another promotion at the same time was first
            return _told(now, now)
        registry.tell(challenger, tags, text[:MAX_TEXT])
        if verdict == PROMOTED:
            registry.crown(task, challenger, champion, night)
    after = challenger if verdict == PROMOTED else champion
    return Verdict(challenger.name, challenger.version, verdict, after.version, tuple(reasons))


def _told(challenger: Version, champion: Version) -> Verdict:
    """A decision as its tags keep it."""
    reasons = tuple(challenger.tags.get("reasons", "").splitlines())
    return Verdict(
        challenger.name, challenger.version, challenger.tags.get("verdict", PROMOTED), champion.version, reasons
    )
