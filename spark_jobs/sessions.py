"""sessions: one row per user per session of the night alone."""

from pipelines.core.columns import Columns as C
from spark_jobs.event_window import NIGHTS_AGO, VISIT, EventWindow, as_table, event_counts, touched
from spark_jobs.session import DataFrame, F


def sessions(window: EventWindow) -> DataFrame:
    """Sessions of the window's last night; of a session over midnight, the part after it.

    duration_s is last minus first event in whole seconds; n_items counts distinct items touched, not merely shown.
    """
    per_visit = (
        window.events.where(F.col(NIGHTS_AGO) == 0)
        .groupBy(VISIT)
        .agg(
            F.min(C.OCCURRED_AT).alias(C.STARTED_AT),
            F.max(C.OCCURRED_AT).alias(C.ENDED_AT),
            *event_counts(),
            F.countDistinct(touched(C.ITEM_ID)).alias(C.N_ITEMS),
        )
    )
    micros = F.micros_of_timestamp(F.col(C.ENDED_AT)) - F.micros_of_timestamp(F.col(C.STARTED_AT))
    named = per_visit.join(window.visits, on=VISIT)
    return as_table(named.withColumn(C.DURATION_S, F.floor(micros / 1_000_000).cast("bigint")), "sessions")
