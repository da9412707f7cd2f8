"""The effect model as it is used: scores of rows and of whole grids, saved and loaded. training/tasks/effect.py fits it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final, Protocol

import lightgbm
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.special import expit

from pipelines.core.columns import Columns as C
from pipelines.strategy.candidates import Candidate
from training.boosting import load_booster, save_booster
from training.grid import Grid
from training.tasks.effect_examples import strategy_table
from training.tasks.effect_linear import Bilinear, CustomerTerms, StrategyTerms

_USUAL_ORDERS: Final = 3.0  # how many orders of its own the shop's mean weighs as much as
_MAX_ORDERS: Final = 10.0


class View(Protocol):
    """n customers with strategies: pair by pair, arrays (n,), or all with all, arrays (n, s)."""

    @property
    def phi(self) -> np.ndarray: ...  # (n, terms) of customers
    @property
    def psi(self) -> np.ndarray: ...  # (n or s, terms) of strategies
    def linear(self, part: Bilinear) -> np.ndarray: ...
    def trees(self, name: str, booster: lightgbm.Booster) -> np.ndarray: ...  # raw scores
    def trees_and_nothing(self, name: str, booster: lightgbm.Booster) -> tuple[np.ndarray, np.ndarray]:
        """The same, and raw scores under nothing, (n,) or (n, 1)."""
        ...

    def spread(self, values: np.ndarray) -> np.ndarray:
        """Values of customers (n,) as they stand beside arrays of this view."""
        ...


@dataclass(frozen=True)
class Pairs:
    """n customers with one strategy each."""

    phi: np.ndarray
    psi: np.ndarray

    def linear(self, part: Bilinear) -> np.ndarray:
        return part.pairs(self.phi, self.psi)

    def trees(self, name: str, booster: lightgbm.Booster) -> np.ndarray:
        return np.asarray(booster.predict(np.concatenate([self.phi, self.psi], axis=1), raw_score=True))

    def trees_and_nothing(self, name: str, booster: lightgbm.Booster) -> tuple[np.ndarray, np.ndarray]:
        nothing = Pairs(self.phi, np.zeros_like(self.psi))
        return self.trees(name, booster), nothing.trees(name, booster)

    def spread(self, values: np.ndarray) -> np.ndarray:
        return values


@dataclass(frozen=True)
class Product:
    """n customers with each of s strategies; `grids` keeps, by name, trees compiled for these strategies."""

    phi: np.ndarray
    psi: np.ndarray
    grids: dict[str, Grid]

    def linear(self, part: Bilinear) -> np.ndarray:
        return part.grid(self.phi, self.psi)

    def trees(self, name: str, booster: lightgbm.Booster) -> np.ndarray:
        return self.trees_and_nothing(name, booster)[0]

    def trees_and_nothing(self, name: str, booster: lightgbm.Booster) -> tuple[np.ndarray, np.ndarray]:
        if name not in self.grids:
            with_nothing = np.concatenate([self.psi, np.zeros((1, self.psi.shape[1]))])
            self.grids[name] = Grid(booster, self.phi.shape[1], with_nothing)
        raw = self.grids[name].raw(self.phi)
        return raw[:, :-1], raw[:, -1:]

    def spread(self, values: np.ndarray) -> np.ndarray:
        return values[:, None]


@dataclass(frozen=True)
class Head:
    """One outcome: probability = sigmoid(shift + slope x (linear + trees)); shift and slope calibrate."""

    name: str
    linear: Bilinear
    trees: lightgbm.Booster | None = None
    shift: float = 0.0
    slope: float = 1.0

    def raw(self, view: View) -> np.ndarray:
        linear = view.linear(self.linear)
        return linear if self.trees is None else linear + view.trees(self.name, self.trees)

    def probability(self, raw: np.ndarray) -> np.ndarray:
        return expit(self.shift + self.slope * raw)

    def answers(self, view: View) -> np.ndarray:
        """Probabilities, 0 where nothing is sent."""
        return np.where(view.psi[:, 0] > 0, self.probability(self.raw(view)), 0.0)


@dataclass(frozen=True)
class Orders:
    """What a customer pays for an order before any discount: the shop's mean, moved by the customer's own mean."""

    mean_cents: float
    slope: float  # 0: own orders tell nothing; 1: they tell all

    def cents(self, rows: pa.Table) -> np.ndarray:
        """(n,) cents."""
        return self.mean_cents + self.slope * (own_order_cents(rows, self.mean_cents) - self.mean_cents)


def own_order_cents(rows: pa.Table, mean_cents: float) -> np.ndarray:
    """(n,) mean of a customer's orders together with a few usual ones."""
    own, n = (
        pc.fill_null(pc.cast(rows[name], pa.float64()), 0.0).to_numpy() for name in (C.AVG_ORDER_CENTS, C.N_PURCHASES)
    )
    n = np.minimum(n, _MAX_ORDERS)
    return (n * own + _USUAL_ORDERS * mean_cents) / (n + _USUAL_ORDERS)


@dataclass(frozen=True)
class BoostedEffect:
    """The logit of buying is `unasked`, where something is sent `per_click` x P(click) more, and what `effect` adds."""

    customers: CustomerTerms
    strategies: StrategyTerms
    click: Head
    complaint: Head
    unasked: Head  # of customers alone
    per_click: float
    effect: lightgbm.Booster | None
    orders: Orders
    kind: ClassVar[str] = "boosted"
    _compiled: dict[tuple[Candidate, ...], tuple[np.ndarray, np.ndarray, dict[str, Grid]]] = field(
        default_factory=dict, repr=False, compare=False
    )

    def predict(self, rows: pa.Table) -> pa.Table:
        """P_CLICK, P_CONVERSION, SPEND_CENTS, P_COMPLAINT, LIFT_CONVERSION, LIFT_SPEND_CENTS of n rows."""
        view = Pairs(self.customers.matrix(rows), self.strategies.matrix(rows))
        return pa.table(self._scores(view, self.orders.cents(rows), paid_share(rows)))

    def score_grid(self, profiles: pa.Table, strategies: Sequence[Candidate]) -> dict[str, np.ndarray]:
        """The same for n customers and each of s strategies: (n, s) float64 each."""
        key = tuple(strategies)
        if key not in self._compiled:
            table = strategy_table(key)
            self._compiled.clear()
            self._compiled[key] = (self.strategies.matrix(table), paid_share(table), {})
        psi, paid, grids = self._compiled[key]
        return self._scores(Product(self.customers.matrix(profiles), psi, grids), self.orders.cents(profiles), paid)

    def purchase_logits(self, view: View) -> tuple[np.ndarray, np.ndarray]:
        """Before calibration: under the strategies, (n,) or (n, s), and under nothing, (n,) or (n, 1)."""
        nothing = view.spread(self.unasked.raw(alone(view.phi)))
        sent = nothing + self.per_click * self.click.answers(view)
        if self.effect is None:
            return sent, nothing
        moved, unmoved = view.trees_and_nothing("effect", self.effect)
        return sent + moved, nothing + unmoved

    def _scores(self, view: View, order_cents: np.ndarray, paid: np.ndarray) -> dict[str, np.ndarray]:
        """All scores of a view, by column; `order_cents` (n,) before discounts, `paid` (n or s,) share left by them."""
        bought, unasked = (self.unasked.probability(raw) for raw in self.purchase_logits(view))
        full_cents = view.spread(order_cents)
        spend = bought * full_cents * paid
        return {
            C.P_CLICK: self.click.answers(view),
            C.P_CONVERSION: bought,
            C.SPEND_CENTS: spend,
            C.P_COMPLAINT: self.complaint.answers(view),
            C.LIFT_CONVERSION: bought - unasked,
            C.LIFT_SPEND_CENTS: spend - unasked * full_cents,
        }

    def save(self, folder: Path) -> None:
        told: dict[str, Any] = {"task": "effect", "kind": self.kind}
        told["customers"] = vars(self.customers)
        told["strategies"] = vars(self.strategies)
        told["orders"] = vars(self.orders)
        told |= {"per_click": self.per_click, "heads": {}}
        trees = {"effect": self.effect}
        for head in (self.click, self.complaint, self.unasked):
            told["heads"][head.name] = {"linear": head.linear.to_json(), "shift": head.shift, "slope": head.slope}
            trees[head.name] = head.trees
        told["trees"] = sorted(name for name, booster in trees.items() if booster is not None)
        for name, booster in trees.items():
            if booster is not None:
                save_booster(booster, folder / f"{name}.txt")
        (folder / "model.json").write_text(json.dumps(told, sort_keys=True), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, told: Mapping[str, Any]) -> "BoostedEffect":
        """Reads what `save` wrote; `told` is its model.json."""
        trees = {name: load_booster(folder / f"{name}.txt") for name in told["trees"]}
        heads = {
            name: Head(name, Bilinear.from_json(one["linear"]), trees.get(name), one["shift"], one["slope"])
            for name, one in told["heads"].items()
        }
        customers = {name: tuple(values) for name, values in told["customers"].items()}
        levels = {name: tuple(texts) for name, texts in told["strategies"]["levels"].items()}
        return cls(
            customers=CustomerTerms(**customers),
            strategies=StrategyTerms(levels, tuple(told["strategies"]["mean"])),
            click=heads["click"],
            complaint=heads["complaint"],
            unasked=heads["unasked"],
            per_click=told["per_click"],
            effect=trees.get("effect"),
            orders=Orders(**told["orders"]),
        )


def alone(phi: np.ndarray) -> Pairs:
    """n customers without any strategy."""
    return Pairs(phi, np.ones((len(phi), 1)))


def paid_share(rows: pa.Table) -> np.ndarray:
    """(n,) share of the price that the rows' discounts leave."""
    return 1 - pc.fill_null(pc.cast(rows[C.DISCOUNT_PERCENT], pa.float64()), 0.0).to_numpy() / 100
