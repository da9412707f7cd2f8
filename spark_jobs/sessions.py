"""sessions: one row per user per session of the night alone."""

from pipelines.core.columns import Columns as C
from spark_jobs.event_window import NIGHTS_AGO, as_table, event_counts, touched
from spark_jobs.session import DataFrame, F


def sessions(events: DataFrame) -> DataFrame:
    """Sessions of the last night of an `event_window`; of a session over midnight, the part after it.

    duration_s is last minus first event in whole seconds; n_items counts distinct items touched, not merely shown.
    """
    per_session = (
        events.where(F.col(NIGHTS_AGO) == 0)
        .groupBy(C.USER_KEY, C.SESSION_ID)
        .agg(
            F.min(C.OCCURRED_AT).alias(C.STARTED_AT),
            F.max(C.OCCURRED_AT).alias(C.ENDED_AT),
            *event_counts(),
            F.countDistinct(touched(C.ITEM_ID)).alias(C.N_ITEMS),
        )
    )
    micros = F.micros_of_timestamp(F.col(C.ENDED_AT)) - F.micros_of_timestamp(F.col(C.STARTED_AT))
    return as_table(per_session.withColumn(C.DURATION_S, F.floor(micros / 1_000_000).cast("bigint")), "sessions")
