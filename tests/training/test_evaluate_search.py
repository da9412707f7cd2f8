"""The judgement of search: its measures by hand, what a fold may see, and the whole on a small shop."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.training.test_evaluate_similar import MADE, write
from training import evaluate_search
from training.evaluate_search import BM25, DOCS, FUSION, MINILM, NO_MENDING, RANDOM, fused, ndcg, recall, run

KINDS = {"shirt": "Clothes", "lamp": "Home", "hose": "Garden"}


def test_ndcg_gains_linearly_and_recall_counts_what_is_wanted() -> None:
    gain = np.array([[1.0, 0.1, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0]])
    scores = np.array([[1.0, 4.0, 3.0, 2.0], [1.0, 2.0, 3.0, 4.0]])
    third, fourth = 1 / np.log2(4), 1 / np.log2(5)
    best = 1 + 1 / np.log2(3) + 0.1 * third
    assert ndcg(scores, gain)[0] == pytest.approx((0.1 + third + fourth) / best)
    assert ndcg(scores, gain)[1] == 0
    assert ndcg(gain, gain)[0] == 1
    assert recall(scores, gain >= 1, k=3).tolist() == [0.5, 0]


def test_ranks_are_fused_by_their_reciprocals() -> None:
    found = fused([np.array([[3.0, 2, 1]]), np.array([[1.0, 3, 2]])])
    np.testing.assert_allclose(found, [[1 / 61 + 1 / 63, 1 / 62 + 1 / 61, 1 / 63 + 1 / 62]])


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Who asks for a thing wants what its brand makes; what another brand calls so is a substitute."""
    products, queries = [], {}
    for kind, shelf in KINDS.items():
        for made in MADE[:5]:
            rated = {}
            for at in range(6):
                asin = f"{kind}-{made}-{at}"
                title = f"{made} {kind} number {at}" if at % 2 else f"number {at} of {made} {kind} and more"
                brand = "Rightly" if at < 3 else "Wrongly"
                products.append(
                    {
                        "asin": asin,
                        "title": title,
                        "brand": brand,
                        "category": [shelf],
                        "price": 1.0 + at,
                        "color": made,
                    }
                )
                rated[asin] = "100.000" if at < 3 else "10.000"
            queries[f"{made} {kind} rightly"] = rated
    return write(tmp_path_factory.mktemp("esci"), products, queries)


def test_the_whole_judgement_sets_the_ranker_beside_its_peers(
    shop: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate_search, "resolve", lambda address, cache: tiny_encoder)
    found = run(shop, 1, Path("no weights are needed"))
    assert found["rows"] == {"queries": 15, "groups_of_queries": 15, "judged_pairs": 90, "catalogue": 90}
    assert set(found["metrics"]) == set(DOCS)
    assert {BM25, MINILM, FUSION, RANDOM, NO_MENDING} <= set(found["baselines"])
    assert set(found["paired"]) == set(found["baselines"])
    assert found["metrics"]["ndcg_at_10_judged"]["value"] > 0.9  # the brand is learnt from other queries
    assert found["paired"][BM25]["ndcg_at_10_judged"]["low"] > 0
    assert found["paired"][RANDOM]["ndcg_at_10_catalogue"]["low"] > 0
    json.dumps(found, allow_nan=False)
