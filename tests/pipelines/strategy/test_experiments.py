"""Arms of experiments: who falls into which, what that changes in a plan, and verdicts that cannot be misread."""

import hashlib
from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pipelines.core.config import load_shop
from pipelines.core.errors import ConfigError
from pipelines.core.experiments import Experiment
from pipelines.core.shop import Strategy
from pipelines.strategy.candidates import arms, candidates
from pipelines.strategy.constraints import Customers, group_customers
from pipelines.strategy.experiments import Guardrail, Reading, arm_names, assign, broken_ratio, verdict
from pipelines.strategy.exploit import exploit
from pipelines.strategy.explore import explore
from pipelines.strategy.holdout import is_holdout
from pipelines.strategy.sample_ratio import of_counts

NIGHT = date(2026, 3, 1)
KEYS = [hashlib.sha256(str(i).encode()).hexdigest() for i in range(4_000)]
DEMO = load_shop("demo").strategy


def experiment(shares: dict[str, float], name: str = "words", **only: dict[str, tuple[str, ...]]) -> Experiment:
    told = [{"id": arm, "share": share, **only.get(arm, {})} for arm, share in shares.items()]
    return Experiment.model_validate({"id": name, "first_night": NIGHT, "arms": told})


def strategy(*experiments: Experiment, **changes: object) -> Strategy:
    return DEMO.model_copy(update={"experiments": experiments, **changes})


WARM = experiment({"any": 1, "warm": 1}, warm={"creative_styles": ("warm",)})


# -- who falls into which arm


@settings(max_examples=20, deadline=None)
@given(shares=st.lists(st.floats(0.05, 1), min_size=2, max_size=4), grown=st.floats(1.1, 10), seed=st.integers(0, 99))
def test_arms_fill_by_their_shares_and_a_grown_arm_only_gains(shares: list[float], grown: float, seed: int) -> None:
    keys, names = KEYS[:1_000], [f"arm{i}" for i in range(len(shares))]
    before = assign(keys, seed, experiment(dict(zip(names, shares, strict=True))))
    designed = np.array(shares) / sum(shares)
    counts = np.bincount(before, minlength=len(shares))
    assert (np.abs(counts - 1_000 * designed) < 5 * np.sqrt(1_000 * designed * (1 - designed))).all()
    after = assign(keys, seed, experiment(dict(zip(names, [shares[0] * grown, *shares[1:]], strict=True))))
    moved = before != after
    assert (after[moved] == 0).all()  # nobody changes between the others
    more = designed[0] * grown / (designed[0] * grown + 1 - designed[0]) - designed[0]
    assert moved.mean() < more + 5 * np.sqrt(more / 1_000)  # and no more than have to


def test_an_arm_hangs_on_nothing_but_seed_experiment_and_customer() -> None:
    one = assign(KEYS, 7, experiment({"a": 1, "b": 1}))
    assert np.array_equal(one[::-1], assign(KEYS[::-1], 7, experiment({"a": 1, "b": 1})))
    assert np.array_equal(one, assign(KEYS, 7, experiment({"a": 5, "b": 5})))
    for other in (
        assign(KEYS, 8, experiment({"a": 1, "b": 1})),
        assign(KEYS, 7, experiment({"a": 1, "b": 1}, "other")),
        is_holdout(KEYS, 7, 50).astype(np.int64),
    ):
        assert 0.45 < (one == other).mean() < 0.55


def test_the_plan_tells_one_arm_per_experiment_and_none_of_the_holdout() -> None:
    both = strategy(WARM, experiment({"x": 1, "y": 3}, "second"))
    held = np.arange(100) < 10
    told = arm_names(KEYS[:100], held, both)
    assert told[:10] == [""] * 10
    assert set(told[10:]) == {f"words={a};second={b}" for a in ("any", "warm") for b in ("x", "y")}
    assert arm_names(KEYS[:2], held[:2], DEMO) == ["", ""]


# -- what an arm changes


def customers(n: int) -> Customers:
    shape = (n, len(DEMO.channels))
    none = np.zeros(shape, dtype=bool)
    return Customers(tuple(KEYS[:n]), np.full(n, 3_000), np.full(n, 40.0), np.zeros(shape, np.int64), none, none)


@pytest.mark.parametrize("model", [False, True])
def test_customers_of_an_arm_are_sent_what_it_allows_and_the_others_anything(model: bool) -> None:
    of = strategy(WARM, nightly_budget_cents=10**7)
    styles = np.array([one.creative_style for one in candidates(of)])
    if model:
        profit = np.tile(np.where(styles == "plain", 9.0, 5.0).astype(np.float32), (1_000, 1))
        decided = exploit(customers(1_000), profit, of, NIGHT).decisions
    else:
        decided = explore(customers(1_000), of, NIGHT)
    warm = assign(KEYS[:1_000], of.seed, WARM) == 1
    sent = decided.strategy >= 0
    assert set(styles[decided.strategy[sent & warm]]) == {"warm"}
    assert (styles[decided.strategy[sent & ~warm]] == "plain").mean() > (0.9 if model else 0.4)
    inside = ~decided.is_holdout
    assert set(decided.n_allowed[inside & warm]) == {(styles == "warm").sum()}
    assert set(decided.n_allowed[inside & ~warm]) == {len(styles)}
    assert (decided.propensity[sent] > 0).all()


def test_without_experiments_no_strategy_is_parted_and_with_one_only_where_it_differs() -> None:
    found = candidates(DEMO)
    assert len(arms(found, strategy(WARM))) > len(arms(found, DEMO))
    channel = experiment({"all": 1, "mail": 1}, mail={"channels": ("email",)})
    assert len(arms(found, strategy(channel))) == len(arms(found, DEMO))
    deck = arms(found, strategy(channel))
    groups = group_customers(customers(50), np.zeros(50, dtype=bool), strategy(channel), deck)
    mail = assign(KEYS[:50], DEMO.seed, channel) == 1
    allowed = groups.allowed[groups.group_of]
    assert allowed[~mail].all()
    assert np.array_equal(allowed[mail], np.tile([arm.channel == 0 for arm in deck], (mail.sum(), 1)))


def test_an_arm_that_is_misspelt_or_allows_nothing_is_refused_in_one_line() -> None:
    wrong = experiment({"a": 1, "b": 1}, b={"creative_styles": ("wram",)})
    with pytest.raises(
        ConfigError, match=r"experiments \(words\.b\): creative_styles \['wram'\] are unknown; known are"
    ):
        candidates(strategy(wrong))
    empty = experiment({"a": 1, "b": 1}, b={"channels": ("sms",), "creative_styles": ("warm",)})
    with pytest.raises(ConfigError, match=r"words\.b\): allows no strategy of 46; an arm leaves one at least"):
        candidates(strategy(empty))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"arms": [{"id": "a"}]}, "at least 2 items"),
        ({"arms": [{"id": "a"}, {"id": "a"}]}, "ids are not unique"),
        ({"arms": [{"id": "a"}, {"id": "b", "share": 0}]}, "greater than 0"),
        ({"last_night": "2026-02-01"}, "first_night is after last_night"),
        ({"id": "holdout"}, "a comparison that is always read out"),
    ],
)
def test_an_experiment_that_cannot_be_is_refused(change: dict[str, object], told: str) -> None:
    good = {"id": "words", "first_night": NIGHT, "arms": [{"id": "a"}, {"id": "b"}]}
    assert Experiment.model_validate(good).runs_on(date(2030, 1, 1))
    with pytest.raises(ValidationError, match=told):
        Experiment.model_validate(good | change)


# -- verdicts


def reading(effect: float, half: float, looks: int | None = 40) -> Reading:
    return Reading("B", "A", "cents per customer and night", effect, effect - half, effect + half, looks)


def guardrail(effect: float, half: float) -> Guardrail:
    return Guardrail("complaints", "per 1,000 customer-nights", effect, effect - half, effect + half, 3.0)


@pytest.mark.parametrize(
    ("found", "guards", "told"),
    [
        (reading(2, 1), [guardrail(0, 1)], "B beat A: +2.00 [+1.00, +3.00] cents per customer and night; safe to stop"),
        (reading(-2, 1), [], "B lost to A: -2.00 [-3.00, -1.00] cents per customer and night; safe to stop, stay with A"),
        (
            reading(2, 1),
            [guardrail(1, 4)],
            "B beat A: +2.00 [+1.00, +3.00] cents per customer and night; do not stop yet: complaints are not yet shown "
            "to hold: +1.00 [-3.00, +5.00] per 1,000 customer-nights, at most +3 allowed",
        ),
        (
            reading(2, 1),
            [guardrail(9, 4)],
            "stop B: complaints are broken: +9.00 [+5.00, +13.00] per 1,000 customer-nights, at most +3 allowed; it brought "
            "+2.00 [+1.00, +3.00] cents per customer and night against A",
        ),
        (
            reading(1, 2),
            [],
            "no verdict yet: B against A +1.00 [-1.00, +3.00] cents per customer and night may be nothing; about 40 "
            "nights are needed in all, 12 so far, were the effect as estimated",
        ),
        (
            reading(0, 2, None),
            [],
            "no verdict yet: B against A +0.00 [-2.00, +2.00] cents per customer and night may be nothing; no number of "
            "nights would settle an effect as small as the estimate",
        ),
    ],
)  # fmt: skip
def test_a_verdict_says_who_won_by_how_much_and_what_to_do(found: Reading, guards: list[Guardrail], told: str) -> None:
    assert verdict(found, guards, 12) == told


def test_a_broken_ratio_forbids_every_verdict() -> None:
    ratio = of_counts(np.array([1_000, 800]), np.array([1, 1]))
    assert broken_ratio(ratio, "A", "customers") == (
        "stopped: sample ratio broken: A has 1,000 customers where 900 were designed (p = 2e-06); the arms are not alike, "
        "believe no difference until the cause is found"
    )
