"""What recommendations brought, on stores small enough to count by hand."""

from datetime import date, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines import report
from pipelines.core.columns import Columns as C
from pipelines.core.recommending import Recommend
from pipelines.core.storage import Store
from pipelines.readout import inputs_of, table_of
from pipelines.readout_compare import experiments
from pipelines.readout_recommend import brought, clustered
from pipelines.report_audience import proportion
from pipelines.report_numbers import collect
from pipelines.show import readout_tables
from pipelines.strategy.recommending import is_held_out
from tests.pipelines import test_report
from tests.pipelines.core.test_shown import ours, slot
from tests.pipelines.test_readout_compare import EVE, SHOP, bought, lived, odd, of, planned

RULES = Recommend(holdout_percent=50, k=2)
PAGES = SHOP.model_copy(update={"recommend": RULES})
N = 200
USERS = [f"u{i:03}" for i in range(N)]
HELD = [user for user, held in zip(USERS, is_held_out(USERS, RULES.seed, 50), strict=True) if held]
SHOWN = [user for user in USERS if user not in HELD]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path, "tiny")


def night_of(store: Store, nth: int = 0, *more: dict[str, Any]) -> date:
    """Lists of two for everybody not held out. The first 80 of them come, see both, click the second and half of these buy
    it; of the holdout 40 come, click on something else and 30 buy."""
    lists = [
        row
        for user in SHOWN
        for row in (
            slot(user, 1, "x"),
            slot(user, 2, "y", is_explore=True, propensity=0.05, source="new", reason_code="lot"),
        )
    ]
    test_report.publish(store, "recommendations", EVE + timedelta(days=nth), lists)
    events = [ours(user, "impression", item) for user in SHOWN[:80] for item in "xy"]
    events += [ours(user, "click", "y") for user in SHOWN[:80]] + [
        bought(user, 500, item_id="y") for user in SHOWN[:40]
    ]
    events += [{C.USER_KEY: user, C.EVENT_TYPE: "click", C.ITEM_ID: "z"} for user in HELD[:40] for _ in range(2)]
    events += [bought(user, 400, item_id="z") for user in HELD[:30]]
    return lived(store, nth, [planned(user) for user in USERS], [*events, *more])


def test_recommendations_are_held_against_the_customers_held_out_from_them(store: Store) -> None:
    night_of(store)
    night = night_of(store, 1)
    found = experiments(night, PAGES, store)
    profit = of(found, "recommendations")
    assert (profit["arm"], profit["control_arm"], profit["n_nights"]) == ("recommendations", "nothing recommended", 2)
    assert (profit["n_users"], profit["n_control_users"]) == (len(SHOWN), len(HELD))
    # Nobody told what an item costs: 40% are kept. Customers who do not come count as well.
    assert profit["arm_value"] == pytest.approx(0.4 * 500 * 40 / len(SHOWN), rel=1e-6)
    assert profit["control_value"] == pytest.approx(0.4 * 400 * 30 / len(HELD), rel=1e-6)
    assert profit["effect_low"] < profit["arm_value"] - profit["control_value"] < profit["effect_high"]
    came = of(found, "recommendations", "visited")
    assert came["arm_value"] == pytest.approx(1_000 * 80 / len(SHOWN), rel=1e-6)
    assert came["control_value"] == pytest.approx(1_000 * 40 / len(HELD), rel=1e-6)
    assert came["effect_low"] is not None  # as many came, whoever bought
    clicked = of(found, "recommendations", "clicks")
    assert clicked["control_value"] == pytest.approx(1_000 * 80 / len(HELD), rel=1e-6)
    assert {row["metric"] for one in found["experiments"] if one["experiment"] == "holdout" for row in one["readings"]} <= {
        "profit_cents", "revenue_cents", "bought", "order_cents", "complaints", "unsubscribes"
    }  # fmt: skip
    assert table_of(found).num_rows == sum(len(one["readings"]) for one in found["experiments"])
    assert any(name.startswith("recommendations/") for name in inputs_of(night, PAGES, store))


def test_shown_to_the_holdout_is_odd_and_told_and_a_night_without_lists_counts_for_nobody(store: Store) -> None:
    night = night_of(store, 0, ours(HELD[0], "impression", "x"), ours(HELD[0], "impression", "y"))
    assert odd(experiments(night, PAGES, store))["holdout_recommended"] == 1
    later = lived(store, 1, [planned(user) for user in USERS], [bought("u001", 100)])
    assert of(experiments(later, PAGES, store), "recommendations")["n_nights"] == 1
    assert [one["experiment"] for one in experiments(later, SHOP, store)["experiments"]].count("recommendations") == 0
    everybody = SHOP.model_copy(update={"recommend": Recommend(holdout_percent=0)})
    found = experiments(later, everybody, store)
    assert [one["experiment"] for one in found["experiments"]].count("recommendations") == 0
    told = brought(later, everybody, store, found["experiments"])
    assert told is not None
    assert (told["effects"], told["verdict"]) == ([], None)


def test_answers_are_told_by_slot_source_reason_and_lot(store: Store) -> None:
    night = night_of(store)
    told = brought(night, PAGES, store, experiments(night, PAGES, store)["experiments"])
    assert told is not None
    assert (told["nights"], told["lists"], told["seen"], told["items"], told["customers"]) == (1, len(SHOWN), 80, 2, 80)
    assert told["explored"] == 80
    first, second = told["slots"]
    assert (first["chosen"]["click"]["k"], first["chosen"]["click"]["n"], first["by_lot"]["click"]["n"]) == (0, 80, 0)
    assert (second["by_lot"]["click"]["k"], second["by_lot"]["purchase"]["k"]) == (80, 40)
    assert [(row["name"], row["click"]["k"]) for row in told["sources"]] == [("new", 80), ("own", 0)]
    assert [(row["name"], row["click"]["k"]) for row in told["reasons"]] == [("again", 0), ("lot", 80)]
    assert [row["metric"] for row in told["effects"]] == [
        "profit_cents",
        "revenue_cents",
        "bought",
        "clicks",
        "visited",
    ]
    assert told["sample_ratio"]["is_broken"] is False


def test_customers_and_not_rows_are_the_unit_of_an_interval() -> None:
    alone = np.arange(100)
    flags = (alone < 20).astype(float)
    assert clustered(flags, alone)["low"] == pytest.approx(proportion(20, 100)["low"], abs=2e-3)
    # Each customer ten times with the same answer: ten times the rows tell nothing more.
    tenfold = clustered(np.repeat(flags, 10), np.repeat(alone, 10))
    assert (tenfold["k"], tenfold["n"]) == (200, 1_000)
    assert tenfold["low"] == pytest.approx(proportion(20, 100)["low"], abs=2e-3)
    assert clustered(np.zeros(5), np.arange(5)) == proportion(0, 5)


def test_intervals_of_customers_who_are_alike_hold_the_truth() -> None:
    rng = np.random.default_rng(4)
    held = []
    for _ in range(300):
        own = rng.beta(0.5, 4.5, 150)
        customer = np.repeat(np.arange(150), 12)
        told = clustered((rng.random(len(customer)) < own[customer]).astype(float), customer)
        held.append(told["low"] <= 0.1 <= told["high"])
    assert np.mean(held) >= 0.92


def test_the_page_and_the_command_tell_it_and_other_shops_have_no_such_section(store: Store, tmp_path: Path) -> None:
    whole = Store(tmp_path / "whole", "tiny")
    test_report.with_everything(whole)
    plain = collect(test_report.NIGHT, test_report.shop_of(), whole)
    assert 'id="brought"' not in report.page(plain)
    night = night_of(store)
    found = experiments(night, PAGES, store)
    told = brought(night, PAGES, store, found["experiments"])
    page = report.page(plain | {"brought": told})
    HTMLParser().feed(page)
    section = page[page.index('id="brought"') : page.index('id="experiments"')]
    for text in (
        "What recommendations brought",
        "slot 2",
        "drawn by lot",
        "recommender 3",
        "customer-nights",
        "Held out",
    ):
        assert text in section
    assert "u0" not in section + str(told)
    nobody = report.page(plain | {"brought": told | {"effects": [], "verdict": None}} if told else plain)
    assert "Nobody is held out from recommendations" in nobody
    assert "Not yet." in report.page(plain | {"brought": {"missing": "Not yet."}})
    where = {"shop": "tiny", "night": night.isoformat(), "recommendations": told}
    parts = readout_tables(where | plain["measured"] | found)
    assert any("lists were seen" in str(getattr(part, "title", "")) for part in parts)


def test_before_the_first_list_was_lived_a_sentence_says_so(store: Store) -> None:
    assert brought(EVE, PAGES, store, []) == {
        "missing": "No night has been lived yet for which items were recommended."
    }
    assert brought(EVE, SHOP, store, []) is None
