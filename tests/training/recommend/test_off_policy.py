"""Two recommenders on what the store says was shown."""

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipelines.core.columns import Columns as C
from pipelines.core.recommending import Recommend
from pipelines.core.shop import Shop
from pipelines.core.storage import Store
from pipelines.strategy.judgement import judge_policy
from tests.pipelines.core.test_shown import ours, slot
from tests.pipelines.test_report import publish, shop_of
from training.recommend.off_policy import compare_shown
from training.task import Examples

NIGHT = date(2026, 3, 10)
USERS = [f"u{i:04}" for i in range(600)]
POOL = ["p1", "p2", "p3"]
K, EXPLORE = 2, 0.4


def lived(store: Store) -> tuple[Shop, Examples]:
    """Lists x, y for everybody with lots of three other items, of which p1 is liked most of all: clicked by half."""
    rng = np.random.default_rng(3)
    lists, events = [], []
    for user in USERS:
        for place, own in enumerate(("x", "y"), start=1):
            by_lot = rng.random() < EXPLORE
            item = str(rng.choice(POOL)) if by_lot else own
            chance = EXPLORE / len(POOL) if by_lot else 1 - EXPLORE
            lists.append(slot(user, place, item, is_explore=by_lot, propensity=chance))
            events.append(ours(user, "impression", item))
            if rng.random() < {"p1": 0.5, "x": 0.2}.get(item, 0.05):
                events.append(ours(user, "click", item))
    publish(store, "recommendations", NIGHT - timedelta(days=1), lists)
    publish(store, "events", NIGHT, events)
    n = len(USERS)
    rows = pa.table({C.USER_KEY: USERS})
    return shop_of(recommend=Recommend(k=K).model_dump()), Examples(
        rows, rows, np.array(USERS), np.full(n, ""), np.full(n, np.datetime64(NIGHT))
    )


def listed(*items: str) -> pa.ListArray:
    return pa.array([list(items)] * len(USERS))


def test_who_would_have_shown_what_is_liked_is_found_better(tmp_path: Path) -> None:
    store = Store(tmp_path, "tiny")
    shop, examples = lived(store)
    found = compare_shown(shop, store, examples, listed("p1", "x", "y"), listed("x", "y", "p1"))
    assert found["rows"] == 600
    assert found["challenger"]["value"] == pytest.approx(0.5 + 0.2, abs=0.15)  # nothing fades here
    assert found["champion"]["value"] == pytest.approx(0.2 + 0.05, abs=0.06)
    assert found["difference"]["low"] > 0
    assert judge_policy(found).passed
    refused = judge_policy(compare_shown(shop, store, examples, listed("p2", "p3"), listed("x", "p1")))
    assert not refused.passed


def test_nights_without_recommendations_and_customers_without_an_example_count_for_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path, "tiny")
    shop, examples = lived(store)
    some = examples.take(np.arange(100))
    lists = listed("x", "y").slice(0, 100)
    assert compare_shown(shop, store, some, lists, lists)["rows"] == 100
    later = Examples(some.rows, some.target, some.customer, some.segment, some.night + np.timedelta64(1, "D"))
    assert compare_shown(shop, store, later, lists, lists)["rows"] == 0
