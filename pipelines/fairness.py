"""Measures what the night's plan gives to groups of customers, and stops it where a gap is wider than the shop allows.

    nightmarket night --shop demo --date 2026-03-15        # fairness_gate: {...} in conf/shops/demo.yaml

Compared are customers whom the plan could have sent something: not held out, and with a strategy that their consent and
the other limits allow. The rules are pure functions of arrays, pipelines/strategy/fairness.py.
"""

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pipelines.core.columns import Columns as C
from pipelines.core.errors import AuditError, NoDataError
from pipelines.core.fairness import FairnessGate
from pipelines.core.shop import Shop
from pipelines.core.storage import Store
from pipelines.strategy.candidates import NOTHING
from pipelines.strategy.fairness import Gap, group_means, groups_by, widest_gap

if TYPE_CHECKING:
    import pyarrow as pa

# measure -> how it is told
MEASURES: Final = {
    "treated": "share who are sent something",
    "discount_percent": "mean discount, percent",
    "cost_cents": "mean cost of messages, cents",
    "profit_cents": "mean expected profit, cents",
}


def judge(night: date, shop: Shop, store: Store, plan: Path) -> dict[str, Any]:
    """What the staged plan (a folder) gives to each group and the widest gaps, for its manifest.

    Raises AuditError, one line, where a gap breaks a bound of the shop's `fairness_gate`.
    """
    found = measure(night, shop, store, plan)
    broken = [text for gap in found["gaps"] if (text := _breach(gap, shop.fairness_gate))]
    if broken:
        raise AuditError(
            f"shop {shop.shop}, {night}: the plan is unfair between groups of {shop.fairness_gate.column}: "
            f"{'; '.join(broken)}; nothing was published"
        )
    return found | {"gaps": [_told(gap, shop.fairness_gate) for gap in found["gaps"]]}


def measure(night: date, shop: Shop, store: Store, plan: Path) -> dict[str, Any]:
    """{column, customers, groups, gaps}: of the reachable customers of a plan."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    names = (C.USER_KEY, C.STRATEGY_ID, C.DISCOUNT_PERCENT, C.COST_CENTS, C.EXPECTED_PROFIT_CENTS)
    columns = [*names, C.IS_HOLDOUT, C.N_ALLOWED]
    rows = pa.concat_tables(pq.ParquetFile(file).read(columns=columns) for file in sorted(plan.glob("part-*.parquet")))
    rows = rows.filter(pc.and_(pc.invert(rows[C.IS_HOLDOUT]), pc.greater(rows[C.N_ALLOWED], 0)))
    arrays = {
        "treated": pc.not_equal(rows[C.STRATEGY_ID], NOTHING).to_numpy(),
        "discount_percent": rows[C.DISCOUNT_PERCENT].cast("double").to_numpy(),
        "cost_cents": rows[C.COST_CENTS].cast("double").to_numpy(),
    }
    if not rows[C.EXPECTED_PROFIT_CENTS].null_count:
        arrays["profit_cents"] = rows[C.EXPECTED_PROFIT_CENTS].to_numpy()
    group = groups_of(night, shop.fairness_gate.column, store, rows[C.USER_KEY])
    gaps = [gap for name, told in arrays.items() if (gap := widest_gap(name, group, told))]
    groups = [
        {"name": one.name, "customers": one.customers, "means": {name: m.as_dict() for name, m in one.means.items()}}
        for one in group_means(group, arrays)
    ]
    return {"column": shop.fairness_gate.column, "customers": len(rows), "groups": groups, "gaps": gaps}


def groups_of(night: date, column: str, store: Store, keys: "pa.ChunkedArray") -> np.ndarray:
    """(n,) the group of each customer: by its value of the column (strategy/fairness.py).

    Raises NoDataError where the night lacks the table.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    table = "segments" if column == C.SEGMENT_NAME else "user_profiles"
    files = store.files(table, [night])
    if not files:
        raise NoDataError(
            f"shop {store.shop}, {night}: no table {table}; fairness needs it: run the features stage first"
        )
    rows = pa.concat_tables(pq.ParquetFile(file).read(columns=[C.USER_KEY, column]) for file in files)
    found = rows[column].take(pc.index_in(keys, value_set=rows[C.USER_KEY].combine_chunks()))
    return groups_by(column, found.combine_chunks())


def _bounds(fairness: FairnessGate) -> Mapping[str, float | None]:
    return {name: getattr(fairness, f"max_{name}_gap") for name in MEASURES}


def _breach(gap: Gap, fairness: FairnessGate) -> str | None:
    bound = _bounds(fairness)[gap.measure]
    if bound is None or not gap.breaks(bound):
        return None
    return (
        f"{MEASURES[gap.measure]}: '{gap.highest}' is {gap.difference} above '{gap.lowest}', "
        f"at most {bound:g} is allowed (fairness_gate.max_{gap.measure}_gap)"
    )


def _told(gap: Gap, fairness: FairnessGate) -> dict[str, Any]:
    """For the manifest."""
    return {
        "measure": gap.measure,
        "highest": gap.highest,
        "lowest": gap.lowest,
        "difference": gap.difference.as_dict(),
        "ratio": None if np.isnan(gap.ratio) else gap.ratio,
        "bound": _bounds(fairness)[gap.measure],
    }
