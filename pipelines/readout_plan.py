"""The plans as the read-out needs them: who was in them, what the lot gave, and what was known of the customers before."""

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Final

import numpy as np

from pipelines.core.columns import Columns as C
from pipelines.core.reading import read
from pipelines.core.storage import Store
from pipelines.readout_anomalies import Anomalies
from pipelines.strategy.candidates import NOTHING

if TYPE_CHECKING:
    import pyarrow as pa

COVARIATES: Final = (C.REVENUE_CENTS, C.N_PURCHASES, C.N_CARTS, C.N_ACTIVE_NIGHTS)
_PLAN: Final = (
    C.USER_KEY, C.SEGMENT_ID, C.STRATEGY_ID, C.OFFER, C.CHANNEL, C.IS_HOLDOUT, C.N_ALLOWED, C.LOT_PROPENSITY,
    C.LOT_NOTHING_PROPENSITY, C.LOT_EXPECTED_CENTS, C.EXPERIMENT_ARMS,
)  # fmt: skip


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
    lot_expected: np.ndarray  # (r,) float64 cents, NaN where no lot was drawn or no model had been asked
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
        lot_expected=floats(C.LOT_EXPECTED_CENTS),
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
