"""A channel's profits count as far as its messages arrive of late."""

from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.core.columns import Columns as C
from pipelines.core.config import load_shop
from pipelines.core.storage import Store
from pipelines.plan_scores import REACH_NIGHTS, reach

NIGHT = date(2026, 3, 20)
STRATEGY = load_shop("demo").strategy


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path, "demo")


def sent(store: Store, nights_ago: int, channel: str, delivered: int, bounced: int, skipped: int = 0) -> None:
    status = ["delivered"] * delivered + ["bounced"] * bounced + ["skipped"] * skipped
    folder = store.partition("deliveries", NIGHT - timedelta(days=nights_ago))
    folder.mkdir(parents=True)
    pq.write_table(pa.table({C.CHANNEL: [channel] * len(status), C.STATUS: status}), folder / "part-00000.parquet")


def test_all_messages_count_as_arriving_until_some_do_not(store: Store) -> None:
    assert reach(NIGHT, store, STRATEGY) == {"email": 1.0, "push": 1.0, "sms": 1.0}
    sent(store, 0, "email", 80, 0, skipped=40)  # what was not sent tells nothing
    assert reach(NIGHT, store, STRATEGY)["email"] == 1.0


def test_one_night_of_failure_closes_a_channel_and_few_messages_open_it_again(store: Store) -> None:
    sent(store, 2, "push", 10, 170)
    failed = (5 + 10) / (5 + 180)
    sent(store, 1, "push", 2, 8)
    probed = (5 * failed + 2) / 15
    assert reach(NIGHT - timedelta(days=2), store, STRATEGY)["push"] == pytest.approx(failed)
    assert reach(NIGHT - timedelta(days=1), store, STRATEGY) == pytest.approx({"email": 1, "push": probed, "sms": 1})
    sent(store, 0, "push", 30, 0)
    assert reach(NIGHT, store, STRATEGY)["push"] == pytest.approx((5 * probed + 30) / 35)


def test_what_lies_further_back_is_forgotten(store: Store) -> None:
    sent(store, REACH_NIGHTS, "email", 0, 500)
    assert reach(NIGHT, store, STRATEGY)["email"] == 1.0
