"""channel_response: one row per user per channel: what was sent, what came back, and whether the channel is closed.

Consent must never lapse, so this table looks at all nights, not at the window, and an unsubscribe counts even if its
user was taken for a bot.
"""

from collections.abc import Sequence
from typing import Final

from pipelines.core.columns import Columns as C
from pipelines.core.shop import Channel
from spark_jobs.event_window import NIGHTS_AGO, as_table, total
from spark_jobs.session import Column, DataFrame, F, engine

CONSENT_EVENTS: Final = ("unsubscribe", "complaint")

_FACTS = (
    C.N_DELIVERIES,
    C.N_DELIVERIES_CAP_WINDOW,
    C.N_CLICKS,
    C.N_PURCHASES,
    C.N_COMPLAINTS,
    C.REVENUE_CENTS,
    C.IS_SUPPRESSED,
)


def channel_response(
    events: DataFrame,
    deliveries: DataFrame,
    outcomes: DataFrame,
    channels: Sequence[Channel],
    complaint_rest_nights: int,
) -> DataFrame:
    """All three frames hold every night up to the night and carry nights_ago of when the row happened.

    n_deliveries counts what was delivered; clicks, purchases, complaints and revenue are answers to deliveries.
    is_suppressed: the user unsubscribed from the channel at any time (an unsubscribe that names none closes all
    configured channels), or complained, anywhere, within `complaint_rest_nights` (closes all).
    """
    configured = engine().rows(
        {C.CHANNEL: "string", _CAP: "bigint"}, [(channel.id, channel.cap_window_nights) for channel in channels]
    )
    said = events.where(F.col(C.EVENT_TYPE).isin(*CONSENT_EVENTS)).select(
        C.USER_KEY, C.CHANNEL, C.EVENT_TYPE, NIGHTS_AGO
    )
    answered = outcomes.where(F.col(C.OUTCOME).isin(*CONSENT_EVENTS)).select(
        C.USER_KEY, C.CHANNEL, F.col(C.OUTCOME).alias(C.EVENT_TYPE), NIGHTS_AGO
    )
    consent = said.unionAll(answered)
    unsubscribed = F.col(C.EVENT_TYPE) == "unsubscribe"
    complained = (F.col(C.EVENT_TYPE) == "complaint") & (F.col(NIGHTS_AGO) < complaint_rest_nights)
    closes_all = complained | (unsubscribed & F.col(C.CHANNEL).isNull())
    closed = consent.where(unsubscribed & F.col(C.CHANNEL).isNotNull()).select(C.USER_KEY, C.CHANNEL)
    closed_all = consent.where(closes_all).select(C.USER_KEY).distinct().crossJoin(configured.select(C.CHANNEL))
    facts = (
        _sent(deliveries, configured)
        .unionAll(_answers(outcomes))
        .unionAll(closed.unionAll(closed_all).select(C.USER_KEY, C.CHANNEL, *_facts({C.IS_SUPPRESSED: F.lit(1)})))
        .groupBy(C.USER_KEY, C.CHANNEL)
        .agg(*[total(name).alias(name) for name in _FACTS])
    )
    return as_table(
        facts.select(C.USER_KEY, C.CHANNEL, *_FACTS[:-1], (F.col(C.IS_SUPPRESSED) > 0).alias(C.IS_SUPPRESSED)),
        "channel_response",
    )


_CAP = "cap_window_nights"


def _sent(deliveries: DataFrame, configured: DataFrame) -> DataFrame:
    delivered = F.col(C.STATUS) == "delivered"
    in_cap = delivered & (F.col(NIGHTS_AGO) < F.coalesce(F.col(_CAP), F.lit(0)))
    return deliveries.join(configured, on=C.CHANNEL, how="left").select(
        C.USER_KEY,
        C.CHANNEL,
        *_facts({C.N_DELIVERIES: _flag(delivered), C.N_DELIVERIES_CAP_WINDOW: _flag(in_cap)}),
    )


def _answers(outcomes: DataFrame) -> DataFrame:
    return outcomes.select(
        C.USER_KEY,
        C.CHANNEL,
        *_facts(
            {
                C.N_CLICKS: _flag(F.col(C.OUTCOME) == "click"),
                C.N_PURCHASES: _flag(F.col(C.OUTCOME) == "purchase"),
                C.N_COMPLAINTS: _flag(F.col(C.OUTCOME) == "complaint"),
                C.REVENUE_CENTS: F.coalesce(F.col(C.REVENUE_CENTS), F.lit(0)),
            }
        ),
    )


def _flag(condition: Column) -> Column:
    return F.when(condition, F.lit(1)).otherwise(F.lit(0))


def _facts(given: dict[str, Column]) -> list[Column]:
    """All facts as bigint columns, 0 where not given, so that the sources can be stacked."""
    return [given.get(name, F.lit(0)).cast("bigint").alias(name) for name in _FACTS]
