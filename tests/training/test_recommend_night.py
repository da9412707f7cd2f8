"""The job that recommends, on a shop small enough to count by hand: filters, lots, reasons, and odd shops and customers."""

import json
import subprocess
import sys
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.core.columns import Columns as C
from pipelines.core.errors import NoDataError, WrongUseError
from pipelines.core.machine import Machine
from pipelines.core.sizing import engine_spec
from pipelines.launch import java_version
from pipelines.strategy.recommending import is_held_out
from tests.pipelines.test_report import publish
from tests.training.small_recommender import examples
from tests.training.small_shop import CUSTOMERS, ITEMS, NIGHT, event, fill, item, shop, usual
from training.recommend_night import run
from training.task import Fitting
from training.tasks.recommender import TASK

PROJECT = Path(__file__).resolve().parents[2]
ANN, BEN, LISA = 0, 1, 6  # ann looks at t0 and t1, ben at all teas, lisa at lamps
BASELINE = {"folder": None, "name": "small-recommender-baseline", "version": "none"}


def recommend(
    root: Path, model: dict[str, Any] | None = None, **settings: Any
) -> tuple[dict[int, list[dict[str, Any]]], dict[str, Any]]:
    """Lists by customer, and the counts."""
    spec = {
        "shop": shop(**settings).model_dump(mode="json"), "root": str(root), "night": NIGHT.isoformat(), "threads": 1,
        "model": model or BASELINE, "out": str(root / "out"),
    }  # fmt: skip
    made = run(spec)
    table = pq.ParquetFile(root / "out" / "recommendations" / "part-00000.parquet").read()
    assert made["rows"]["recommendations"] == len(table)
    lists: dict[int, list[dict[str, Any]]] = {}
    for row in table.to_pylist():
        lists.setdefault(CUSTOMERS.index(row[C.USER_KEY]), []).append(row)
    return lists, made["counts"] | {"segment_rows": made["rows"]["segment_recommendations"]}


def items(rows: list[dict[str, Any]]) -> list[str]:
    return [row[C.ITEM_ID] for row in rows]


@pytest.fixture(scope="module")
def blend(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("blend")
    TASK.fit(*examples(), Fitting(threads=1, settings={"rounds": 20})).save(folder)
    return {"folder": str(folder), "name": "small-recommender", "version": "3"}


def test_everybody_has_k_different_items_of_what_they_look_at_the_first_of_what_they_touched_last(
    tmp_path: Path,
) -> None:
    fill(tmp_path)
    lists, counts = recommend(tmp_path)
    assert set(lists) == set(range(12))
    assert all(len(set(items(rows))) == 4 and [row[C.SLOT] for row in rows] == [1, 2, 3, 4] for rows in lists.values())
    assert {name[0] for at in range(1, 5) for name in items(lists[at])} == {"t"}
    assert lists[ANN][0] | {C.SCORE: 0} == {
        C.USER_KEY: CUSTOMERS[0], C.SLOT: 1, C.ITEM_ID: "t0", C.SCORE: 0, C.SOURCE: "own", C.RUNNER_UP_SOURCE: "category",
        C.REASON_CODE: "again", C.REASON_CAUSE: "t0", C.WHY_EN: "You looked at this 8 times, last yesterday",
        C.WHY_ZH: "您看过这件商品8次，最近是昨天", C.PROPENSITY: 1.0, C.IS_EXPLORE: False,
        C.MODEL_NAME: "small-recommender-baseline", C.MODEL_VERSION: "none",
    }  # fmt: skip
    assert (counts["served"], counts["items"], counts["segment_rows"]) == (12, 12, 12)


def test_a_blend_ranks_a_shop_that_it_was_not_trained_on_by_tonights_knowledge(tmp_path: Path, blend: Any) -> None:
    fill(tmp_path)
    lists, counts = recommend(tmp_path, blend)
    assert {name[0] for at in range(6) for name in items(lists[at])} == {"t"}
    assert (counts["kind"], lists[ANN][0][C.MODEL_VERSION]) == ("blend", "3")
    again, _ = recommend(tmp_path, blend)
    assert again == lists


def test_withdrawn_out_of_stock_and_bought_items_are_not_shown_and_are_counted(tmp_path: Path) -> None:
    """t0 is sold out, t1 marked as withdrawn, l0 gone from the catalogue, and ann has bought t2."""
    shelf = [item(name) for name in ITEMS if name != "l0"]
    shelf[0][C.STOCK], shelf[1][C.ATTRIBUTES] = 0, '{"withdrawn": true}'
    fill(tmp_path, [*usual(), event(ANN, "t2", 1, "purchase")], shelf)
    lists, counts = recommend(tmp_path)
    shown = Counter(name for rows in lists.values() for name in items(rows))
    assert not {"t0", "t1", "l0"} & set(shown)
    assert "t2" in shown
    assert "t2" not in items(lists[ANN])
    assert all(len(rows) == 4 for rows in lists.values())
    assert counts["filters"]["stock"] > 0
    assert counts["filters"]["withdrawn"] > 0
    assert counts["filters"]["bought"] == 1
    assert (counts["withdrawn"], counts["out_of_stock"]) == (2, 1)
    assert counts["nights_to_buy_again"][0] > 1


def test_few_of_a_category_and_usual_prices_come_first_and_others_only_fill_up(tmp_path: Path) -> None:
    lists, counts = recommend(fill(tmp_path / "a").root, max_per_category=1)
    assert [name[0] for name in items(lists[BEN])] == ["t", "l", "t", "t"]
    assert counts["filters"]["diversity"] > 0
    shelf = [item(name, **{C.PRICE_CENTS: 90_000} if name == "t5" else {}) for name in ITEMS]
    events = [row for row in usual() if row[C.ITEM_ID] != "t5"]
    cheap, _ = recommend(fill(tmp_path / "b", events, shelf).root, k=6, price_band_factor=2)
    assert items(cheap[ANN])[-1] != "t5"
    assert "t5" not in items(cheap[LISA])


def test_who_is_held_out_or_took_back_all_consent_has_no_list(tmp_path: Path) -> None:
    store = fill(tmp_path)
    shut = [(1, "email", True), (1, "push", True), (2, "email", True), (2, "push", False), (3, "gone", True)]
    rows = [{C.USER_KEY: CUSTOMERS[at], C.CHANNEL: name, C.IS_SUPPRESSED: is_shut} for at, name, is_shut in shut]
    publish(store, "channel_response", NIGHT, rows)
    lists, counts = recommend(tmp_path, holdout_percent=30, seed=5)
    held = set(is_held_out(CUSTOMERS, 5, 30).nonzero()[0])
    assert held
    assert set(lists) == set(range(12)) - held - {1}
    assert (counts["holdout"], counts["no_consent"]) == (len(held), int(1 not in held))


def test_lots_show_what_stood_behind_and_say_so(tmp_path: Path) -> None:
    fill(tmp_path)
    plain, _ = recommend(tmp_path)
    lists, counts = recommend(tmp_path, explore_percent=50)
    drawn = [(at, row) for at, rows in lists.items() for row in rows if row[C.IS_EXPLORE]]
    assert counts["explored"] == len(drawn) > 10
    for at, row in drawn:
        assert (row[C.SOURCE], row[C.REASON_CODE], row[C.REASON_CAUSE]) == ("lot", "lot", None)
        assert row[C.ITEM_ID] not in items(plain[at])
        assert 0 < row[C.PROPENSITY] <= 0.5 / 2
    assert {row[C.PROPENSITY] for rows in lists.values() for row in rows if not row[C.IS_EXPLORE]} == {0.5}
    assert all(len(set(items(rows))) == len(rows) for rows in lists.values())


def test_a_new_item_is_served_the_night_it_appears(tmp_path: Path) -> None:
    """Nobody has touched t9, a tea: lots show it to who looks at teas."""
    fill(tmp_path, catalog=[*(item(name) for name in ITEMS), item("t9")])
    lists, counts = recommend(tmp_path, explore_percent=50, k=3)
    assert counts["new"] > 0
    assert "t9" in {row[C.ITEM_ID] for at in range(6) for row in lists[at]}


def test_a_new_customer_and_who_only_searched_get_what_is_popular(tmp_path: Path) -> None:
    events = [row for row in usual() if row[C.USER_KEY] != CUSTOMERS[ANN]]
    fill(tmp_path, [*events, event(ANN, None, 0, "search", **{C.QUERY: "green tea"})])
    lists, _ = recommend(tmp_path)
    assert len(lists[ANN]) == 4
    assert {row[C.SOURCE] for row in lists[ANN]} == {"popular"}
    assert {row[C.REASON_CODE] for row in lists[ANN]} <= {"popular", "range"}


def test_an_empty_catalogue_recommends_nothing_and_one_item_is_shown_once(tmp_path: Path) -> None:
    lists, counts = recommend(fill(tmp_path / "empty", catalog=[]).root)
    assert (lists, counts["items"], counts["segment_rows"]) == ({}, 0, 0)
    lists, _ = recommend(fill(tmp_path / "one", catalog=[item("t3")]).root, explore_percent=50)
    assert {tuple(items(rows)) for rows in lists.values()} == {("t3",)}
    assert {row[C.PROPENSITY] for rows in lists.values() for row in rows} == {1.0}


def test_a_shop_without_a_catalogue_recommends_what_its_events_tell_of(tmp_path: Path) -> None:
    store = fill(tmp_path)
    store.retract("catalog", NIGHT)
    lists, counts = recommend(tmp_path)
    assert counts["items"] == 12
    assert lists[ANN][0][C.ITEM_ID] == "t0"


def test_items_without_title_category_or_price_are_recommended_and_named_by_their_id(tmp_path: Path) -> None:
    bare = {C.TITLE: None, C.CATEGORY_ID: None, C.CATEGORY_PATH: None, C.PRICE_CENTS: None, C.STOCK: None}
    events = [row | {C.CATEGORY_ID: None, C.PRICE_CENTS: None} for row in usual()]
    fill(tmp_path, events, [item(name, **bare) for name in ITEMS])
    lists, _ = recommend(tmp_path, max_per_category=1)
    assert all(len(rows) == 4 for rows in lists.values())  # an unknown category bounds nothing
    assert lists[ANN][0][C.ITEM_ID] == "t0"


def test_a_busy_program_moves_nobody_elses_list(tmp_path: Path) -> None:
    """10,000 events of one user in one night: flagged they are left out, unflagged the newest 200 count."""
    calm, _ = recommend(fill(tmp_path / "calm").root)
    for is_bot in (True, False):
        flood = [event(11, f"l{number % 6}", 0, **{C.IS_BOT: is_bot}) for number in range(10_000)]
        lists, _ = recommend(fill(tmp_path / str(is_bot), [*usual(), *flood]).root)
        assert all(items(lists[at]) == items(calm[at]) for at in range(6))
    assert len(lists[11]) == 4


def test_ids_that_are_numbers_in_one_feed_and_texts_in_another_are_the_same_items(tmp_path: Path) -> None:
    """The catalogue of that night holds whole numbers."""
    code = {name: str(at) for at, name in enumerate(ITEMS)}
    events = [row | {C.ITEM_ID: code[row[C.ITEM_ID]]} for row in usual()]
    store = fill(tmp_path, events, [item(name, **{C.ITEM_ID: code[name]}) for name in ITEMS])
    [path] = store.files("catalog", [NIGHT])
    table = pq.ParquetFile(path).read()
    pq.write_table(table.set_column(0, C.ITEM_ID, table[C.ITEM_ID].cast(pa.int64())), path)
    lists, counts = recommend(tmp_path)
    assert counts["withdrawn"] == 0
    assert items(lists[ANN])[0] == "0"


@pytest.mark.skipif(java_version() is None, reason="Spark needs Java: make java")
def test_spark_lists_what_one_machine_lists_and_counts_the_same(tmp_path: Path, blend: dict[str, Any]) -> None:
    """In a process of its own: no other test's session is touched."""
    shelf = [item(name) for name in ITEMS]
    shelf[0][C.STOCK] = 0
    fill(tmp_path, [*usual(), event(ANN, "t2", 1, "purchase")], shelf)
    _, counts = recommend(tmp_path, blend, explore_percent=30, holdout_percent=20)
    machine = Machine(engine="spark", spark_master="local[1]", partitions=2)
    spec = {
        "shop": shop(explore_percent=30, holdout_percent=20).model_dump(mode="json"), "root": str(tmp_path),
        "night": NIGHT.isoformat(), "threads": 1, "model": blend, "out": str(tmp_path / "spark"),
        "engine": engine_spec(machine),
    }  # fmt: skip
    (tmp_path / "spark").mkdir()
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    done = subprocess.run(
        [sys.executable, "-m", "training.recommend_night", str(tmp_path / "spec.json")],
        cwd=PROJECT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    alone = pq.ParquetFile(tmp_path / "out" / "recommendations" / "part-00000.parquet").read()
    parts = sorted((tmp_path / "spark" / "recommendations").glob("part-*.parquet"))
    assert len(parts) == 2
    assert pa.concat_tables([pq.ParquetFile(part).read() for part in parts]).equals(alone)
    told = json.loads((tmp_path / "spark" / "result.json").read_text())
    assert told["rows"]["recommendations"] == len(alone) > 0
    assert told["counts"] == {name: count for name, count in counts.items() if name != "segment_rows"}
    assert told["counts"]["filters"]["bought"] == 1


def test_a_night_without_customers_or_settings_is_one_clear_line(tmp_path: Path) -> None:
    fill(tmp_path)
    spec = {"root": str(tmp_path), "night": NIGHT.isoformat(), "model": BASELINE, "out": str(tmp_path / "out")}
    with pytest.raises(WrongUseError, match="no 'recommend' in its configuration"):
        run({**spec, "shop": {**shop().model_dump(mode="json"), "recommend": None}})
    store = fill(tmp_path, [])
    store.retract("catalog", NIGHT)
    assert recommend(tmp_path)[0] == {}  # customers, and nothing that could be recommended
    with pytest.raises(NoDataError, match="no customers"):
        run({**spec, "shop": shop().model_dump(mode="json"), "night": (NIGHT - timedelta(days=1)).isoformat()})
