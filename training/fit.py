"""Fits a task's baseline and challenger, tells MLflow about it and registers the challenger; nothing twice.

    python -m training.fit SPEC.json

The spec is written by pipelines/train.py: `shop`, `root`, `mlflow_uri`, `task`, `night` (that it is trained for), `train`,
`valid` and `judged` (nights), `basis` (digest of settings and code), `settings`, `threads`, `weights`, `checkpoints` (a
folder that outlives a killed run, so the next goes on from there), `out`. The result: {version, kind, made, metrics}.
"""

import json
import os
import shutil
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

from pipelines.core.registry import CHALLENGER, Registry, Version, folder_hash, training_digest
from pipelines.core.shop import Shop
from training.card import card
from training.job import run_job
from training.judge import compare, size_mb, timed
from training.plots import figures
from training.reading import Reading
from training.task import Examples, Fitting, Model, Task, task_of
from training.track import MlflowTracker, tracking


def run(spec: dict[str, Any]) -> dict[str, Any]:
    """Registers a challenger, unless one was made of the same data, settings and code. Raises what the task raises."""
    shop, task = Shop.model_validate(spec["shop"]), task_of(spec["task"])
    nights = {part: tuple(date.fromisoformat(night) for night in spec[part]) for part in ("train", "valid")}
    registry = Registry(shop.shop, Path(spec["root"]), spec["mlflow_uri"])
    reading = Reading(registry.root, shop.shop, max(nights["valid"]))
    train = task.examples(shop, reading, nights["train"])
    valid = task.examples(shop, reading, nights["valid"])
    lineage = reading.lineage()
    digest = training_digest(spec["basis"], lineage)
    if known := registry.versions(task.name, training_digest=digest, role="challenger"):
        return _result(known[0], made=False)

    checkpoints = Path(spec["checkpoints"]) / digest[:16]
    how = Fitting(
        threads=int(spec["threads"]) or os.cpu_count() or 1,
        settings=spec["settings"],
        work=checkpoints,
        weights=Path(spec["weights"]),
    )
    tags = {
        "training_digest": digest,
        "basis": spec["basis"],
        "trained_night": spec["night"],
        "judged_nights": " ".join(spec["judged"]),
        "data_first": str(train.night.min()),
        "data_last": str(valid.night.max()),
        "train_rows": str(len(train)),
        "valid_rows": str(len(valid)),
    }
    with tracking(registry, task.name, f"{task.name} {spec['night']}", tags) as tracker:
        tracker.params({"seed": how.seed, "settings": spec["settings"], **{k: " ".join(spec[k]) for k in nights}})
        for part, examples in (("train", train), ("valid", valid)):
            tracker.data(part, examples.rows, digest, lineage)
        baseline = task.baseline(train, how)
        model = task.fit(train, valid, replace(how, log=tracker.metrics))
        version = _register(task, model, baseline, valid, tags, lineage, tracker, registry, Path(spec["out"]))
    shutil.rmtree(checkpoints, ignore_errors=True)
    return _result(version, made=True)


def _register(
    task: Task,
    model: Model,
    baseline: Model,
    valid: Examples,
    tags: dict[str, str],
    lineage: dict[str, str],
    tracker: MlflowTracker,
    registry: Registry,
    out: Path,
) -> Version:
    """Logs and registers the challenger, and before it the baseline where the task has no version at all."""
    models = {"challenger": model, "baseline": baseline}
    predicted, speed = {}, {}
    for role, one in models.items():
        for name, part in (("model", one), ("baseline", baseline)):
            folder = out / role / "bundle" / name
            folder.mkdir(parents=True)
            part.save(folder)
        (out / role / "bundle" / "lineage.json").write_text(json.dumps(lineage, indent=1, sort_keys=True))
        predicted[role], speed[role] = timed(one, valid.rows)
        speed[role]["size_mb"] = size_mb(out / role / "bundle" / "model")
    found = compare(task, valid, predicted)
    for role, metrics in found["metrics"].items():
        tracker.metrics(
            {f"valid_{role}_{name}": told["value"] for name, told in metrics.items() if told["value"] is not None}
        )
    tracker.figures(figures(valid.target, predicted["challenger"]))
    where = "validation nights (choices were made on them; the judged nights follow at promotion)"
    for role in ["challenger"] if registry.versions(task.name) else ["baseline", "challenger"]:
        bundle = out / role / "bundle"
        described = tags | {
            "role": role,
            "kind": models[role].kind,
            "content_sha256": folder_hash(bundle / "model"),
        }
        text = card(task, described, found, where, speed)
        tracker.text(text, f"card_{role}.md")
        logged = tracker.model(models[role], bundle, valid.rows.slice(0, 5))
        version = registry.register(
            task.name, logged, tracker.run_id, described, text, alias=CHALLENGER if role == "challenger" else None
        )
    return version


def _result(version: Version, *, made: bool) -> dict[str, Any]:
    return {"name": version.name, "version": version.version, "kind": version.kind, "made": made}


if __name__ == "__main__":
    run_job(run)
