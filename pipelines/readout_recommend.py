"""What recommendations brought: who was held out against who was not, and how their slots were answered.

Part of `nightmarket readout` and of the nightly report. The comparison is one of those of pipelines/readout_compare.py, by
the lot of pipelines/strategy/recommending.py: a customer counts on every night, shown something or not. Shares of what was
clicked have intervals over customers, whose answers are alike.
"""

from datetime import date
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pipelines.core.columns import Columns as C
from pipelines.core.reading import read
from pipelines.core.recommending import CHANNEL
from pipelines.core.shop import Shop
from pipelines.core.shown import TABLE, Names, Shown, nights_shown, read_shown
from pipelines.core.storage import Store
from pipelines.readout_anomalies import Anomalies
from pipelines.readout_nights import CLICKS, VISITED
from pipelines.readout_plan import Planned
from pipelines.report_audience import MEASURED_NIGHTS, proportion
from pipelines.strategy.recommending import is_held_out

if TYPE_CHECKING:
    import pyarrow as pa

RECOMMENDATIONS: Final = "recommendations"  # name of the comparison
METRICS: Final = ("profit_cents", "revenue_cents", "bought", "clicks", "visited")
SHOWN_REASONS: Final = 12


class Pages:
    """Who was held out from the lists of a night, and who came and clicked, night after night."""

    def __init__(self, shop: Shop, store: Store, keys: "pa.Array", anomalies: Anomalies) -> None:
        self.store, self.keys, self.anomalies = store, keys, anomalies
        rules = shop.recommend
        self.held = None  # nobody to compare with
        if rules and rules.holdout_percent > 0:
            self.held = is_held_out(keys.to_pylist(), rules.seed, rules.holdout_percent)

    def night(self, night: date, plan: Planned, values: np.ndarray) -> np.ndarray | None:
        """(n,) bool: held out, of a night for which lists were made, else None; fills VISITED and CLICKS of `values`."""
        if self.held is None or self.store.manifest(TABLE, plan.made_on) is None:
            return None
        values[:, [VISITED, CLICKS]], saw = visits_of(night, self.store, self.keys)
        self.anomalies.add("holdout_recommended", int((saw & self.held).sum()))
        return self.held


def visits_of(night: date, store: Store, keys: "pa.Array") -> tuple[np.ndarray, np.ndarray]:
    """(n, 2) whether each customer came, and how often they clicked on anything; (n,) bool: were shown recommendations."""
    import pyarrow.compute as pc

    events = read(store, "events", [night], C.USER_KEY, C.EVENT_TYPE, C.CHANNEL, C.IS_BOT)
    events = events.filter(pc.invert(pc.fill_null(events[C.IS_BOT], False)))
    kind = events[C.EVENT_TYPE]
    ours = pc.fill_null(pc.and_(pc.equal(kind, "impression"), pc.equal(events[C.CHANNEL], CHANNEL)), False)
    events = events.append_column("shown", ours).append_column("click", pc.equal(kind, "click"))
    told = events.append_column("own", pc.invert(ours)).group_by(C.USER_KEY, use_threads=False)
    sums = told.aggregate([("own", "sum"), ("click", "sum"), ("shown", "sum")])
    place = pc.fill_null(pc.index_in(sums[C.USER_KEY], value_set=keys), -1).to_numpy()
    known = place >= 0
    did, saw = np.zeros((len(keys), 2)), np.zeros(len(keys), dtype=bool)
    did[place[known], 0] = sums["own_sum"].to_numpy()[known] > 0
    did[place[known], 1] = sums["click_sum"].to_numpy()[known]
    saw[place[known]] = sums["shown_sum"].to_numpy()[known] > 0
    return did, saw


def brought(night: date, shop: Shop, store: Store, comparisons: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The numbers of the page's section; None for a shop that recommends nothing.

    `comparisons`: as pipelines.readout_compare.experiments tells them. {nights, first, last, lists, seen, items, explored,
    catalogue: its items, customers, click, purchase, slots: [{slot, chosen, by_lot}], chosen, by_lot, sources, reasons,
    models: [{name, click, purchase}], effects: [reading], verdict, sample_ratio}; shares as `clustered` tells them.
    """
    if shop.recommend is None:
        return None
    nights = nights_shown(night, store, MEASURED_NIGHTS)
    shown = read_shown(nights, store)
    if not len(shown):
        return {"missing": "No night has been lived yet for which items were recommended."}
    seen = shown.take(shown.is_shown)
    chosen, by_lot = ~seen.is_explore, seen.is_explore
    one = next((one for one in comparisons if one["experiment"] == RECOMMENDATIONS), None)
    readings = {row["metric"]: row for row in one["readings"]} if one else {}
    return {
        "nights": len(nights), "first": nights[0].isoformat(), "last": nights[-1].isoformat(),
        "lists": _lists(shown), "seen": _lists(seen), "items": len(np.unique(seen.item.place)), "explored": int(by_lot.sum()),
        "catalogue": catalogue.rows if (catalogue := store.manifest("catalog", nights[-1])) else None,
        "customers": len(np.unique(seen.user.place)), **_answered(seen, np.ones(len(seen), dtype=bool)),
        "slots": [
            {"slot": slot} | {
                name: _answered(seen, mask & (seen.slot == slot)) for name, mask in (("chosen", chosen), ("by_lot", by_lot))
            }
            for slot in np.unique(seen.slot).tolist()
        ],
        "chosen": _answered(seen, chosen), "by_lot": _answered(seen, by_lot),
        "sources": _by(seen, seen.source), "reasons": _by(seen, seen.reason)[:SHOWN_REASONS],
        "models": _by(seen, seen.model),
        "effects": [readings[name] for name in METRICS if name in readings],
        "verdict": one["verdicts"][0] if one else None,
        "sample_ratio": one["sample_ratio"] if one else None,
    }  # fmt: skip


def _lists(shown: Shown) -> int:
    """Lists of one customer and night."""
    return len(np.unique(shown.night.astype(np.int64) * len(shown.user.known) + shown.user.place))


def _by(seen: Shown, names: Names) -> list[dict[str, Any]]:
    """Answers per name, the most shown first."""
    places = np.unique(names.place).tolist()
    found = [{"name": str(names.known[place]), **_answered(seen, names.place == place)} for place in places]
    return sorted(found, key=lambda row: (-row["click"]["n"], row["name"]))


def _answered(seen: Shown, mask: np.ndarray) -> dict[str, Any]:
    """{click, purchase} of what was shown, k of n with an interval over customers."""
    _, customer = np.unique(seen.user.place[mask], return_inverse=True)
    return {
        name: clustered(flags[mask].astype(np.float64), customer)
        for name, flags in (("click", seen.is_clicked), ("purchase", seen.is_bought))
    }


def clustered(happened: np.ndarray, customer: np.ndarray) -> dict[str, Any]:
    """Share of rows (n,) 0 or 1 as `proportion` tells it, its variance that of customers (n,) int and not of rows.

    The ratio is linearised around its mean, as in pipelines/strategy/cuped.py; never narrower than for independent rows.
    """
    n, k = len(happened), int(happened.sum())
    if not 0 < k < n:
        return proportion(k, n)
    p = k / n
    parts = np.bincount(customer, happened - p)
    size = max(len(parts) - 1, 1)
    between = float((parts**2).sum()) * len(parts) / size / n**2
    return proportion(k, n, max(between / (p * (1 - p) / n), 1.0))
