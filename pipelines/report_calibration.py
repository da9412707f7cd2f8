"""The report's numbers on whether expectations come true: clicks and purchases of those who got what the plan named, beside
what the champion had expected of them, by groups of equal size from those of whom it expected least to most."""

from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pipelines.core.columns import Columns as C
from pipelines.core.shop import Shop
from pipelines.core.storage import Store
from pipelines.readout_anomalies import Anomalies
from pipelines.readout_compare import plans_lived
from pipelines.readout_nights import PURCHASES, Living
from pipelines.readout_plan import Planned, customers_of, read_plan
from pipelines.report_audience import MEASURED_NIGHTS, proportion

if TYPE_CHECKING:
    import pyarrow as pa

SCORES: Final = "strategy_scores"
EXPECTED: Final = {"clicks": C.P_CLICK, "purchases": C.P_CONVERSION}
MOST_SCORES: Final = 50_000_000  # rows read, the newest nights first: some seconds
_GROUPS: Final = 5
_BATCH_ROWS: Final = 1 << 19


def nights_scored(night: date, store: Store) -> list[date]:
    """Evenings of MEASURED_NIGHTS whose plan was lived by `night` and whose scores are kept, the newest first."""
    found, left = [], MOST_SCORES
    for one in reversed(plans_lived(night, store)):
        manifest = store.manifest(SCORES, one)
        if one < night - timedelta(days=MEASURED_NIGHTS) or (manifest and manifest.rows > left):
            break
        if manifest:
            found.append(one)
            left -= manifest.rows
    return found


def calibration(night: date, shop: Shop, store: Store) -> dict[str, Any]:
    """{nights, messages, measures: [{name, expected, told, groups: [{expected, told}]}]}; told: k of n with its interval."""
    made = sorted(nights_scored(night, store))
    keys, parts = customers_of(made, store), []
    anomalies = Anomalies(shop.cleaning.late_nights)  # told in the section on experiments
    living = Living(shop, store, keys, night, anomalies)
    for one in made:
        plan = read_plan(one, store, keys, anomalies)
        got, clicked = _answered(one + timedelta(days=1), plan, living)
        bought = living.night(one + timedelta(days=1), plan)[:, PURCHASES] > 0
        expected = _expected(one, store, keys, plan)
        here = got & np.isfinite(expected).all(axis=1)
        parts.append((expected[here], np.stack([clicked, bought], axis=1)[here]))
    if not any(len(expected) for expected, _ in parts):
        return {"missing": "No message that a model had scored has been delivered and answered yet."}
    expected, came = (np.concatenate(found) for found in zip(*parts, strict=True))
    measures = [
        {"name": name, **_group(expected[:, column], came[:, column]), "groups": _groups(expected[:, column], came[:, column])}
        for column, name in enumerate(EXPECTED)
    ]  # fmt: skip
    return {"nights": len(made), "messages": len(came), "measures": measures}


def _groups(expected: np.ndarray, came: np.ndarray) -> list[dict[str, Any]]:
    order = np.argsort(expected, kind="stable")
    return [_group(expected[part], came[part]) for part in np.array_split(order, _GROUPS) if len(part)]


def _group(expected: np.ndarray, came: np.ndarray) -> dict[str, Any]:
    return {"expected": round(float(expected.mean()), 6), "told": proportion(int(came.sum()), len(came))}


def _answered(night: date, plan: Planned, living: Living) -> tuple[np.ndarray, np.ndarray]:
    """(n,) bool each: who got on a night what the plan named, and who of them clicked."""
    import pyarrow.compute as pc

    sent = living.feedback.sent_on(night)
    user = pc.fill_null(pc.index_in(sent[C.USER_KEY], value_set=living.keys), -1).to_numpy()
    planned = np.full(len(living.keys) + 1, "", dtype=object)
    planned[plan.user] = np.where(plan.is_sent, plan.strategy, "")
    as_planned = (sent[C.STATUS].to_numpy() == "delivered") & (sent[C.STRATEGY_ID].to_numpy() == planned[user])
    is_clicked = np.zeros(len(sent), dtype=bool)
    for _, told in living.feedback.answers_to(night, sent):
        clicks = told.filter(pc.equal(told[C.OUTCOME], "click"))[C.DELIVERY_ID].combine_chunks()
        is_clicked |= pc.is_in(sent[C.DELIVERY_ID], value_set=clicks).to_numpy()
    got, clicked = np.zeros((2, len(living.keys)), dtype=bool)
    got[user[as_planned]] = True
    clicked[user[as_planned & is_clicked]] = True
    return got, clicked


def _expected(night: date, store: Store, keys: "pa.Array", plan: Planned) -> np.ndarray:
    """(n, 2) P(click) and P(purchase) of what each customer was to be sent, NaN where nothing, or not scored."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    found = np.full((len(keys), len(EXPECTED)), np.nan)
    planned = np.full(len(keys), None, dtype=object)
    planned[plan.user[plan.is_sent]] = plan.strategy[plan.is_sent]
    strategy = pa.array(planned, pa.string())
    for file in store.files(SCORES, [night]):
        for batch in pq.ParquetFile(file).iter_batches(
            _BATCH_ROWS, columns=[C.USER_KEY, C.STRATEGY_ID, *EXPECTED.values()]
        ):
            user = pc.index_in(batch[C.USER_KEY], value_set=keys)
            mine = pc.fill_null(pc.equal(strategy.take(user), batch[C.STRATEGY_ID]), False).to_numpy(
                zero_copy_only=False
            )
            rows = user.filter(pa.array(mine)).to_numpy()
            for column, name in enumerate(EXPECTED.values()):
                found[rows, column] = batch[name].to_numpy(zero_copy_only=False)[mine]
    return found
