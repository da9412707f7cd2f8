"""The benchmark of pricing, on a small size: ours lies between fixed prices and the truth's, and crosses no guardrail."""

import pytest

import pricing


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pricing, "HISTORY", 14)
    monkeypatch.setattr(pricing, "NIGHTS", 8)
    monkeypatch.setattr(pricing, "FITTED_BEFORE", (0,))


def test_suggestions_earn_more_than_fixed_prices_and_less_than_the_truths_best_ones() -> None:
    run = pricing.one_seed(pricing.shop_of(pricing.FIRST_SEED, 4_000))
    earned = {who: sum(nights[-3:]) for who, nights in run["earned"].items()}
    assert earned["fixed"] < earned["ours"] < earned["oracle"]
    assert run["crossed_guardrails"] == 0
    told = pricing.summary([run, run])
    assert set(told["ours_more_percent"]) == set(run["earned"]) - {"ours"}
    assert told["ours_more_percent"]["fixed"]["value"] > 0
