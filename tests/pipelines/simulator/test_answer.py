"""The shop answers the plan it was sent, and what it reports agrees with the truth that it tells."""

import gzip
import hashlib
import json
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.core.config import load_shop
from pipelines.core.errors import LandingError, NoDataError
from pipelines.core.privacy import PseudonymKey
from pipelines.core.shop import Shop, Simulator
from pipelines.simulator.catalogue import item_id
from pipelines.simulator.response import Treatment, respond, tonight
from pipelines.simulator.simulate import simulate
from pipelines.simulator.truth import potential_outcomes
from pipelines.simulator.world import build_world

KEY = PseudonymKey(b"k" * 32)
EVE = date(2026, 3, 1)
NIGHT = date(2026, 3, 2)
PUSH = Treatment(20, "push", 18, 21, 1, "warm")
MAIL = Treatment(0, "email", 8, 11, 2, "plain")
HEADER = (
    "user_key,strategy_id,offer,discount_percent,offer_text,channel,send_window,"
    "from_hour,to_hour,frequency,creative_style,send_hour,propensity"
)


def demo(customers: int = 400, **given: Any) -> Shop:
    simulator = Simulator(customers=customers, items=100, first_night=EVE, **given)
    return load_shop("demo").model_copy(update={"simulator": simulator})


def ids(shop: Shop) -> list[str]:
    assert shop.simulator
    return [f"c{number:07d}" for number in range(shop.simulator.customers)]


def write_plan(
    folder: Path, rows: dict[str, list[tuple[str, Treatment]]], night: date = EVE, shop: str = "demo"
) -> Path:
    """An export as the plan stage writes it. `rows`: channel -> (user_key, treatment)."""
    folder.mkdir()
    files = {}
    for channel, planned in rows.items():
        lines = [HEADER]
        for key, t in planned:
            told = (
                f"{t.discount_percent},Hello,{t.channel},w,{t.from_hour},{t.to_hour},{t.frequency},{t.creative_style}"
            )
            hour = "" if t.send_hour is None else t.send_hour
            lines.append(f"{key},s-{channel}-{t.discount_percent},o,{told},{hour},0.5")
        data = ("\n".join(lines) + "\n").encode()
        (folder / f"{channel}.csv").write_bytes(data)
        files[f"{channel}.csv"] = {"rows": len(planned), "sha256": hashlib.sha256(data).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps({"shop": shop, "night": night.isoformat(), "files": files}))
    return folder


def plan_on(folder: Path, night: date = EVE) -> Callable[[date], Path | None]:
    return lambda asked: folder if asked == night else None


def read(landing: Path, feed: str, night: date = NIGHT) -> list[dict[str, Any]]:
    data = gzip.decompress((landing / night.isoformat() / f"{feed}.jsonl.gz").read_bytes())
    return [json.loads(line) for line in data.split(b"\n") if line.startswith((b'{"event_id":"e', b'{"d', b'{"o'))]


def buyers(landing: Path, night: date = NIGHT) -> set[str]:
    return {row["user_id"] for row in read(landing, "events", night) if row["event_type"] == "purchase"}


def half_push(shop: Shop, folder: Path) -> tuple[Path, list[str]]:
    """A plan that sends PUSH to every second customer, and who they are."""
    chosen = ids(shop)[::2]
    return write_plan(folder, {"push": [(KEY.pseudonym(user), PUSH) for user in chosen]}), chosen


def test_every_row_of_the_plan_gets_a_delivery_and_outcomes_answer_delivered_ones(tmp_path: Path) -> None:
    shop = demo(3000)
    folder, chosen = half_push(shop, tmp_path / "plan")
    simulate(shop, tmp_path / "landing", NIGHT, plan_on(folder), KEY)
    deliveries = read(tmp_path / "landing", "deliveries")
    assert {row["user_key"] for row in deliveries} == {KEY.pseudonym(user) for user in chosen}
    delivered = {row["delivery_id"]: row for row in deliveries if row["status"] == "delivered"}
    assert 0.96 < len(delivered) / len(deliveries) < 0.995
    outcomes = read(tmp_path / "landing", "outcomes")
    assert {"click", "purchase"} <= {row["outcome"] for row in outcomes}
    assert len({row["outcome_id"] for row in outcomes}) == len(outcomes)
    for row in outcomes:
        assert row["user_key"] == delivered[row["delivery_id"]]["user_key"]
        assert row["occurred_at"] > delivered[row["delivery_id"]]["sent_at"]
        assert ("revenue" in row) == (row["outcome"] == "purchase")
    # Amsterdam is an hour ahead of UTC in early March: 18 to 21 local.
    assert {row["sent_at"][11:13] for row in deliveries} == {"17", "18", "19"}
    assert {(row["strategy_id"], row["channel"], row["cost"]) for row in deliveries if row["status"] != "skipped"} == {
        ("s-push-20", "push", 0.01)
    }


def test_a_purchase_outcome_stands_in_the_clickstream_with_the_same_time_and_revenue(tmp_path: Path) -> None:
    shop = demo(3000)
    folder, chosen = half_push(shop, tmp_path / "plan")
    simulate(shop, tmp_path / "landing", NIGHT, plan_on(folder), KEY)
    user_of = {KEY.pseudonym(user): user for user in chosen}
    spent: dict[str, float] = {}
    times: dict[str, str] = {}
    seen = set()
    for row in read(tmp_path / "landing", "events"):
        if row["event_type"] == "purchase" and row["event_id"] not in seen:
            seen.add(row["event_id"])
            spent[row["user_id"]] = spent.get(row["user_id"], 0) + row["price"] * row["quantity"]
            times[row["user_id"]] = row["occurred_at"]
    told = [row for row in read(tmp_path / "landing", "outcomes") if row["outcome"] == "purchase"]
    assert len(told) > 50
    for row in told:
        user = user_of[row["user_key"]]
        assert row["revenue"] == pytest.approx(spent[user])
        assert row["occurred_at"] == times[user]


def test_what_happens_is_exactly_the_potential_outcome_of_what_was_delivered(tmp_path: Path) -> None:
    shop = demo(3000)
    folder, _ = half_push(shop, tmp_path / "plan")
    simulate(shop, tmp_path / "landing", NIGHT, plan_on(folder), KEY)
    truth = potential_outcomes(shop, NIGHT, ids(shop), [PUSH], tmp_path / "landing")
    got = {r["user_key"] for r in read(tmp_path / "landing", "deliveries") if r["status"] == "delivered"}
    treated = np.array([KEY.pseudonym(user) in got for user in truth.user_ids])
    expected = np.where(treated, truth.bought[:, 1], truth.bought[:, 0])
    assert {user for user, buys in zip(truth.user_ids, expected, strict=True) if buys} == buyers(tmp_path / "landing")
    clicks = {row["user_key"] for row in read(tmp_path / "landing", "outcomes") if row["outcome"] == "click"}
    clicked = {KEY.pseudonym(truth.user_ids[k]) for k in np.flatnonzero(treated & truth.clicked[:, 1])}
    assert clicks == clicked


def test_treated_minus_untreated_agrees_with_the_truth_within_its_interval(tmp_path: Path) -> None:
    shop = demo(20_000)
    folder, chosen = half_push(shop, tmp_path / "plan")
    simulate(shop, tmp_path / "landing", NIGHT, plan_on(folder), KEY)
    bought = buyers(tmp_path / "landing")
    everyone = ids(shop)
    arms = [np.array([user in bought for user in arm]) for arm in (chosen, everyone[1::2])]
    lift = arms[0].mean() - arms[1].mean()
    error = np.sqrt(sum(arm.var(ddof=1) / len(arm) for arm in arms))
    truth = potential_outcomes(shop, NIGHT, everyone, [PUSH], tmp_path / "landing")
    expected = 0.98 * (truth.purchase[:, 1] - truth.purchase[:, 0]).mean()  # two in a hundred messages bounce
    assert expected > 4 * error  # the comparison can tell the lift from nothing
    assert abs(lift - expected) < 2.6 * error


def test_potential_outcomes_are_the_same_whatever_plan_was_sent(tmp_path: Path) -> None:
    shop = demo()
    folder, _ = half_push(shop, tmp_path / "plan")
    simulate(shop, tmp_path / "with", NIGHT, plan_on(folder), KEY)
    simulate(shop, tmp_path / "without", NIGHT, lambda _: None, KEY)
    one, two = (
        potential_outcomes(shop, NIGHT, ids(shop), [PUSH, MAIL], tmp_path / name) for name in ("with", "without")
    )
    for name in ("click", "purchase", "complaint", "unsubscribe", "spend_cents", "bought", "spent_cents"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


def test_contacts_tire_customers_for_the_following_nights_and_leave_no_contact_as_it_was(tmp_path: Path) -> None:
    shop = demo()
    folder = write_plan(tmp_path / "plan", {"push": [(KEY.pseudonym(user), PUSH) for user in ids(shop)]})
    simulate(shop, tmp_path / "landing", NIGHT, plan_on(folder), KEY)
    after = NIGHT + timedelta(days=1)
    tired = potential_outcomes(shop, after, ids(shop), [PUSH], tmp_path / "landing")
    rested = potential_outcomes(shop, after, ids(shop), [PUSH])
    np.testing.assert_array_equal(tired.purchase[:, 0], rested.purchase[:, 0])
    assert tired.purchase[:, 1].mean() < rested.purchase[:, 1].mean()
    assert (tired.unsubscribe[:, 1] >= rested.unsubscribe[:, 1]).all()
    assert tired.unsubscribe[:, 1].mean() > rested.unsubscribe[:, 1].mean()


def test_deeper_discounts_sell_more_but_cost_and_a_window_of_presence_helps() -> None:
    shop = demo(4000)
    strategies = [Treatment(d, "push", 18, 21) for d in (0, 10, 20)] + [Treatment(10, "push", 2, 5)]
    truth = potential_outcomes(shop, NIGHT, ids(shop), strategies)
    none, plain, ten, twenty, asleep = truth.purchase.mean(axis=0)
    assert none < plain < ten < twenty
    assert asleep < ten
    assert (truth.purchase[:, 1] < truth.purchase[:, 0]).any()  # some buy less when written to
    sure = truth.bought[:, 0] & truth.bought[:, 3]
    assert (truth.spent_cents[sure, 3] < truth.spent_cents[sure, 0]).all()
    assert not truth.clicked[:, 0].any()
    assert (truth.unsubscribe[:, 0] == 0).all()


def test_truth_of_a_few_customers_is_their_rows_of_the_truth_of_all() -> None:
    shop = demo()
    all_rows = potential_outcomes(shop, NIGHT, ids(shop), [PUSH])
    some = potential_outcomes(shop, NIGHT, ["c0000005", "c0000002"], [PUSH])
    np.testing.assert_array_equal(some.purchase, all_rows.purchase[[5, 2]])
    np.testing.assert_array_equal(some.bought, all_rows.bought[[5, 2]])


def test_truth_refuses_a_stranger() -> None:
    with pytest.raises(NoDataError, match="'c9999999' is no customer"):
        potential_outcomes(demo(), NIGHT, ["c0000001", "c9999999"], [PUSH])


def test_an_unknown_channel_has_a_default_responsiveness() -> None:
    shop = demo(4000)
    truth = potential_outcomes(shop, NIGHT, ids(shop), [Treatment(0, c, 18, 21) for c in ("push", "pigeon")])
    assert 0 < truth.click[:, 2].mean() < truth.click[:, 1].mean()


def test_who_unsubscribed_is_skipped_from_then_on(tmp_path: Path) -> None:
    shop = demo(3000)
    plans = {}
    for day in range(2):
        made = EVE + timedelta(days=day)
        rows = {"push": [(KEY.pseudonym(user), PUSH) for user in ids(shop)]}
        plans[made] = write_plan(tmp_path / f"plan{day}", rows, made)
    simulate(shop, tmp_path / "landing", NIGHT + timedelta(days=1), plans.get, KEY)
    left = {row["user_key"] for row in read(tmp_path / "landing", "outcomes") if row["outcome"] == "unsubscribe"}
    again = read(tmp_path / "landing", "deliveries", NIGHT + timedelta(days=1))
    skipped = {row["user_key"] for row in again if row["status"] == "skipped"}
    assert left
    assert left <= skipped
    assert len(skipped) < 0.05 * len(again)
    assert not skipped & {row["user_key"] for row in read(tmp_path / "landing", "outcomes", NIGHT + timedelta(days=1))}


def test_a_key_that_no_customer_has_is_skipped(tmp_path: Path) -> None:
    folder = write_plan(tmp_path / "plan", {"push": [("0" * 64, PUSH)]})
    simulate(demo(), tmp_path / "landing", NIGHT, plan_on(folder), KEY)
    assert [row["status"] for row in read(tmp_path / "landing", "deliveries")] == ["skipped"]
    assert read(tmp_path / "landing", "outcomes") == []


def test_an_empty_plan_is_answered_with_empty_feeds(tmp_path: Path) -> None:
    folder = write_plan(tmp_path / "plan", {"push": [], "email": []})
    simulate(demo(), tmp_path / "landing", NIGHT, plan_on(folder), KEY)
    assert read(tmp_path / "landing", "deliveries") == []


def _tamper(folder: Path) -> None:
    path = folder / "push.csv"
    path.write_bytes(path.read_bytes().replace(b",20,", b",90,", 1))


def _cut(folder: Path) -> None:
    path = folder / "push.csv"
    path.write_bytes(path.read_bytes()[:-40])


def _lose(folder: Path) -> None:
    (folder / "push.csv").unlink()


def _lose_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def _of_another_night(folder: Path) -> None:
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace("2026-03-01", "2026-02-01"))


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (_tamper, "push.csv: sha256 differs"),
        (_cut, "push.csv: sha256 differs"),
        (_lose, "push.csv: named in the manifest but not readable"),
        (_lose_manifest, "manifest.json: no readable plan manifest"),
        (_of_another_night, "plan of demo 2026-02-01, expected demo 2026-03-01"),
    ],
)
def test_a_plan_that_was_changed_is_refused_and_no_night_is_written(
    tmp_path: Path, harm: Callable[[Path], None], told: str
) -> None:
    shop = demo()
    folder, _ = half_push(shop, tmp_path / "plan")
    harm(folder)
    with pytest.raises(LandingError, match=told):
        simulate(shop, tmp_path / "landing", NIGHT, plan_on(folder), KEY)
    assert not (tmp_path / "landing" / NIGHT.isoformat()).exists()


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ({"push": [("a" * 64, PUSH)], "email": [("a" * 64, MAIL)]}, "stands in two rows"),
        ({"push": [("a" * 64, Treatment(10, "push", 21, 18))]}, "hours or discount out of range"),
    ],
)
def test_a_plan_that_cannot_be_sent_is_refused(
    tmp_path: Path, rows: dict[str, list[tuple[str, Treatment]]], told: str
) -> None:
    folder = write_plan(tmp_path / "plan", rows)
    with pytest.raises(LandingError, match=told):
        simulate(demo(), tmp_path / "landing", NIGHT, plan_on(folder), KEY)


def test_a_given_hour_is_kept_to_and_met_by_those_who_come_around_it(tmp_path: Path) -> None:
    shop = demo()
    told = [Treatment(0, "email", 8, 20, send_hour=hour) for hour in (9, 19)]
    truth = potential_outcomes(shop, NIGHT, ids(shop), [*told, Treatment(0, "email", 8, 20)])
    early, late = truth.click[:, 1], truth.click[:, 2]
    assert (early > late).mean() > 0.1
    assert (late > early).mean() > 0.1
    assert told[0].attention[1] - told[0].attention[0] == 14  # as long as a whole window's
    folder = write_plan(tmp_path / "plan", {"email": [("a" * 64, Treatment(0, "email", 8, 11, send_hour=11))]})
    with pytest.raises(LandingError, match="send_hour outside its window"):
        simulate(shop, tmp_path / "landing", NIGHT, plan_on(folder), KEY)


def test_a_message_about_an_item_that_a_customer_has_in_mind_is_answered_more_and_about_any_other_as_without() -> None:
    world = build_world(demo(2000))
    evening = tonight(world, NIGHT.toordinal())
    who = np.arange(2000)
    rested = np.zeros(2000)
    plain = respond(world, evening, who, PUSH, rested)
    wished = respond(world, evening, who, PUSH, rested, evening.basket[:, 0])
    other = np.where((evening.wish_items == 0).any(axis=1), -1, 0)
    about_other = respond(world, evening, who, PUSH, rested, other)
    assert (wished.click > plain.click).mean() > 0.9
    assert wished.purchase.mean() > plain.purchase.mean()
    assert (about_other.click == plain.click).all()
    assert (about_other.purchase == plain.purchase).all()


def test_the_item_of_a_row_reaches_the_answer(tmp_path: Path) -> None:
    shop = demo(1000)
    world = build_world(shop)
    wished = tonight(world, NIGHT.toordinal()).basket[:, 0]
    clicks = {}
    for name, of in (("about nothing", lambda place: ""), ("about a wish", lambda place: item_id(int(wished[place])))):
        folder = tmp_path / name
        write_plan(folder, {"push": [(KEY.pseudonym(user), MAIL) for user in ids(shop)]})
        told = (folder / "push.csv").read_text().splitlines()
        rows = [f"{told[0]},item_id", *(f"{line},{of(place)}" for place, line in enumerate(told[1:]))]
        data = ("\n".join(rows) + "\n").encode()
        (folder / "push.csv").write_bytes(data)
        manifest = json.loads((folder / "manifest.json").read_text())
        manifest["files"]["push.csv"]["sha256"] = hashlib.sha256(data).hexdigest()
        (folder / "manifest.json").write_text(json.dumps(manifest))
        simulate(shop, tmp_path / f"{name} landing", NIGHT, plan_on(folder), KEY)
        outcomes = read(tmp_path / f"{name} landing", "outcomes")
        clicks[name] = {row["user_key"] for row in outcomes if row["outcome"] == "click"}
    assert clicks["about nothing"] < clicks["about a wish"]
