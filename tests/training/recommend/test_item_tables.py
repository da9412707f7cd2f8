"""What goes with an item, from a small store whose sessions can be counted by hand."""

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.core.columns import Columns as C
from pipelines.core.recommending import Recommend
from pipelines.core.shop import Shop, Source, Strategy
from pipelines.core.storage import Store
from training.recommend.item_tables import item_tables, touches_of

NIGHT = date(2026, 3, 4)
ITEMS = np.array(["cup", "pan", "pot", "tea"])
SHOP = Shop(
    shop="small",
    landing={"events": Source(connector="jsonl", pattern="{night}/events.jsonl")},
    strategy=Strategy(nightly_budget_cents=0, margin_floor_percent=10, offers=(), channels=(), send_windows=()),
    recommend=Recommend(relations_per_item=2, bundle_discount_percent=5),
)
Visit = tuple[str, str, list[tuple[str, str]]]  # user, session, (event type, item)


def write(store: Store, table: str, night: date, rows: dict[str, list]) -> None:
    folder = store.partition(table, night)
    folder.mkdir(parents=True)
    pq.write_table(pa.table(rows), folder / "part-00000.parquet")


def lived(store: Store, night: date, visits: list[Visit], is_bot: bool = False) -> None:
    rows = [(user, session, kind, item) for user, session, done in visits for kind, item in done]
    user, session, kind, item = (list(column) for column in zip(*rows, strict=True))
    at = pa.array([1_000_000 * second for second in range(len(rows))], pa.timestamp("us"))
    told = {C.USER_KEY: user, C.SESSION_ID: session, C.EVENT_TYPE: kind, C.ITEM_ID: item, C.OCCURRED_AT: at}
    write(store, "events", night, {**told, C.IS_BOT: [is_bot] * len(rows)})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Tea and cup are bought together by forty, pot and pan (of one category) are viewed together, each alone by some."""
    made = Store(tmp_path, "small")
    buys = [(f"u{n}", f"s{n}", [("view", "tea"), ("purchase", "tea"), ("purchase", "cup")]) for n in range(40)]
    alone = [(f"v{n}", f"t{n}", [("purchase", ("tea", "cup", "pot", "pot", "pot", "pot")[n % 6])]) for n in range(90)]
    looks = [(f"w{n}", f"r{n}", [("view", "pot"), ("view", "pan")]) for n in range(20)]
    lived(made, NIGHT, [*buys, *alone, *looks])
    lived(made, NIGHT - timedelta(days=1), [(f"w{n}", "early", [("view", "pot"), ("view", "pan")]) for n in range(5)])
    lived(
        made, NIGHT - timedelta(days=2), [("bot", f"b{n}", [("view", "tea"), ("view", "pan")]) for n in range(9)], True
    )
    catalog = {
        C.TITLE: ["Blue cup", "Iron pan", "Iron pot", "Green tea"],
        **dict.fromkeys((C.DESCRIPTION, C.BRAND, C.ATTRIBUTES, C.CATEGORY_PATH), pa.nulls(4, pa.string())),
        C.CATEGORY_ID: ["cups", "kitchen", "kitchen", "teas"],
        C.PRICE_CENTS: [800, 3000, 2500, 1200],
        C.UNIT_COST_CENTS: [300, 1500, None, 400],
        C.STOCK: [50, 50, 50, 50],
    }
    write(made, "catalog", NIGHT, {C.ITEM_ID: ITEMS.tolist(), **catalog})
    return made


def test_sessions_are_those_of_people_with_the_nights_they_were_told_on(store: Store) -> None:
    touches = touches_of(SHOP, store, NIGHT, ITEMS)
    assert len(touches.nights_ago) == 40 + 90 + 20 + 5
    assert np.bincount(touches.nights_ago).tolist() == [150, 5]
    assert np.bincount(touches.item).tolist() == [40 + 15, 25, 60 + 25, 40 + 15]
    assert touches.is_basket.sum() == 80 + 90


def test_items_of_one_category_are_substitutes_and_those_bought_together_complements(store: Store) -> None:
    relations, bundles, told = item_tables(SHOP, store, NIGHT, ITEMS, np.ones(4, dtype=bool), 1)
    first = {row[C.ITEM_ID]: row for row in relations.to_pylist() if row[C.RANK] == 1}
    assert {key: (row[C.RELATED_ITEM_ID], row[C.RELATION], row[C.N_SESSIONS_BOTH]) for key, row in first.items()} == {
        "cup": ("tea", "complement", 40),
        "tea": ("cup", "complement", 40),
        "pan": ("pot", "substitute", 25),
        "pot": ("pan", "substitute", 25),
    }
    assert told["complement"] == 2
    (offer,) = bundles.to_pylist()
    assert (offer[C.ITEM_A], offer[C.ITEM_B], offer[C.PRICE_CENTS], offer[C.BUNDLE_CENTS]) == ("cup", "tea", 2000, 1900)
    assert offer[C.MARGIN_PERCENT] == pytest.approx(100 * 1200 / 1900)
    assert "40 of 55 sessions with Blue cup also had Green tea" in offer[C.WHY]


def test_pictures_relate_items_where_sessions_follow_them_and_titles_say_nothing(tmp_path: Path) -> None:
    """Ten round and ten square items; the newest night pairs what no session paired before, always of one form."""
    store, rng = Store(tmp_path, "small"), np.random.default_rng(3)
    items = np.array([f"{form}{place}" for form in "rs" for place in range(10)])
    for back in range(4):
        pairs = [
            (f"u{back}{form}{n}", f"s{n}", [("view", f"{form}{n}"), ("view", f"{form}{(n + 1 + back) % 10}")])
            for form in "rs" for n in range(10)
        ]  # fmt: skip
        lived(store, NIGHT - timedelta(days=back), pairs)
    look = np.where(np.arange(20)[:, None] < 10, [1.0, 0, 0, 0], [0, 1.0, 0, 0]) + 0.1 * rng.normal(size=(20, 4))
    relations, _, told = item_tables(SHOP, store, NIGHT, items, np.ones(20, dtype=bool), 1, look)
    assert told["alike_by"] == "words_and_pictures"
    rows = relations.to_pylist()
    assert {row[C.ITEM_ID][0] == row[C.RELATED_ITEM_ID][0] for row in rows} == {True}
    assert "alike_by" not in item_tables(SHOP, store, NIGHT, items, np.ones(20, dtype=bool), 1)[2]


def test_what_cannot_be_sold_is_named_nowhere(store: Store) -> None:
    relations, bundles, _ = item_tables(SHOP, store, NIGHT, ITEMS, ITEMS != "tea", 1)
    assert "tea" not in {*relations[C.ITEM_ID].to_pylist(), *relations[C.RELATED_ITEM_ID].to_pylist()}
    assert len(relations) > 0
    assert len(bundles) == 0


def test_a_shop_without_events_or_catalogue_has_empty_tables(tmp_path: Path) -> None:
    store = Store(tmp_path, "small")
    relations, bundles, told = item_tables(SHOP, store, NIGHT, ITEMS, np.ones(4, dtype=bool), 1)
    assert (len(relations), len(bundles), told) == (0, 0, {"relations": 0, "bundles": 0})
    lived(store, NIGHT, [("u", "s", [("view", "pot"), ("view", "pan")])])
    relations, bundles, _ = item_tables(SHOP, store, NIGHT, ITEMS, np.ones(4, dtype=bool), 1)
    assert set(relations[C.ITEM_ID].to_pylist()) == {"pan", "pot"}
    assert len(bundles) == 0
