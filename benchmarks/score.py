"""Scoring 72 strategies for every customer: the boosted effect model, beside scikit-uplift on the same LightGBM.

    python benchmarks/score.py [--customers 1000000] [--repeat 5] [--json]

1. speed: (customer, strategy) pairs a second, all four outcomes of a pair being one score: `score_grid` of an effect model
   with trees for every outcome, and `score_blocks`, which makes the table's rows of them.
2. peer: one LightGBM S-learner; scikit-uplift's SoloModel predicts the lift of rows made ready for it, training/grid.py
   that of the same customers and strategies. The lifts are compared first; then both take turns.
3. memory: the peak of a process that streams 10,000 customers, and of one that streams --customers, made as it goes.

Two threads. Prints one JSON object; a library that is missing is told there.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

THREADS = 2
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):  # read when numpy is imported
    os.environ.setdefault(name, str(THREADS))
_ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(_ROOT))

import lightgbm  # noqa: E402
import numpy as np  # noqa: E402
import pyarrow as pa  # noqa: E402
from scipy.special import expit  # noqa: E402

from pipelines.core.columns import Columns as C  # noqa: E402
from pipelines.strategy.candidates import Candidate  # noqa: E402
from training.boosting import Data, fit_boosted  # noqa: E402
from training.grid import Grid  # noqa: E402
from training.predict import BLOCK, score_blocks  # noqa: E402
from training.task import Fitting  # noqa: E402
from training.tasks.effect_examples import CUSTOMER_NUMBERS, WEEKDAY, on_channel, strategy_table  # noqa: E402
from training.tasks.effect_linear import Bilinear, CustomerTerms, StrategyTerms  # noqa: E402
from training.tasks.effect_model import BoostedEffect, Head, Orders  # noqa: E402

SMALL = 10_000
CHANNELS, OFFERS, WINDOWS, STYLES = (
    ("email", "push", "sms"),
    ("none", "save10", "save20"),
    ("morning", "evening"),
    ("plain", "warm"),
)
ROUNDS, LEAVES, N_TRAIN, N_COMPARED = 200, 6, 30_000, 2_000
TREES = {"learning_rate": 0.05, "num_leaves": LEAVES, "min_data_in_leaf": 50, "rounds": ROUNDS}


def strategies() -> list[Candidate]:
    """3 channels x 3 offers x 2 windows x 2 frequencies x 2 styles: 72."""
    return [
        Candidate(f"{c}.{o}.{w}.x{f}.{s}", o, 10 * OFFERS.index(o), c, w, f, s, f, 0.0)
        for c, o, w, f, s in product(CHANNELS, OFFERS, WINDOWS, (1, 2), STYLES)
    ]


def customers(start: int, n: int) -> pa.Table:
    """n customers from the `start`-th on, as profiles_of gives them; always the same."""
    rng = np.random.default_rng([20260301, start])
    columns: dict[str, Any] = {C.USER_KEY: [f"{number:064x}" for number in range(start, start + n)]}
    columns[C.SEGMENT_NAME] = np.full(n, "all")
    for name in CUSTOMER_NUMBERS:
        columns[name] = rng.random(n) if name.endswith("_share") else np.floor(rng.gamma(1.0, 20.0, n))
    columns[WEEKDAY] = rng.integers(1, 8, n).astype(np.float64)
    for channel, name in product(CHANNELS, (C.N_DELIVERIES, C.N_CLICKS)):
        columns[on_channel(channel, name)] = np.floor(rng.gamma(1.0, 3.0, n))
    columns[C.TOP_CATEGORY_ID] = np.array([f"k{number:02d}" for number in range(12)])[rng.integers(0, 12, n)]
    return pa.table(columns)


def effect_model() -> BoostedEffect:
    """An effect model with trees for every outcome, fitted to crosses of customers and strategies that were made up."""
    profiles, found = customers(0, N_TRAIN), strategies()
    rng = np.random.default_rng(7)
    sent = strategy_table(found).take(pa.array(rng.integers(0, len(found), N_TRAIN)))
    of_customer, of_strategy = CustomerTerms.of(profiles, CHANNELS), StrategyTerms.of(sent)
    phi, psi = of_customer.matrix(profiles), of_strategy.matrix(sent)

    def head(name: str, rate: float) -> Head:
        linear = Bilinear(float(np.log(rate)), rng.normal(0, 0.05, (phi.shape[1], psi.shape[1])))
        return Head(name, linear, trees(np.concatenate([phi, psi], axis=1), rate))

    def trees(x: np.ndarray, rate: float) -> lightgbm.Booster:
        left, right = x[:, rng.integers(1, phi.shape[1], 8)], x[:, -rng.integers(1, x.shape[1] - phi.shape[1] + 1, 8)]
        raw = np.log(rate) + (left * (right + 0.2) * rng.normal(0, 1.0, 8)).sum(axis=1)
        y = (rng.random(len(x)) < expit(raw)).astype(np.float64)
        return fit_boosted(Data(x, y), None, Fitting(threads=THREADS), objective="binary", **TREES)

    unasked = Head(
        "unasked",
        Bilinear(-3.0, rng.normal(0, 0.05, (phi.shape[1], 1))),
        trees(np.column_stack([phi, np.ones(len(phi))]), 0.04),
    )
    return BoostedEffect(
        customers=of_customer, strategies=of_strategy, click=head("click", 0.1), complaint=head("complaint", 0.01),
        unasked=unasked, per_click=1.5, effect=trees(np.concatenate([phi, psi], axis=1), 0.04), orders=Orders(5_000.0, 0.2),
    )  # fmt: skip


def seconds(work: Callable[[], Any]) -> dict[str, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


def rates(pairs: int, runs: list[dict[str, float]]) -> dict[str, float]:
    """Medians: pairs a second, and pairs a second of processor time."""
    return {
        f"per_{kind}_second": round(pairs / statistics.median(run[kind] for run in runs)) for kind in ("wall", "cpu")
    }


def speed(repeat: int) -> dict[str, Any]:
    """Pairs a second of the effect model, after a check against its own row by row predictions."""
    model, found = effect_model(), strategies()
    profiles = customers(N_TRAIN, 4 * BLOCK)
    few = profiles.slice(0, 100)
    grid = model.score_grid(few, found)
    rows = few.take(pa.array(np.repeat(np.arange(len(few)), len(found))))
    table = strategy_table(found * len(few))
    for column in table.schema.names:
        rows = rows.append_column(column, table[column])
    told = model.predict(rows)
    deviation = max(float(np.abs(told[name].to_numpy() - values.ravel()).max()) for name, values in grid.items())
    if deviation > 1e-6:
        raise SystemExit(f"the grid differs from the rows by {deviation}")
    pairs = len(profiles) * len(found)

    def blocks() -> None:
        for _ in score_blocks(model, found, "bench", "1", profiles.to_batches(BLOCK)):
            pass

    def grids() -> None:
        for start in range(0, len(profiles), BLOCK):
            model.score_grid(profiles.slice(start, BLOCK), found)

    work = {"score_grid": grids, "score_blocks": blocks}
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in work}
    for _ in range(repeat):
        for name, one in work.items():
            runs[name].append(seconds(one))
    boosters = (model.click.trees, model.complaint.trees, model.unasked.trees, model.effect)
    return {
        "trees": sum(booster.num_trees() for booster in boosters if booster is not None),
        "leaves_per_tree": LEAVES,
        "deviation_from_rows": deviation,
        **{name: rates(pairs, measured) for name, measured in runs.items()},
    }


def peer(repeat: int) -> dict[str, Any]:
    """scikit-uplift's lift and ours by one LightGBM: SoloModel's matrix is [customer, strategy, is treated]."""
    try:
        from sklift.models import SoloModel
    except ImportError as error:
        return {"missing": f"scikit-uplift: {error}"}
    found, rng = strategies(), np.random.default_rng(3)
    table, profiles = strategy_table(found), customers(0, N_TRAIN)
    psi = StrategyTerms.of(table).matrix(table)
    terms = CustomerTerms.of(profiles, CHANNELS)
    phi = terms.matrix(profiles)
    treated = rng.random(N_TRAIN) < 0.5
    x = np.concatenate([phi, psi[rng.integers(0, len(found), N_TRAIN)]], axis=1)
    raw = phi[:, 2] * x[:, -3] + x[:, -9] * treated - 1
    y = (rng.random(N_TRAIN) < expit(raw)).astype(np.int64)
    settings = {"n_estimators": ROUNDS, "num_leaves": LEAVES, "learning_rate": 0.05, "min_child_samples": 50}
    solo = SoloModel(
        lightgbm.LGBMClassifier(**settings, n_jobs=THREADS, verbosity=-1, deterministic=True, force_row_wise=True)
    )
    solo.fit(x, y, treated.astype(np.int64))

    some = terms.matrix(customers(N_TRAIN, N_COMPARED))
    made = np.concatenate([np.repeat(some, len(found), axis=0), np.tile(psi, (len(some), 1))], axis=1)
    both = np.concatenate([np.column_stack([psi, np.full(len(psi), flag)]) for flag in (1.0, 0.0)])
    grid = Grid(solo.estimator.booster_, phi.shape[1], both)

    def ours() -> np.ndarray:
        raw = expit(grid.raw(some))
        return raw[:, : len(found)] - raw[:, len(found) :]

    deviation = float(np.abs(solo.predict(made).reshape(len(some), -1) - ours()).max())
    if deviation > 1e-6:
        raise SystemExit(f"the lifts differ by {deviation}")
    work: dict[str, Callable[[], Any]] = {"nightmarket": ours, "scikit_uplift": lambda: solo.predict(made)}
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in work}
    for _ in range(repeat):
        for name, one in work.items():
            runs[name].append(seconds(one))
    told = {name: rates(len(made), measured) for name, measured in runs.items()}
    times = {
        f"times_scikit_uplift_by_{kind}": round(
            told["nightmarket"][f"per_{kind}_second"] / told["scikit_uplift"][f"per_{kind}_second"], 1
        )
        for kind in ("wall", "cpu")
    }
    return {"trees": ROUNDS, "largest_deviation": deviation, **told, **times}


def stream(n: int) -> dict[str, Any]:
    """Scores n customers as they are made, keeps nothing; this process's peak memory, megabytes."""
    model = effect_model()

    def batches() -> Iterator[pa.RecordBatch]:
        for start in range(0, n, BLOCK):
            yield from customers(start, min(BLOCK, n - start)).combine_chunks().to_batches()

    began = time.perf_counter()
    rows, total = 0, 0.0
    for batch in score_blocks(model, strategies(), "bench", "1", batches()):
        rows += batch.num_rows
        total += float(batch.column(C.SPEND_CENTS).to_numpy().sum())
    status = Path("/proc/self/status").read_text()
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))
    return {
        "customers": n,
        "scores": rows,
        "mean_spend_cents": round(total / rows, 3),
        "seconds": round(time.perf_counter() - began, 1),
        "peak_mb": round(peak / 1024),
    }


def memory(n: int) -> list[dict[str, Any]]:
    """`stream` of SMALL and of n customers, each in a process of its own."""
    found = []
    for size in (SMALL, n):
        command = [sys.executable, __file__, "--stream", str(size)]
        found.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--customers", type=int, default=1_000_000)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--stream", type=int, help="only stream so many customers and tell the memory")
    parser.add_argument("--json", action="store_true", help="accepted for all benchmarks: the output is JSON anyway")
    options = parser.parse_args()
    if options.stream:
        print(json.dumps(stream(options.stream)))
        return
    report = {"benchmark": "score", "strategies": len(strategies()), "threads": THREADS, "repeat": options.repeat}
    report |= {"speed": speed(options.repeat), "peer": peer(options.repeat), "memory": memory(options.customers)}
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
