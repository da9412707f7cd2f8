"""Judges search on the ESCI sample, beside BM25, untuned encoders and their fusion.

    python -m training.evaluate_search SPEC.json      # {"data": folder, "out": folder, "threads": 2, "weights": folder}
    nightmarket evaluate search --data ../shared/data/esci-us

Queries that share a judged product stay together in one of five folds; the ranker that judges a fold is fitted on the other
four. Intervals are over such groups of queries. Nothing is fitted on typos: they are in the queries that judge, alone.
"""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from pipelines.strategy.judgement import Metric, resampled
from training.esci import EXACT, PRODUCTS, Esci, read_esci
from training.evaluate_categories import fold_of, intervals
from training.evaluate_similar import groups_of
from training.job import run_job
from training.language.noise import typos
from training.recommend.texts import Items, items_of
from training.search.bm25 import Bm25
from training.search.features import features
from training.search.goods import ALL, LONG, MULTILINGUAL, NAME, TITLE, Goods, largest
from training.search.ranker import Ranker
from training.search.typos import Speller
from training.search.words import Query, read, tokens
from training.task import Fitting
from training.weights import ENCODER_EN, ENCODER_MULTILINGUAL, resolve

OURS: Final = "ranker"
GAINS: Final = {EXACT: 1.0, 10.0: 0.1, 1.0: 0.01, 0.0: 0.0}
TYPOS: Final = 0.1  # share of letters
BM25, MINILM, E5 = "bm25, stemmed titles", "untuned MiniLM, title", "untuned e5, title"
LONG_BM25, LONG_MINILM = "bm25, all text", "untuned MiniLM, all text"
FUSION, RANDOM, NO_MENDING = "fusion of BM25, MiniLM and e5", "random", "ranker, typos not mended"
DOCS: Final = {
    "ndcg_at_10_judged": "NDCG of the query's judged products (gains E 1, S .1, C .01, I 0, linear); higher is better",
    "ndcg_at_10_catalogue": "the same among all products, those not judged gain nothing; higher is better",
    "recall_at_100": "share of the query's Exact products among the first 100 of all; higher is better",
    "ndcg_at_10_catalogue_typos": "the same of queries in which 10% of the letters were hit by a slip; higher is better",
    "recall_at_100_typos": "the same for recall; higher is better",
}
_RANKS: Final = 60  # of reciprocal rank fusion (Cormack, Clarke and Buettcher 2009)
_SEED: Final = 20260301


def run(data: Path, threads: int, weights: Path) -> dict[str, Any]:
    """The judgement as DESIGN.md shapes it, and `rows` that were judged."""
    began = time.perf_counter()
    told = read_esci(data)
    items = items_of(told.catalog)
    rng = np.random.default_rng(_SEED)
    slips = [typos(query, TYPOS, rng) for query in told.queries]
    found = _found(told, items, slips, weights, threads)
    gain = np.zeros((len(told.queries), len(items)))
    is_judged = np.zeros(gain.shape, bool)
    gain[told.query, told.product] = [GAINS[rating] for rating in told.rating.tolist()]
    is_judged[told.query, told.product] = True
    group = groups_of(told)
    drawn = {who: resampled(_measures(one, gain, is_judged), group) for who, one in found.items()}
    rows = {"queries": len(gain), "groups_of_queries": len(np.unique(group)), "judged_pairs": len(told.query)}
    return {
        "name": "search",
        "data": PRODUCTS,
        **intervals(drawn, OURS),
        "docs": DOCS,
        "rows": rows | {"catalogue": len(items)},
        "seconds": time.perf_counter() - began,
    }


Scores = Mapping[str, np.ndarray]  # "clean", "typos" and perhaps "judged" -> (queries, products), larger is better


def _found(told: Esci, items: Items, slips: list[str], weights: Path, threads: int) -> dict[str, Scores]:
    """Scores by system."""
    from training.encode import Encoder

    english = Encoder(resolve(ENCODER_EN, weights), threads=threads, max_tokens=64)
    both = Encoder(resolve(ENCODER_MULTILINGUAL, weights), threads=threads, max_tokens=64)
    encoders = {TITLE: english, MULTILINGUAL: both}
    goods = Goods.of(items, {view: one.encode(items.titles, "passage") for view, one in encoders.items()})
    speller = Speller.of([goods.fields[ALL], goods.fields[LONG]], goods.in_a_row)
    texts = {"clean": list(told.queries), "typos": slips}
    queries = {kind: [read(text) for text in asked] for kind, asked in texts.items()}
    mended = {kind: [speller.mended(query) for query in asked] for kind, asked in queries.items()}

    def vectors(asked: list[Query]) -> dict[str, np.ndarray]:
        return {view: one.encode([query.text for query in asked]) for view, one in encoders.items()}

    asked = {kind: vectors(queries[kind]) for kind in queries}
    found: dict[str, Scores] = {
        OURS: judge_ranker(told, goods, mended, {kind: vectors(mended[kind]) for kind in mended}, threads),
        NO_MENDING: judge_ranker(told, goods, queries, asked, threads),
    }
    stemmed = {kind: [tokens(text) for text in told_of] for kind, told_of in texts.items()}
    for name, field in ((BM25, NAME), (LONG_BM25, LONG)):
        found[name] = {kind: _by_words(goods.fields[field], words) for kind, words in stemmed.items()}
    for name, view in ((MINILM, TITLE), (E5, MULTILINGUAL)):
        found[name] = {kind: by_view[view] @ goods.vectors[view].T for kind, by_view in asked.items()}
    english.max_tokens = 128
    longer = english.encode(items.texts, "passage")
    found[LONG_MINILM] = {kind: by_view[TITLE] @ longer.T for kind, by_view in asked.items()}
    found[FUSION] = {kind: fused([found[who][kind] for who in (LONG_BM25, LONG_MINILM, E5)]) for kind in texts}
    chance = np.random.default_rng(_SEED)
    found[RANDOM] = {kind: chance.random((len(told.queries), len(items))) for kind in texts}
    return found


def judge_ranker(
    told: Esci, goods: Goods, queries: Mapping[str, list[Query]], vectors: Mapping[str, Scores], threads: int
) -> Scores:
    """Scores of rankers that were fitted without the queries' folds; a product that is no candidate is last. "judged" has
    the judged products among themselves: these are compared whether they were found or not."""
    fold = np.array([fold_of(told.queries[at]) for at in groups_of(told)])
    gain = {at: np.zeros(len(goods)) for at in range(len(told.queries))}
    for at, product, rating in zip(told.query.tolist(), told.product.tolist(), told.rating.tolist(), strict=True):
        gain[at][product] = GAINS[rating]
    scores = {}
    seen: dict[str, list[tuple[np.ndarray, np.ndarray, int]]] = {}
    for kind, asked in queries.items():
        seen[kind] = []
        for at, query in enumerate(asked):
            sight = goods.sight(
                query, {view: rows[at] for view, rows in vectors[kind].items()}, told.product[told.query == at]
            )
            seen[kind].append((sight.places, features(goods, sight), sight.n_found))
        scores[kind] = np.full((len(asked), len(goods)), -np.inf)
    scores["judged"] = np.full(scores["clean"].shape, -np.inf)
    for number in np.unique(fold):
        fit = np.flatnonzero(fold != number).tolist()
        learnt = [seen["clean"][at] for at in fit]
        how = Fitting(seed=_SEED, threads=threads)
        ranker = Ranker.fit(
            [x for _, x, _ in learnt], [gain[at][one[0]] for at, one in zip(fit, learnt, strict=True)], how
        )
        for at in np.flatnonzero(fold == number):
            for kind, told_of in seen.items():
                places, x, n_found = told_of[at]
                score = ranker.scores(x)
                scores[kind][at, places[:n_found]] = score[:n_found]
                if kind == "clean":
                    scores["judged"][at, places] = score
    return scores


def _by_words(field: Bm25, asked: list[list[str]]) -> np.ndarray:
    return np.stack([field.scores(words) for words in asked])


def fused(scores: list[np.ndarray]) -> np.ndarray:
    """(q, n) sums of 1 / (60 + rank) in each of some scores (q, n)."""
    total = np.zeros(scores[0].shape)
    for one in scores:
        order = np.argsort(-one, axis=1, kind="stable")
        np.put_along_axis(rank := np.empty_like(order), order, np.arange(one.shape[1])[None], axis=1)
        total += 1 / (_RANKS + 1 + rank)
    return total


def _measures(found: Scores, gain: np.ndarray, is_judged: np.ndarray) -> dict[str, Metric]:
    clean, slips = found["clean"], found["typos"]
    return {
        "ndcg_at_10_judged": _mean_of(ndcg(np.where(is_judged, found.get("judged", clean), -np.inf), gain)),
        "ndcg_at_10_catalogue": _mean_of(ndcg(clean, gain)),
        "recall_at_100": _mean_of(recall(clean, gain >= 1)),
        "ndcg_at_10_catalogue_typos": _mean_of(ndcg(slips, gain)),
        "recall_at_100_typos": _mean_of(recall(slips, gain >= 1)),
    }


def ndcg(scores: np.ndarray, gain: np.ndarray, k: int = 10) -> np.ndarray:
    """(q,) NDCG of (q, n) by falling score with linear gains; 0 where nothing gains."""
    discount = 1 / np.log2(np.arange(2, min(k, gain.shape[1]) + 2))
    got = np.stack([gain[at, largest(row, k)] for at, row in enumerate(scores)]) @ discount
    best = -np.sort(-gain, axis=1)[:, :k] @ discount
    return np.asarray(got / np.where(best > 0, best, 1))


def recall(scores: np.ndarray, wanted: np.ndarray, k: int = 100) -> np.ndarray:
    """(q,) share of the wanted (q, n) among the k largest; 0 where nothing is wanted."""
    got = np.array([wanted[at, largest(row, k)].sum() for at, row in enumerate(scores)])
    return np.asarray(got / np.maximum(wanted.sum(axis=1), 1))


def _mean_of(values: np.ndarray) -> Metric:
    return lambda weight: (weight @ values) / weight.sum(axis=-1)


def _job(spec: dict[str, Any]) -> dict[str, Any]:
    return run(Path(spec["data"]), int(spec["threads"]) or os.cpu_count() or 1, Path(spec["weights"]))


if __name__ == "__main__":
    run_job(_job)
