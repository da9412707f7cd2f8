"""Judges similar products and told categories on the ESCI sample, beside TF-IDF and untuned encoders.

    python -m training.evaluate_similar SPEC.json     # {"data": folder, "out": folder, "threads": 2, "weights": folder}
    nightmarket evaluate similar --data ../shared/data/esci-us

Similar: a product that is Exact for a query is asked for; the query's other Exact products are what should come, out of all
6,763 others. Queries that share a judged product stay together in one of five folds; the weights that judge a fold are
fitted on the other four, whose lists hold none of its products. Intervals are over such groups of queries. Categories:
training/evaluate_categories.py.
"""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from pipelines.strategy.judgement import Interval, Metric, resampled
from training.esci import EXACT, PRODUCTS, Esci, read_esci
from training.evaluate_categories import FOLDS, fold_of, intervals, judge_categories
from training.job import run_job
from training.recommend.interactions import NO_ITEM
from training.recommend.measures import coverage, hits, ndcg, recall
from training.recommend.similar import (
    MULTILINGUAL,
    SHELF,
    TEXT,
    TITLE,
    WORDS,
    Similar,
    View,
    fit_weights,
    nearest_by,
    ranked,
    scored,
    views_of,
)
from training.recommend.texts import Items, embed, items_of
from training.recommend.words import Words, split
from training.weights import ENCODER_EN, ENCODER_MULTILINGUAL, resolve

OURS: Final = "fusion"
LENGTH: Final = 100
PEERS: Final = {WORDS: "tf-idf, title and category", SHELF: "tf-idf, category"} | {
    TITLE: "untuned MiniLM, title",
    TEXT: "untuned MiniLM, all text",
    MULTILINGUAL: "untuned e5, title",
}
DOCS: Final = {
    "ndcg_at_10": "gain 1 for each Exact product of the same query, mean over asked products; higher is better",
    "recall_at_20": "share of the query's other Exact products among 20; higher is better",
    "recall_at_100": "the same among 100; higher is better",
    "mrr": "mean of 1 / place of the first such product, 0 beyond 100; higher is better",
    "coverage_at_10": "share of all products that stand in at least one list of 10; higher is better",
    "hub_share_at_10": "share of all places that the 1% most listed products take; lower is less biased",
}
_RANKS: Final = 60  # of reciprocal rank fusion (Cormack, Clarke and Buettcher 2009)


def run(data: Path, threads: int, weights: Path, kept: Path | None = None) -> dict[str, Any]:
    """The judgement as DESIGN.md shapes it, and `rows` that were judged. `kept`: a folder for vectors."""
    began = time.perf_counter()
    told = read_esci(data)
    items = items_of(told.catalog)
    vectors = _vectors(items, weights, threads, kept)
    found = judge_similar(told, items, views_of(items, vectors))
    named = {PEERS[name]: rows for name, rows in vectors.items()}
    categories = judge_categories(items, named, OURS)
    for key in ("baselines", "paired"):
        for who, told_of in categories[key].items():
            found[key].setdefault(who, {}).update(told_of)
    return {
        "name": "similar",
        "data": PRODUCTS,
        "metrics": found["metrics"] | categories["metrics"],
        "baselines": found["baselines"],
        "paired": found["paired"],
        "docs": DOCS | categories["docs"],
        "rows": found["rows"] | categories["rows"],
        "weights": found["weights"],
        "seconds": time.perf_counter() - began,
    }


def _vectors(items: Items, weights: Path, threads: int, kept: Path | None) -> dict[str, np.ndarray]:
    """(n, width) by view."""
    english, both = resolve(ENCODER_EN, weights), resolve(ENCODER_MULTILINGUAL, weights)
    asked = {
        TITLE: (items.titles, english, 64),
        TEXT: (items.texts, english, 128),
        MULTILINGUAL: (items.titles, both, 64),
    }
    return {
        name: embed(texts, folder, max_tokens=longest, threads=threads, kept=kept and kept / f"{name}.safetensors")
        for name, (texts, folder, longest) in asked.items()
    }


def judge_similar(told: Esci, items: Items, views: Mapping[str, View]) -> dict[str, Any]:
    """`metrics`, `baselines`, `paired`, `rows` and the fitted `weights` by fold."""
    asked, truth, group = questions(told)
    lists = {OURS: np.full((len(asked), LENGTH), NO_ITEM, np.int64)}
    fold = np.array([fold_of(told.queries[at]) for at in group])
    of_product = np.full(len(items), -1)
    of_product[told.product] = [fold_of(told.queries[at]) for at in groups_of(told)[told.query]]
    similar = Similar(views)
    features, candidates = similar.features(asked), similar.candidates[asked]
    belongs = hits(candidates, truth)
    n_belong = np.diff(truth.indptr)
    fitted = {}
    for number in range(FOLDS):
        fit, judged = fold != number, fold == number
        if not fit.any() or not judged.any():
            continue
        allowed = (of_product[candidates[fit]] != number) & (candidates[fit] != NO_ITEM)
        fitted[str(number)] = fit_weights(features[fit], belongs[fit], n_belong[fit], similar.names, allowed)
        score = scored(features[judged], candidates[judged], similar.names, fitted[str(number)])
        lists[OURS][judged] = ranked(candidates[judged], score, LENGTH)[0]
    titles = [split(title) for title in items.titles]
    lists["tf-idf, title"] = nearest_by({WORDS: Words.fit(titles).rows(titles)}, {WORDS: 1.0}, asked, LENGTH)[0]
    for name in views:
        lists[PEERS[name]] = nearest_by({name: views[name]}, {name: 1.0}, asked, LENGTH)[0]
    fused = [lists[PEERS[name]] for name in views if name != SHELF]
    lists["reciprocal rank fusion of words and encoders"] = fuse_ranks(fused, len(items))
    rows = {"asked_products": len(asked), "groups_of_queries": len(np.unique(group)), "catalogue": len(items)}
    return _compared(lists, truth, group, len(items)) | {"rows": rows, "weights": fitted}


def groups_of(told: Esci) -> np.ndarray:
    """(queries,) the first query of each one's group: queries that share a judged product are in one."""
    shape = (len(told.queries), told.catalog.num_rows)
    judges = csr_matrix((np.ones(len(told.query)), (told.query, told.product)), shape=shape)
    _, group = connected_components(judges @ judges.T, directed=False)
    _, first = np.unique(group, return_index=True)
    return np.asarray(first[group])


def questions(told: Esci) -> tuple[np.ndarray, csr_matrix, np.ndarray]:
    """Places (r,) of products that are Exact with others, which those are (r, n), and the group of their queries (r,)."""
    is_exact = told.rating == EXACT
    shape = (len(told.queries), told.catalog.num_rows)
    exact = csr_matrix((np.ones(is_exact.sum()), (told.query[is_exact], told.product[is_exact])), shape=shape)
    together = (exact.T @ exact).tocsr()
    together.setdiag(0)
    together.eliminate_zeros()
    asked = np.flatnonzero(np.diff(together.indptr))
    first_query = np.asarray(exact.tocsc()[:, asked].argmax(axis=0)).ravel()
    return asked, together[asked], groups_of(told)[first_query]


def fuse_ranks(lists: list[np.ndarray], n_items: int) -> np.ndarray:
    """(r, k) lists by the sum of 1 / (60 + rank) in each of some lists."""
    score = np.zeros((len(lists[0]), n_items), np.float32)
    for one in lists:
        gain = np.broadcast_to(1 / (_RANKS + 1 + np.arange(one.shape[1])), one.shape)
        row, column = np.nonzero(one != NO_ITEM)
        score[row, one[row, column]] += gain[row, column]
    order = np.argsort(-score, axis=1, kind="stable")[:, : lists[0].shape[1]]
    return np.where(np.take_along_axis(score, order, axis=1) > 0, order, NO_ITEM)


def _compared(lists: Mapping[str, np.ndarray], truth: csr_matrix, group: np.ndarray, n_items: int) -> dict[str, Any]:
    """Intervals over groups of queries; how far lists reach and how much hubs take of them have none."""
    found = intervals({who: resampled(_measures(one, truth), group) for who, one in lists.items()}, OURS)
    for who, one in lists.items():
        told = {"coverage_at_10": coverage(one[:, :10], n_items), "hub_share_at_10": hub_share(one[:, :10], n_items)}
        into = found["metrics"] if who == OURS else found["baselines"][who]
        into.update({name: Interval(value, np.nan, np.nan).as_dict() for name, value in told.items()})
    return found


def _measures(lists: np.ndarray, truth: csr_matrix) -> dict[str, Metric]:
    hit = hits(lists, truth)
    return {
        "ndcg_at_10": _mean_of(ndcg(lists[:, :10], truth)),
        "recall_at_20": _mean_of(recall(lists[:, :20], truth)),
        "recall_at_100": _mean_of(recall(lists, truth)),
        "mrr": _mean_of(np.where(hit.any(axis=1), 1 / (1 + hit.argmax(axis=1)), 0.0)),
    }


def _mean_of(values: np.ndarray) -> Metric:
    return lambda weight: (weight @ values) / weight.sum(axis=-1)


def hub_share(lists: np.ndarray, n_items: int) -> float:
    """Share of all places in lists (n, k) that the 1% most listed of the items take (hubs, Radovanovic et al. 2010)."""
    counts = np.bincount(lists[lists != NO_ITEM], minlength=n_items)
    top = np.sort(counts)[-max(1, round(n_items / 100)) :]
    return float(top.sum() / max(1, counts.sum()))


def _job(spec: dict[str, Any]) -> dict[str, Any]:
    return run(Path(spec["data"]), int(spec["threads"]) or os.cpu_count() or 1, Path(spec["weights"]))


if __name__ == "__main__":
    run_job(_job)
