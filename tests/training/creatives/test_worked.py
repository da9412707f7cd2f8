"""What kinds of wording earn by simulated lots with a known truth, and how lots lean to what is proven."""

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.core.columns import Columns as C
from pipelines.core.storage import Store
from tests.pipelines.test_report import publish
from tests.training.small_copy import NIGHT, OFFER, shop
from training.creatives.worked import (
    FIRST,
    LAST,
    NO_OFFER,
    WITHIN,
    Lots,
    chances,
    gains,
    kind_of,
    lots_of,
    proven,
    read_lots,
)

BOTH = frozenset({FIRST, LAST})


def simulated(n: int, rates: dict[str, float], first: float, seed: int) -> Lots:
    """Lots that draw `first` with that chance and last else; each of n customers answers by the rate of the kind drawn."""
    rng = np.random.default_rng(seed)
    rows = []
    for at in range(n):
        kind, p = (FIRST, first) if rng.random() < first else (LAST, 1 - first)
        rows.append(("en plain", kind, p, 1, BOTH, bool(rng.random() < rates[kind]), f"u{at}"))
    return lots_of(rows)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (f"{OFFER}. An oak lamp.", FIRST),
        (f"An oak lamp. {OFFER}.", LAST),
        (f"Hello! An oak lamp. {OFFER}. We would love to see you.", WITHIN),
        ("An oak lamp.", NO_OFFER),
    ],
)
def test_the_kind_of_a_wording_is_where_its_offer_stands(text: str, kind: str) -> None:
    assert kind_of(text, f"{OFFER}.") == kind


def test_gains_are_those_counted_by_hand() -> None:
    rows = [("en plain", FIRST, 0.5, 1, BOTH, at < 12, f"f{at}") for at in range(20)]
    rows += [("en plain", LAST, 0.5, 1, BOTH, at < 4, f"l{at}") for at in range(20)]
    found = gains(lots_of(rows))
    assert set(found) == {("en plain", FIRST)}  # four answers say nothing of the other
    assert found["en plain", FIRST].value == pytest.approx(12 / 20 - 16 / 40)


def test_a_truly_better_kind_is_proven_whatever_the_lot_favoured_before() -> None:
    for first in (0.5, 0.15):
        found = gains(simulated(6_000, {FIRST: 0.12, LAST: 0.06}, first, seed=3))
        assert set(proven(found)) == {("en plain", FIRST)}
        truth = 0.12 - (first * 0.12 + (1 - first) * 0.06)
        assert found["en plain", FIRST].low < truth < found["en plain", FIRST].high


def test_without_a_difference_something_is_proven_no_oftener_than_its_level_says() -> None:
    worlds = [proven(gains(simulated(800, {FIRST: 0.1, LAST: 0.1}, 0.4, seed))) for seed in range(200)]
    assert sum(map(bool, worlds)) <= 13  # 5 are expected of 200, with a standard deviation of 2.2


def test_a_kind_that_had_none_beside_it_and_an_empty_log_say_nothing() -> None:
    alone = [("en plain", FIRST, 0.5, 2, frozenset({FIRST}), True, f"u{at}") for at in range(50)]
    assert gains(lots_of(alone)) == {}
    assert gains(lots_of([])) == {}


@given(
    st.lists(st.sampled_from([FIRST, LAST, WITHIN]), min_size=1, max_size=8),
    st.dictionaries(st.sampled_from([FIRST, LAST]), st.floats(0.001, 1), max_size=2),
    st.floats(1, 100),
)
def test_chances_are_a_distribution_that_keeps_every_wording_in_the_lot(
    kinds: list[str], sure: dict[str, float], even: float
) -> None:
    found = chances(kinds, sure, even)
    assert found.sum() == pytest.approx(1)
    assert found.min() >= even / 100 / len(kinds) - 1e-12


def test_lots_lean_to_the_best_of_the_kinds_at_hand() -> None:
    assert chances([FIRST, LAST], {}, 30).tolist() == [0.5, 0.5]
    assert chances([FIRST, LAST], {FIRST: 0.1, WITHIN: 0.9}, 30) == pytest.approx([0.85, 0.15])


def test_what_was_drawn_is_joined_to_what_arrived_and_was_answered(tmp_path: Path) -> None:
    store, made, users = Store(tmp_path, "small"), NIGHT - timedelta(days=2), [f"{at:064x}" for at in range(4)]
    texts = {"a": f"An oak lamp. {OFFER}.", "b": f"{OFFER}. An oak lamp.", "held": f"{OFFER}. The best lamp."}
    publish(store, "creatives", made, [
        {C.CREATIVE_ID: name, C.BRIEF_ID: "lamp", C.OFFER_ID: "save10", C.CHANNEL: "email", C.CREATIVE_STYLE: "plain",
         C.LANGUAGE: "en", C.TEXT: text, C.SOURCE: "template", C.MODEL_VERSION: "none",
         C.STATUS: "held" if name == "held" else "clean"} for name, text in texts.items()
    ])  # fmt: skip
    drawn = zip(users, ["a", "b", "b", None], [0.5, 0.5, 0.5, None], strict=True)
    publish(store, "plan_copy", made, [
        {C.USER_KEY: key, C.STRATEGY_ID: "s", C.CREATIVE_ID: name, C.PROPENSITY: p} for key, name, p in drawn
    ])  # fmt: skip
    sent, at = made + timedelta(days=1), datetime(2026, 1, 1, 12)
    noon = at.replace(year=sent.year, month=sent.month, day=sent.day)
    publish(store, "deliveries", sent, [
        {C.DELIVERY_ID: f"d{number}", C.USER_KEY: key, C.STRATEGY_ID: "s", C.CHANNEL: "email",
         C.STATUS: "bounced" if number == 2 else "delivered", C.COST_CENTS: 1, C.SENT_AT: noon}
        for number, key in enumerate(users)
    ])  # fmt: skip
    publish(store, "outcomes", sent, [
        {C.OUTCOME_ID: "o", C.DELIVERY_ID: "d1", C.USER_KEY: users[1], C.CHANNEL: "email", C.OUTCOME: "click",
         C.OCCURRED_AT: noon}
    ])  # fmt: skip
    lots = read_lots(NIGHT, shop(), store)
    assert sorted(zip(lots.user.tolist(), lots.kind.tolist(), lots.is_answered.tolist(), strict=True)) == [
        (users[0], LAST, False), (users[1], FIRST, True),
    ]  # fmt: skip
    assert lots.kinds.tolist() == [BOTH, BOTH]
    assert len(read_lots(made, shop(), store)) == 0  # a night learns nothing from itself or later ones
