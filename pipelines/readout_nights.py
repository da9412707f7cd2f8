"""What the customers of a plan did on the night that it was lived.

The plan of a night is lived on the night after. Spend comes from that night's events, whoever was sent something or not;
deliveries and outcomes told later, up to `cleaning.late_nights`, count for the night their delivery was sent on. Each
oddity is counted by name (`Anomalies`) and never silently dropped.
"""

from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pipelines.core.columns import Columns as C
from pipelines.core.feedback import Feedback
from pipelines.core.reading import read
from pipelines.core.shop import Shop
from pipelines.core.storage import Store
from pipelines.readout_anomalies import Anomalies
from pipelines.readout_plan import Planned

if TYPE_CHECKING:
    import pyarrow as pa

# What is added up per customer and night, in this order.
NIGHTS, PROFIT, REVENUE, PURCHASES, BOUGHT, COMPLAINED, UNSUBSCRIBED, RETURNED, VISITED, CLICKS = range(10)
N_VALUES: Final = 10


class Living:
    """Reads what the customers did, night after night in their order; each arrival of the feeds is read once."""

    def __init__(self, shop: Shop, store: Store, keys: "pa.Array", last: date, anomalies: Anomalies) -> None:
        self.shop, self.store, self.keys, self.anomalies = shop, store, keys, anomalies
        self.feedback = Feedback(shop, store, last)
        self._outcomes: dict[str, date] = {}  # answers of the nights looked back on, by id

    def night(self, night: date, plan: Planned) -> np.ndarray:
        """(n, N_VALUES) of the night on which `plan` was lived; all 0 for who did nothing. NIGHTS is left at 0, and
        VISITED and CLICKS are, which pipelines/readout_recommend.py counts where they are asked for."""
        values = np.zeros((len(self.keys), N_VALUES))
        self._events(night, values)
        sent = self._deliveries(night, plan, values)
        self._answers(night, sent, values)
        values[:, BOUGHT] = values[:, PURCHASES] > 0
        for flag in (COMPLAINED, UNSUBSCRIBED, RETURNED):
            values[:, flag] = values[:, flag] > 0
        return values

    def _events(self, night: date, values: np.ndarray) -> None:
        """Margin, revenue, purchases; complaints and unsubscribes told without a message."""
        import pyarrow as pa
        import pyarrow.compute as pc

        columns = (C.USER_KEY, C.EVENT_TYPE, C.ITEM_ID, C.PRICE_CENTS, C.QUANTITY, C.IS_BOT)
        events = read(self.store, "events", [night], *columns)
        kinds = pa.array(["purchase", "complaint", "unsubscribe"])
        keep = pc.and_(
            pc.is_in(events[C.EVENT_TYPE], value_set=kinds), pc.invert(pc.fill_null(events[C.IS_BOT], False))
        )
        events = events.filter(keep)
        place = pc.index_in(events[C.USER_KEY], value_set=self.keys)
        events, user = events.filter(pc.is_valid(place)), place.drop_null().to_numpy()
        kind = events[C.EVENT_TYPE].to_numpy()
        for name, flag in (("complaint", COMPLAINED), ("unsubscribe", UNSUBSCRIBED)):
            values[user[kind == name], flag] = 1
        bought = np.flatnonzero(kind == "purchase")
        events, user = events.take(bought), user[bought]
        price = np.asarray(pc.fill_null(events[C.PRICE_CENTS].cast("double"), float("nan")).to_numpy())
        quantity = np.asarray(pc.fill_null(events[C.QUANTITY], 1).to_numpy(), dtype=np.float64)
        paid = price * quantity
        back = paid < 0
        self.anomalies.add("purchases_without_price", int(np.isnan(paid).sum()))
        self.anomalies.add("returns", int(back.sum()))
        kept = np.nan_to_num(paid - self._unit_cost(night, events[C.ITEM_ID], price) * quantity)
        np.add.at(values[:, REVENUE], user, np.nan_to_num(paid))
        np.add.at(values[:, PROFIT], user, kept)
        np.add.at(values[:, PURCHASES], user[~back], 1)
        values[user[back], RETURNED] = 1
        quarantined = self.store.manifest("quarantine", night)
        reasons = quarantined.counts.get("reasons", {}) if quarantined else {}
        self.anomalies.add("returns_quarantined", int(reasons.get("negative_price", 0)))

    def _unit_cost(self, night: date, items: Any, price: np.ndarray) -> np.ndarray:
        """(n,) cents per piece as the catalogue tells them, else what the shop's default margin leaves of the price."""
        import pyarrow.compute as pc

        cost = price * (1 - self.shop.strategy.default_margin_percent / 100)
        catalog = read(self.store, "catalog", [night], C.ITEM_ID, C.UNIT_COST_CENTS)
        if catalog is None:
            return cost
        known = catalog.filter(pc.is_valid(catalog[C.UNIT_COST_CENTS]))
        told = known[C.UNIT_COST_CENTS].take(pc.index_in(items, value_set=known[C.ITEM_ID]))
        costs = np.asarray(pc.fill_null(told.cast("double"), float("nan")).to_numpy())
        return np.where(np.isnan(costs), cost, costs)

    def _deliveries(self, night: date, plan: Planned, values: np.ndarray) -> Any:
        """Takes the messages' cost off the profit and holds what was sent against the plan; returns the deliveries."""
        import pyarrow.compute as pc

        sent = self.feedback.sent_on(night)
        planned = np.full(len(self.keys), "", dtype=object)
        planned[plan.user] = np.where(plan.is_sent, plan.strategy, "")
        place = pc.index_in(sent[C.USER_KEY], value_set=self.keys)
        user = np.asarray(pc.fill_null(place, -1).to_numpy(), dtype=np.int64)
        known = user >= 0
        cost = np.asarray(pc.fill_null(sent[C.COST_CENTS], 0).to_numpy(), dtype=np.float64)
        np.subtract.at(values[:, PROFIT], user[known], cost[known])
        as_planned = known & (sent[C.STRATEGY_ID].to_numpy() == planned[user])
        delivered = sent[C.STATUS].to_numpy() == "delivered"
        is_held, is_told, has_arrived = np.zeros((3, len(self.keys)), dtype=bool)
        is_held[plan.user[plan.is_holdout]] = True
        is_told[user[as_planned]] = True
        has_arrived[user[as_planned & delivered]] = True
        to_holdout = known & delivered & is_held[user]
        self.anomalies.add("treated_without_delivery", int((plan.is_sent & ~is_told[plan.user]).sum()))
        self.anomalies.add("not_delivered", int((is_told & ~has_arrived).sum()))
        self.anomalies.add("holdout_contacted", int(to_holdout.sum()))
        self.anomalies.add("unplanned_deliveries", int((delivered & ~as_planned & ~to_holdout).sum()))
        return sent

    def _answers(self, night: date, sent: "pa.Table", values: np.ndarray) -> None:
        """Complaints and unsubscribes that answer the night's messages, whenever they were told."""
        import pyarrow.compute as pc

        told = self.feedback.arrived("outcomes", night)
        if told is not None:  # looked at as a whole once, on its own night
            self._odd_answers(night, told)
        for arrival, mine in self.feedback.answers_to(night, sent):
            if arrival > night:
                self.anomalies.add("outcomes_late", len(mine))
            place = pc.index_in(mine[C.USER_KEY], value_set=self.keys)
            mine, user = mine.filter(pc.is_valid(place)), place.drop_null().to_numpy()
            kind = mine[C.OUTCOME].to_numpy()
            for name, flag in (("complaint", COMPLAINED), ("unsubscribe", UNSUBSCRIBED)):
                values[user[kind == name], flag] = 1

    def _odd_answers(self, arrival: date, told: Any) -> None:
        import pyarrow as pa
        import pyarrow.compute as pc

        ids = told[C.OUTCOME_ID].to_pylist()
        oldest = self.feedback.oldest(arrival)
        self._outcomes = {one: when for one, when in self._outcomes.items() if when >= oldest}
        self.anomalies.add("outcomes_twice", len(ids) - len(set(ids) - self._outcomes.keys()))
        self._outcomes |= dict.fromkeys(ids, arrival)
        back = [arrival - timedelta(days=n) for n in range(self.shop.cleaning.late_nights + 1)]
        known = [rows[C.DELIVERY_ID] for n in back if (rows := self.feedback.arrived("deliveries", n)) is not None]
        value_set = pa.chunked_array([chunk for column in known for chunk in column.chunks], pa.string())
        is_known = pc.is_in(told[C.DELIVERY_ID], value_set=value_set)
        self.anomalies.add("outcomes_unmatched", len(told) - (pc.sum(is_known).as_py() or 0))
