"""segments: one row per user of user_profiles: the segment whose centre is nearest. Also the profile's vector.

Projection and centres are fitted on anchor nights only (spark_jobs/segment_fit.py): the shop's first night with events
and every Monday after it. So a label means the same all week, and a night's labels do not depend on which nights ran
before it.
"""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any, Final, NamedTuple

from pipelines.core.columns import Columns as C
from pipelines.core.errors import NightmarketError
from spark_jobs.event_window import as_table
from spark_jobs.session import Column, DataFrame, F, engine

DIGITS: Final = 6  # of vectors, centres and distances: coarse enough that both engines round alike


class Feature(NamedTuple):
    """One input of the vector. `kind` groups features that tell the same story; `high`, `low`: what it is called."""

    column: str
    is_log: bool
    kind: str
    high: str
    low: str


FEATURES: Final = (
    Feature(C.RECENCY_NIGHTS, False, "recency", "not seen lately", "seen lately"),
    Feature(C.N_ACTIVE_NIGHTS, True, "visits", "regular visitors", "one-time visitors"),
    Feature(C.N_SESSIONS, True, "visits", "frequent visitors", "rare visitors"),
    Feature(C.N_EVENTS, True, "activity", "very active", "hardly active"),
    Feature(C.N_VIEWS, True, "activity", "heavy browsers", "light browsers"),
    Feature(C.N_ITEMS, True, "activity", "wide interest", "few items seen"),
    Feature(C.N_SEARCHES, True, "search", "searchers", "no searches"),
    Feature(C.N_FAVORITES, True, "wishes", "collectors of favourites", "no favourites"),
    Feature(C.N_CARTS, True, "wishes", "cart fillers", "empty carts"),
    Feature(C.N_PURCHASES, True, "buying", "frequent buyers", "rare buyers"),
    Feature(C.REVENUE_CENTS, True, "buying", "big spenders", "small spenders"),
    Feature(C.AVG_ORDER_CENTS, True, "buying", "large orders", "small orders"),
    Feature(C.AVG_PRICE_CENTS, True, "price", "high prices", "low prices"),
    Feature(C.TOP_CATEGORY_SHARE, False, "breadth", "one category", "many categories"),
    Feature(C.TOP_BRAND_SHARE, False, "breadth", "one brand", "many brands"),
    Feature(C.NIGHT_SHARE, False, "hours", "night", "not at night"),
    Feature(C.MORNING_SHARE, False, "hours", "morning", "not in the morning"),
    Feature(C.AFTERNOON_SHARE, False, "hours", "afternoon", "not in the afternoon"),
    Feature(C.EVENING_SHARE, False, "hours", "evening", "not in the evening"),
    Feature(C.N_CLICKS, True, "answers", "answer campaigns", "ignore campaigns"),
)


def anchor_of(night: date, first_night: date) -> date:
    """The night whose projection and centres `night` uses: its Monday, or the shop's first night if that is later."""
    if night < first_night:
        raise ValueError(f"{night} is before the shop's first night {first_night}")
    return max(night - timedelta(days=night.weekday()), first_night)


def feature_value(feature: Feature) -> Column:
    """The feature as a double. Logarithms are rounded: the engines' libraries differ in the last digit."""
    value = F.col(feature.column)
    return F.round(F.log(value.cast("double") + 1), DIGITS + 3) if feature.is_log else value.cast("double")


def fit_sample(profiles: DataFrame, max_users: int) -> list[list[float]]:
    """Feature values of the `max_users` users with the smallest hash: (users, len(FEATURES)), in the hash's order."""
    hashed = profiles.select(
        F.sha2(F.col(C.USER_KEY), 256).alias("hash"),
        *[feature_value(feature).alias(feature.column) for feature in FEATURES],
    )
    rows = engine().fetch(hashed.orderBy("hash").limit(max_users))
    return [[row[feature.column] for feature in FEATURES] for row in rows]


def projection_weights(projection: Sequence[dict[str, Any]]) -> tuple[list[list[float]], list[float]]:
    """Rows of profile_projection as weights[component][feature] and offsets[component].

    A vector's component is sum(value * weight) - offset, which is standardising and projecting in one step.
    """
    known = {row[C.FEATURE]: row for row in projection}
    missing = [feature.column for feature in FEATURES if feature.column not in known]
    if missing:
        raise NightmarketError(
            f"profile_projection of the anchor night lacks {', '.join(missing)}; run the anchor night again"
        )
    rows = [known[feature.column] for feature in FEATURES]
    size = len(rows[0][C.LOADINGS])
    weights = [[row[C.LOADINGS][at] / row[C.SCALE] for row in rows] for at in range(size)]
    offsets = [sum(row[C.MEAN] * weight for row, weight in zip(rows, component, strict=True)) for component in weights]
    return weights, offsets


def add_vector(profiles: DataFrame, projection: Sequence[dict[str, Any]]) -> DataFrame:
    """user_profiles whole: the profiles with the vector. `projection`: rows of profile_projection."""
    weights, offsets = projection_weights(projection)
    names = [f"weight_{at}" for at in range(len(weights))]
    row = engine().rows({**dict.fromkeys(names, "array<double>"), "offsets": "array<double>"}, [(*weights, offsets)])
    values = profiles.select("*", *[feature_value(feature).alias(f"value_{at}") for at, feature in enumerate(FEATURES)])
    components = []
    for component, name in enumerate(names):
        total: Any = F.lit(0).cast("double")
        for at in range(len(FEATURES)):  # one after the other: the order of additions decides the last digit
            total = total + F.col(f"value_{at}") * F.col(name)[at]
        components.append(F.round(total - F.col("offsets")[component], DIGITS))
    return as_table(values.crossJoin(row).withColumn(C.VECTOR, F.array(*components)), "user_profiles")


def assign_segments(profiles: DataFrame, models: Sequence[dict[str, Any]]) -> DataFrame:
    """The nearest centre (Euclidean; ties: the smaller id) of every user. `models`: rows of segment_models."""
    centres = engine().rows(
        {C.SEGMENT_ID: "bigint", C.SEGMENT_NAME: "string", C.CENTROID: "array<double>"},
        [(row[C.SEGMENT_ID], row[C.SEGMENT_NAME], row[C.CENTROID]) for row in models],
    )
    squares: Any = F.lit(0).cast("double")
    for at in range(len(models[0][C.CENTROID])):
        gap = F.col(C.VECTOR)[at] - F.col(C.CENTROID)[at]
        squares = squares + gap * gap
    pairs = profiles.select(C.USER_KEY, C.VECTOR).crossJoin(centres).select("*")
    near = pairs.select(C.USER_KEY, C.SEGMENT_ID, C.SEGMENT_NAME, F.round(F.sqrt(squares), DIGITS).alias(C.DISTANCE))
    candidates = near.select(C.USER_KEY, F.struct(C.DISTANCE, C.SEGMENT_ID, C.SEGMENT_NAME).alias("near"))
    nearest = candidates.groupBy(C.USER_KEY).agg(F.min("near").alias("near"))
    return as_table(
        nearest.select(
            C.USER_KEY,
            *[F.col("near").getField(name).alias(name) for name in (C.SEGMENT_ID, C.SEGMENT_NAME, C.DISTANCE)],
        ),
        "segments",
    )
