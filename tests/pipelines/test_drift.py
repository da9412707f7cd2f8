from datetime import date, datetime, timedelta
from math import log2, sqrt
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.spatial.distance import jensenshannon

from pipelines.core.errors import NoDataError
from pipelines.core.storage import Store
from pipelines.drift import MIN_NIGHTS, SLACK, WINDOW_NIGHTS, distance, measure

TONIGHT = date(2026, 3, 31)
# Three events at three hours: a quarter, a quarter and a half of the night.
USUAL = {("view", 9): 1, ("view", 20): 1, ("purchase", 21): 2}


def nights(before: int) -> list[date]:
    return [TONIGHT - timedelta(days=day) for day in range(before, 0, -1)]


def publish(store: Store, night: date, mix: dict[tuple[str, int], int]) -> None:
    """A night with so many events of each type at each hour."""
    kinds = [kind for (kind, _), n in mix.items() for _ in range(n)]
    hours = [
        datetime.combine(night, datetime.min.time()) + timedelta(hours=h) for (_, h), n in mix.items() for _ in range(n)
    ]
    channels = ["recommendation" if kind.startswith("shown ") else None for kind in kinds]
    told = {
        "event_type": [kind.removeprefix("shown ") for kind in kinds],
        "occurred_at": pa.array(hours, pa.timestamp("us", "UTC")),
        "channel": pa.array(channels, pa.string()),
    }
    rows = pa.table(told)
    with store.staging() as staging:
        (staging / "events").mkdir()
        pq.write_table(rows, staging / "events" / "part-00000.parquet")
        store.publish("events", night, staging / "events", rows=len(rows), inputs={}, config_hash="x", audit={})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path, "tiny")


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ([1.0, 0.0], [1.0, 0.0], 0.0),
        ([1.0, 0.0], [0.0, 1.0], 1.0),
        # middle (3/4, 1/4): (log2(4/3) + 1/2 log2(2/3) + 1/2 log2(2)) / 2
        ([1.0, 0.0], [0.5, 0.5], sqrt((log2(4 / 3) + log2(2 / 3) / 2 + 0.5) / 2)),
        ([0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5], 1.0),
    ],
)
def test_the_distance_is_that_of_the_formula(left: list[float], right: list[float], expected: float) -> None:
    assert distance(np.array(left), np.array(right)) == pytest.approx(expected, abs=1e-12)


def test_the_distance_is_that_of_scipy_for_any_mix_and_the_same_both_ways() -> None:
    rng = np.random.default_rng(7)
    for _ in range(50):
        left, right = rng.dirichlet(np.full(24, 0.2), size=2)
        left[rng.random(24) < 0.3] = 0
        left /= left.sum()
        assert distance(left, right) == pytest.approx(jensenshannon(left, right, base=2), abs=1e-12)
        assert distance(left, right) == distance(right, left)


def test_nights_that_are_alike_give_no_alarm_and_no_distance(store: Store) -> None:
    for night in (*nights(MIN_NIGHTS), TONIGHT):
        publish(store, night, USUAL)
    found = measure(TONIGHT, store)
    assert (found.distance, found.limit, found.has_drifted) == (0.0, 0.0, False)
    assert found.told.startswith("night 2026-03-31: as usual:")


def test_twice_as_many_events_in_the_same_mix_are_no_drift(store: Store) -> None:
    for night in nights(MIN_NIGHTS):
        publish(store, night, USUAL)
    publish(store, TONIGHT, {key: 2 * n for key, n in USUAL.items()})
    assert not measure(TONIGHT, store).has_drifted


def test_recommendations_that_the_shop_begins_to_show_are_no_drift_and_other_impressions_are(store: Store) -> None:
    for night in nights(MIN_NIGHTS):
        publish(store, night, USUAL)
    publish(store, TONIGHT, {**USUAL, ("shown impression", 9): 4})
    assert measure(TONIGHT, store).distance == 0
    publish(store, TONIGHT + timedelta(days=1), {**USUAL, ("impression", 9): 4})
    assert measure(TONIGHT + timedelta(days=1), store).has_drifted


@pytest.mark.parametrize(
    ("shifted", "name"),
    [
        ({("view", 9): 1, ("view", 20): 1, ("cart", 21): 2}, "type"),
        ({("view", 2): 1, ("view", 3): 1, ("purchase", 21): 2}, "hour"),
    ],
)
def test_another_mix_of_types_or_of_hours_is_drift(
    shifted: dict[tuple[str, int], int], name: str, store: Store
) -> None:
    for day, night in enumerate(nights(MIN_NIGHTS)):
        publish(store, night, {**USUAL, ("view", 9): 1 + day % 2})
    publish(store, TONIGHT, shifted)
    found = measure(TONIGHT, store)
    assert found.has_drifted, name
    assert 0 < found.limit < found.distance <= 1
    assert found.told == (
        f"night 2026-03-31: drifted: distance {found.distance:.4f} of events' types and hours, limit {found.limit:.4f}"
    )


def test_the_limit_is_the_largest_distance_of_a_night_from_the_others_and_half_of_it_more(store: Store) -> None:
    """Six nights of views and one of purchases: that one is disjoint from the others, and the farthest there can be."""
    for night in nights(MIN_NIGHTS)[1:]:
        publish(store, night, {("view", 9): 1})
    publish(store, nights(MIN_NIGHTS)[0], {("purchase", 9): 1})
    publish(store, TONIGHT, {("cart", 3): 1})  # disjoint from all, and yet no more than that night was
    found = measure(TONIGHT, store)
    assert (found.distance, found.limit) == (pytest.approx(1.0), pytest.approx(SLACK))
    assert not found.has_drifted


def test_a_shop_whose_nights_differ_much_is_not_alarmed_by_one_more_of_them(store: Store) -> None:
    rng = np.random.default_rng(7)

    def some() -> dict[tuple[str, int], int]:
        return {("view", int(hour)): int(n) for hour, n in zip(range(24), rng.integers(1, 60, 24), strict=True)}

    for night in nights(WINDOW_NIGHTS):
        publish(store, night, some())
    publish(store, TONIGHT, some())
    assert not measure(TONIGHT, store).has_drifted


def test_with_fewer_nights_than_needed_nothing_is_said(store: Store) -> None:
    for night in nights(MIN_NIGHTS - 1):
        publish(store, night, USUAL)
    publish(store, TONIGHT, {("cart", 3): 1})
    found = measure(TONIGHT, store)
    assert not found.has_drifted
    assert found.told == "6 nights before this one, 7 are needed to say what is usual"


def test_nights_before_the_window_and_nights_without_events_do_not_count(store: Store) -> None:
    for night in nights(WINDOW_NIGHTS + 5)[:5]:
        publish(store, night, USUAL)
    for night in nights(MIN_NIGHTS - 1):
        publish(store, night, USUAL)
    publish(store, TONIGHT - timedelta(days=MIN_NIGHTS), {})
    publish(store, TONIGHT, {("cart", 3): 1})
    assert measure(TONIGHT, store).told.startswith("6 nights before this one")


@pytest.mark.parametrize("published", [False, True])
def test_a_night_without_events_cannot_be_compared(published: bool, store: Store) -> None:
    if published:
        publish(store, TONIGHT, {})
    with pytest.raises(NoDataError, match="shop tiny, night 2026-03-31: no events to compare with the nights before"):
        measure(TONIGHT, store)


def test_every_type_and_hour_has_a_place_of_its_own(store: Store) -> None:
    """The last type's last hour is far from the first type's first, and equal to itself."""
    from pipelines.core.tables import EVENT_TYPES

    for night in nights(MIN_NIGHTS):
        publish(store, night, {(EVENT_TYPES[-1], 23): 1})
    publish(store, TONIGHT, {(EVENT_TYPES[0], 0): 1})
    assert measure(TONIGHT, store).distance == pytest.approx(1.0)
    publish(store, TONIGHT, {(EVENT_TYPES[-1], 23): 1})
    assert measure(TONIGHT, store).distance == 0
