"""What came back about a night's messages: deliveries and outcomes, however late they were told.

A feed tells of a night on that night or, up to `cleaning.late_nights` later, on another. What is told counts for the night
on which its message was sent, as far as it was known at the end of a last night, so that no night learns from the future.
"""

from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, Final

from pipelines.core.columns import Columns as C
from pipelines.core.reading import read
from pipelines.core.shop import Shop
from pipelines.core.storage import Store

if TYPE_CHECKING:
    import pyarrow as pa

_DELIVERIES: Final = (C.DELIVERY_ID, C.USER_KEY, C.STRATEGY_ID, C.STATUS, C.COST_CENTS)
_OUTCOMES: Final = (C.OUTCOME_ID, C.DELIVERY_ID, C.USER_KEY, C.OUTCOME)


class Feedback:
    """Reads each arrival of the feeds once, where nights are asked for in their order."""

    def __init__(self, shop: Shop, store: Store, last: date) -> None:
        self.shop, self.store, self.last = shop, store, last
        self._told: dict[tuple[str, date], Any] = {}

    def sent_on(self, night: date) -> "pa.Table":
        """What was sent on a night, each delivery once, as told last: delivery, user, strategy, status, cost."""
        import pyarrow as pa
        import pyarrow.compute as pc

        schema = pa.schema([(name, pa.int64() if name == C.COST_CENTS else pa.string()) for name in _DELIVERIES])
        parts = [schema.empty_table()]
        for arrival in self.arrivals(night):
            rows = self.arrived("deliveries", arrival)
            if rows is not None:
                parts.append(rows.filter(pc.equal(rows[C.NIGHT], night)).select(_DELIVERIES).cast(schema))
        told = pa.concat_tables(parts)
        last = told.group_by(C.DELIVERY_ID, use_threads=False).aggregate([(name, "last") for name in _DELIVERIES[1:]])
        return last.rename_columns(list(_DELIVERIES))

    def answers_to(self, night: date, sent: "pa.Table") -> list[tuple[date, "pa.Table"]]:
        """Outcomes of the night's deliveries `sent`, by the night they arrived on."""
        import pyarrow.compute as pc

        found = []
        for arrival in self.arrivals(night):
            told = self.arrived("outcomes", arrival)
            if told is not None:
                found.append((arrival, told.filter(pc.is_in(told[C.DELIVERY_ID], value_set=sent[C.DELIVERY_ID]))))
        return found

    def arrivals(self, night: date) -> list[date]:
        """Nights whose feeds may tell of `night`, as far as they were known at the end of the last."""
        late = (night + timedelta(days=n) for n in range(self.shop.cleaning.late_nights + 1))
        return [arrival for arrival in late if arrival <= self.last]

    def arrived(self, feed: str, arrival: date) -> Any:
        """What a feed told on a night, deliveries with the local night they were sent on; None where it told nothing."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if (feed, arrival) not in self._told:
            oldest = self.oldest(arrival)
            self._told = {key: rows for key, rows in self._told.items() if key[1] >= oldest}
            columns = _OUTCOMES if feed == "outcomes" else (*_DELIVERIES, C.SENT_AT)
            rows = read(self.store, feed, [arrival], *columns)
            if rows is not None and feed == "deliveries":
                utc = rows[C.SENT_AT].cast(pa.timestamp("us", "UTC"))
                local = pc.local_timestamp(utc.cast(pa.timestamp("us", self.shop.timezone)))
                rows = rows.append_column(C.NIGHT, local.cast("date32"))
            self._told[feed, arrival] = rows
        return self._told[feed, arrival]

    def oldest(self, arrival: date) -> date:
        """The first night whose feeds may still be asked for: what is late by as much as allowed, told as late again."""
        return arrival - timedelta(days=2 * self.shop.cleaning.late_nights + 1)
