"""Explains the lift that the effect model expects of what the plan sends: the largest contributions, in words and cents.

    python -m training.explain SPEC.json

The spec is written by pipelines/explain.py: `shop`, `root`, `night`, `out`, `threads`, `model` and `baseline_nights` as
for training/predict.py. Rows go to <out>/plan_reasons/part-00000.parquet, {rows, customers} to <out>/result.json.

Explained is LIFT_SPEND_CENTS, what a customer spends more under the strategy than left alone, by the Shapley shares of
named factors (pipelines/strategy/attribution.py) against the usual customer (medians, most frequent texts) who gets the
plan's most frequent strategy. The model is asked, not looked into: whatever it is made of, the shares add up to its lift.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.core.columns import Columns as C
from pipelines.core.errors import NoDataError, TrainingError
from pipelines.core.shop import Shop
from pipelines.core.storage import Store
from pipelines.strategy.attribution import Shares, Value, largest, shapley
from pipelines.strategy.candidates import NOTHING, candidates
from training.job import run_job
from training.predict import scorer
from training.table_files import PART, schema_of, writer
from training.tasks.effect import profiles_of
from training.tasks.effect_examples import STRATEGY_COLUMNS, strategy_table
from training.tasks.effect_factors import Factor, Words, factors_of, strategy_ids

TABLE: Final = "plan_reasons"
USUAL, REST = "usual", "rest"  # factors of the first and the last rank
N_SHOWN: Final = 3
_BLOCK: Final = 4_096  # customers explained at a time
_TOLERANCE: Final = 1e-6  # cents, and as a share: what two ways of scoring may differ by
_SCHEMA = schema_of(TABLE)


class Lifts(Protocol):
    """Any model of effects."""

    def predict(self, rows: pa.Table) -> pa.Table: ...


@dataclass(frozen=True)
class Usual:
    """What customers are compared with: one value per column."""

    values: dict[str, Any]

    @classmethod
    def of(cls, profiles: pa.Table, sent: pa.Table) -> "Usual":
        """The median or most frequent value of each column of `profiles` and, of `sent`, the strategy most often sent."""
        values = {name: _middle(profiles[name]) for name in profiles.schema.names if name != C.USER_KEY}
        usual = _most_frequent(sent[C.STRATEGY_ID])
        row = sent.filter(pc.equal(sent[C.STRATEGY_ID], usual)).slice(0, 1).to_pylist()[0]
        return cls(values | {name: row[name] for name in STRATEGY_COLUMNS})


def explain(model: Lifts, rows: pa.Table, usual: Usual, factors: Sequence[Factor]) -> Shares:
    """Shares of the factors in LIFT_SPEND_CENTS, (n, f) cents, of n rows of customers with strategies."""
    return shapley(game(model, rows, usual, factors), len(factors))


def game(model: Lifts, rows: pa.Table, usual: Usual, factors: Sequence[Factor]) -> Value:
    """What the model says of n rows whose own values are those of some factors, the usual ones of all others."""
    constant = {
        name: pa.repeat(pa.scalar(usual.values[name], rows.schema.field(name).type), rows.num_rows)
        for factor in factors
        for name in factor.columns
    }

    def lift(coalition: np.ndarray) -> np.ndarray:
        mixed = rows
        for factor in (factor for factor, joined in zip(factors, coalition, strict=True) if not joined):
            for name in factor.columns:
                mixed = mixed.set_column(mixed.schema.get_field_index(name), name, constant[name])
        at = mixed.schema.get_field_index(C.STRATEGY_ID)
        mixed = mixed.set_column(at, C.STRATEGY_ID, strategy_ids(mixed))
        return np.asarray(model.predict(mixed)[C.LIFT_SPEND_CENTS].to_numpy())

    return lift


def reasons(rows: pa.Table, found: Shares, usual: Usual, factors: Sequence[Factor], words: Words) -> pa.Table:
    """The table plan_reasons of n rows: five each, that add up to the lift; cents to six digits."""
    first = largest(found.shares, N_SHOWN)
    shown = np.take_along_axis(found.shares, first, axis=1)
    cents = np.round(np.column_stack([found.base, shown]), 6)
    cents = np.column_stack([cents, np.round(found.total - cents.sum(axis=1), 6)])
    n, ranks = cents.shape
    names = [[USUAL, *(factors[place].name for place in places), REST] for places in first.tolist()]
    whole = rows.to_pylist()
    against = f"the usual customer gets {usual.values[C.STRATEGY_ID]}"
    others = f"{len(factors) - first.shape[1]} other factors"
    told = [
        [against, *(factors[place].tell(row, words) for place in places), others]
        for row, places in zip(whole, first.tolist(), strict=True)
    ]
    columns = {
        C.USER_KEY: np.repeat(rows[C.USER_KEY].to_numpy(), ranks),
        C.RANK: np.tile(np.arange(ranks), n),
        C.STRATEGY_ID: np.repeat(rows[C.STRATEGY_ID].to_numpy(), ranks),
        C.FACTOR: np.array(names, dtype=object).ravel(),
        C.TOLD: np.array(told, dtype=object).ravel(),
        C.CONTRIBUTION_CENTS: cents.ravel() + 0.0,  # no -0
    }
    return pa.table([pa.array(columns[field.name], field.type) for field in _SCHEMA], schema=_SCHEMA)


def run(spec: dict[str, Any]) -> dict[str, Any]:
    """Raises NoDataError for a plan without scores, TrainingError where the model does not give the lifts of the scores."""
    shop, night = Shop.model_validate(spec["shop"]), date.fromisoformat(spec["night"])
    store = Store(Path(spec["root"]), shop.shop)
    profiles = profiles_of(shop, store, night)
    rows = planned_rows(shop, store, night, profiles)
    model = scorer(spec, shop, store)
    check_scores(model, rows, store, night)
    usual, factors, words = Usual.of(profiles, rows), factors_of(rows), _words(shop, store, night)
    n_rows = 0
    with writer(Path(spec["out"]) / TABLE / PART, TABLE) as file:
        for start in range(0, rows.num_rows, _BLOCK):
            block = rows.slice(start, _BLOCK)
            made = reasons(block, explain(model, block, usual, factors), usual, factors, words)
            file.write_table(made)
            n_rows += made.num_rows
    return {"rows": n_rows, "customers": rows.num_rows}


def planned_rows(shop: Shop, store: Store, night: date, profiles: pa.Table) -> pa.Table:
    """Those of `profiles` to whom the night's plan sends a strategy, with its columns, in their order."""
    plan = pq.ParquetFile(store.partition("campaign_plan", night) / "part-00000.parquet")
    sent = plan.read(columns=[C.USER_KEY, C.STRATEGY_ID])
    sent = sent.filter(pc.not_equal(sent[C.STRATEGY_ID], NOTHING))
    place = pc.index_in(profiles[C.USER_KEY], value_set=sent[C.USER_KEY].combine_chunks())
    known = strategy_table(candidates(shop.strategy))
    rows, strategy = profiles.filter(pc.is_valid(place)), sent[C.STRATEGY_ID].take(place.drop_null())
    at = pc.index_in(strategy, value_set=known[C.STRATEGY_ID].combine_chunks())
    if at.null_count or rows.num_rows != len(sent):
        raise NoDataError(
            f"shop {shop.shop}, {night}: campaign_plan names customers or strategies that the night does not know; plan it again"
        )
    for name in STRATEGY_COLUMNS:
        rows = rows.append_column(name, known[name].take(at))
    return rows


def check_scores(model: Lifts, rows: pa.Table, store: Store, night: date) -> None:
    """Whether the model is the one that scored: held against the first scores of the night. Raises as `run` says."""
    files = store.files("strategy_scores", [night])
    if not files:
        raise NoDataError(
            f"shop {store.shop}, {night}: the plan has no strategy_scores to explain; run the score stage first"
        )
    columns = [C.USER_KEY, C.STRATEGY_ID, C.LIFT_SPEND_CENTS]
    scores = pq.ParquetFile(files[0]).read_row_group(0, columns=columns)
    both = rows.join(scores, keys=columns[:2], join_type="inner") if scores.num_rows else rows.slice(0, 0)
    if not both.num_rows:
        return
    said = both[C.LIFT_SPEND_CENTS].to_numpy()
    told = model.predict(both.drop_columns(C.LIFT_SPEND_CENTS))
    if C.LIFT_SPEND_CENTS not in told.schema.names:
        raise TrainingError(
            f"shop {store.shop}, {night}: the model tells {', '.join(told.schema.names)}, but no {C.LIFT_SPEND_CENTS} to "
            "explain: it is of an older kind; train it again, then score the night again"
        )
    off = np.abs(told[C.LIFT_SPEND_CENTS].to_numpy() - said)
    wrong = off > _TOLERANCE * (1 + np.abs(said))
    if wrong.any():
        raise TrainingError(
            f"shop {store.shop}, {night}: the model does not give the lifts of strategy_scores (off by up to {off.max():.3g} "
            f"cents in {wrong.sum()} of {len(off)} customers): what it was made of has changed; score the night again"
        )


def _words(shop: Shop, store: Store, night: date) -> Words:
    names: dict[str, str] = {}
    for file in store.files("catalog", [night]):
        told = pq.ParquetFile(file).read(columns=[C.CATEGORY_ID, C.CATEGORY_PATH]).group_by(C.CATEGORY_ID)
        least = told.aggregate([(C.CATEGORY_PATH, "min")])
        names |= dict(zip(least[C.CATEGORY_ID].to_pylist(), least[f"{C.CATEGORY_PATH}_min"].to_pylist(), strict=True))
    return Words(shop.features.window_nights, shop.currency, {key: name for key, name in names.items() if key and name})


def _middle(column: pa.ChunkedArray) -> Any:
    """The median of numbers, the most frequent of texts; None where all are missing."""
    if pa.types.is_string(column.type):
        return _most_frequent(column)
    values = pc.drop_null(pc.cast(column, pa.float64())).to_numpy()
    if not len(values):
        return None
    return float(np.median(values)) if pa.types.is_floating(column.type) else int(np.median(values))


def _most_frequent(texts: pa.ChunkedArray) -> str | None:
    """Equals: the first of the alphabet."""
    counted = pc.value_counts(pc.drop_null(texts)).to_pylist()
    return min(counted, key=lambda one: (-one["counts"], one["values"]))["values"] if counted else None


if __name__ == "__main__":
    run_job(run)
