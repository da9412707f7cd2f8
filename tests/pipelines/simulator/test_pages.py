"""The demo shop shows what was recommended, and customers answer by their true tastes."""

import hashlib
import json
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.core.errors import LandingError, NoDataError
from pipelines.core.shop import Shop
from pipelines.simulator.answer import no_answers, read_plan, visits
from pipelines.simulator.behaviour import KIND, browse
from pipelines.simulator.catalogue import item_id
from pipelines.simulator.night import live
from pipelines.simulator.pages import Lists, read_lists, show
from pipelines.simulator.response import tonight
from pipelines.simulator.simulate import simulate
from pipelines.simulator.state import first_state
from pipelines.simulator.truth import list_value
from pipelines.simulator.world import build_world
from tests.pipelines.simulator.test_answer import EVE, KEY, NIGHT, demo, ids, plan_on, read, write_plan

SLOTS = 10


def export(folder: Path, rows: list[str], header: str = "user_key,slot,item_id,propensity", **more: str) -> Path:
    """An export that sends nothing and recommends `rows`; `more`: other files by name."""
    write_plan(folder, {})
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    for name, text in {"recommendations.csv": "\n".join([header, *rows]) + "\n", **more}.items():
        (folder / name).write_text(text)
        digest = hashlib.sha256(text.encode()).hexdigest()
        manifest["files"][name] = {"rows": text.count("\n") - 1, "sha256": digest}
    path.write_text(json.dumps(manifest))
    return folder


def taste_lists(shop: Shop, night: date, seed: int = 1) -> np.ndarray:
    """(customers, SLOTS) places of items that each might look at, none twice."""
    world, rng = build_world(shop), np.random.default_rng(seed)
    n = world.customers.size
    drawn = world.customers.choose(
        world.catalogue, night.toordinal(), np.repeat(np.arange(n), 40), tuple(rng.random((3, 40 * n)))
    )
    drawn = np.concatenate([drawn.reshape(n, 40), np.tile(np.arange(SLOTS), (n, 1))], axis=1)
    return np.stack([row[np.sort(np.unique(row, return_index=True)[1])][:SLOTS] for row in drawn])


def rows_of(user: str, items: np.ndarray) -> list[str]:
    return [f"{KEY.pseudonym(user)},{slot},{item_id(item)},1.0" for slot, item in enumerate(items.tolist(), start=1)]


Line = dict[str, Any]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Shop, list[Line], list[Line]]:
    """The events of a night with lists for every second customer, and of the same night without any; no line is late."""
    shop, root = demo(600), tmp_path_factory.mktemp("pages")
    world, places = build_world(shop), {KEY.pseudonym(user): place for place, user in enumerate(ids(shop))}
    items = taste_lists(shop, NIGHT)
    rows = [row for k, user in enumerate(ids(shop)[::2]) for row in rows_of(user, items[2 * k])]
    folder = export(root / "plan", [*rows, f"{'0' * 64},1,i000001,1.0", f"{KEY.pseudonym(ids(shop)[1])},1,gone,1.0"])
    lists = read_lists(folder, "demo", EVE, places, world.catalogue.size_of)
    told = []
    for shown in (lists, None):
        lived = live(shop, world, NIGHT, first_state(world, ()), None, places, lists=shown, is_dirty=False)
        told.append([json.loads(line) for line in lived.feeds["events"]])
    return shop, told[0], told[1]


def did(events: list[Line], users: set[str]) -> list[tuple[Any, ...]]:
    """What some customers did, without the numbers that count through the whole night."""
    names = ("user_id", "occurred_at", "event_type", "item_id", "price", "channel", "quantity")
    return [tuple(str(row.get(name)) for name in names) for row in events if row["user_id"] in users]


def test_who_has_no_list_does_exactly_what_they_did_without_any(both: tuple[Shop, list[Line], list[Line]]) -> None:
    shop, shown, plain = both
    others = set(ids(shop)[1::2])
    assert len(did(plain, others)) > 1_000
    assert did(shown, others) == did(plain, others)


def test_who_has_a_list_does_all_they_did_without_it_and_more(both: tuple[Shop, list[Line], list[Line]]) -> None:
    shop, shown, plain = both
    mine = set(ids(shop)[::2])
    assert set(did(plain, mine)) < set(did(shown, mine))


def test_who_comes_is_shown_the_list_once_and_answers_in_the_same_session(
    both: tuple[Shop, list[Line], list[Line]],
) -> None:
    shop, rows, _ = both
    told = [row for row in rows if row.get("channel") == "recommendation"]
    assert {row["event_type"] for row in told} == {"impression", "click"}
    seen = {(row["user_id"], row["item_id"]): row for row in told if row["event_type"] == "impression"}
    assert {user for user, _ in seen} == {row["user_id"] for row in rows if "session_id" in row} & set(ids(shop)[::2])
    clicks = [row for row in told if row["event_type"] == "click"]
    assert 10 < len(clicks) < 0.1 * len(seen)
    after = {(row["session_id"], row["item_id"]) for row in rows if row["event_type"] == "view"}
    for row in clicks:
        before = seen[row["user_id"], row["item_id"]]
        assert before["session_id"] == row["session_id"]
        assert before["occurred_at"] < row["occurred_at"]
        assert (row["session_id"], row["item_id"]) in after


def test_an_export_with_lists_is_answered_by_the_simulated_night(tmp_path: Path) -> None:
    shop = demo(60)
    folder = export(tmp_path / "plan", [row for user in ids(shop)[:20] for row in rows_of(user, np.arange(3))])
    simulate(shop, tmp_path / "landing", NIGHT, plan_on(folder), KEY)
    told = {row["user_id"] for row in read(tmp_path / "landing", "events") if row.get("channel") == "recommendation"}
    assert told
    assert told <= set(ids(shop)[:20])


def test_what_lists_bring_agrees_with_the_truth_that_is_told() -> None:
    shop = demo(12_000)
    world, everyone = build_world(shop), np.arange(12_000)
    clicks, orders, cents = np.zeros((3, 3, len(everyone)))
    truth = []
    for nth, night in enumerate([date(2026, 3, 5), date(2026, 3, 7), date(2026, 3, 9)]):
        items = taste_lists(shop, night, nth)
        items[:, 0] = tonight(world, night.toordinal()).wish_items[:, 0]
        slots = np.tile(np.arange(1, SLOTS + 1), len(everyone))
        lists = Lists(np.repeat(everyone, SLOTS), slots, items.ravel())
        evening = tonight(world, night.toordinal())
        told = visits(world, evening, no_answers(), ())
        found = show(world, evening, lists, browse(world, evening, told), told.bought, 0)
        clicked = (found.events.kind == KIND["click"]) & (found.events.channel == 0)
        clicks[nth] = np.bincount(found.events.user[clicked], minlength=len(everyone))
        np.add.at(orders[nth], found.user, 1)
        margin = world.catalogue.prices(evening.night) - world.catalogue.unit_cost_cents()
        np.add.at(cents[nth], found.user, margin[found.item])
        names = np.array([item_id(item) for item in range(world.catalogue.size_of)], dtype=object)
        value = list_value(shop, night, ids(shop), names[items])
        truth.append([getattr(value, name).sum(axis=1) for name in ("click", "purchase", "profit_cents")])
    for happened, expected in zip((clicks, orders, cents), np.array(truth).transpose(1, 0, 2), strict=True):
        gap = (happened - expected).ravel()
        assert abs(gap.mean()) < 3 * gap.std() / np.sqrt(len(gap))
        assert expected.mean() > 4 * gap.std() / np.sqrt(len(gap))  # the comparison can tell it from nothing


def test_lists_that_fit_are_clicked_and_pay_and_what_is_in_mind_anyway_pays_little() -> None:
    shop = demo(2_000)
    world = build_world(shop)
    names = np.array([item_id(item) for item in range(world.catalogue.size_of)], dtype=object)
    rng = np.random.default_rng(3)
    chance = rng.integers(0, world.catalogue.size_of, (2_000, 4))
    worth = {
        name: list_value(shop, NIGHT, ids(shop), names[items])
        for name, items in (
            ("chance", chance),
            ("taste", taste_lists(shop, NIGHT)[:, :4]),
            ("wishes", tonight(world, NIGHT.toordinal()).wish_items),
        )
    }
    click = {name: value.click.sum() / value.visit.sum() for name, value in worth.items()}
    assert 3 * click["chance"] < click["taste"] < click["wishes"] / 2
    orders = {name: value.purchase.sum() / value.click.sum() for name, value in worth.items()}
    assert orders["wishes"] < 0.65 * orders["taste"]
    assert 0 < worth["chance"].profit_cents.sum() < worth["taste"].profit_cents.sum() / 2
    assert (
        0.02 < worth["taste"].purchase.sum(axis=1).mean() / 0.04 < 0.15
    )  # beside 4 purchases per 100 customers a night


def test_the_same_item_is_clicked_less_further_down_and_never_before_it_is_sold() -> None:
    shop = demo(50)
    names = np.array([[item_id(0)] * SLOTS] * 50, dtype=object)
    click = list_value(shop, NIGHT, ids(shop), names).click
    assert (np.diff(click, axis=1) < 0).all()
    np.testing.assert_allclose(click[:, 3] / click[:, 0], 4**-0.6)
    world = build_world(shop)
    late = int(np.flatnonzero(world.catalogue.launch > NIGHT.toordinal())[0])
    told = list_value(shop, NIGHT, ids(shop), np.full((50, 1), item_id(late), dtype=object))
    assert not told.click.any()
    assert not told.profit_cents.any()
    with pytest.raises(NoDataError, match="'nothing' is no item of shop 'demo'"):
        list_value(shop, NIGHT, ids(shop)[:1], np.array([["nothing"]], dtype=object))


@pytest.mark.parametrize(
    ("rows", "header", "told"),
    [
        (["{key},one,i000001,1"], "user_key,slot,item_id,propensity", "a slot that is no number"),
        (["{key},0,i000001,1"], "user_key,slot,item_id,propensity", "slots are counted from 1, found 0"),
        (["{key},1,i000001,1", "{key},1,i000002,1"], "user_key,slot,item_id,propensity", "1 slots hold two items"),
        (["{key},1"], "user_key,slot", "columns ['item_id'] are missing"),
    ],
)
def test_a_file_that_cannot_be_shown_is_refused_in_one_line(
    tmp_path: Path, rows: list[str], header: str, told: str
) -> None:
    shop = demo(10)
    key = KEY.pseudonym(ids(shop)[0])
    folder = export(tmp_path / "plan", [row.format(key=key) for row in rows], header)
    with pytest.raises(LandingError) as caught:
        read_lists(folder, "demo", EVE, {key: 0}, 100)
    assert told in str(caught.value)
    assert str(caught.value).endswith("publish the plan again")
    assert "\n" not in str(caught.value)


def test_messages_and_lists_stand_in_one_export_and_lists_per_segment_are_verified(tmp_path: Path) -> None:
    shop = demo(10)
    key = KEY.pseudonym(ids(shop)[0])
    segments = {"segment_recommendations.csv": "segment_id,slot,item_id,propensity\n-1,1,i000004,1.0\n"}
    folder = export(tmp_path / "plan", [f"{key},2,i000001,0.5", f"{key},1,i000002,1.0"], **segments)
    assert not read_plan(folder, "demo", EVE).user_key
    lists = read_lists(folder, "demo", EVE, {key: 7}, 100)
    assert lists is not None
    assert [column.tolist() for column in (lists.user, lists.slot, lists.item)] == [[7, 7], [1, 2], [2, 1]]
    assert read_lists(write_plan(tmp_path / "other", {}), "demo", EVE, {key: 7}, 100) is None
    (folder / "segment_recommendations.csv").write_text("changed")
    with pytest.raises(LandingError, match="sha256 differs"):
        read_lists(folder, "demo", EVE, {key: 7}, 100)
