"""Choosing one strategy at most for each of 100,000 customers from 72, under a budget and four channel capacities.

    python benchmarks/allocate.py [--customers 100000] [--strategies 72] [--repeat 3] [--json]

Ours beside three others on problems drawn from a seed: greedy (most valuable pair first, as long as it fits), the linear
relaxation and the whole-number problem, both by SciPy's HiGHS; these two only as far as their size allows. Checks first,
on a small problem, that our bound is HiGHS's. Prints one JSON object: per size and tightness the seconds (median), the
value over the linear bound, our own gap, limits used at most, peak memory of the process.
"""

import argparse
import json
import resource
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from pipelines.strategy.knapsack import Problem, solve

CHANNELS = 4
EXACT_PAIRS = 60_000  # more pairs than these take HiGHS's whole-number solver minutes
LINEAR_PAIRS = 800_000  # and its linear solver too
MILP_SECONDS = 60


def market(customers: int, strategies: int, tight: float, seed: int = 7) -> Problem:
    """Customers who differ in how much they answer, in channels and in order value; a fifth of pairs not allowed.

    `tight` scales budget and capacities: at 1 every second customer can be written to, at 0.1 one in ten.
    """
    random = np.random.default_rng(seed)
    k = np.arange(strategies)
    channel, messages = k % CHANNELS, 1 + k // CHANNELS % 2
    discount = np.array([0.0, 0.1, 0.2])[k // (2 * CHANNELS) % 3]
    order = np.exp(random.normal(8.3, 0.7, customers))
    cost = messages * np.array([1, 1, 6, 2])[channel] + np.outer(order, 0.02 * messages * discount)
    answer = random.gamma(0.5, 20, (customers, 1)) * np.exp(0.5 * random.normal(size=(customers, CHANNELS)))[:, channel]
    bargain = 1 + 1.5 * discount * random.random((customers, 1))
    value = answer * bargain * np.exp(0.2 * random.normal(size=cost.shape)) - 0.05 * np.outer(order, discount) - 2
    value[random.random(cost.shape) < 0.2] = np.nan
    capacity = np.floor(np.array([0.25, 0.2, 0.05, 0.3]) * customers * tight)
    return Problem(
        value.astype(np.float32), cost.astype(np.float32), channel, messages, 3.0 * customers * tight, capacity
    )


def ours(problem: Problem) -> tuple[np.ndarray, float]:
    found = solve(problem, np.random.default_rng(1).random(len(problem.value)))
    return found.option, found.bound


def greedy(problem: Problem) -> tuple[np.ndarray, float]:
    """The most valuable pair first, as long as it fits; knows no bound."""
    worth = np.where(np.isfinite(problem.value) & (problem.value > 0), problem.value, -1)
    option = np.full(len(worth), -1, dtype=np.int64)
    left, room = problem.budget, problem.capacity.tolist()
    order = np.argsort(-worth, axis=None, kind="stable")[: int((worth > 0).sum())]
    rows, columns = np.divmod(order, worth.shape[1])
    channel, messages = problem.channel.tolist(), problem.messages.tolist()
    for i, k, cost in zip(rows.tolist(), columns.tolist(), problem.cost[rows, columns].tolist(), strict=True):
        if option[i] < 0 and cost <= left and messages[k] <= room[channel[k]]:
            option[i], left = k, left - cost
            room[channel[k]] -= messages[k]
    return option, float("nan")


def _programme(problem: Problem) -> tuple[np.ndarray, np.ndarray, Any, Any, np.ndarray]:
    """Pairs that are worth anything as the variables of a (whole-number) linear programme."""
    from scipy.sparse import csr_array, vstack

    i, k = np.nonzero(np.isfinite(problem.value) & (problem.value > 0))
    at, n = np.arange(len(i)), len(i)
    once = csr_array((np.ones(n), (i, at)), shape=(len(problem.value), n))
    sent = csr_array((problem.messages[k].astype(float), (problem.channel[k], at)), shape=(len(problem.capacity), n))
    rows = vstack([once, sent, csr_array(problem.cost[i, k].astype(float)[None, :])]).tocsr()
    right = np.concatenate([np.ones(len(problem.value)), problem.capacity, [problem.budget]])
    return i, k, -problem.value[i, k].astype(float), rows, right


def linear(problem: Problem) -> tuple[np.ndarray, float]:
    """The linear relaxation; its value is the bound, parts of messages are no plan."""
    from scipy.optimize import linprog

    _, _, objective, rows, right = _programme(problem)
    found = linprog(objective, A_ub=rows, b_ub=right, bounds=(0, 1), method="highs")
    return np.full(len(problem.value), -1), -float(found.fun)


def whole(problem: Problem) -> tuple[np.ndarray, float]:
    """The whole-number problem to a gap of 0.01%, or as far as it gets in a minute."""
    from scipy.optimize import LinearConstraint, milp

    i, k, objective, rows, right = _programme(problem)
    found = milp(
        objective, integrality=np.ones(len(objective)), bounds=(0, 1), constraints=LinearConstraint(rows, ub=right),
        options={"mip_rel_gap": 1e-4, "time_limit": MILP_SECONDS},
    )  # fmt: skip
    option = np.full(len(problem.value), -1)
    if found.x is not None:
        taken = np.flatnonzero(found.x > 0.5)
        option[i[taken]] = k[taken]
    return option, -float(found.mip_dual_bound)


def measure(contender: Callable[[Problem], tuple[np.ndarray, float]], problem: Problem, repeat: int) -> dict[str, Any]:
    """Median seconds, value, bound and the share used of the fullest limit. Ends the program where a limit is crossed."""
    seconds = []
    for _ in range(repeat):
        started = time.perf_counter()
        option, bound = contender(problem)
        seconds.append(time.perf_counter() - started)
    value, used = problem.totals(option)
    fullest = float((used / np.array([problem.budget, *problem.capacity])).max())
    if fullest > 1 + 1e-9:
        raise SystemExit(f"{contender.__name__} crosses a limit: {fullest:.6f} of it")
    return {"seconds": statistics.median(seconds), "value": value, "bound": bound, "fullest_limit": fullest}


def compare(problem: Problem, repeat: int) -> dict[str, Any]:
    """All contenders that the size allows, values as shares of the least bound known."""
    pairs = int((np.isfinite(problem.value) & (problem.value > 0)).sum())
    runs = {"nightmarket": measure(ours, problem, repeat), "greedy": measure(greedy, problem, 1)}
    if pairs <= LINEAR_PAIRS:
        runs["highs_linear"] = measure(linear, problem, 1)
    if pairs <= EXACT_PAIRS:
        runs["highs_whole"] = measure(whole, problem, 1)
    mine, bounds = runs["nightmarket"], [run["bound"] for run in runs.values()]
    least = min(bound for bound in bounds if bound == bound)
    if "highs_linear" in runs and abs(mine["bound"] / runs["highs_linear"]["bound"] - 1) > 1e-4:
        raise SystemExit(f"bounds differ: {mine['bound']} and HiGHS {runs['highs_linear']['bound']}")
    return {
        "gap": 1 - mine["value"] / mine["bound"],
        "contenders": {
            name: {
                "seconds": round(run["seconds"], 3),
                "of_bound": None if name == "highs_linear" else round(run["value"] / least, 6),
                "fullest_limit": None if name == "highs_linear" else round(run["fullest_limit"], 6),
            }
            for name, run in runs.items()
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--customers", type=int, default=100_000)
    parser.add_argument("--strategies", type=int, default=72)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="accepted for all benchmarks: the output is JSON anyway")
    options = parser.parse_args()
    compare(market(500, 8, 1.0), 1)  # agreement first
    sizes = [(1_000, options.strategies), (options.customers // 10, options.strategies)]
    sizes.append((options.customers, options.strategies))
    report: dict[str, Any] = {"benchmark": "allocate", "repeat": options.repeat, "problems": []}
    for customers, strategies in sizes:
        for tight in (1.0, 0.1):
            found = compare(market(customers, strategies, tight), options.repeat)
            report["problems"].append({"customers": customers, "strategies": strategies, "tight": tight, **found})
    report["peak_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
