"""The nightly report on a store small enough to count by hand."""

import json
import re
from datetime import date, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from pipelines.core.columns import Columns as C
from pipelines.core.errors import AccountingError, NoDataError
from pipelines.core.machine import Machine
from pipelines.core.shop import Shop
from pipelines.core.storage import Store
from pipelines.core.tables import BIGINT, BOOLEAN, DOUBLE, STRING, TABLES, TIMESTAMP, VECTOR
from pipelines.report import build, page, run
from pipelines.stage import Context

NIGHT = date(2026, 3, 10)
EVIL = '<script>alert("x")</script><img src=x onerror=alert(1)>'
PASSED = {"suite": "any", "success": True, "n_expectations": 4, "n_failed": 0}


def publish(
    store: Store, table: str, night: date, rows: list[dict[str, Any]], counts: dict[str, Any] | None = None
) -> None:
    """Publishes rows that name only the columns that matter, with the declared schema."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {
        STRING: pa.string(), BIGINT: pa.int64(), DOUBLE: pa.float64(), BOOLEAN: pa.bool_(),
        TIMESTAMP: pa.timestamp("us"), VECTOR: pa.list_(pa.float64()),
    }  # fmt: skip
    schema = pa.schema([(name, kinds[kind]) for name, kind in TABLES[table].columns.items()])
    with store.staging() as staging:
        folder = staging / table
        folder.mkdir()
        whole = pa.Table.from_pylist([{name: row.get(name) for name in schema.names} for row in rows], schema=schema)
        pq.write_table(whole, folder / "part-00000.parquet", compression="zstd")
        store.publish(
            table, night, folder, rows=len(rows), inputs={}, config_hash="c", audit=PASSED, counts=counts or {}
        )


def event(user: str, kind: str, category: str = "k1", **more: Any) -> dict[str, Any]:
    at = datetime(2026, 3, 10, 12, 0, 0)
    return {
        C.USER_KEY: user, C.EVENT_TYPE: kind, C.CATEGORY_ID: category, C.OCCURRED_AT: at, C.IS_BOT: False, **more,
    }  # fmt: skip


# 10 clean events of people and 2 of a bot: 3 customers view, 2 fill a basket, 1 buys two pieces at 12.50.
EVENTS = [
    event("u1", "view"),
    event("u1", "view"),
    event("u1", "cart"),
    event("u1", "purchase", price_cents=1250, quantity=2),
    event("u2", "view"),
    event("u2", "view", "k2"),
    event("u2", "cart", "k2"),
    event("u2", "favorite", "k2"),
    event("u3", "view"),
    event("u4", "search", query="secret words", category_id=None),
    event("bot", "view", is_bot=True),
    event("bot", "view", is_bot=True),
]


def shop_of(**more: Any) -> Shop:
    return Shop.model_validate(
        {
            "shop": "tiny",
            "title": "Tiny & Co",
            "currency": "EUR",
            "timezone": "Europe/Amsterdam",
            "landing": {"events": {"connector": "jsonl", "pattern": "{night}/events*.jsonl"}},
            "strategy": {
                "nightly_budget_cents": 100,
                "channels": [{"id": "email", "cost_cents": 1, "capacity_per_night": 8, "default_consent": True}],
            },
            **more,
        }
    )


def with_events(store: Store, night: date = NIGHT) -> None:
    """14 lines arrived for the night: 12 clean, 1 duplicate, 1 quarantined whose raw text names a user."""
    publish(store, "events", night, EVENTS, {"lines": {str(night): 13}, "kept": {str(night): 12}, "n_bots": 1})
    publish(
        store,
        "quarantine",
        night,
        [{C.ARRIVAL: str(night), C.SOURCE_FILE: "f", C.LINE_NUMBER: 3, C.REASON: "bad_json", C.RAW_TEXT: "user-4711"}],
        {"headers": 0, "quarantined": 1, "nights": {str(night): 13}, "reasons": {"bad_json": 1}},
    )


def planned(user: str, strategy: str = "none", **more: Any) -> dict[str, Any]:
    sent = {C.OFFER: "save10", C.CHANNEL: "email", C.SEND_WINDOW: "evening", C.CREATIVE_STYLE: "warm", C.FREQUENCY: 2}
    sent |= {C.SEND_HOUR: 19}
    return {
        C.USER_KEY: user, C.STRATEGY_ID: strategy, C.IS_HOLDOUT: False, C.PROPENSITY: 0.25, C.COST_CENTS: 0,
        C.BINDING_CONSTRAINT: "none", **(sent if strategy != "none" else {}), **more,
    }  # fmt: skip


def with_everything(store: Store) -> None:
    with_events(store)
    for back in range(1, 15):
        n_events = 5 if back >= 7 else 10
        stats = [{C.CATEGORY_ID: "k1", C.N_EVENTS: n_events}, {C.CATEGORY_ID: "k2", C.N_EVENTS: 4}]
        publish(store, "category_stats", NIGHT - timedelta(days=back), stats)
    tonight = [{C.CATEGORY_ID: "k1", C.N_EVENTS: 10, C.N_USERS: 3, C.N_PURCHASES: 1, C.REVENUE_CENTS: 2500}]
    publish(store, "category_stats", NIGHT, [*tonight, {C.CATEGORY_ID: "k2", C.N_EVENTS: 4}])
    publish(store, "catalog", NIGHT, [{C.ITEM_ID: "i1", C.CATEGORY_ID: "k1", C.CATEGORY_PATH: EVIL, C.TITLE: EVIL}])
    users = ("u1", "u2", "u3", "u4")
    profiles = [
        {C.USER_KEY: user, C.N_VIEWS: views, C.N_PURCHASES: bought, C.REVENUE_CENTS: bought * 100}
        for user, views, bought in zip(users, (2, 2, 4, 8), (1, 0, 0, 0), strict=True)
    ]
    publish(store, "user_profiles", NIGHT, profiles)
    names = ((0, "buyers"), (1, EVIL), (1, EVIL), (1, EVIL))
    segments = [
        {C.USER_KEY: user, C.SEGMENT_ID: i, C.SEGMENT_NAME: name} for user, (i, name) in zip(users, names, strict=True)
    ]
    publish(store, "segments", NIGHT, segments)
    plan = [
        planned("u1", "email.save10.evening.x2.warm", cost_cents=2),
        planned("u2", binding_constraint="control"),
        planned("u3", is_holdout=True, binding_constraint="holdout"),
        planned("u4", binding_constraint="no_consent"),
    ]
    publish(store, "campaign_plan", NIGHT, plan, {"expected_cost_cents": 7})
    publish(store, "campaign_plan", NIGHT - timedelta(days=1), plan)
    strategy = "email.save10.evening.x2.warm"
    told = [("d1", "delivered"), ("d2", "delivered"), ("d3", "delivered"), ("d4", "delivered"), ("d5", "bounced")]
    deliveries = [
        {C.DELIVERY_ID: d, C.CHANNEL: "email", C.STRATEGY_ID: strategy, C.STATUS: s, C.COST_CENTS: 1} for d, s in told
    ]
    publish(store, "deliveries", NIGHT - timedelta(days=1), deliveries)
    publish(store, "deliveries", NIGHT, deliveries[:1])  # told again
    outcomes = [("d1", "click"), ("d1", "click"), ("d2", "click"), ("d1", "purchase"), ("d5", "click"), ("?", "click")]
    publish(store, "outcomes", NIGHT, [{C.DELIVERY_ID: d, C.OUTCOME: o} for d, o in outcomes])


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "var", "tiny")


def numbers_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return found


def test_headline_counts_lines_customers_revenue_and_plan(store: Store, tmp_path: Path) -> None:
    with_everything(store)
    assert build(NIGHT, shop_of(), store, tmp_path / "out") == {
        "lines_read": 14,
        "clean": 12,
        "duplicate": 1,
        "quarantined": 1,
        "active_customers": 4,
        "purchases": 1,
        "revenue_cents": 2500,
        "plan": {
            "messages": 2,
            "customers": 4,
            "sent": 1,
            "holdout": 1,
            "message_cost_cents": 2,
            "expected_cost_cents": 7,
            "budget_cents": 100,
        },
    }


def test_funnel_counts_people_not_bots(store: Store, tmp_path: Path) -> None:
    with_events(store)
    build(NIGHT, shop_of(), store, tmp_path)
    funnel = numbers_of(tmp_path)["funnel"]
    steps = ("search", "view", "favorite", "cart", "purchase")
    assert [funnel["users"][step] for step in steps] == [1, 3, 1, 2, 1]
    assert [funnel["events"][step] for step in steps] == [1, 5, 1, 2, 1]
    assert (funnel["bot_events"], funnel["bot_users"], funnel["bot_share"]) == (2, 1, round(2 / 12, 6))


def test_trend_compares_the_last_week_with_the_one_before(store: Store, tmp_path: Path) -> None:
    with_everything(store)
    build(NIGHT, shop_of(), store, tmp_path)
    trend = numbers_of(tmp_path)["trend"]
    # k1: 7 nights of 10 against 7 of 5; k2: 4 on every night. The window starts with the first night that is known.
    assert [(row["category_id"], row["change"]) for row in trend["categories"]] == [("k1", 1.0), ("k2", 0.0)]
    assert trend["nights"][0] == "2026-02-24"
    assert trend["categories"][0]["events"] == [5] * 8 + [10] * 7
    assert trend["basis"] == "the last 7 nights against the 7 before"
    assert trend["categories"][0]["revenue_cents"] == 2500


def test_trend_counts_a_night_without_category_stats_from_its_events(store: Store, tmp_path: Path) -> None:
    with_events(store)
    build(NIGHT, shop_of(), store, tmp_path)
    trend = numbers_of(tmp_path)["trend"]
    assert {row["category_id"]: row["events"] for row in trend["categories"]} == {"k1": [6], "k2": [3]}
    assert trend["categories"][0]["change"] is None


def test_segments_tell_size_and_what_sets_them_apart(store: Store, tmp_path: Path) -> None:
    with_everything(store)
    build(NIGHT, shop_of(), store, tmp_path)
    big, small = numbers_of(tmp_path)["segments"]["segments"]
    assert (big["users"], big["share"], small["users"], small["name"]) == (3, 0.75, 1, "buyers")
    # Purchases are 1, 0, 0, 0: mean 1/4, standard deviation sqrt(3)/4, so the buyer is sqrt(3) away.
    assert small["profile"]["n_purchases"] == {"mean": 1.0, "away": 1.7321}
    assert small["apart"][:2] == ["n_purchases", "revenue_cents"]
    assert "n_carts" not in small["profile"], "what is the same for all sets nobody apart"


def test_plan_adds_up_to_its_customers(store: Store, tmp_path: Path) -> None:
    with_everything(store)
    build(NIGHT, shop_of(), store, tmp_path)
    plan = numbers_of(tmp_path)["plan"]
    assert [plan[name] for name in ("sent", "control", "holdout", "other", "customers")] == [1, 1, 1, 1, 4]
    assert plan["by_channel"] == [{"name": "email", "customers": 1, "messages": 2, "cost_cents": 2}]
    assert plan["capacity"] == [{"name": "email", "messages": 2, "capacity": 8}]
    assert sum(plan["propensity"]["customers"]) == 1


def test_answers_count_each_delivered_message_once_per_kind(store: Store, tmp_path: Path) -> None:
    with_everything(store)
    build(NIGHT, shop_of(), store, tmp_path)
    (email,) = numbers_of(tmp_path)["measured"]["answers"]["by_channel"]
    # d1 and d2 clicked; the bounced d5 and an unknown delivery do not count. Wilson's interval of 2 of 4 is 15.0-85.0%.
    assert email["delivered"] == 4
    assert email["click"] == {"k": 2, "n": 4, "rate": 0.5, "low": 0.150039, "high": 0.849961}
    assert (email["purchase"]["k"], email["complaint"]["k"], email["unsubscribe"]["k"]) == (1, 0, 0)


def test_effect_holds_everybody_planned_for_against_the_holdout(store: Store, tmp_path: Path) -> None:
    with_everything(store)
    build(NIGHT, shop_of(), store, tmp_path)
    effect = numbers_of(tmp_path)["measured"]["effect"]
    found = {name: (effect[name]["k"], effect[name]["n"]) for name in ("planned", "sent", "not_sent", "holdout")}
    assert found == {"planned": (1, 3), "sent": (1, 1), "not_sent": (0, 2), "holdout": (0, 1)}
    assert effect["difference"]["rate"] == 0.333333
    assert effect["difference"]["low"] < 0 < effect["difference"]["high"]


def test_experiments_are_told_as_verdicts_with_a_picture_and_what_was_odd(store: Store, tmp_path: Path) -> None:
    with_everything(store)
    build(NIGHT, shop_of(), store, tmp_path)
    numbers = numbers_of(tmp_path)
    holdout = numbers["experiments"]["experiments"][0]
    assert [(one["arm"], one["customers"]) for one in holdout["arms"]] == [("the holdout", 1), ("the plan", 3)]
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "No verdict yet: only 0 customers of the holdout bought anything" in html
    assert "1 planned messages were never told as sent, bounced or skipped" in html
    known = {"effect": 1.5, "effect_low": -0.5, "effect_high": 3.5, "arm": EVIL}
    holdout["readings"][0] |= known
    holdout["verdicts"][0]["text"] = f"{EVIL} beat it"
    html = page(numbers)
    assert "interval −0.50 to +3.50" in html
    assert EVIL not in html


def test_a_shop_with_events_alone_gets_sentences_instead_of_empty_charts(store: Store, tmp_path: Path) -> None:
    rows = [row | {C.PRICE_CENTS: None} for row in EVENTS]
    publish(store, "events", NIGHT, rows, {"lines": {str(NIGHT): 12}, "kept": {str(NIGHT): 12}, "n_bots": 1})
    publish(store, "quarantine", NIGHT, [], {"headers": 0, "quarantined": 0, "nights": {str(NIGHT): 12}, "reasons": {}})
    headline = build(NIGHT, shop_of(), store, tmp_path)
    assert (headline["revenue_cents"], headline["plan"]) == (None, None)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    for sentence in (
        "There is no plan for tomorrow",
        "There are no customer segments for this night",
        "No deliveries have come back yet",
        "There was no plan the night before",
        "No plan has been lived yet",
        "this shop's data names no prices",
        "No line of this arrival was quarantined",
    ):
        assert sentence in html


def test_a_plan_that_sends_nothing_and_bounced_messages_still_make_a_page(store: Store, tmp_path: Path) -> None:
    with_events(store)
    for night in (NIGHT - timedelta(days=1), NIGHT):
        publish(store, "campaign_plan", night, [planned("u1", binding_constraint="budget")], {"expected_cost_cents": 0})
    bounced = {C.DELIVERY_ID: "d1", C.CHANNEL: "email", C.STRATEGY_ID: "s", C.STATUS: "bounced", C.COST_CENTS: None}
    publish(store, "deliveries", NIGHT, [bounced])
    build(NIGHT, shop_of(strategy={}), store, tmp_path)
    numbers = numbers_of(tmp_path)
    assert "Nothing is planned to be sent tomorrow" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert numbers["measured"]["answers"]["by_channel"] == []
    assert numbers["measured"]["effect"]["difference"] is None, "nobody was held out"


def test_a_night_of_bots_alone_still_makes_a_page(store: Store, tmp_path: Path) -> None:
    bots = [event("bot", "view", is_bot=True)] * 3
    publish(store, "events", NIGHT, bots, {"lines": {str(NIGHT): 3}, "kept": {str(NIGHT): 3}, "n_bots": 1})
    publish(store, "quarantine", NIGHT, [], {"headers": 0, "quarantined": 0, "nights": {str(NIGHT): 3}, "reasons": {}})
    assert build(NIGHT, shop_of(), store, tmp_path)["active_customers"] == 0
    gates = {row["name"]: row["passed"] for row in numbers_of(tmp_path)["quality"]["gates"]}
    assert gates == {"quarantined lines": True, "duplicate lines": True, "events of bots": False}


def test_a_change_against_an_odd_night_is_marked(store: Store, tmp_path: Path) -> None:
    with_everything(store)
    publish(store, "category_stats", NIGHT - timedelta(days=9), [{C.CATEGORY_ID: "k1", C.N_EVENTS: 900}])
    build(NIGHT, shop_of(), store, tmp_path)
    assert numbers_of(tmp_path)["trend"]["is_base_odd"]
    assert "so the changes say little" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_the_stage_makes_a_report_once_until_what_it_read_changes(store: Store, tmp_path: Path) -> None:
    with_everything(store)
    context = Context(shop_of(), Machine(), store, tmp_path / "landing")
    first, again = run(NIGHT, context), run(NIGHT, context)
    assert (first.n_made, again.n_made) == (1, 0)
    publish(store, "category_stats", NIGHT - timedelta(days=9), [{C.CATEGORY_ID: "k1", C.N_EVENTS: 7}])
    changed = run(NIGHT, context)
    name = "nightly_report/2026-03-10"
    assert changed.n_made == 1
    assert changed.manifests[name].content_hash != first.manifests[name].content_hash


def test_same_store_content_gives_the_same_bytes(store: Store, tmp_path: Path) -> None:
    with_everything(store)
    other = Store(tmp_path / "elsewhere", "tiny")
    with_everything(other)
    build(NIGHT, shop_of(), store, tmp_path / "one")
    build(NIGHT, shop_of(), other, tmp_path / "two")
    for name in ("report.html", "report.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_lines_that_arrive_later_and_tell_nothing_new_change_no_byte(store: Store, tmp_path: Path) -> None:
    with_everything(store)
    build(NIGHT, shop_of(), store, tmp_path / "one")
    told = {"lines": {str(NIGHT): 13, "2026-03-11": 5}, "kept": {str(NIGHT): 12}, "n_bots": 1}
    publish(store, "events", NIGHT, EVENTS, told)
    build(NIGHT, shop_of(), store, tmp_path / "two")
    assert (tmp_path / "one/report.html").read_bytes() == (tmp_path / "two/report.html").read_bytes()


def test_names_from_the_shop_cannot_inject_html(store: Store, tmp_path: Path) -> None:
    with_everything(store)
    build(NIGHT, shop_of(title=EVIL), store, tmp_path)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "&lt;script&gt;" in html
    tags = Tags(html).opened
    assert "script" not in tags
    assert "img" not in tags


def test_neither_raw_text_nor_a_user_nor_a_query_leaves_the_store(store: Store, tmp_path: Path) -> None:
    with_everything(store)
    build(NIGHT, shop_of(), store, tmp_path)
    for name in ("report.html", "report.json"):
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert not re.search(r"user-4711|secret words|\bu[1-4]\b", text)


def test_the_page_needs_no_network_and_is_well_formed(store: Store, tmp_path: Path) -> None:
    with_everything(store)
    build(NIGHT, shop_of(), store, tmp_path)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"https?://|url\(|@import|<link|<script", html)
    tags = Tags(html)
    assert tags.fetched == []
    assert tags.unclosed == []
    assert tags.opened.count("h1") == 1
    assert all(label for label in tags.chart_labels)
    assert len(tags.chart_labels) > 20
    assert tags.anchors <= tags.ids


def test_groups_and_reasons_are_told_with_and_without_a_model(store: Store, tmp_path: Path) -> None:
    with_everything(store)
    share = {"value": 0.5, "low": 0.4, "high": 0.6}
    means = {"treated": share, "discount_percent": share, "cost_cents": share}
    small = {name: {"value": 0.5, "low": None, "high": None} for name in means}
    gap = {"measure": "treated", "highest": "buyers", "lowest": EVIL, "difference": share, "ratio": 0.5, "bound": 0.3}
    groups = [{"name": "buyers", "customers": 40, "means": means}, {"name": EVIL, "customers": 2, "means": small}]
    fair = {"column": "segment_name", "customers": 42, "groups": groups, "gaps": [gap]}
    plan = [planned("u1", "email.save10.evening.x2.warm"), planned("u2", is_holdout=True)]
    publish(store, "campaign_plan", NIGHT, plan, {"expected_cost_cents": 7, "fairness": fair})
    html = page_of(store, tmp_path / "lots")
    assert "there is nothing to explain but the lot" in html
    assert "50.0 points above" in html
    assert "which gets 50.0% of as much, interval 40.0 points to 60.0 points" in html
    assert "At most 30.0 points is allowed" in html
    assert "what came of it per group cannot be said yet" in html
    groups[0]["means"] = {**means, "profit_cents": share}
    publish(store, "campaign_plan", NIGHT, plan, {"expected_cost_cents": 7, "fairness": fair})
    parts = [("usual", "the usual customer gets X", 20.0), ("offer", "10% off", -0.4), ("rest", "others", 0.1)]
    reasons = [
        {C.USER_KEY: f"somebody-{i}", C.RANK: rank, C.FACTOR: factor, C.TOLD: told, C.CONTRIBUTION_CENTS: cents}
        for i in range(10)
        for rank, (factor, told, cents) in enumerate(parts)
    ]
    publish(store, "plan_reasons", NIGHT, reasons)
    html = page_of(store, tmp_path / "scored")
    assert "the 10 customers who are sent something tomorrow" in html
    assert "among the three largest shares of 10 of 10 customers, there −0.40 ct on average" in html
    assert "somebody" not in html


def page_of(store: Store, folder: Path) -> str:
    build(NIGHT, shop_of(), store, folder)
    return (folder / "report.html").read_text(encoding="utf-8")


def test_a_night_without_events_is_told(store: Store, tmp_path: Path) -> None:
    with pytest.raises(NoDataError, match="2026-03-10"):
        build(NIGHT, shop_of(), store, tmp_path)


def test_lost_lines_stop_the_report_and_leave_no_page(store: Store, tmp_path: Path) -> None:
    publish(store, "events", NIGHT, EVENTS, {"lines": {str(NIGHT): 13}, "kept": {str(NIGHT): 11}, "n_bots": 1})
    counts = {"headers": 0, "quarantined": 0, "nights": {str(NIGHT): 13}, "reasons": {}}
    publish(store, "quarantine", NIGHT, [], counts)
    with pytest.raises(AccountingError, match="12 rows, but 11 of 13 lines read"):
        build(NIGHT, shop_of(), store, tmp_path / "out")
    assert not (tmp_path / "out").exists()


class Tags(HTMLParser):
    """What the tests need to know of a page: tags opened and left open, ids, anchors, labels of charts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.opened: list[str] = []
        self.unclosed: list[str] = []
        self.ids: set[str] = set()
        self.anchors: set[str] = set()
        self.chart_labels: list[str] = []
        self.fetched: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.opened.append(tag)
        if tag not in ("meta", "br", "col"):
            self.unclosed.append(tag)
        if found.get("role") == "img":
            self.chart_labels.append(found.get("aria-label") or "")
        if found.get("id"):
            self.ids.add(str(found["id"]))
        for name in {"href", "src", "xlink:href", "data", "action"} & found.keys():
            if str(found[name]).startswith("#"):
                self.anchors.add(str(found[name])[1:])
            else:
                self.fetched.append(str(found[name]))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.opened.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.unclosed.pop() == tag
