"""The report's section on reasons: sizes of factors, what is said of many, nobody in particular."""

from datetime import date
from pathlib import Path

import pytest

from pipelines.core.columns import Columns as C
from pipelines.core.storage import Store
from pipelines.report_reasons import MIN_SAID, reasons
from tests.pipelines.test_report import publish

NIGHT = date(2026, 3, 10)


def with_reasons(store: Store, *customers: tuple[float, float, str]) -> None:
    """Per customer the contributions of answers (rank 1) and offer (rank 2) and what is said of the answers."""
    rows = []
    for number, (answers, offer, said) in enumerate(customers):
        parts = [("usual", "the usual", 10.0), ("answers", said, answers), ("offer", "10% off", offer)]
        parts += [("visits", f"visit {number}", 0.5), ("rest", "others", -1.0)]
        for rank, (factor, told, cents) in enumerate(parts):
            row = {C.USER_KEY: f"{number:064x}", C.RANK: rank, C.FACTOR: factor, C.TOLD: told}
            rows.append(row | {C.CONTRIBUTION_CENTS: cents})
    publish(store, "plan_reasons", NIGHT, rows)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path, "tiny")


def test_factors_come_by_their_size_over_all_customers(store: Store) -> None:
    with_reasons(store, (4.0, -1.0, "a"), (-6.0, 3.0, "b"))
    found = reasons(NIGHT, store)
    assert (found["customers"], found["usual_cents"], found["lift_cents"]) == (2, 10.0, 9.5)
    assert [(row["name"], row["customers"], row["mean_cents"], row["size_cents"]) for row in found["factors"]] == [
        ("answers to earlier messages, by channel", 2, -1.0, 5.0),
        ("offer", 2, 1.0, 2.0),
        ("visits", 2, 0.5, 0.5),
    ]


def test_what_is_said_of_few_customers_is_not_on_the_page(store: Store) -> None:
    with_reasons(store, *[(4.0, 1.0, "of many")] * MIN_SAID, *[(9.0, 3.0, "of few")] * (MIN_SAID - 1))
    said = reasons(NIGHT, store)["said"]
    assert [(row["told"], row["customers"]) for row in said] == [("10% off", 2 * MIN_SAID - 1), ("of many", MIN_SAID)]
    assert said[1]["mean_cents"] == 4.0


def test_without_reasons_the_section_says_so(store: Store) -> None:
    assert "nothing to explain but the lot" in reasons(NIGHT, store)["missing"]
    publish(store, "plan_reasons", NIGHT, [])
    assert "nothing to explain but the lot" in reasons(NIGHT, store)["missing"]
