"""The judgement of similar products: what is asked, what a fold may not see, and what a damaged file says."""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipelines.core.columns import Columns as C
from pipelines.core.errors import NoDataError
from training import evaluate_similar
from training.esci import JUDGEMENTS, PRODUCTS, Esci, read_esci
from training.evaluate_categories import folds_of
from training.evaluate_similar import DOCS, fuse_ranks, groups_of, hub_share, questions, run
from training.recommend.texts import items_of

SHARED = Path(__file__).parents[3] / "shared" / "data" / "esci-us"
KINDS = {"shirt": ["Clothes", "Shirts"], "lamp": ["Home", "Lamps"], "hose": ["Garden", "Hoses"]}
MADE = ("red", "blue", "green", "old", "new", "tall", "warm", "soft")


def write(folder: Path, products: list[dict[str, Any]], queries: dict[str, dict[str, str]]) -> Path:
    lines = [line for one in products for line in (json.dumps({"index": {"_id": one["asin"]}}), json.dumps(one))]
    with zipfile.ZipFile(folder / PRODUCTS, "w") as archive:
        archive.writestr("products.ndjson", "\n".join(lines) + "\n")
    told = [
        {"query": query, "ratings": [{"docId": item, "rating": rating} for item, rating in rated.items()]}
        for query, rated in queries.items()
    ]
    (folder / JUDGEMENTS).write_text(json.dumps({"judgmentRatings": told}))
    return folder


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 queries for one colour of one kind each, with eight products: five are as was asked, of the others the colour is
    another. One product has no text, one no category, one no price."""
    products: list[dict[str, Any]] = []
    queries: dict[str, dict[str, str]] = {}
    for kind, path in KINDS.items():
        for made in MADE:
            rated = {}
            for number in range(8):
                asin, is_exact = f"{kind}-{made}-{number}", number < 5
                other = MADE[(MADE.index(made) + number) % len(MADE)]
                title = f"{made if is_exact else other} {kind} of series {made}{number % 3} {number}"
                products.append(
                    {
                        "asin": asin,
                        "title": title,
                        "brand": "Acme",
                        "category": path,
                        "price": 10.0 + number,
                        "color": made,
                    }
                )
                rated[asin] = "100.000" if is_exact else "0.000"
            queries[f"{made} {kind}"] = rated
    products[3] |= {"title": "", "brand": None, "color": None}
    products[4] |= {"category": [], "price": None}
    return write(tmp_path_factory.mktemp("esci"), products, queries)


def judged(pairs: list[tuple[int, int, float]], n_products: int) -> Esci:
    """Judgements (query, product, rating) of products without a word."""
    query, product, rating = (np.array(column) for column in zip(*pairs, strict=True))
    queries = tuple(f"q{at}" for at in range(query.max() + 1))
    return Esci(pa.table({C.ITEM_ID: [str(at) for at in range(n_products)]}), queries, query, product, rating)


def test_a_product_asks_for_the_other_exact_ones_of_its_queries_and_nothing_else() -> None:
    told = judged([(0, 0, 100), (0, 1, 100), (0, 2, 10), (1, 1, 100), (1, 3, 100), (2, 4, 100), (2, 5, 0)], 7)
    asked, truth, group = questions(told)
    assert asked.tolist() == [0, 1, 3]  # 4 is the only exact one of its query
    assert truth.toarray().astype(bool)[:, :5].tolist() == [
        [False, True, False, False, False], [True, False, False, True, False], [False, True, False, False, False],
    ]  # fmt: skip
    assert group.tolist() == [0, 0, 0]


def test_queries_that_judge_one_product_in_any_way_are_one_group() -> None:
    told = judged([(0, 0, 100), (1, 1, 100), (1, 2, 0), (2, 2, 100), (3, 3, 100)], 4)
    assert groups_of(told).tolist() == [0, 1, 1, 3]


def test_ranks_are_fused_by_their_reciprocals_and_hubs_are_counted() -> None:
    fused = fuse_ranks([np.array([[0, 1, 2]]), np.array([[1, 3, -1]])], 5)
    assert fused.tolist() == [[1, 0, 3]]
    assert hub_share(np.array([[0, 1], [0, 2], [0, -1]]), 100) == 3 / 5


def test_near_duplicates_of_a_title_share_a_fold() -> None:
    titles = [f"{word} lamp for the desk, model {word}{at % 2}" for word in MADE for at in range(6)]
    ids = [str(at) for at in range(len(titles))]
    fold = folds_of(items_of(pa.table({C.ITEM_ID: ids, C.TITLE: titles})))
    for start in range(0, len(titles), 6):
        assert len(set(fold[start : start + 6 : 2])) == 1  # equal titles
    assert len(set(fold.tolist())) > 1


def test_the_whole_judgement_sets_the_fusion_beside_its_peers(
    shop: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate_similar, "resolve", lambda address, cache: tiny_encoder)
    found = run(shop, 1, Path("no weights are needed"))
    assert found["rows"]["asked_products"] == 24 * 5
    assert found["rows"]["groups_of_queries"] == 24
    assert found["rows"]["products"] == 191
    assert set(found["metrics"]) == set(found["docs"])
    for measure in DOCS:
        assert all(measure in found["baselines"][who] for who in ("tf-idf, title", "untuned e5, title"))
    assert set(found["paired"]) == set(found["baselines"])
    assert found["paired"]["tf-idf, category"]["recall_at_20"]["low"] > 0  # a shelf does not tell colours
    assert found["metrics"]["category_accuracy"]["value"] > 0.95
    for told in found["metrics"].values():
        assert told["low"] is None or told["low"] <= told["value"] <= told["high"]
    json.dumps(found, allow_nan=False)


def test_what_products_say_of_their_queries_is_not_read(shop: Path, tmp_path: Path) -> None:
    one = {"asin": "a", "title": "shirt", "category": ["x"], "query_id": ["77"], "price": None, "color": "Red"}
    told = read_esci(write(tmp_path, [one], {"q": {"a": "100.000"}}))
    assert "77" not in json.dumps(told.catalog.to_pylist())
    assert told.rating.tolist() == [100.0]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / PRODUCTS).unlink(), f"{PRODUCTS}.*No such file"),
        (lambda folder: (folder / PRODUCTS).write_bytes(b"no zip"), f"{PRODUCTS}.*not a zip"),
        (lambda folder: _lines(folder, ["{}", "{broken"]), f"{PRODUCTS}: line 2: no product"),
        (
            lambda folder: _lines(folder, ["{}", '{"asin": "a", "title": "t", "category": []}', "{}", "[1]"]),
            "line 4: no",
        ),
        (lambda folder: _lines(folder, ["{}"]), "1 lines; each product has two"),
        (lambda folder: (folder / JUDGEMENTS).write_text('{\n"judgmentRatings": [}'), f"{JUDGEMENTS}: line 2: no JSON"),
        (lambda folder: (folder / JUDGEMENTS).write_text('{"judgmentRatings": [{"query": "q"}]}'), "no query, docId"),
        (lambda folder: (folder / JUDGEMENTS).write_text('{"judgmentRatings": []}'), "no judgement"),
        (lambda folder: _judge(folder, "b"), "query 'q' judges b, which"),
    ],
)
def test_a_missing_or_damaged_file_is_one_line_that_names_file_and_line(damage: Any, said: str, tmp_path: Path) -> None:
    one = {"asin": "a", "title": "shirt", "category": ["x"]}
    write(tmp_path, [one], {"q": {"a": "100.000"}})
    damage(tmp_path)
    with pytest.raises(NoDataError, match=said) as caught:
        read_esci(tmp_path)
    assert "\n" not in str(caught.value)


def _lines(folder: Path, lines: list[str]) -> None:
    with zipfile.ZipFile(folder / PRODUCTS, "w") as archive:
        archive.writestr("products.ndjson", "\n".join(lines))


def _judge(folder: Path, item: str) -> None:
    ratings = [{"docId": item, "rating": "0.000"}]
    (folder / JUDGEMENTS).write_text(json.dumps({"judgmentRatings": [{"query": "q", "ratings": ratings}]}))


@pytest.mark.skipif(not SHARED.exists(), reason="the public data are not here")
def test_the_sample_holds_the_products_and_pairs_that_its_description_counts() -> None:
    told = read_esci(SHARED)
    assert (told.catalog.num_rows, len(told.queries), len(told.query)) == (6_764, 150, 6_678)
    assert [int((told.rating == rating).sum()) for rating in (100, 10, 1, 0)] == [3_389, 1_898, 305, 1_086]
