"""The random campaigns of the demo's history: everybody is as likely, every candidate is, and no night is twice the same."""

from collections import Counter
from datetime import date, timedelta

from pipelines.core.config import load_shop
from pipelines.core.shop import Shop, Simulator
from pipelines.simulator.answer import Plan
from pipelines.simulator.campaigns import history_plan
from pipelines.simulator.world import build_world
from pipelines.strategy.candidates import candidates

FIRST = date(2026, 3, 1)


def shop(percent: float = 20) -> Shop:
    simulator = Simulator(
        customers=2_000, items=80, first_night=FIRST, history_nights=14, seed=7, history_campaign_percent=percent
    )
    return load_shop("demo").model_copy(update={"simulator": simulator})


def campaign(nights_after_first: int, percent: float = 20) -> Plan | None:
    asked = shop(percent)
    keys = [f"key{place}" for place in range(2_000)]
    night = (FIRST + timedelta(days=nights_after_first)).toordinal()
    return history_plan(asked, build_world(asked), night, keys)


def test_the_told_share_of_customers_is_written_to() -> None:
    plan = campaign(1)
    assert plan is not None
    assert 340 <= len(plan.user_key) <= 460  # 400 expected, 3.3 standard deviations either side
    assert len(set(plan.user_key)) == len(plan.user_key)


def test_every_candidate_is_drawn_about_as_often_as_any_other() -> None:
    drawn: Counter[str] = Counter()
    for night in range(1, 14):
        plan = campaign(night)
        assert plan is not None
        drawn.update(plan.strategy_id)
    names = {candidate.strategy_id for candidate in candidates(shop().strategy)}
    assert set(drawn) == names
    expected = sum(drawn.values()) / len(names)
    chi_squared = sum((n - expected) ** 2 / expected for n in drawn.values())
    assert chi_squared < 1.9 * len(names)  # 45 degrees of freedom: one in 2,000 seeds is above


def test_who_is_written_to_changes_from_night_to_night_and_not_from_run_to_run() -> None:
    first, again, other = campaign(1), campaign(1), campaign(2)
    assert first is not None
    assert again is not None
    assert other is not None
    assert first.user_key == again.user_key
    assert first.strategy_id == again.strategy_id
    assert first.user_key != other.user_key


def test_there_is_no_campaign_on_the_first_night_after_the_history_or_without_the_setting() -> None:
    assert campaign(0) is None
    assert campaign(14) is None
    assert campaign(1, percent=0) is None
