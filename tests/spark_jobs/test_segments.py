from collections.abc import Callable
from datetime import date
from typing import Any

import numpy as np
import pytest

from pipelines.core.errors import NightmarketError
from pipelines.core.shop import Features
from spark_jobs.segment_fit import fit_projection, fit_segments, match_ids, project
from spark_jobs.segment_names import name_segments
from spark_jobs.segments import FEATURES, add_vector, anchor_of, assign_segments, fit_sample
from spark_jobs.session import DataFrame, Engine

RULES = Features()
COLUMNS = [feature.column for feature in FEATURES]
Make = Callable[..., Any]


def _crowd(n: int = 300, seed: int = 1) -> Any:
    """Three kinds of customers: many quiet ones, buyers in the evening, searchers in the morning: (n, features)."""
    random = np.random.default_rng(seed)
    values = random.normal(0, 0.1, (n, len(FEATURES)))
    buyers, searchers = slice(0, n // 4), slice(n // 4, n // 2)
    for name in ("n_purchases", "evening_share"):
        values[buyers, COLUMNS.index(name)] += 3
    for name in ("n_searches", "morning_share"):
        values[searchers, COLUMNS.index(name)] += 3
    return np.round(values, 6)


def _fit(values: Any, previous: tuple[Any, Any] = ([], []), rules: Features = RULES) -> tuple[Any, Any]:
    projection = fit_projection(values, rules.vector_size)
    return projection, fit_segments(values, projection, rules, *previous)


@pytest.mark.parametrize(
    ("night", "anchor"),
    [
        (date(2026, 3, 5), date(2026, 3, 5)),  # a Thursday, the shop's first night
        (date(2026, 3, 8), date(2026, 3, 5)),  # the Sunday after it
        (date(2026, 3, 9), date(2026, 3, 9)),  # Monday
        (date(2026, 3, 15), date(2026, 3, 9)),
        (date(2026, 3, 16), date(2026, 3, 16)),
    ],
)
def test_the_anchor_is_the_first_night_or_the_last_monday(night: date, anchor: date) -> None:
    assert anchor_of(night, date(2026, 3, 5)) == anchor


def test_a_night_before_the_shops_first_has_no_anchor() -> None:
    with pytest.raises(ValueError, match="before the shop's first night"):
        anchor_of(date(2026, 3, 4), date(2026, 3, 5))


def test_loadings_are_orthonormal_and_their_largest_is_positive() -> None:
    projection = fit_projection(_crowd(), 8)
    loadings = np.array([row["loadings"] for row in projection])
    assert np.allclose(loadings.T @ loadings, np.eye(8), atol=1e-6)
    assert (loadings[np.abs(loadings).argmax(axis=0), np.arange(8)] > 0).all()
    assert [row["feature"] for row in projection] == COLUMNS


def test_a_feature_that_never_varies_neither_fails_nor_counts() -> None:
    values = _crowd()
    values[:, 2:] = 7.0  # two features are left: the other components have nothing to show
    projection = fit_projection(values, 8)
    loadings = np.array([row["loadings"] for row in projection])
    assert np.count_nonzero(np.abs(loadings).sum(axis=0)) == 2
    assert {row["scale"] for row in projection[2:]} == {1.0}


def test_three_kinds_of_customers_are_three_named_segments() -> None:
    _, models = _fit(_crowd())
    assert [(row["segment_id"], row["n_users"]) for row in models] == [(1, 150), (2, 75), (3, 75)]
    names = [row["segment_name"] for row in models]
    assert names == ["Not in the evening, rare buyers", "Searchers, morning", "Frequent buyers, evening"]


def test_the_fit_does_not_depend_on_chance() -> None:
    assert _fit(_crowd()) == _fit(_crowd())


def test_few_customers_are_everyone() -> None:
    values = _crowd(10 * RULES.min_segments - 1)
    _, models = _fit(values)
    assert [(row["segment_id"], row["segment_name"], row["n_users"]) for row in models] == [(1, "Everyone", 29)]
    assert len(_fit(_crowd(10 * RULES.min_segments))[1]) >= RULES.min_segments


def test_customers_who_are_all_alike_are_everyone() -> None:
    assert [row["segment_name"] for row in _fit(np.ones((100, len(FEATURES))))[1]] == ["Everyone"]


def test_no_segment_is_smaller_than_the_smallest_share() -> None:
    values = _crowd(400)
    values[-3:] += 40.0  # three odd customers, under 3 percent: k-means gladly gives them a cluster
    strict = Features(min_segments=2, min_segment_share=0.03)
    _, models = _fit(values, rules=strict)
    shares = [row["n_users"] / 400 for row in models]
    assert min(shares) >= 0.03 or len(shares) == 2


def test_the_same_customers_keep_their_labels_a_week_later() -> None:
    projection, models = _fit(_crowd())
    assert _fit(_crowd(), (projection, models)) == (projection, models)
    # ... and in another order, with other noise, each kind of customer keeps its id.
    later, moved = _fit(_crowd(seed=2)[::-1], (projection, models))
    probe = _crowd(seed=1)
    before, after = _nearest(probe, projection, models), _nearest(probe, later, moved)
    assert before == after


def _nearest(values: Any, projection: Any, models: Any) -> list[int]:
    vectors = project(values, projection)
    centres = np.array([row["centroid"] for row in models])
    at = ((vectors[:, None, :] - centres[None]) ** 2).sum(axis=2).argmin(axis=1)
    return [models[where]["segment_id"] for where in at]


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1], [1, 2, 0], [2, 1, 0]])
def test_ids_survive_a_permutation_of_the_clusters(order: list[int]) -> None:
    projection, models = _fit(_crowd())
    centres = np.array([row["centroid"] for row in models])[order] + 0.01
    assert match_ids(centres, projection, projection, models) == [models[at]["segment_id"] for at in order]


def test_ids_survive_other_loadings() -> None:
    """The signs of components are a convention: with all of them turned, the centres turn too and mean the same."""
    projection, models = _fit(_crowd())
    turned = [{**row, "loadings": [-value for value in row["loadings"]]} for row in projection]
    centres = -np.array([row["centroid"] for row in models])
    assert match_ids(centres, turned, projection, models) == [row["segment_id"] for row in models]


def test_a_new_cluster_gets_the_next_unused_id() -> None:
    projection, models = _fit(_crowd())
    known = [{**models[0], "segment_id": 4}, {**models[1], "segment_id": 9}]
    centres = np.array([row["centroid"] for row in models])
    assert match_ids(centres, projection, projection, known) == [4, 9, 10]


def test_names_are_unique_and_say_two_different_kinds() -> None:
    means = np.zeros((4, len(FEATURES)))
    for name, height in {"n_purchases": 2.0, "revenue_cents": 1.9, "evening_share": 1.0, "n_searches": -0.5}.items():
        means[0:2, COLUMNS.index(name)] = height
    means[2:4, COLUMNS.index("n_active_nights")] = -1.0
    assert name_segments([1, 2, 3, 4], means) == [
        "Frequent buyers, evening",
        "Frequent buyers, evening, no searches",
        "One-time visitors",
        "One-time visitors (4)",
    ]
    assert name_segments([1], np.zeros((1, len(FEATURES)))) == ["Average customers"]


# In the engine ------------------------------------------------------------------------------------------------------


@pytest.fixture
def profiles(engine: Engine, write_table: Make) -> DataFrame:
    """Forty profiles, their numbers a simple function of the user's number."""
    doubles = {feature.column for feature in FEATURES if feature.column.endswith("_share")}
    rows = [
        {
            "user_key": f"u{user:02d}",
            "price_band": "low",
            "active_hour": user % 24,
            "n_deliveries": 0,
            **{
                column: (user * (at + 3) % 17) / 17 if column in doubles else user * (at + 3) % 17
                for at, column in enumerate(COLUMNS)
            },
        }
        for user in range(40)
    ]
    return engine.read([write_table("user_profiles", rows)]).drop("vector")


def test_the_engines_vectors_are_those_of_the_fit(engine: Engine, profiles: DataFrame, rows_of: Make) -> None:
    values = np.array(fit_sample(profiles, 1_000))
    projection = fit_projection(values, 8)
    found = rows_of(engine, add_vector(profiles, projection))
    expected = project(values, projection)
    assert len(found) == len(expected) == 40
    ours = sorted(row["vector"] for row in found)
    assert np.allclose(ours, sorted(expected.tolist()), atol=2e-6)


def test_the_sample_is_the_users_of_the_smallest_hash(engine: Engine, profiles: DataFrame) -> None:
    whole = fit_sample(profiles, 40)
    assert len(whole) == 40
    assert fit_sample(profiles, 5) == whole[:5]


def test_everyone_gets_the_nearest_centre_and_ties_go_to_the_smaller_id(
    engine: Engine, write_table: Make, rows_of: Make
) -> None:
    frame = engine.read(
        [
            write_table(
                "user_profiles",
                [
                    {"user_key": "ann", "vector": [0.0, 0.0]},
                    {"user_key": "bob", "vector": [3.0, 4.0]},
                    {"user_key": "cleo", "vector": [5.0, 0.0]},
                ],
            )
        ]
    )
    models = [
        {"segment_id": 2, "segment_name": "Far", "n_users": 1, "centroid": [10.0, 0.0]},
        {"segment_id": 1, "segment_name": "Near", "n_users": 1, "centroid": [0.0, 0.0]},
    ]
    assert rows_of(engine, assign_segments(frame, models)) == [
        {"user_key": "ann", "segment_id": 1, "segment_name": "Near", "distance": 0.0},
        {"user_key": "bob", "segment_id": 1, "segment_name": "Near", "distance": 5.0},
        {"user_key": "cleo", "segment_id": 1, "segment_name": "Near", "distance": 5.0},
    ]


def test_a_projection_of_other_features_is_refused(engine: Engine, profiles: DataFrame) -> None:
    projection = [{"feature": "n_views", "mean": 0.0, "scale": 1.0, "loadings": [1.0]}]
    with pytest.raises(NightmarketError, match=r"lacks recency_nights, .* run the anchor night again"):
        add_vector(profiles, projection)
