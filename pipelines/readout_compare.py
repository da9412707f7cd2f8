"""The comparisons of a read-out: who is held against whom, filled night by night.

Assigned comparisons (the holdout, experiments) keep a customer in the arm of their first night: everybody counts on every
night from then on, sent to or not (intention to treat). Comparisons by lot count the nights on which a lot was drawn,
each row as 1 / its probability, with what the customer did on that night alone. Customers whom a model chose for are
random in nothing but that it was not the lot that chose, so they are held against the lot and nobody else.
"""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import numpy as np

from pipelines.core.columns import Columns as C
from pipelines.core.reading import read
from pipelines.core.shop import Shop
from pipelines.core.storage import Store
from pipelines.readout_anomalies import Anomalies
from pipelines.readout_nights import Living
from pipelines.readout_plan import COVARIATES, Planned, covariates_of, customers_of, read_plan
from pipelines.readout_recommend import RECOMMENDATIONS, Pages
from pipelines.readout_tally import METRICS, PAGE_METRICS, Metric, Tally
from pipelines.readout_told import told
from pipelines.strategy.candidates import candidates

_DAY = timedelta(days=1)


def plans_lived(night: date, store: Store) -> list[date]:
    """Plans kept whose night has been lived, and told of, by the end of `night`."""
    return [one for one in store.nights("campaign_plan") if one < night and store.manifest("events", one + _DAY)]


def experiments(night: date, shop: Shop, store: Store) -> dict[str, Any]:
    """{period, experiments, anomalies, notes} of all plans kept and lived by the end of `night`."""
    made = plans_lived(night, store)
    if not made:
        text = (
            "No plan has been lived yet: what plans and experiments did shows here from the night after the first plan."
        )
        return {"period": None, "experiments": [], "anomalies": [], "notes": [text]}
    notes = []
    kept_from = store.kept_from("decisions")
    if kept_from > date.min:
        notes.append(
            f"Plans before {made[0]} are kept no longer (retention.decisions_nights): the holdout is told from there on, "
            "without what was known before, and its looks before are forgotten."
        )
    keys = customers_of(made, store)
    anomalies = Anomalies(shop.cleaning.late_nights)
    living = Living(shop, store, keys, night, anomalies)
    comparing = Comparing(shop, len(keys), kept_from)
    pages = Pages(shop, store, keys, anomalies)
    for one in made:
        plan = read_plan(one, store, keys, anomalies)
        known, values = covariates_of(one, store, keys), living.night(one + _DAY, plan)
        comparing.night(plan, values, known, _segment_names(one, store), pages.night(one + _DAY, plan, values))
    anomalies.add("two_arms", comparing.n_moved)
    told_by = [told(tally) for tally in comparing.tallies.values()]
    return {
        "period": {"first": (made[0] + _DAY).isoformat(), "last": night.isoformat(), "nights": len(made)},
        "experiments": told_by,
        "anomalies": anomalies.told(),
        "notes": notes,
    }


class Comparing:
    """All comparisons, filled night by night."""

    def __init__(self, shop: Shop, n: int, kept_from: date) -> None:
        """Of n customers; plans are kept from `kept_from` on."""
        self.shop, self.n, self.kept_from = shop, n, kept_from
        self.tallies: dict[str, Tally] = {}
        self.n_moved = 0
        self._arm_of: dict[str, np.ndarray] = {}  # comparison -> (n,) arm of each customer's first night, -1 before it
        self._moved: dict[str, np.ndarray] = {}
        self._known: dict[str, np.ndarray] = {}  # comparison -> (n, c) as known before its first night
        self._segment = np.full(n, "", dtype=object)
        self._strategies: dict[str, list[set[str]]] = {}
        self.n_strategies = len(candidates(shop.strategy))

    def night(
        self, plan: Planned, values: np.ndarray, known: np.ndarray, segments: dict[int, str],
        has_no_list: np.ndarray | None = None,
    ) -> None:  # fmt: skip
        """Adds one plan and what its customers did, `values` (n, N_VALUES); `known` (n, c) before the plan. `has_no_list` (n,)
        bool: held out from what the shop's pages recommended, None where nothing was."""
        ids, place = np.unique(plan.segment, return_inverse=True)
        names = np.array([segments.get(one, "") for one in ids.tolist()], dtype=object)[place]
        new = self._segment[plan.user] == ""
        self._segment[plan.user[new]] = names[new]
        share = self.shop.strategy.holdout_percent / 100
        if 0 < share < 1 or plan.is_holdout.any():
            shares = (share, 1 - share) if 0 < share < 1 else None
            self._assigned(
                "holdout", "Does the plan pay? Everybody it may plan for, sent to or not, against the holdout.",
                ("the holdout", "the plan"), shares, plan.user, np.where(plan.is_holdout, 0, 1), values,
                known if self.kept_from == date.min else known[:, :0],
            )  # fmt: skip
        if has_no_list is not None and self.shop.recommend:
            held = self.shop.recommend.holdout_percent / 100
            self._assigned(
                RECOMMENDATIONS, "Do recommendations pay? Everybody who may be shown some, whether they come or not, against the "
                "customers held out from them.", ("nothing recommended", "recommendations"), (held, 1 - held), plan.user,
                np.where(has_no_list[plan.user], 0, 1), values, known if self.kept_from == date.min else known[:, :0],
                PAGE_METRICS,
            )  # fmt: skip
        self._declared(plan, values, known)
        self._lots(plan, values, known)
        self._choices(plan, values, known)
        for tally in self.tallies.values():
            tally.look()

    def _declared(self, plan: Planned, values: np.ndarray, known: np.ndarray) -> None:
        texts, place = np.unique(plan.arms, return_inverse=True)
        parts = [dict(part.split("=") for part in text.split(";") if part) for text in texts]
        for experiment in self.shop.strategy.experiments:
            names = {arm.id: k for k, arm in enumerate(experiment.arms)}
            arm = np.array([names.get(part.get(experiment.id, ""), -1) for part in parts], dtype=np.int64)[place]
            if (arm >= 0).any():
                is_whole = self.kept_from <= experiment.first_night  # else its arms were at work before what is known
                self._assigned(
                    experiment.id, "An experiment of the shop: its arms restrict what their customers may be sent.",
                    tuple(names), tuple(one.share for one in experiment.arms), plan.user[arm >= 0], arm[arm >= 0], values,
                    known if is_whole else known[:, :0],
                )  # fmt: skip

    def _assigned(
        self, name: str, question: str, arms: tuple[str, ...], shares: tuple[float, ...] | None,
        user: np.ndarray, arm: np.ndarray, values: np.ndarray, known: np.ndarray, metrics: Sequence[Metric] = METRICS,
    ) -> None:  # fmt: skip
        """Everybody from their first night on, in the arm of that night; `known` of the comparison's first night stays."""
        if name not in self.tallies:
            self._known[name] = known
            self._arm_of[name] = np.full(self.n, -1, dtype=np.int64)
            self._moved[name] = np.zeros(self.n, dtype=bool)
            self.tallies[name] = self._tally(name, question, arms, shares, known.shape[1], self._segment, metrics)
        arm_of, moved = self._arm_of[name], self._moved[name]
        changed = (arm_of[user] >= 0) & (arm_of[user] != arm) & ~moved[user]
        moved[user[changed]] = True
        self.n_moved += int(changed.sum())
        arm_of[user] = np.where(arm_of[user] >= 0, arm_of[user], arm)
        inside = np.flatnonzero(arm_of >= 0)
        self.tallies[name].add(inside, arm_of[inside], np.ones(len(inside)), values, self._known[name])

    def _lots(self, plan: Planned, values: np.ndarray, known: np.ndarray) -> None:
        """Who drew a lot that could bring a message and could bring nothing, weighed by 1 / probability."""
        drawn = (plan.lot_propensity > 0) & (plan.lot_nothing > 0) & (plan.lot_nothing < 1)
        if drawn.any():
            chance = np.where(plan.is_sent, 1 - plan.lot_nothing, plan.lot_nothing)[drawn]
            tally = self._by_lot(
                "message",
                "Does a message drawn by lot pay, on its night, against nothing drawn by lot?",
                ("sending nothing", "a message"),
            )
            tally.add(plan.user[drawn], plan.is_sent[drawn].astype(np.int64), 1 / chance, values, known)
        free = drawn & (plan.n_allowed == self.n_strategies)  # every strategy could be drawn, so all arms are alike
        strategy = self.shop.strategy
        for name, ids, mine in (
            ("offer", [offer.id for offer in strategy.offers], plan.offer),
            ("channel", [channel.id for channel in strategy.channels], plan.channel),
        ):
            if free.any() and len(ids) > 1:
                tally = self._by_lot(
                    f"{name}s", f"Which {name} drawn by lot pays, on its night, against nothing? Customers without any limit.",
                    ("sending nothing", *(f"{name} {one}" for one in ids)),
                )  # fmt: skip
                place = {one: k for k, one in enumerate(ids, start=1)}
                arm = np.array([place.get(one, 0) for one in mine[free]], dtype=np.int64)
                tally.add(plan.user[free], arm, 1 / plan.lot_propensity[free], values, known)
                seen = self._strategies.setdefault(tally.name, [set() for _ in tally.arms])
                for k in range(len(tally.arms)):
                    seen[k] |= set(plan.strategy[free][arm == k])
                    tally.lots_per_row[k] = max(len(seen[k]), 1)

    def _choices(self, plan: Planned, values: np.ndarray, known: np.ndarray) -> None:
        """On nights on which a model chose: its choice against the lot, a coin flipped for each customer."""
        if plan.explore_share is None or not 0 < plan.explore_share < 1:
            return
        inside = ~plan.is_holdout & (plan.n_allowed > 0)
        arm = np.isnan(plan.lot_propensity[inside]).astype(np.int64)
        chance = np.where(arm == 1, 1 - plan.explore_share, plan.explore_share)
        tally = self._by_lot(
            "choice",
            "Does the model choose better than the lot, on the night of the message?",
            ("the lot", "the model's choice"),
        )
        tally.add(plan.user[inside], arm, 1 / chance, values, known)

    def _by_lot(self, name: str, question: str, arms: tuple[str, ...]) -> Tally:
        if name not in self.tallies:
            self.tallies[name] = self._tally(name, question, arms, None, len(COVARIATES) + 1, ())
        return self.tallies[name]

    def _tally(
        self,
        name: str,
        question: str,
        arms: tuple[str, ...],
        shares: tuple[float, ...] | None,
        n_covariates: int,
        segments: Any,
        metrics: Sequence[Metric] = METRICS,
    ) -> Tally:
        return Tally(name, question, arms, shares, self.n, n_covariates, self.shop.readout, segments, metrics)


def _segment_names(night: date, store: Store) -> dict[int, str]:
    rows = read(store, "segments", [night], C.SEGMENT_ID, C.SEGMENT_NAME)
    return (
        {} if rows is None else dict(zip(rows[C.SEGMENT_ID].to_pylist(), rows[C.SEGMENT_NAME].to_pylist(), strict=True))
    )
