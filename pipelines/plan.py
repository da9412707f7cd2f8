"""Makes campaign_plan: one row per customer, the strategy for tomorrow or why there is none.

    nightmarket night --shop demo --date 2026-03-15

The decision itself is pipelines/strategy/; this file reads the night's tables, calls it and writes the rows. Where the
champion has scored the strategies (strategy_scores), most customers get what earns most; else all are drawn by lot.
"""

from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines import fairness
from pipelines.core.columns import Columns as C
from pipelines.core.errors import InfeasibleError, NoDataError
from pipelines.core.feedback import Feedback
from pipelines.core.margins import margins_of
from pipelines.core.reading import read
from pipelines.core.shop import Shop, Strategy
from pipelines.core.shown import best_items
from pipelines.core.storage import Store, window
from pipelines.core.tables import BIGINT, BOOLEAN, DOUBLE, STRING, TABLES
from pipelines.plan_hours import SendHours, send_hours
from pipelines.plan_limits import inputs_of, label_columns, labels_of, paced, repeated, unhappy
from pipelines.plan_scores import NO_VERSION, Scores, read_scores
from pipelines.stage import Context, Staged, StageResult, audit_and_publish, digest_of
from pipelines.strategy.budget_curve import budget_curve
from pipelines.strategy.candidates import NOTHING
from pipelines.strategy.constraints import Customers
from pipelines.strategy.experiments import arm_names
from pipelines.strategy.exploit import Exploited, exploit, price_of
from pipelines.strategy.explore import Decisions, explore
from pipelines.strategy.placement import marginal_values
from pipelines.strategy.reasons import telling_later

if TYPE_CHECKING:
    import pyarrow as pa

TABLE = "campaign_plan"
INPUTS = (
    "segments",
    "user_profiles",
    "channel_response",
    "catalog",
    "hour_response",
    "strategy_scores",
    "recommendations",
)  # the last five may be missing


@dataclass(frozen=True)
class PlanResult:
    """What was planned, for the manifest and the summary."""

    rows: int
    treated: int
    control: int  # nothing by lot: the nightly control alone, without what capacity and budget took
    holdout: int
    cost_cents: int  # of the planned messages
    expected_cost_cents: int  # with the discounts expected to be used, rounded up; at most the budget
    by_channel: dict[str, dict[str, int]]  # channel -> customers, messages, cost_cents, capacity
    by_constraint: dict[str, int]  # what bound each customer -> customers
    budget_cents: int  # tonight's, where a budget is for several nights
    pacing: dict[str, Any] | None  # how the period's budget stands; None: none is for several nights
    send_hours: dict[str, Any] | None  # customers whose hour was learnt or drawn, and what that is thought to gain
    frequencies: list[dict[str, float]]  # what one message more is worth
    budget_curve: list[dict[str, Any]]  # budget_cents, profit_cents, price of one more cent; empty: no model
    by_lot: int  # customers decided by lot, those who got nothing included
    # name, version, expected_profit_cents, gap, explore_percent, prices and misses of limits, with a policy later_cents of
    # the profit in later nights; None: all by lot
    model: dict[str, Any] | None

    @property
    def counts(self) -> dict[str, Any]:
        return asdict(self)


def run(night: date, context: Context) -> StageResult:
    """Publishes campaign_plan of the night. Raises NoDataError without the night's features, AuditError where
    a rule of the table or a bound on fairness is broken."""
    shop, store = context.shop, context.store
    result = StageResult("plan")
    inputs = {name: digest for table in INPUTS for name, digest in store.inputs(table, [night]).items()}
    inputs |= inputs_of(night, shop.strategy, store)
    config_hash = digest_of(shop.strategy, shop.fairness_gate)
    if not context.force and store.is_current(TABLE, night, inputs, config_hash):
        manifest = store.manifest(TABLE, night)
        if manifest:
            result.add(manifest, made=False)
        return result
    with store.staging() as staging:
        planned = build(night, shop, store, staging)
        counts = planned.counts | {"fairness": fairness.judge(night, shop, store, staging / TABLE)}
        audit_and_publish(
            [Staged(TABLE, night, staging / TABLE, planned.rows, inputs, config_hash, counts)],
            store,
            context.machine,
            result,
        )
    result.counts = counts
    return result


def build(night: date, shop: Shop, store: Store, staging: Path) -> PlanResult:
    """Writes staging/campaign_plan/part-00000.parquet. Raises NoDataError without the night's features."""
    import pyarrow.parquet as pq

    keys, segment_ids, customers = read_customers(night, shop, store)
    strategy, pace = paced(night, shop, store)
    running = tuple(experiment for experiment in strategy.experiments if experiment.runs_on(night))
    strategy = strategy.model_copy(update={"experiments": running})
    scores = read_scores(night, store, keys, customers.margin_percent, strategy)
    chosen = None
    if scores:
        try:
            chosen = exploit(customers, scores.profit_cents, strategy, night, scores.sd_cents)
        except InfeasibleError as error:
            raise InfeasibleError(f"shop {shop.shop}, {night}: {error}") from error
    decisions = chosen.decisions if chosen else explore(customers, strategy, night)
    is_lot, lot_chance = ~decisions.is_holdout, decisions.propensity
    lot_expected = np.full(len(keys), np.nan)
    if scores and chosen:
        is_lot, lot_chance = chosen.is_lot, chosen.lot_chance
        lot_expected = scores.of_lots(np.flatnonzero(is_lot), chosen.posed.given)
        if scores.later_cents is not None:
            is_chosen = ~is_lot & ~decisions.is_holdout & (decisions.n_allowed > 0)
            decisions = telling_later(decisions, is_chosen, scores.later_of(decisions.strategy))
    if not scores or scores.model_version == NO_VERSION:
        who = "the baseline scored: " if scores else ""
        texts = (f"no champion: {who}{text}" if text.startswith("exp") else text for text in decisions.why_texts)
        decisions = replace(decisions, why_texts=tuple(texts))
    folder = staging / TABLE
    folder.mkdir(parents=True, exist_ok=True)
    lot_chance = np.where(is_lot & (decisions.n_allowed > 0), lot_chance, np.nan)
    hours = send_hours(night, store, keys, segment_ids, decisions, is_lot, strategy)
    items = _items(night, store, keys, decisions)
    rows = _rows(keys, segment_ids, decisions, scores, lot_chance, lot_expected, hours, items, strategy)
    pq.write_table(rows, folder / "part-00000.parquet", compression="zstd")
    return _summary(decisions, strategy, pace, scores, chosen, hours)


def read_customers(night: date, shop: Shop, store: Store) -> tuple["pa.Array", np.ndarray, Customers]:
    """Keys (n, sorted), segment ids (n,) and what the limits need to know of the customers of user_profiles."""
    import pyarrow.compute as pc

    by = label_columns(shop.strategy)
    more = [column for column in by if column not in (C.SEGMENT_ID, C.TOP_CATEGORY_ID)]
    profiles = read(store, "user_profiles", [night], C.USER_KEY, C.AVG_ORDER_CENTS, C.TOP_CATEGORY_ID, *more)
    segments = read(store, "segments", [night], C.USER_KEY, C.SEGMENT_ID)
    for name, table in (("user_profiles", profiles), ("segments", segments)):
        if table is None:
            raise NoDataError(
                f"shop {shop.shop}, {night}: no table {name}; the plan needs it: run the features stage first"
            )
    profiles = profiles.sort_by(C.USER_KEY)
    keys = profiles[C.USER_KEY].combine_chunks()
    where = pc.index_in(keys, value_set=segments[C.USER_KEY])
    if where.null_count or len(segments) != len(keys):
        raise NoDataError(
            f"shop {shop.shop}, {night}: segments and user_profiles differ in customers; run the features stage again"
        )
    segment_ids = segments[C.SEGMENT_ID].take(where).to_numpy()

    strategy = shop.strategy
    spent = pc.fill_null(profiles[C.AVG_ORDER_CENTS], 0).to_numpy()
    order_cents = np.where(spent > 0, spent, strategy.default_order_cents)
    goods = read(store, "catalog", [night], C.CATEGORY_ID, C.PRICE_CENTS, C.UNIT_COST_CENTS)
    margin = margins_of(goods, profiles[C.TOP_CATEGORY_ID], strategy.default_margin_percent)

    shape = (len(keys), len(strategy.channels))
    n_recent = np.zeros(shape, dtype=np.int64)
    is_suppressed = np.zeros(shape, dtype=bool)
    has_complained = np.zeros(shape, dtype=bool)
    history = read(store, "channel_response", [night],
        C.USER_KEY, C.CHANNEL, C.N_DELIVERIES_CAP_WINDOW, C.N_COMPLAINTS, C.IS_SUPPRESSED,
    )  # fmt: skip
    for i, channel in enumerate(strategy.channels if history is not None else ()):
        mine = history.filter(pc.equal(history[C.CHANNEL], channel.id))
        row = pc.index_in(mine[C.USER_KEY], value_set=keys)
        known = pc.is_valid(row)
        mine, row = mine.filter(known), row.filter(known).to_numpy()
        n_recent[row, i] = pc.fill_null(mine[C.N_DELIVERIES_CAP_WINDOW], 0).to_numpy()
        is_suppressed[row, i] = pc.fill_null(mine[C.IS_SUPPRESSED], False).to_numpy()
        has_complained[row, i] = pc.fill_null(mine[C.N_COMPLAINTS], 0).to_numpy() > 0
    # Who rests from a message has had as many as any channel's cap allows.
    n_recent[_resting(night, shop, store, keys)] += max(
        (channel.cap_messages for channel in strategy.channels), default=0
    )
    customers = Customers(
        tuple(keys.to_pylist()),
        order_cents,
        margin,
        n_recent,
        is_suppressed,
        has_complained,
        repeated(night, shop, store, keys),
        {
            column: labels_of(segments[C.SEGMENT_ID].take(where) if column == C.SEGMENT_ID else profiles[column])
            for column in by
        },
        unhappy(night, shop, store, keys),
    )
    return keys, segment_ids, customers


def _resting(night: date, shop: Shop, store: Store, keys: "pa.Array") -> np.ndarray:
    """Places in `keys` of the customers to whom something was delivered within the last `rest_nights` nights, by the night
    it was sent on, however late it was told."""
    import pyarrow.compute as pc

    feedback, found = Feedback(shop, store, night), [np.zeros(0, np.int64)]
    for one in window(night, shop.strategy.rest_nights):
        sent = feedback.sent_on(one)
        whose = sent.filter(pc.equal(sent[C.STATUS], "delivered"))[C.USER_KEY]
        found.append(pc.index_in(whose, value_set=keys).drop_null().to_numpy().astype(np.int64))
    return np.unique(np.concatenate(found))


def _items(night: date, store: Store, keys: "pa.Array", decisions: Decisions) -> "pa.Array":
    """(n,) the item that each message is about: the best that is recommended to its customer, lots left out."""
    import pyarrow as pa
    import pyarrow.compute as pc

    best = best_items(night, store, C.ITEM_ID)
    if best is None:
        return pa.nulls(len(keys), pa.string())
    items = best[C.ITEM_ID].take(pc.index_in(keys, value_set=best[C.USER_KEY])).combine_chunks()
    return pc.if_else(pa.array(decisions.strategy >= 0), items, pa.scalar(None, pa.string()))


def _rows(
    keys: "pa.Array",
    segment_ids: np.ndarray,
    decisions: Decisions,
    scores: Scores | None,
    lot_chance: np.ndarray,
    lot_expected: np.ndarray,
    hours: SendHours,
    items: "pa.Array",
    strategy: Strategy,
) -> "pa.Table":
    """The plan in the declared columns, order and types; texts are looked up, not formatted row by row."""
    import pyarrow as pa

    types = {STRING: pa.string(), BIGINT: pa.int64(), DOUBLE: pa.float64(), BOOLEAN: pa.bool_()}
    schema = pa.schema([(name, types[kind]) for name, kind in TABLES[TABLE].columns.items()])
    found = decisions.candidates

    def chosen(values: list[Any], nothing: Any, positions: np.ndarray = decisions.strategy) -> Any:
        return pa.array([*values, nothing]).take(pa.array(np.where(positions < 0, len(values), positions)))

    names = [candidate.strategy_id for candidate in found]
    columns = {
        C.USER_KEY: keys,
        C.SEGMENT_ID: segment_ids,
        C.STRATEGY_ID: chosen(names, NOTHING),
        C.OFFER: chosen([c.offer for c in found], ""),
        C.DISCOUNT_PERCENT: chosen([c.discount_percent for c in found], 0),
        C.CHANNEL: chosen([c.channel for c in found], ""),
        C.SEND_WINDOW: chosen([c.send_window for c in found], ""),
        C.SEND_HOUR: hours.hour,
        C.FREQUENCY: chosen([c.frequency for c in found], 0),
        C.CREATIVE_STYLE: chosen([c.creative_style for c in found], ""),
        C.ITEM_ID: items,
        C.COST_CENTS: chosen([c.message_cost_cents for c in found], 0),
        C.IS_HOLDOUT: decisions.is_holdout,
        C.PROPENSITY: decisions.propensity,
        C.LOT_PROPENSITY: pa.array(lot_chance, from_pandas=True),  # NaN: null
        C.LOT_NOTHING_PROPENSITY: pa.array(
            np.where(np.isnan(lot_chance), np.nan, decisions.lot_nothing), from_pandas=True
        ),
        C.LOT_EXPECTED_CENTS: pa.array(lot_expected, from_pandas=True),
        C.EXPERIMENT_ARMS: pa.array(arm_names(keys.to_pylist(), decisions.is_holdout, strategy), pa.string()),
        C.N_ALLOWED: decisions.n_allowed,
        C.RUNNER_UP_STRATEGY_ID: chosen(names, NOTHING, decisions.runner_up),
        C.BINDING_CONSTRAINT: pa.array(decisions.constraint_texts).take(pa.array(decisions.constraint)),
        C.WHY: pa.array(decisions.why_texts, pa.string()).take(pa.array(decisions.why)),
        C.EXPECTED_PROFIT_CENTS: pa.array(decisions.expected_profit_cents, from_pandas=True),  # NaN: null
        C.MODEL_NAME: pa.repeat(scores.model_name if scores else "", len(keys)),
        C.MODEL_VERSION: pa.repeat(scores.model_version if scores else "", len(keys)),
    }
    return pa.table([pa.array(columns[name]).cast(schema.field(name).type) for name in schema.names], schema=schema)


def _summary(
    decisions: Decisions,
    strategy: Strategy,
    pace: dict[str, Any] | None,
    scores: Scores | None,
    chosen: Exploited | None,
    hours: SendHours,
) -> PlanResult:
    planned = np.bincount(decisions.strategy + 1, minlength=len(decisions.candidates) + 1)[1:].tolist()
    by_channel = {
        channel.id: {"customers": 0, "messages": 0, "cost_cents": 0, "capacity": channel.capacity_per_night}
        for channel in strategy.channels
    }
    for candidate, customers in zip(decisions.candidates, planned, strict=True):
        channel = by_channel[candidate.channel]
        channel["customers"] += customers
        channel["messages"] += customers * candidate.frequency
        channel["cost_cents"] += customers * candidate.message_cost_cents
    bound = np.bincount(decisions.constraint, minlength=len(decisions.constraint_texts)).tolist()
    got_nothing = (decisions.strategy < 0) & ~decisions.is_holdout
    by_lot = decisions.constraint == decisions.constraint_texts.index("control")
    is_lot = chosen.is_lot if chosen else ~decisions.is_holdout
    model, curve, frequencies = None, [], []
    if scores and chosen:
        profit = round(float(np.nansum(decisions.expected_profit_cents)), 2)
        model = {"name": scores.model_name, "version": scores.model_version, "expected_profit_cents": profit}
        model |= {
            "gap": round(chosen.gap, 9),
            "explore_percent": strategy.explore_percent,
            "prices": price_of(chosen.posed, chosen.prices),
            "missing": chosen.missing,
        }
        if scores.later_cents is not None:
            model["later_cents"] = round(float(scores.later_of(decisions.strategy).sum()), 2)
        points = budget_curve(chosen.posed, strategy, chosen.cuts)
        curve = [asdict(point) for point in points]
        per_candidate = np.array([candidate.frequency for candidate in decisions.candidates])
        frequencies = marginal_values(scores.profit_cents[~decisions.is_holdout], per_candidate)
    return PlanResult(
        rows=len(decisions.strategy),
        treated=sum(planned),
        control=int((got_nothing & by_lot).sum()),
        holdout=int(decisions.is_holdout.sum()),
        cost_cents=sum(channel["cost_cents"] for channel in by_channel.values()),
        expected_cost_cents=int(np.ceil(decisions.expected_cost_cents.sum() - 1e-6)),
        by_channel=by_channel,
        by_constraint={text: n for text, n in zip(decisions.constraint_texts, bound, strict=True) if n},
        budget_cents=strategy.nightly_budget_cents,
        pacing=pace,
        send_hours=hours.told,
        frequencies=frequencies,
        budget_curve=curve,
        by_lot=int(is_lot.sum()),
        model=model,
    )
