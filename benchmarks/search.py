"""Milliseconds of one query over 100,000 products: ours with words, vectors and ranker, beside bm25s and numpy alone.

    python benchmarks/search.py [--items 100000] [--queries 200] [--data ../shared/data/esci-us] [--json]

The products are those of the ESCI sample again and again, in each copy three of ten title words exchanged for words of other
titles, descriptions cut to 60 words; without the sample, made-up words as frequent as words are (Zipf). Vectors are random:
their values cost no time. Queries are those of the sample with a slip in every tenth letter, read by the real encoders where
their weights are in `<root>/weights`; `encoders` says whether. Checks before that our BM25 scores are bm25s' and that our
cosines are those of float64, or ends. Prints one JSON object.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

THREADS = 2
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):  # read when numpy is imported
    os.environ[name] = str(THREADS)
_ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(_ROOT))

import numpy as np  # noqa: E402
import pyarrow as pa  # noqa: E402

from pipelines.core.columns import Columns as C  # noqa: E402
from pipelines.core.storage import default_root  # noqa: E402
from training.esci import read_esci  # noqa: E402
from training.language.noise import typos  # noqa: E402
from training.search.bm25 import K1, B  # noqa: E402
from training.search.features import features  # noqa: E402
from training.search.goods import ALL, MULTILINGUAL, TITLE, Goods, largest  # noqa: E402
from training.search.index import Index  # noqa: E402
from training.search.ranker import Ranker  # noqa: E402
from training.search.views import at_hand, encoders_of  # noqa: E402
from training.search.words import read, tokens  # noqa: E402
from training.task import Fitting  # noqa: E402

WIDTH = 384
K = 10
_TEXT_WORDS = 60


def catalogue(n: int, data: Path, rng: np.random.Generator) -> tuple[pa.Table, list[str]]:
    """n products and queries for them."""
    if data.is_dir():
        told = read_esci(data)
        products, queries = told.catalog.to_pylist(), list(told.queries)
    else:
        words = [f"w{at}{'aeiou'[at % 5]}" for at in range(8_000)]
        drawn = [[words[at % 8_000] for at in rng.zipf(1.3, size=70) % 8_000] for _ in range(2_000)]
        products = [
            {
                C.TITLE: " ".join(one[:12]),
                C.DESCRIPTION: " ".join(one),
                C.CATEGORY_PATH: f"a > {one[0]}",
                C.BRAND: one[1],
            }
            for one in drawn
        ]
        queries = [" ".join(one[3:6]) for one in drawn[:150]]
    pool = [word for one in products for word in (one[C.TITLE] or "").split()]
    rows = []
    for at in range(n):
        one = products[at % len(products)]
        title = (one[C.TITLE] or "").split()
        if at >= len(products):
            title = [pool[int(rng.integers(len(pool)))] if rng.random() < 0.3 else word for word in title]
        text = " ".join((one[C.DESCRIPTION] or "").split()[:_TEXT_WORDS])
        rows.append({**one, C.ITEM_ID: str(at), C.TITLE: " ".join(title), C.DESCRIPTION: text})
    return pa.Table.from_pylist(rows), queries


class Drawn:
    """Stands in for an encoder whose weights are not there."""

    def encode(self, texts: Any) -> np.ndarray:
        return unit(np.random.default_rng(1).standard_normal((len(texts), WIDTH)).astype(np.float32))


def unit(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def library(goods: Goods) -> Any:
    """bm25s over the same words as our widest field."""
    import bm25s

    items = goods.items
    told = zip(items.titles, items.paths, items.brands.tolist(), items.colours.tolist(), strict=True)
    texts = [
        tokens(title) + tokens(" ".join(path)) + tokens(brand) + tokens(colour) for title, path, brand, colour in told
    ]
    model = bm25s.BM25(k1=K1, b=B, method="lucene")
    model.index(texts, show_progress=False)
    return model


def agree(index: Index, peer: Any, queries: list[str]) -> float:
    """The largest difference of our scores from bm25s' and of our cosines from float64's. Ends where it is no rounding."""
    worst = 0.0
    for query in queries[:20]:
        words = [word for word in read(query).words if word in index.goods.fields[ALL].places]
        if words:
            worst = max(worst, float(np.abs(index.goods.fields[ALL].scores(words) - peer.get_scores(words)).max()))
        sight, _ = index.sight(query)
        for view, cosine in sight.cosines.items():
            vector = index.encoders[view].encode([sight.query.text])[0].astype(np.float64)
            exact = index.goods.vectors[view][sight.places].astype(np.float64) @ vector
            worst = max(worst, float(np.abs(exact - cosine).max()))
    if worst > 1e-4:
        raise SystemExit(f"scores differ from bm25s' or cosines from float64's by {worst:.1e}")
    return worst


def timed(work: Callable[[str], Any], queries: list[str]) -> dict[str, float]:
    """Milliseconds of one query, and of the processor."""
    work(queries[0])
    spent, cpu = [], time.process_time()
    for query in queries:
        began = time.perf_counter()
        work(query)
        spent.append(1000 * (time.perf_counter() - began))
    median, p95 = np.percentile(spent, [50, 95]).round(2).tolist()
    return {"median_ms": median, "p95_ms": p95, "cpu_ms": round(1000 * (time.process_time() - cpu) / len(queries), 2)}


def fitted(index: Index, queries: list[str], rng: np.random.Generator) -> Ranker:
    """A ranker of the usual size; what it learnt costs no time."""
    x = [features(index.goods, index.sight(query)[0]) for query in queries[:30]]
    return Ranker.fit(x, [rng.random(len(one)) for one in x], Fitting(threads=1), views=tuple(index.goods.vectors))


def measure(n: int, n_queries: int, data: Path, weights: Path) -> dict[str, Any]:
    rng = np.random.default_rng(7)
    table, queries = catalogue(n, data, rng)
    queries = [typos(queries[at % len(queries)], 0.1, rng) for at in range(n_queries)]
    vectors = {view: unit(rng.standard_normal((n, WIDTH)).astype(np.float32)) for view in (TITLE, MULTILINGUAL)}
    folders = at_hand(tuple(vectors), weights)
    encoders = {view: Drawn() for view in vectors} | encoders_of(folders, 1)  # one query is too little for two
    began = time.perf_counter()
    index = Index.build(table, vectors, encoders)
    built = time.perf_counter() - began
    peer = library(index.goods)
    worst = agree(index, peer, queries)
    index = index.with_ranker(fitted(index, queries, rng))
    asked = unit(rng.standard_normal((n_queries, 2 * WIDTH)).astype(np.float32))
    places = {query: at for at, query in enumerate(queries)}
    both = np.hstack(list(vectors.values()))

    words = Index(index.catalog, Goods(index.goods.items, index.goods.fields, index.goods.title_words))

    def bm25s(query: str) -> Any:
        known = [word for word in read(query).words if word in index.goods.fields[ALL].places]
        return largest(peer.get_scores(known), K) if known else None

    return {
        "items": n,
        "queries": n_queries,
        "texts": "the ESCI sample, tiled" if data.is_dir() else "made up",
        "encoders": sorted(folders),
        "threads": THREADS,
        "build_seconds": round(built, 2),
        "largest_difference": worst,
        "ours": timed(lambda query: index.search(query, K), queries),
        "ours_words_alone": timed(lambda query: words.search(query, K), queries),
        "bm25s": timed(bm25s, queries),
        "numpy_cosine": timed(lambda query: largest(both @ asked[places[query]], K), queries),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--data", type=Path, default=_ROOT.parent / "shared" / "data" / "esci-us")
    parser.add_argument("--json", action="store_true", help="print JSON, as always")
    options = parser.parse_args()
    print(json.dumps(measure(options.items, options.queries, options.data, default_root() / "weights"), indent=1))


if __name__ == "__main__":
    main()
