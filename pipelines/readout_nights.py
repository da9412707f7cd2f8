"""What the read-out knows of one night: the plan that was in force, and what each of its customers did.

The plan of a night is lived on the night after. Spend comes from that night's events, whoever was sent something or not;
deliveries and outcomes told later, up to `cleaning.late_nights`, count for the night their delivery was sent on. Each
oddity is counted by name (`Anomalies`) and never silently dropped.
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pipelines.core.columns import Columns as C
from pipelines.core.shop import Shop
from pipelines.core.storage import Store
from pipelines.report_read import read
from pipelines.strategy.candidates import NOTHING

if TYPE_CHECKING:
    import pyarrow as pa

# What is added up per customer and night, in this order.
NIGHTS, PROFIT, REVENUE, PURCHASES, BOUGHT, COMPLAINED, UNSUBSCRIBED, RETURNED = range(8)
N_VALUES: Final = 8
COVARIATES: Final = (C.REVENUE_CENTS, C.N_PURCHASES, C.N_CARTS, C.N_ACTIVE_NIGHTS)
_PLAN: Final = (
    C.USER_KEY, C.SEGMENT_ID, C.STRATEGY_ID, C.OFFER, C.CHANNEL, C.IS_HOLDOUT, C.N_ALLOWED, C.LOT_PROPENSITY,
    C.LOT_NOTHING_PROPENSITY, C.EXPERIMENT_ARMS,
)  # fmt: skip

_DELIVERIES: Final = (C.DELIVERY_ID, C.USER_KEY, C.STRATEGY_ID, C.STATUS, C.COST_CENTS)

# name -> what it means, with what is done about it.
ANOMALIES: Final = {
    "outcomes_twice": "answers were told twice; each counts once, by its outcome_id",
    "outcomes_late": "answers came on a later night than their message; they count for the night of the message",
    "outcomes_unmatched": "answers name no delivery told within the last {late} nights; they are not counted",
    "treated_without_delivery": "planned messages were never told as sent, bounced or skipped; their customers stay in their arm",
    "not_delivered": "planned messages bounced or were skipped; their customers stay in their arm",
    "unplanned_deliveries": "messages were delivered that the plan did not name; their customers stay in their arm",
    "holdout_contacted": "messages were delivered to customers of the holdout; they stay in it, so its difference is told too small",
    "two_arms": "customers changed their arm; they stay in that of their first night",
    "propensity_missing": "customer-nights have no usable lot propensity; the comparisons by lot leave them out",
    "returns": "purchases have a negative price or quantity; they count as returns and lower the spend",
    "returns_quarantined": "lines with a negative price stand in the quarantine; no spend is lowered by them",
    "purchases_without_price": "purchases name no price; they count as purchases, not as spend",
}


@dataclass
class Anomalies:
    """How often each kind was met."""

    late_nights: int
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, name: str, n: int) -> None:
        self.counts[name] += n

    def told(self) -> list[dict[str, Any]]:
        """[{name, n, text}] of those that were met, in a fixed order."""
        return [
            {
                "name": name,
                "n": self.counts[name],
                "text": f"{self.counts[name]:,} {text.format(late=self.late_nights)}",
            }
            for name, text in ANOMALIES.items()
            if self.counts[name]
        ]


@dataclass(frozen=True)
class Planned:
    """One night's plan, a row per customer (r)."""

    made_on: date
    user: np.ndarray  # (r,) int64, place in the customers of the period
    is_holdout: np.ndarray  # (r,) bool
    is_sent: np.ndarray  # (r,) bool
    strategy: np.ndarray  # (r,) object
    offer: np.ndarray  # (r,) object, "" where nothing is sent
    channel: np.ndarray  # (r,) object
    segment: np.ndarray  # (r,) int64
    n_allowed: np.ndarray  # (r,) int64
    lot_propensity: np.ndarray  # (r,) float64, NaN where no lot was drawn, or none is told
    lot_nothing: np.ndarray  # (r,) float64
    arms: np.ndarray  # (r,) object, "experiment=arm;..."
    explore_share: float | None  # of a night on which a model chose; None: all drew lots


def customers_of(nights: list[date], store: Store) -> "pa.Array":
    """Sorted keys of everybody in these plans."""
    import pyarrow as pa
    import pyarrow.compute as pc

    seen = pa.array([], pa.string())
    for night in nights:
        rows = read(store, "campaign_plan", [night], C.USER_KEY)
        seen = pc.unique(pa.chunked_array([seen, *rows[C.USER_KEY].chunks]))
    return seen.take(pc.sort_indices(seen))


def read_plan(night: date, store: Store, keys: "pa.Array", anomalies: Anomalies) -> Planned:
    """The plan made on `night`. A plan older than a column tells nothing there."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    known = set(pq.read_schema(store.files("campaign_plan", [night])[0]).names)
    rows = read(store, "campaign_plan", [night], *(name for name in _PLAN if name in known))
    for name in _PLAN:
        if name not in known:
            rows = rows.append_column(name, pa.nulls(len(rows), pa.float64()))
    manifest = store.manifest("campaign_plan", night)
    model = (manifest.counts if manifest else {}).get("model") or {}

    def floats(name: str) -> np.ndarray:
        return np.array(pc.fill_null(rows[name].cast("double"), float("nan")).to_numpy(), dtype=np.float64)

    def texts(name: str) -> np.ndarray:
        return np.asarray(pc.fill_null(rows[name].cast("string"), "").to_numpy(zero_copy_only=False), dtype=object)

    strategy, n_allowed = texts(C.STRATEGY_ID), np.nan_to_num(floats(C.N_ALLOWED)).astype(np.int64)
    held = pc.fill_null(rows[C.IS_HOLDOUT], False).to_numpy()
    propensity, nothing = floats(C.LOT_PROPENSITY), floats(C.LOT_NOTHING_PROPENSITY)
    wrong = (propensity <= 0) | (propensity > 1) | (~np.isnan(propensity) & ~((nothing >= 0) & (nothing <= 1)))
    if not model:  # all drew lots, so everybody who may get something has a propensity
        wrong |= np.isnan(propensity) & ~held & (n_allowed > 0)
    anomalies.add("propensity_missing", int(wrong.sum()))
    propensity[wrong] = np.nan
    share = model.get("explore_percent")
    return Planned(
        made_on=night,
        user=pc.index_in(rows[C.USER_KEY], value_set=keys).to_numpy().astype(np.int64),
        is_holdout=held,
        is_sent=strategy != NOTHING,
        strategy=strategy,
        offer=texts(C.OFFER),
        channel=texts(C.CHANNEL),
        segment=np.nan_to_num(floats(C.SEGMENT_ID), nan=-1).astype(np.int64),
        n_allowed=n_allowed,
        lot_propensity=propensity,
        lot_nothing=nothing,
        arms=texts(C.EXPERIMENT_ARMS),
        explore_share=None if share is None else float(share) / 100,
    )


def covariates_of(night: date, store: Store, keys: "pa.Array") -> np.ndarray:
    """(n, c) what was known of the customers at the end of `night`; the last column: whether anything was."""
    import pyarrow.compute as pc

    found = np.zeros((len(keys), len(COVARIATES) + 1))
    profiles = read(store, "user_profiles", [night], C.USER_KEY, *COVARIATES)
    if profiles is None:
        return found
    place = pc.index_in(profiles[C.USER_KEY], value_set=keys)
    profiles, rows = profiles.filter(pc.is_valid(place)), place.drop_null().to_numpy()
    for j, name in enumerate(COVARIATES):
        found[rows, j] = pc.fill_null(profiles[name], 0).to_numpy()
    found[rows, -1] = 1
    return found


class Living:
    """Reads what the customers did, night after night in their order; each arrival of the feeds is read once."""

    def __init__(self, shop: Shop, store: Store, keys: "pa.Array", last: date, anomalies: Anomalies) -> None:
        self.shop, self.store, self.keys, self.last, self.anomalies = shop, store, keys, last, anomalies
        self._told: dict[tuple[str, date], Any] = {}
        self._outcomes: dict[str, date] = {}  # answers of the nights looked back on, by id

    def night(self, night: date, plan: Planned) -> np.ndarray:
        """(n, N_VALUES) of the night on which `plan` was lived; all 0 for who did nothing, NIGHTS left at 0."""
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

        sent = self._sent_on(night)
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

    def _sent_on(self, night: date) -> "pa.Table":
        """What was sent on a night, whenever it was told, each delivery once: as told last."""
        import pyarrow as pa
        import pyarrow.compute as pc

        found = {name: pa.array([], pa.int64() if name == C.COST_CENTS else pa.string()) for name in _DELIVERIES}
        parts = [pa.table(found)]
        for arrival in self._arrivals(night):
            rows = self._arrived("deliveries", arrival)
            if rows is not None:
                parts.append(rows.filter(pc.equal(rows[C.NIGHT], night)).select(_DELIVERIES))
        told = pa.concat_tables(parts)
        last = told.group_by(C.DELIVERY_ID, use_threads=False).aggregate([(name, "last") for name in _DELIVERIES[1:]])
        return last.rename_columns(list(_DELIVERIES))

    def _answers(self, night: date, sent: "pa.Table", values: np.ndarray) -> None:
        """Complaints and unsubscribes that answer the night's messages, whenever they were told."""
        import pyarrow.compute as pc

        for arrival in self._arrivals(night):
            told = self._arrived("outcomes", arrival)
            if told is None:
                continue
            if arrival == night:  # looked at as a whole once, on its own night
                self._odd_answers(arrival, told)
            mine = told.filter(pc.is_in(told[C.DELIVERY_ID], value_set=sent[C.DELIVERY_ID]))
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
        oldest = self._oldest(arrival)
        self._outcomes = {one: when for one, when in self._outcomes.items() if when >= oldest}
        self.anomalies.add("outcomes_twice", len(ids) - len(set(ids) - self._outcomes.keys()))
        self._outcomes |= dict.fromkeys(ids, arrival)
        back = [arrival - timedelta(days=n) for n in range(self.shop.cleaning.late_nights + 1)]
        known = [rows[C.DELIVERY_ID] for n in back if (rows := self._arrived("deliveries", n)) is not None]
        value_set = pa.chunked_array([chunk for column in known for chunk in column.chunks], pa.string())
        is_known = pc.is_in(told[C.DELIVERY_ID], value_set=value_set)
        self.anomalies.add("outcomes_unmatched", len(told) - (pc.sum(is_known).as_py() or 0))

    def _oldest(self, arrival: date) -> date:
        """The first night whose feeds may still be asked for: what is late by as much as allowed, told as late again."""
        return arrival - timedelta(days=2 * self.shop.cleaning.late_nights + 1)

    def _arrivals(self, night: date) -> list[date]:
        """Nights whose feeds may tell of `night`, as far as they were known at the end of the last."""
        late = (night + timedelta(days=n) for n in range(self.shop.cleaning.late_nights + 1))
        return [arrival for arrival in late if arrival <= self.last]

    def _arrived(self, feed: str, arrival: date) -> Any:
        """What a feed told on a night, deliveries with the local night they were sent on; None where it told nothing."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if (feed, arrival) not in self._told:
            oldest = self._oldest(arrival)
            self._told = {key: rows for key, rows in self._told.items() if key[1] >= oldest}
            if feed == "outcomes":
                rows = read(self.store, feed, [arrival], C.OUTCOME_ID, C.DELIVERY_ID, C.USER_KEY, C.OUTCOME)
            else:
                rows = read(self.store, feed, [arrival], *_DELIVERIES, C.SENT_AT)
            if rows is not None and feed == "deliveries":
                utc = rows[C.SENT_AT].cast(pa.timestamp("us", "UTC"))
                local = pc.local_timestamp(utc.cast(pa.timestamp("us", self.shop.timezone)))
                rows = rows.append_column(C.NIGHT, local.cast("date32"))
            self._told[feed, arrival] = rows
        return self._told[feed, arrival]
