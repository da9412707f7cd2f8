"""What several worlds say together: regret, pairing by seed, recovery."""

import pytest

from pipelines.closed_loop.summary import interval, recovery, shortfalls, summary


def nights(value: float, n: int = 8, possible: float = 100.0) -> list[dict[str, float]]:
    return [{"organic": 1_000.0, "incremental": value, "possible": possible} for _ in range(n)]


def run(shift: float) -> dict[str, list[dict[str, float]]]:
    mine = [{**night, "expected_of_chosen": 30.0, "true_of_chosen": 10.0} for night in nights(60.0 + shift)]
    return {"plan": mine, "random": nights(-100.0), "single": nights(20.0 + shift), "oracle": nights(100.0)}


def test_regret_and_leads_are_paired_seed_by_seed() -> None:
    found = summary([run(-4.0), run(4.0)], [])
    week = found["last_week"]
    assert week["nights"] == 7
    assert week["profit_cents"]["plan"]["value"] == 420
    assert week["profit_cents"]["plan"]["low"] < 420 < week["profit_cents"]["plan"]["high"]
    assert week["plan_minus_cents"]["single"] == {"value": 280, "low": 280, "high": 280}
    assert found["all_nights"]["regret_cents"]["plan"]["value"] == 8 * 40
    assert week["share_of_random_regret"]["plan"]["value"] == pytest.approx(0.2)
    assert week["share_of_random_regret"]["random"]["value"] == 1
    assert found["regret_on_target"]
    assert not summary([run(-34.0), run(-30.0)], [])["regret_on_target"]
    assert (found["expected_of_chosen_cents"], found["true_of_chosen_cents"]) == (240, 80)


def test_a_night_s_shortfall_is_of_what_was_possible_in_the_policy_s_own_place() -> None:
    seeds = [{"plan": nights(50.0, 2)}, {"plan": nights(10.0, 2, possible=20.0)}]
    assert shortfalls(seeds, "plan") == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize(
    ("after", "found"),
    [
        ([0.5, 0.5, 0.5, 0.5], 0),  # never missed more than before
        ([0.9, 0.5, 0.5, 0.5], 1),
        ([0.9, 0.9, 0.4, 0.6, 0.5], 2),
        ([0.9, 0.9, 0.4, 0.9, 0.5, 0.5], 4),  # one good night alone is none
        ([0.9, 0.9, 0.9, 0.9], None),
    ],
)
def test_recovery_counts_the_nights_until_two_together_are_as_before(after: list[float], found: int | None) -> None:
    before = [0.4, 0.6] * 4
    shortfall = before + after
    assert recovery(shortfall, len(before) + 1, len(shortfall)) == found


def test_an_interval_is_student_s() -> None:
    assert interval([1.0, 3.0]) == {
        "value": 2.0,
        "low": pytest.approx(-10.706, abs=1e-3),
        "high": pytest.approx(14.706, abs=1e-3),
    }
