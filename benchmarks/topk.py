"""The 20 best of 50,000 items for each of 100,000 customers by inner products of 128 numbers, exactly; ours beside four.

    python benchmarks/topk.py [--customers 100000] [--items 50000] [--dims 128] [--k 20] [--repeat 3] [--json]
    python benchmarks/topk.py --customers 10000 --repeat 1

Measures the machine's matrix products first (float32, 4096 x 4096; and in blocks as ours are, with nothing selected), then
each contender in a process of its own, two threads each, taking turns; `of_product` is a contender's rate over the
faster of the two, `of_product_by_cpu` the figure to compare on a busy machine. Checks before that all give the scores of
float64 for some customers, or ends.
Vectors `random`: all about as long, nothing can be skipped. `uneven`: lengths as those of factors fitted to clicks, a few
items many times longer; ours multiplies less than everything then, and its rate counts the whole product all the same.
`memory`: ours for --customers and twice as many; megabytes beyond vectors and lists. Prints one JSON object with medians.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

THREADS = 2
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):  # read when numpy is imported
    os.environ[name] = str(THREADS)
_ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(_ROOT))

import numpy as np  # noqa: E402

from training.recommend import topk as ours  # noqa: E402

Lists = tuple[np.ndarray, np.ndarray]
NEEDS = {"implicit": "implicit", "faiss": "faiss", "torch": "torch"}
KINDS = ("random", "uneven")
SQUARE = 4_096
CHECKED = 300  # customers whose lists are compared
_DRAWN = 4_096  # vectors drawn together, so that drawing takes no more memory than they do
_PEER_ROWS = 1_024  # of a block of torch and numpy


def vectors(n: int, dims: int, seed: int, uneven: bool) -> np.ndarray:
    """(n, dims) float32, normal; uneven: times a length of log-normal spread 1, as popular items' are."""
    random = np.random.default_rng(seed)
    found = np.empty((n, dims), np.float32)
    for first in range(0, n, _DRAWN):
        part = found[first : first + _DRAWN]
        random.standard_normal(out=part, dtype=np.float32)
        if uneven:
            part *= np.exp(random.standard_normal((len(part), 1), dtype=np.float32))
    return found


def nightmarket(queries: np.ndarray, items: np.ndarray, k: int) -> Lists:
    return ours.top_k(queries, items, k, threads=THREADS)


def implicit(queries: np.ndarray, items: np.ndarray, k: int) -> Lists:
    from implicit.cpu.topk import topk

    found: Lists = topk(items, queries, k, num_threads=THREADS)
    return found


def faiss(queries: np.ndarray, items: np.ndarray, k: int) -> Lists:
    import faiss

    faiss.omp_set_num_threads(THREADS)
    index = faiss.IndexFlatIP(items.shape[1])
    index.add(items)
    scores, places = index.search(queries, k)
    return places, scores


def torch(queries: np.ndarray, items: np.ndarray, k: int) -> Lists:
    import torch

    torch.set_num_threads(THREADS)
    right, places, scores = torch.from_numpy(items).T, [], []
    for block in torch.from_numpy(queries).split(_PEER_ROWS):
        best = torch.topk(block @ right, k)
        places.append(best.indices)
        scores.append(best.values)
    return torch.cat(places).numpy(), torch.cat(scores).numpy()


def numpy(queries: np.ndarray, items: np.ndarray, k: int) -> Lists:
    places = np.empty((len(queries), k), np.int64)
    scores = np.empty((len(queries), k), np.float32)
    for first in range(0, len(queries), _PEER_ROWS):
        block = queries[first : first + _PEER_ROWS] @ items.T
        best = np.argpartition(block, -k, axis=1)[:, -k:]
        found = np.take_along_axis(block, best, axis=1)
        order = np.argsort(-found, axis=1)
        places[first : first + _PEER_ROWS] = np.take_along_axis(best, order, axis=1)
        scores[first : first + _PEER_ROWS] = np.take_along_axis(found, order, axis=1)
    return places, scores


CONTENDERS: dict[str, Callable[[np.ndarray, np.ndarray, int], Lists]] = {
    "nightmarket": nightmarket,
    "implicit": implicit,
    "faiss": faiss,
    "torch": torch,
    "numpy": numpy,
}


def here() -> dict[str, Callable[[np.ndarray, np.ndarray, int], Lists]]:
    return {name: work for name, work in CONTENDERS.items() if name not in NEEDS or find_spec(NEEDS[name])}


def agree(items: int, dims: int, k: int) -> float:
    """The largest deviation of a listed score from that of float64, over the row's best. Ends where it is no rounding."""
    worst = 0.0
    for kind in KINDS:
        left, right = vectors(CHECKED, dims, 1, False), vectors(items, dims, 2, kind == "uneven")
        exact = np.sort(left.astype(np.float64) @ right.T.astype(np.float64), axis=1)[:, ::-1][:, :k]
        for name, work in here().items():
            places, scores = work(left, right, k)
            own = np.einsum("nd,nkd->nk", left, right[places], dtype=np.float64)  # what stands at the places it names
            off = float(max((np.abs(found - exact) / exact[:, :1]).max() for found in (scores, own)))
            if off > 1e-5:
                raise SystemExit(f"{name} differs on {kind} vectors: a score is off by {off:.1e} of its row's best")
            worst = max(worst, off)
    return worst


def product(dims: int) -> dict[str, dict[str, float]]:
    """GFLOP a second of matrix products alone, the best of several; and a second of processor time, over all."""

    def rate(left: np.ndarray, right: np.ndarray, times: int) -> dict[str, float]:
        out = np.empty((len(left), right.shape[1]), np.float32)
        work, wall, cpu = 2 * out.size * left.shape[1] / 1e9, [], time.process_time()
        for _ in range(times):
            began = time.perf_counter()
            np.matmul(left, right, out=out)
            wall.append(time.perf_counter() - began)
        cpu = (time.process_time() - cpu) / times  # of one alone it is too coarse
        return {"per_second": round(work / min(wall), 1), "per_cpu_second": round(work / cpu, 1)}

    square = vectors(SQUARE, SQUARE, 3, False)
    block = vectors(ours.BLOCK_ROWS, dims, 4, False), vectors(ours.BLOCK_ITEMS, dims, 5, False).T
    return {"square": rate(square, square, 5), "in_blocks": rate(*block, 50)}


def status(key: str) -> float:
    """Megabytes of this process: VmRSS now, VmHWM at most so far."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:")) / 1024


def measure(name: str, kind: str, customers: int, items: int, dims: int, k: int) -> dict[str, float]:
    """One contender in this process: seconds, and megabytes beyond vectors and lists."""
    left, right = vectors(customers, dims, 1, False), vectors(items, dims, 2, kind == "uneven")
    CONTENDERS[name](left[:64], right[: 2 * k], k)  # imports and buffers of a library are no work
    before, wall, cpu = status("VmRSS"), time.perf_counter(), time.process_time()
    places, scores = CONTENDERS[name](left, right, k)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    beyond = status("VmHWM") - before - (places.nbytes + scores.nbytes) / 2**20
    return {"seconds": round(wall, 3), "cpu_seconds": round(cpu, 3), "beyond_mb": round(max(beyond, 0.0), 1)}


def child(name: str, kind: str, *sizes: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--only", name, kind, "--customers", str(sizes[0]), "--items", str(sizes[1])]
    command += ["--dims", str(sizes[2]), "--k", str(sizes[3])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name} failed: {done.stderr.strip().splitlines()[-1:]}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def compare(sizes: tuple[int, int, int, int], repeat: int, product: dict[str, float]) -> dict[str, Any]:
    """Medians of each contender for each kind of vectors; `product`: the machine's rates."""
    work = 2 * sizes[0] * sizes[1] * sizes[2] / 1e9
    report: dict[str, Any] = {kind: {} for kind in KINDS}
    for kind in KINDS:
        runs: dict[str, list[dict[str, float]]] = {name: [] for name in here()}
        for _ in range(repeat):
            for name, done in runs.items():
                done.append(child(name, kind, *sizes))
        for name, done in runs.items():
            found = {key: statistics.median(run[key] for run in done) for key in done[0]}
            found["gflop_per_second"] = round(work / found["seconds"], 1)
            found["of_product"] = round(work / found["seconds"] / product["per_second"], 3)
            found["of_product_by_cpu"] = round(work / found["cpu_seconds"] / product["per_cpu_second"], 3)
            report[kind][name] = found
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--customers", type=int, default=100_000)
    parser.add_argument("--items", type=int, default=50_000)
    parser.add_argument("--dims", type=int, default=128)
    parser.add_argument("--k", type=int, default=20)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--only", nargs=2, metavar=("NAME", "KIND"), help="measure one contender in this process")
    parser.add_argument("--json", action="store_true", help="accepted for all benchmarks: the output is JSON anyway")
    options = parser.parse_args()
    sizes = (options.customers, options.items, options.dims, options.k)
    if options.only:
        print(json.dumps(measure(*options.only, *sizes)))
        return
    deviation = agree(*sizes[1:])
    rates = product(options.dims)
    fastest = {key: max(rate[key] for rate in rates.values()) for key in ("per_second", "per_cpu_second")}
    twice = (2 * options.customers, *sizes[1:])
    report = {
        "benchmark": "topk",
        "threads": THREADS,
        **dict(zip(("customers", "items", "dims", "k"), sizes, strict=True)),
        "largest_deviation": deviation,
        "product_gflop": rates,
        "contenders": compare(sizes, options.repeat, fastest),
        "memory": {size[0]: child("nightmarket", "random", *size)["beyond_mb"] for size in (sizes, twice)},
        "missing": sorted(set(CONTENDERS) - set(here())),
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
