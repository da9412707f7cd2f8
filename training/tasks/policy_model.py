"""The policy as it is used: what a strategy is worth over the nights to come, for whole grids and for logged rows.

With r(s, a) the one-night profit that the effect model expects of strategy a over sending nothing, and C(s, a) the value
of the state that a leaves, discounted,

    Q(s, a) = r(s, a) + discount x C(s, a),    value(s, a) = Q(s, a) - Q(s, nothing)

in cents: what the knapsack may take instead of r. The greedy policy is the one without C. Fitted by policy_fit.py.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Final, Protocol

import lightgbm
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.core.columns import Columns as C
from pipelines.core.errors import TrainingError
from pipelines.strategy.candidates import Candidate
from pipelines.strategy.exploit import profit_lift
from training.boosting import load_booster, save_booster
from training.grid import Grid
from training.tasks import effect
from training.tasks.effect_examples import STRATEGY_COLUMNS, WEEKDAY, strategy_table
from training.tasks.effect_linear import StrategyTerms
from training.tasks.policy_examples import COMPLAINT_COST, MARGIN_PERCENT, RECENT, left_on

PROFIT_CENTS: Final = "profit_cents"  # expected of one night, over sending nothing
VALUE_CENTS: Final = "value_cents"  # the same over the nights to come
GREEDY: Final = "greedy"  # the kind that thinks of no later night; pipelines/score.py knows it by this name
CHOSEN: Final = "chosen_"  # prefix: the same columns, and the strategy's, of what the policy itself would send
_MAX_DEVIATION: Final = 4.0
_TONIGHT_ONLY: Final = (C.OFFER, C.SEND_WINDOW, C.CREATIVE_STYLE)


class Continuation(Protocol):
    """C(s, a) of customers' summaries (n, f) and strategies' terms (k, q): (n, k + 1) cents, nothing last."""

    kind: ClassVar[str]

    def grid(self, summary: np.ndarray, psi: np.ndarray) -> np.ndarray: ...
    def save(self, folder: Path) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Trees:
    """One ensemble on summary and terms together: fitted Q iteration with trees (Ernst, Geurts, Wehenkel 2005)."""

    booster: lightgbm.Booster
    kind: ClassVar[str] = "trees"

    def grid(self, summary: np.ndarray, psi: np.ndarray) -> np.ndarray:
        with_nothing = np.concatenate([psi, np.zeros((1, psi.shape[1]))])
        return Grid(self.booster, summary.shape[1], with_nothing).raw(summary)

    def save(self, folder: Path) -> dict[str, Any]:
        save_booster(self.booster, folder / "continuation.txt")
        return {}

    @classmethod
    def load(cls, folder: Path, told: Mapping[str, Any]) -> "Trees":
        return cls(load_booster(folder / "continuation.txt"))


@dataclass(frozen=True)
class Frame:
    """What a policy looks at: the effect model, the channels, how a state is summed up, the strategies it learnt from."""

    effect: effect.EffectModel
    channels: tuple[str, ...]
    terms: StrategyTerms
    deck: tuple[Candidate, ...]
    mean: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()

    def profit(self, states: pa.Table, strategies: Sequence[Candidate]) -> np.ndarray:
        """(n, s) cents of one night over sending nothing."""
        grid = self.effect.score_grid(states, strategies)
        complaints = grid[C.P_COMPLAINT] * numbers(states, COMPLAINT_COST)[:, None]
        return profit_lift(
            grid[C.SPEND_CENTS], grid[C.LIFT_SPEND_CENTS], complaints, numbers(states, MARGIN_PERCENT)[:, None],
            np.array([one.discount_percent for one in strategies]),
            np.array([one.message_cost_cents for one in strategies]), complaint_cost_cents=1.0,
        )  # fmt: skip

    def summary(self, states: pa.Table, profit: np.ndarray, strategies: Sequence[Candidate]) -> np.ndarray:
        """(n, f): best one-night profit per channel, what was sent and answered lately, what may be sent, the weekday."""
        best = [
            profit[:, [k for k, one in enumerate(strategies) if one.channel == channel]].max(axis=1, initial=-100.0)
            for channel in self.channels
        ]
        recent = [numbers(states, name) for name in RECENT]
        left = [np.minimum(numbers(states, left_on(channel)), 3.0) for channel in self.channels]
        weekday = [(numbers(states, WEEKDAY) == day).astype(np.float64) for day in range(1, 8)]
        columns = [np.max(best, axis=0), *best, *recent, *left, *(part > 0 for part in left), *weekday]
        raw = np.stack(columns, axis=1).astype(np.float64)
        if not self.mean:
            return raw
        deviation = (raw - np.array(self.mean)) / np.array(self.scale)
        return np.clip(np.nan_to_num(deviation), -_MAX_DEVIATION, _MAX_DEVIATION)

    def traces(self, strategies: pa.Table) -> np.ndarray:
        """(s, q): the terms of strategies that may matter beyond tonight: that something was sent, how often and how much
        off, on which channel. Hour and words would be noise to choose the largest of."""
        kept = [not name.startswith(_TONIGHT_ONLY) for name in self.terms.names]
        return self.terms.matrix(strategies)[:, kept]

    def allowed(self, states: pa.Table, strategies: Sequence[Candidate]) -> np.ndarray:
        """(n, s) bool: what caps, rest and consent leave; where a table does not tell, everything."""
        left = {
            channel: numbers(states, left_on(channel), otherwise=np.inf)
            for channel in {one.channel for one in strategies}
        }
        may = [left[one.channel] >= one.frequency for one in strategies]
        return np.stack(may, axis=1) if may else np.zeros((states.num_rows, 0), dtype=bool)


@dataclass(frozen=True)
class PolicyModel:
    """A policy; `continuation` None is the greedy one-night optimum."""

    frame: Frame
    discount: float  # per night
    continuation: Continuation | None = None

    @property
    def kind(self) -> str:
        return self.continuation.kind if self.continuation else GREEDY

    def score_grid(self, states: pa.Table, strategies: Sequence[Candidate]) -> dict[str, np.ndarray]:
        """PROFIT_CENTS and VALUE_CENTS of n customers (`states_of`) and s strategies, new ones too: (n, s) each."""
        profit = self.frame.profit(states, strategies)
        if self.continuation is None:
            return {PROFIT_CENTS: profit, VALUE_CENTS: profit}
        summary = self.frame.summary(states, profit, strategies)
        later = self.continuation.grid(summary, self.frame.traces(strategy_table(strategies)))
        return {PROFIT_CENTS: profit, VALUE_CENTS: profit + self.discount * (later[:, :-1] - later[:, -1:])}

    def long_run(self, states: pa.Table, strategies: Sequence[Candidate]) -> np.ndarray:
        """(n, s) cents that sending a strategy tonight brings in later nights, or costs there, over sending nothing."""
        scores = self.score_grid(states, strategies)
        return np.asarray(scores[VALUE_CENTS] - scores[PROFIT_CENTS])

    def choose(self, states: pa.Table) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Of the deck, what each customer gets if nobody else counts, (n,) -1 for nothing, and the scores."""
        scores = self.score_grid(states, self.frame.deck)
        value = np.where(self.frame.allowed(states, self.frame.deck), scores[VALUE_CENTS], -np.inf)
        best = value.argmax(axis=1) if value.shape[1] else np.zeros(len(value), dtype=np.int64)
        return np.where(value.max(axis=1, initial=0.0) > 0, best, -1), scores

    def predict(self, rows: pa.Table) -> pa.Table:
        """PROFIT_CENTS and VALUE_CENTS of each row's own strategy, 0 for none, and what the policy would send instead."""
        choice, scores = self.choose(rows)
        at = np.arange(rows.num_rows)
        ids = pa.array([one.strategy_id for one in self.frame.deck], pa.string())
        logged = pc.fill_null(pc.index_in(rows[C.STRATEGY_ID], value_set=ids), -1).to_numpy()
        padded = {name: np.pad(values, ((0, 0), (0, 1))) for name, values in scores.items()}
        found: dict[str, Any] = {name: values[at, logged] for name, values in padded.items()}
        found |= {f"{CHOSEN}{name}": values[at, choice] for name, values in padded.items()}
        table = strategy_table([*self.frame.deck, None]).take(pa.array(choice % (len(ids) + 1)))
        return pa.table(found | {f"{CHOSEN}{name}": table[name] for name in STRATEGY_COLUMNS})

    def save(self, folder: Path) -> None:
        (folder / "effect").mkdir()
        self.frame.effect.save(folder / "effect")
        told: dict[str, Any] = {"task": "policy", "kind": self.kind, "discount": self.discount}
        told |= {"channels": self.frame.channels, "mean": self.frame.mean, "scale": self.frame.scale}
        told |= {"terms": vars(self.frame.terms), "deck": [asdict(one) for one in self.frame.deck]}
        told["continuation"] = self.continuation.save(folder) if self.continuation else {}
        (folder / "model.json").write_text(json.dumps(told, sort_keys=True), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, told: Mapping[str, Any]) -> "PolicyModel":
        """Reads what `save` wrote; `told` is its model.json."""
        levels = {name: tuple(texts) for name, texts in told["terms"]["levels"].items()}
        frame = Frame(
            effect.TASK.load(folder / "effect"), tuple(told["channels"]),
            StrategyTerms(levels, tuple(told["terms"]["mean"])), tuple(Candidate(**one) for one in told["deck"]),
            tuple(told["mean"]), tuple(told["scale"]),
        )  # fmt: skip
        return cls(frame, float(told["discount"]), _load_continuation(folder, told["kind"], told["continuation"]))


def load_policy(folder: Path) -> PolicyModel:
    """A policy as it was saved. Raises TrainingError for a folder that holds none."""
    try:
        told = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        if told["task"] != "policy":
            raise ValueError(f"a model '{told['kind']}' of task '{told['task']}'")
        return PolicyModel.load(folder, told)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(
            f"{folder}: no readable policy ({type(error).__name__}: {error}); train it again"
        ) from error


def _load_continuation(folder: Path, kind: str, told: Mapping[str, Any]) -> Continuation | None:
    if kind == GREEDY:
        return None
    if kind == Trees.kind:
        return Trees.load(folder, told)
    from training.tasks.policy_net import Net  # only a network needs torch, which not every machine that scores has

    if kind != Net.kind:
        raise ValueError(f"an unknown kind of policy, '{kind}'")
    return Net.load(folder, told)


def numbers(rows: pa.Table, name: str, otherwise: float = 0.0) -> np.ndarray:
    """(n,) float64, `otherwise` where missing or where there is no such column."""
    if name not in rows.schema.names:
        return np.full(rows.num_rows, otherwise)
    return pc.fill_null(pc.cast(rows[name], pa.float64()), otherwise).to_numpy()
