"""item_pairs: which items meet in the same sessions, newer meetings counting more."""

from typing import Final

from pipelines.core.columns import Columns as C
from spark_jobs.event_window import NIGHTS_AGO, VISIT, EventWindow, as_table, total
from spark_jobs.session import DataFrame, F, Window, engine

PAIR_EVENTS: Final = ("view", "click", "cart", "favorite", "purchase")
# One common session is chance: in a sparse shop nearly all pairs meet once, and they would drown the table.
MIN_SESSIONS_BOTH: Final = 2

_UNIT = 1_000_000  # fixed point of a weight: whole numbers add up to the same sum in any order
_FIRST, _ITEM, _ITEMS, _WEIGHT = "first_touch", "item", "items", "weight"
_A, _B, _N, _N_A, _N_B, _RANK, _OTHER = "a", "b", "n", "n_a", "n_b", "rank", "other"


def item_pairs(window: EventWindow, half_life_nights: float, pairs_per_item: int, max_session_items: int) -> DataFrame:
    """Pairs (item_a < item_b) met in at least two sessions.

    A session counts its distinct touched items, the first `max_session_items` by first touch (ties: by id).
    score: sessions that hold both, each worth 0.5 ** (nights ago / half_life_nights) by the night it ended in.
    lift: P(a, b) / (P(a) P(b)) over the window's sessions, undecayed.
    A pair stays if it is among the `pairs_per_item` best scores of either item (ties: more sessions, then by id).
    """
    touches = window.events.where(F.col(C.EVENT_TYPE).isin(*PAIR_EVENTS) & F.col(C.ITEM_ID).isNotNull())
    codes = engine().hold(_codes(touches))
    baskets = engine().hold(_baskets(touches, codes, window.nights, half_life_nights, max_session_items))
    n_baskets = baskets.agg(F.count("*").alias(_N))
    items = engine().hold(
        baskets.select(F.explode(_ITEMS).alias(_ITEM))
        .groupBy(_ITEM)
        .agg(F.count("*").alias(_N))
        .where(F.col(_N) >= MIN_SESSIONS_BOTH)
        .join(codes, on=_ITEM)
    )
    pairs = engine().hold(_together(baskets, items))
    lift = (F.col(C.N_SESSIONS_BOTH) * F.col(_N)).cast("double") / (F.col(_N_A) * F.col(_N_B)).cast("double")
    return as_table(
        _strongest(pairs, pairs_per_item)
        .join(items.select(F.col(_ITEM).alias(_A), F.col(C.ITEM_ID).alias(C.ITEM_A), F.col(_N).alias(_N_A)), on=_A)
        .join(items.select(F.col(_ITEM).alias(_B), F.col(C.ITEM_ID).alias(C.ITEM_B), F.col(_N).alias(_N_B)), on=_B)
        .crossJoin(n_baskets)
        .select(
            C.ITEM_A,
            C.ITEM_B,
            C.N_SESSIONS_BOTH,
            (F.col(_WEIGHT) / _UNIT).alias(C.SCORE),
            lift.alias(C.LIFT),
        ),
        "item_pairs",
    )


def _codes(touches: DataFrame) -> DataFrame:
    """Whole numbers for items, in the order of their ids: pairs multiply, and short keys keep them small."""
    order = Window.orderBy(C.ITEM_ID)
    return (
        touches.select(C.ITEM_ID).distinct().select(C.ITEM_ID, F.row_number().over(order).cast("bigint").alias(_ITEM))
    )


def _baskets(
    touches: DataFrame, codes: DataFrame, window_nights: int, half_life_nights: float, max_session_items: int
) -> DataFrame:
    """One row per session: its weight and its items."""
    weights = engine().rows(
        {NIGHTS_AGO: "bigint", _WEIGHT: "bigint"},
        [(ago, round(_UNIT * 0.5 ** (ago / half_life_nights))) for ago in range(window_nights)],
    )
    per_item = (
        touches.join(codes, on=C.ITEM_ID)
        .groupBy(VISIT, _ITEM)
        .agg(F.min(C.OCCURRED_AT).alias(_FIRST), F.min(NIGHTS_AGO).alias(NIGHTS_AGO))
    )
    order = Window.partitionBy(VISIT).orderBy(F.col(_FIRST).asc(), F.col(_ITEM).asc())
    first_ones = per_item.withColumn(_RANK, F.row_number().over(order)).where(F.col(_RANK) <= max_session_items)
    per_visit = first_ones.groupBy(VISIT).agg(F.min(NIGHTS_AGO).alias(NIGHTS_AGO), F.collect_list(_ITEM).alias(_ITEMS))
    return per_visit.join(weights, on=NIGHTS_AGO).select(_WEIGHT, _ITEMS)


def _together(baskets: DataFrame, items: DataFrame) -> DataFrame:
    """One row per pair; items that met in one session only are dropped before they multiply."""
    first = baskets.select(_WEIGHT, _ITEMS, F.explode(_ITEMS).alias(_A)).join(
        items.select(F.col(_ITEM).alias(_A)), on=_A
    )
    second = first.select(_WEIGHT, _A, F.explode(_ITEMS).alias(_B)).where(F.col(_A) < F.col(_B))
    return (
        second.join(items.select(F.col(_ITEM).alias(_B)), on=_B)
        .groupBy(_A, _B)
        .agg(F.count("*").alias(C.N_SESSIONS_BOTH), total(_WEIGHT).alias(_WEIGHT))
        .where(F.col(C.N_SESSIONS_BOTH) >= MIN_SESSIONS_BOTH)
    )


def _strongest(pairs: DataFrame, pairs_per_item: int) -> DataFrame:
    both = pairs.select(_A, _B, C.N_SESSIONS_BOTH, _WEIGHT, F.col(_A).alias(_ITEM), F.col(_B).alias(_OTHER)).unionAll(
        pairs.select(_A, _B, C.N_SESSIONS_BOTH, _WEIGHT, F.col(_B).alias(_ITEM), F.col(_A).alias(_OTHER))
    )
    order = Window.partitionBy(_ITEM).orderBy(
        F.col(_WEIGHT).desc(), F.col(C.N_SESSIONS_BOTH).desc(), F.col(_OTHER).asc()
    )
    ranked = both.withColumn(_RANK, F.row_number().over(order)).where(F.col(_RANK) <= pairs_per_item)
    return ranked.select(_A, _B, C.N_SESSIONS_BOTH, _WEIGHT).distinct()
