"""Scores every candidate strategy for every customer of a night, block by block: the product is never held in memory.

    python -m training.predict SPEC.json

The spec is written by pipelines/score.py: `shop`, `root`, `night`, `out`, `engine`, `threads`; `model` {folder, name,
version} of the champion, its folder null where there is none: then the task's baseline is fitted on `baseline_nights`;
`policy`, the folder of a policy that thinks of later nights, or null.
Rows go to <out>/strategy_scores/part-*.parquet, the result {rows, model_name, model_version} to <out>/result.json.
"""

import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.core.columns import Columns as C
from pipelines.core.shop import Shop
from pipelines.core.sizing import build_session, files_of, spark_settings
from pipelines.core.storage import Store
from pipelines.core.tables import TABLES
from pipelines.strategy.candidates import Candidate, candidates
from training.job import run_job
from training.table_files import PART, schema_of, writer
from training.task import Fitting
from training.tasks.effect import TASK, EffectModel, profiles_of
from training.tasks.policy_examples import states_of
from training.tasks.policy_model import PolicyModel, load_policy

TABLE = "strategy_scores"
_RANGE = "range"  # of customers, by key: what one task scores and writes
_NOT_ALWAYS = (C.LIFT_SPEND_SE_CENTS, C.LONG_RUN_CENTS)  # null where neither model nor policy tells them
BLOCK = 4_096  # customers: with 72 strategies, some 50 MB of scores
SCHEMA = schema_of(TABLE)


def score_blocks(
    model: EffectModel,
    strategies: Sequence[Candidate],
    name: str,
    version: str,
    batches: Iterable[pa.RecordBatch],
    policy: PolicyModel | None = None,
) -> Iterator[pa.RecordBatch]:
    """Profiles in, one row per customer and strategy out: n rows become n x S, in the order of both.

    With a policy the profiles are its states (policy_examples.states_of). The same function runs in a loop on one
    machine and inside Spark's mapInArrow.
    """
    ids = pa.array([candidate.strategy_id for candidate in strategies])
    for batch in batches:
        for start in range(0, batch.num_rows, BLOCK):
            block = pa.Table.from_batches([batch.slice(start, BLOCK)])
            n = block.num_rows
            scores = model.score_grid(block, strategies)
            if policy:
                scores |= {C.LONG_RUN_CENTS: policy.long_run(block, strategies)}
            keys = block[C.USER_KEY].combine_chunks()
            columns: dict[str, Any] = {
                C.USER_KEY: keys.take(pa.array(np.repeat(np.arange(n), len(ids)))),
                C.STRATEGY_ID: ids.take(pa.array(np.tile(np.arange(len(ids)), n))),
                C.MODEL_NAME: pa.repeat(name, n * len(ids)),
                C.MODEL_VERSION: pa.repeat(version, n * len(ids)),
                **{name: pa.nulls(n * len(ids), pa.float64()) for name in _NOT_ALWAYS},
                **{column: values.ravel() for column, values in scores.items()},
            }
            arrays = [pa.array(columns[field.name]).cast(field.type) for field in SCHEMA]
            yield pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


def run(spec: dict[str, Any]) -> dict[str, Any]:
    """Writes the night's strategy_scores under spec["out"]. Raises NoDataError where there is nothing to score."""
    shop, night = Shop.model_validate(spec["shop"]), date.fromisoformat(spec["night"])
    store = Store(Path(spec["root"]), shop.shop)
    name, version = spec["model"]["name"], spec["model"]["version"]
    model = scorer(spec, shop, store)
    strategies = sorted(candidates(shop.strategy), key=lambda candidate: candidate.strategy_id)
    policy = load_policy(Path(spec["policy"])) if spec["policy"] else None
    profiles = states_of(shop, store, night) if policy else profiles_of(shop, store, night)
    folder = Path(spec["out"]) / TABLE
    folder.mkdir(parents=True, exist_ok=True)
    if spec["engine"]["name"] == "spark":
        rows = _on_spark(spec["engine"], model, strategies, name, version, profiles, policy, folder)
    else:
        rows = _write(score_blocks(model, strategies, name, version, profiles.to_batches(BLOCK), policy), folder)
    return {"rows": rows, "model_name": name, "model_version": version}


def scorer(spec: dict[str, Any], shop: Shop, store: Store) -> EffectModel:
    """The model that the spec names, or the baseline fitted on its `baseline_nights`."""
    if spec["model"]["folder"]:
        return TASK.load(Path(spec["model"]["folder"]))
    nights = tuple(date.fromisoformat(text) for text in spec["baseline_nights"])
    return TASK.baseline(TASK.examples(shop, store, nights), Fitting(threads=int(spec["threads"])))


def _write(batches: Iterable[pa.RecordBatch], folder: Path) -> int:
    rows = 0
    with writer(folder / PART, TABLE) as file:
        for batch in batches:
            file.write_batch(batch)
            rows += batch.num_rows
    return rows


def _on_spark(
    engine: dict[str, Any],
    model: EffectModel,
    strategies: Sequence[Candidate],
    name: str,
    version: str,
    profiles: pa.Table,
    policy: PolicyModel | None,
    folder: Path,
) -> int:
    """The same function in mapInArrow; each task writes its own range of customers."""
    from pyspark.sql import SparkSession

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # else the first python3 on the path would score
    session = build_session(SparkSession.builder.appName("nightmarket score"), engine, spark_settings(engine))
    try:
        n_files = engine["partitions"] or files_of(profiles.num_rows * len(strategies))
        ranges = pa.array(np.arange(profiles.num_rows) * n_files // max(profiles.num_rows, 1), pa.int32())
        frame = session.createDataFrame(profiles.append_column(_RANGE, ranges)).repartitionById(n_files, _RANGE)
        types = ", ".join(f"{column} {kind}" for column, kind in TABLES[TABLE].columns.items())
        scored = frame.drop(_RANGE).mapInArrow(
            lambda batches: score_blocks(model, strategies, name, version, batches, policy), types
        )
        parts = folder / "spark"
        scored.sortWithinPartitions(C.USER_KEY, C.STRATEGY_ID).write.parquet(str(parts))
        for number, part in enumerate(sorted(parts.glob("part-*.parquet"))):
            part.replace(folder / f"part-{number:05d}.parquet")
        shutil.rmtree(parts)
        return sum(pq.read_metadata(part).num_rows for part in folder.glob("part-*.parquet"))
    finally:
        session.stop()


if __name__ == "__main__":
    run_job(run)
