from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from spark_jobs.event_window import event_window
from spark_jobs.item_pairs import item_pairs
from spark_jobs.session import Engine

NIGHT = date(2026, 3, 20)
Make = Callable[..., Any]


@pytest.fixture
def pairs_of(engine: Engine, event_frame: Make, rows_of: Make) -> Make:
    """pairs_of({session: (at, items)}, per_item, max_items) -> rows; one view a minute; half-life 7 nights."""

    def pairs(sessions: dict[str, tuple[str, str]], per_item: int = 50, max_items: int = 50) -> list[dict[str, Any]]:
        events = [
            ("ann", session, f"{at} 10:{minute:02d}", "view", {"item_id": item})
            for session, (at, items) in sessions.items()
            for minute, item in enumerate(items)
        ]
        window = event_window(event_frame(*events), NIGHT, "UTC", 28)
        return rows_of(engine, item_pairs(window, 7.0, per_item, max_items))

    return pairs


def test_a_pair_is_scored_by_decayed_sessions_and_lift(pairs_of: Make) -> None:
    found = pairs_of(
        {
            "s1": ("2026-03-20", "baba"),  # tonight: weight 1, a repeated item counts once
            "s2": ("2026-03-13", "abc"),  # one half-life ago: 0.5
            "s3": ("2026-03-06", "ca"),  # two: 0.25, meets once more with c
            "s4": ("2026-03-20", "x"),
        }
    )
    assert found == [
        {"item_a": "a", "item_b": "b", "n_sessions_both": 2, "score": 1.5, "lift": 2 * 4 / (3 * 2)},
        {"item_a": "a", "item_b": "c", "n_sessions_both": 2, "score": 0.75, "lift": 2 * 4 / (3 * 2)},
    ]


def test_items_met_in_one_session_only_are_chance(pairs_of: Make) -> None:
    assert pairs_of({"s1": ("2026-03-20", "ab"), "s2": ("2026-03-20", "ac")}) == []


def test_a_pair_stays_if_it_is_among_the_strongest_of_either_item(pairs_of: Make) -> None:
    found = pairs_of(
        {
            **{f"ab{at}": ("2026-03-20", "ab") for at in range(4)},
            **{f"bc{at}": ("2026-03-20", "bc") for at in range(3)},
            **{f"bd{at}": ("2026-03-20", "bd") for at in range(3)},
            **{f"cd{at}": ("2026-03-20", "cd") for at in range(2)},
        },
        per_item=1,
    )
    # a and b: each other; c and d: b. cd is nobody's strongest.
    assert [(row["item_a"], row["item_b"]) for row in found] == [("a", "b"), ("b", "c"), ("b", "d")]


def test_a_long_session_counts_its_first_items(pairs_of: Make) -> None:
    found = pairs_of({"s1": ("2026-03-20", "zyx"), "s2": ("2026-03-19", "zyx")}, max_items=2)
    assert [(row["item_a"], row["item_b"]) for row in found] == [("y", "z")]
