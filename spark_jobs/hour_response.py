"""hour_response: one row per user per hour of the day: visits, messages delivered, and how many of these were clicked."""

from pipelines.core.columns import Columns as C
from spark_jobs.event_window import LOCAL_HOUR, NIGHTS_AGO, USER, VISIT, EventWindow, as_table, total
from spark_jobs.session import Column, DataFrame, F

_FACTS = (C.N_SESSIONS, C.N_DELIVERIES, C.N_CLICKS)


def hour_response(window: EventWindow, deliveries: DataFrame, outcomes: DataFrame, zone: str) -> DataFrame:
    """Of the nights of the window. Hours are those of the shop's wall clock; a click counts at the hour of its message.

    A visit counts in each hour in which it shows an event. Users who were sent something but not seen are in it too.
    """
    visits = window.events.groupBy(USER, LOCAL_HOUR).agg(F.countDistinct(VISIT).alias(C.N_SESSIONS))
    visits = visits.join(window.users, on=USER).select(
        C.USER_KEY, LOCAL_HOUR, *_facts({C.N_SESSIONS: F.col(C.N_SESSIONS)})
    )
    recent = deliveries.where((F.col(NIGHTS_AGO) < window.nights) & (F.col(C.STATUS) == "delivered"))
    hour = F.hour(F.local_timestamp(F.col(C.SENT_AT), zone)).cast("bigint").alias(LOCAL_HOUR)
    clicked = outcomes.where(F.col(C.OUTCOME) == "click").select(C.DELIVERY_ID).distinct()
    clicked = clicked.select(C.DELIVERY_ID, F.lit(1).alias(C.N_CLICKS))
    answers = (
        recent.select(C.USER_KEY, C.DELIVERY_ID, hour)
        .join(clicked, on=C.DELIVERY_ID, how="left")
        .select(
            C.USER_KEY,
            LOCAL_HOUR,
            *_facts({C.N_DELIVERIES: F.lit(1), C.N_CLICKS: F.coalesce(F.col(C.N_CLICKS), F.lit(0))}),
        )
    )
    facts = visits.unionAll(answers).groupBy(C.USER_KEY, LOCAL_HOUR).agg(*[total(name).alias(name) for name in _FACTS])
    return as_table(facts.select(C.USER_KEY, LOCAL_HOUR, *_FACTS), "hour_response")


def _facts(given: dict[str, Column]) -> list[Column]:
    """All facts as bigint columns, 0 where not given, so that the sources can be stacked."""
    return [given.get(name, F.lit(0)).cast("bigint").alias(name) for name in _FACTS]
