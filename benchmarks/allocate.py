"""Choosing one strategy at most for each of up to 1,000,000 customers from 72, under a budget and four channel capacities,
alone and with limits of every other kind: send windows, minimum spend for three brands, fairness between six groups.

    python benchmarks/allocate.py [--customers 100000] [--strategies 72] [--repeat 3] [--json]
    python benchmarks/allocate.py --customers 1000000 --repeat 1

Ours beside three others on problems drawn from a seed: greedy (most valuable pair first, as long as it fits; knows no
limits from below), the linear relaxation and the whole-number problem, both by SciPy's HiGHS; these two only as far as
their size allows. Checks first, on a small problem, that our bound is HiGHS's. Prints one JSON object: per size,
tightness and limits the seconds (median) and CPU seconds, the value over the least bound known, our own gap, limits used
at most, peak memory of the process; and the curve of profit against seven budgets beside solving each anew.
"""

import argparse
import json
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from pipelines.strategy.dual import Cut, minimise
from pipelines.strategy.knapsack import Linear, Problem, solve
from pipelines.strategy.problem import pick

CHANNELS, GROUPS, BRANDS = 4, 6, 3
EXACT_PAIRS = 60_000  # more pairs than these take HiGHS's whole-number solver minutes
GREEDY_PAIRS = 10_000_000  # and sorting more takes gigabytes
LINEAR_PAIRS = 800_000  # and its linear solver too
MILP_SECONDS = 60
_BLOCK = 50_000  # customers drawn together, so that drawing takes no more memory than solving


def market(customers: int, strategies: int, tight: float, seed: int = 7) -> Problem:
    """Customers who differ in how much they answer, in channels and in order value; a fifth of pairs not allowed.

    `tight` scales budget and capacities: at 1 every second customer can be written to, at 0.1 one in ten.
    """
    random = np.random.default_rng(seed)
    k = np.arange(strategies)
    channel, messages = k % CHANNELS, 1 + k // CHANNELS % 2
    discount = np.array([0.0, 0.1, 0.2])[k // (2 * CHANNELS) % 3]
    shape = (customers, strategies)
    value, cost = np.empty(shape, dtype=np.float32), np.empty(shape, dtype=np.float32)
    for start in range(0, customers, _BLOCK):
        n = min(_BLOCK, customers - start)
        order = np.exp(random.normal(8.3, 0.7, n))
        paid = messages * np.array([1, 1, 6, 2])[channel] + np.outer(order, 0.02 * messages * discount)
        answer = random.gamma(0.5, 20, (n, 1)) * np.exp(0.5 * random.normal(size=(n, CHANNELS)))[:, channel]
        bargain = 1 + 1.5 * discount * random.random((n, 1))
        worth = answer * bargain * np.exp(0.2 * random.normal(size=paid.shape)) - 0.05 * np.outer(order, discount) - 2
        worth[random.random(paid.shape) < 0.2] = np.nan
        value[start : start + n], cost[start : start + n] = worth, paid
    capacity = np.floor(np.array([0.25, 0.2, 0.05, 0.3]) * customers * tight)
    return Problem(value, cost, channel, messages, 3.0 * customers * tight, capacity)


def limited(problem: Problem, seed: int = 8) -> Problem:
    """The market with a capacity of one of three windows of each channel, a seventh of the budget at least for each of
    three brands that a tenth of the customers prefer, and shares treated within 3 points between six groups."""
    n, a = problem.value.shape
    random = np.random.default_rng(seed)
    group, brand = random.integers(0, GROUPS, n), random.integers(0, 10, n).clip(max=BRANDS) - BRANDS
    kind = group * (BRANDS + 1) - brand  # brand 0 is none
    group_of, brand_of = np.divmod(np.arange(GROUPS * (BRANDS + 1)), BRANDS + 1)
    rates, of_cost, most = [], [], []
    for channel in range(CHANNELS):
        mine = (problem.channel == channel) & (np.arange(a) // CHANNELS % 3 == 0)
        rates.append(np.tile(np.where(mine, problem.messages, 0), (len(group_of), 1)))
        of_cost.append(np.zeros(len(group_of)))
        most.append(np.floor(problem.capacity[channel] / 5))
    for one in range(1, BRANDS + 1):
        rates.append(np.zeros((len(group_of), a)))
        of_cost.append(-(brand_of == one).astype(float))
        most.append(-problem.budget / 7)
    for one, size in enumerate(np.bincount(group, minlength=GROUPS)):
        apart = np.repeat(((group_of == one) - size / n)[:, None], a, axis=1)
        for sign in (1, -1):
            rates.append(sign * apart)
            of_cost.append(np.zeros(len(group_of)))
            most.append(0.03 * size + 1)
    return replace(problem, more=Linear(kind, np.array(rates), np.array(of_cost), np.array(most)))


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
    """Pairs that may be chosen as the variables of a (whole-number) linear programme."""
    from scipy.sparse import csr_array, vstack

    i, k = np.nonzero(np.isfinite(problem.worth))
    at, n = np.arange(len(i)), len(i)
    once = csr_array((np.ones(n), (i, at)), shape=(len(problem.value), n))
    rows = vstack([once, csr_array(problem.use_of(i, k).T)]).tocsr()
    right = np.concatenate([np.ones(len(problem.value)), problem.limits])
    return i, k, -problem.value[i, k].astype(float), rows, right


def linear(problem: Problem) -> tuple[np.ndarray, float]:
    """The linear relaxation; its value is the bound, parts of messages are no plan."""
    from scipy.optimize import linprog

    _, _, objective, rows, right = _programme(problem)
    found = linprog(objective, A_ub=rows, b_ub=right, bounds=(0, 1), method="highs")
    return np.full(len(problem.value), -1), -float(found.fun)


def whole(problem: Problem) -> tuple[np.ndarray, float]:
    """The whole-number problem to a gap of 0.01%, or as far as it gets in a minute: nothing at all where that is nowhere."""
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
    return option, float("nan") if found.mip_dual_bound is None else -float(found.mip_dual_bound)


def measure(contender: Callable[[Problem], tuple[np.ndarray, float]], problem: Problem, repeat: int) -> dict[str, Any]:
    """Median seconds, value, bound and the share used of the fullest limit. Ends the program where a limit is crossed."""
    seconds, cpu = [], []
    for _ in range(repeat):
        started, started_cpu = time.perf_counter(), time.process_time()
        option, bound = contender(problem)
        seconds.append(time.perf_counter() - started)
        cpu.append(time.process_time() - started_cpu)
    value, used = problem.totals(option)
    asked = problem.limits >= 0 if contender is ours else np.arange(len(used)) < 1 + CHANNELS
    fullest = float((used[asked] / np.maximum(problem.limits[asked], 1)).max())
    short = float((used - problem.limits)[~asked].max(initial=0)) if contender is ours else 0.0
    if fullest > 1 + 1e-8 or short > 1e-6 * problem.budget:
        raise SystemExit(f"{contender.__name__} crosses a limit: {fullest:.6f} of it, {short:.2f} short of a minimum")
    took = {"seconds": statistics.median(seconds), "cpu_seconds": statistics.median(cpu)}
    return {**took, "value": value, "bound": bound, "fullest_limit": fullest}


def compare(problem: Problem, repeat: int) -> dict[str, Any]:
    """All contenders that the size allows, values as shares of the least bound known."""
    pairs = int(np.isfinite(problem.worth).sum())
    runs = {"nightmarket": measure(ours, problem, repeat)}
    if problem.more is None and pairs <= GREEDY_PAIRS:
        runs["greedy"] = measure(greedy, problem, 1)
    if pairs <= (LINEAR_PAIRS if problem.more is None else LINEAR_PAIRS // 4):  # more limits are dense rows
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
                "cpu_seconds": round(run["cpu_seconds"], 3),
                "of_bound": None if name == "highs_linear" else round(run["value"] / least, 6),
                "fullest_limit": None if name == "highs_linear" else round(run["fullest_limit"], 6),
            }
            for name, run in runs.items()
        },
    }


def curve(problem: Problem) -> dict[str, Any]:
    """CPU seconds for seven budgets by what the first has taught, and for the same each anew; and how far they differ."""
    cuts: list[Cut] = []
    free = pick(problem, np.zeros(len(problem.limits)))
    minimise(problem, cuts, free)
    found: dict[str, list[float]] = {}
    seconds = {}
    for name, known in (("warm", cuts), ("anew", None)):
        started = time.process_time()
        asked = (replace(problem, budget=share * problem.budget) for share in (0.25, 0.5, 0.75, 1, 1.25, 1.5, 2))
        found[name] = [minimise(one, cuts if known else [], free, close=1e-4).least for one in asked]
        seconds[name] = round(time.process_time() - started, 3)
    return {"cpu_seconds": seconds, "differ": float(np.abs(np.divide(found["warm"], found["anew"]) - 1).max())}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--customers", type=int, default=100_000)
    parser.add_argument("--strategies", type=int, default=72)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="accepted for all benchmarks: the output is JSON anyway")
    options = parser.parse_args()
    compare(market(500, 8, 1.0), 1)  # agreement first
    compare(limited(market(500, 24, 1.0)), 1)
    report: dict[str, Any] = {"benchmark": "allocate", "repeat": options.repeat, "problems": []}
    for customers in (1_000, options.customers // 10, options.customers):
        for tight in (1.0, 0.1):
            problem = market(customers, options.strategies, tight)
            for name, one in (("budget and channels", problem), ("all kinds", limited(problem))):
                told = {"customers": customers, "strategies": options.strategies, "tight": tight, "limits": name}
                report["problems"].append({**told, **compare(one, options.repeat)})
    report["curve"] = curve(market(options.customers // 10, options.strategies, 1.0))
    report["peak_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
