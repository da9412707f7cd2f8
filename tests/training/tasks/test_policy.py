from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipelines import score
from pipelines.core.columns import Columns as C
from pipelines.core.errors import NoDataError, RegistryError, TrainingError, WrongUseError
from pipelines.core.machine import Machine
from pipelines.core.registry import Registry, Version
from pipelines.core.shop import Models
from pipelines.core.storage import Store, sources_digest, window
from pipelines.promote import judged_findings
from pipelines.stage import Context, digest_of
from pipelines.strategy.candidates import Candidate
from tests.training.small_policy import examples
from tests.training.tasks.test_effect import PLAIN, delivery, publish, shop
from training.judge import compare
from training.predict import SCHEMA, score_blocks
from training.task import Examples, Fitting
from training.tasks.policy import TASK
from training.tasks.policy_bandit import Bandit
from training.tasks.policy_examples import (
    LOOK_BACK,
    MARGIN_CENTS,
    NIGHT,
    TIRED,
    USUAL_CENTS,
    followers,
    left_on,
    states_of,
)
from training.tasks.policy_fit import Memory, fit_net, fit_trees
from training.tasks.policy_model import CHOSEN, GREEDY, VALUE_CENTS, Continuation, PolicyModel, load_policy
from training.tasks.policy_value import policy_value

# Two states. Sending to the rested earns 10 and tires; to the tired it earns 1 and keeps them tired; a night of nothing
# rests. By hand at a discount of .8: resting when tired is worth V(rested) = 10 / (1 - .64), V(tired) = .8 V(rested);
# greedy sends always and is worth 1 / (1 - .8) = 5 from the tired, 10 + .8 x 5 = 14 from the rested.
DISCOUNT = 0.8
V_RESTED, V_TIRED = 10 / 0.36, 8 / 0.36
RESTED, WEARY = np.array([[-1.0]]), np.array([[1.0]])
MONDAY = date(2026, 3, 2)


def tired_world(n: int = 300, nights: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Who is tired (nights, n) and who was sent something (nights, n), by lot."""
    rng = np.random.default_rng(5)
    sent = rng.random((nights, n)) < 0.5
    tired = np.zeros((nights, n))
    tired[0] = rng.random(n) < 0.5
    tired[1:] = sent[:-1]
    return tired, sent


@pytest.fixture(scope="module")
def memory() -> Memory:
    tired, sent = tired_world()
    n = tired.shape[1]
    place = np.arange(tired.size - n)
    return Memory(
        summary=2 * tired.reshape(-1, 1) - 1,
        profit=np.where(tired.reshape(-1, 1) > 0, 1.0, 10.0),
        psi=np.ones((1, 1)),
        sent=sent[:-1].reshape(-1, 1).astype(np.float64),
        place=place,
        after=place + n,
        discount=DISCOUNT,
    )


@pytest.fixture(scope="module", params=["trees", "net"])
def continuation(request: pytest.FixtureRequest, memory: Memory) -> Continuation:
    how = Fitting(threads=1)
    return fit_trees(memory, how, 25) if request.param == "trees" else fit_net(memory, how, steps=400, penalty=0.0)


def test_a_policy_that_looks_ahead_rests_the_tired_where_greedy_never_would(continuation: Continuation) -> None:
    assert sends(continuation, RESTED)
    assert not sends(continuation, WEARY)  # greedy: 1 > 0, so it sends


def test_the_values_are_those_by_hand(continuation: Continuation) -> None:
    for state in (RESTED, WEARY):
        assert continuation.grid(state, np.ones((1, 1)))[0] == pytest.approx([V_TIRED, V_RESTED], rel=0.08)


def sends(part: Continuation, state: np.ndarray) -> bool:
    sent, nothing = part.grid(state, np.ones((1, 1)))[0]
    return bool((10 if state is RESTED else 1) + DISCOUNT * sent > DISCOUNT * nothing)


def test_the_conservative_penalty_lowers_what_the_nights_hardly_show(memory: Memory) -> None:
    rare = memory.sent[:, 0] < 1
    rare |= np.arange(len(rare)) % 10 == 0  # of those who were sent something one in ten is left
    few = replace(memory, sent=memory.sent[rare], place=memory.place[rare], after=memory.after[rare])
    plain, careful = (fit_net(few, Fitting(threads=1), steps=200, penalty=weight) for weight in (0.0, 2.0))
    assert not sends(careful, WEARY)

    def gap(part: Continuation) -> float:
        sent, nothing = part.grid(RESTED, np.ones((1, 1)))[0]
        return float(sent - nothing)

    assert gap(careful) < gap(plain) - 1


@pytest.mark.parametrize(("policy", "from_rested", "from_tired"), [("greedy", 14, 5), ("rests", V_RESTED, V_TIRED)])
def test_fitted_q_evaluation_finds_the_value_by_hand(policy: str, from_rested: float, from_tired: float) -> None:
    tired, sent = tired_world()
    nights, n = tired.shape
    frequency = sent.astype(np.float64).ravel()
    profit = np.where(sent, np.where(tired > 0, 1.0, 10.0), 0.0)
    target = pa.table({
        C.USER_KEY: [f"u{who}" for _ in range(nights) for who in range(n)], NIGHT: np.repeat(np.arange(nights), n),
        USUAL_CENTS: np.zeros(tired.size), MARGIN_CENTS: profit.ravel(), TIRED: tired.ravel(), C.FREQUENCY: frequency,
        C.DISCOUNT_PERCENT: np.zeros(tired.size),
    })  # fmt: skip
    would = np.ones(tired.size) if policy == "greedy" else 1 - tired.ravel()
    predicted = pa.table({CHOSEN + C.FREQUENCY: would, CHOSEN + C.DISCOUNT_PERCENT: np.zeros(tired.size)})
    share = tired.mean()
    expected = (1 - DISCOUNT) * (share * from_tired + (1 - share) * from_rested)
    weight = np.ones(tired.size)
    assert policy_value(target, predicted, weight, DISCOUNT) == pytest.approx(expected, rel=0.05)
    both = policy_value(target, predicted, np.stack([weight, 3 * weight]), DISCOUNT)
    assert both[0] == pytest.approx(both[1])
    one_night = target.slice(0, n)
    assert np.isnan(policy_value(one_night, predicted.slice(0, n), np.ones(n), DISCOUNT))


def test_the_row_that_follows_is_the_same_customer_s_of_the_next_night() -> None:
    customer = np.array(["b", "a", "b", "a", "b"])
    night = np.array(["2026-03-01", "2026-03-01", "2026-03-02", "2026-03-03", "2026-03-03"], dtype="datetime64[D]")
    assert followers(customer, night).tolist() == [2, -1, 4, -1, -1]
    assert followers(customer[:0], night[:0]).tolist() == []


@pytest.fixture(scope="module")
def fitted() -> PolicyModel:
    train, valid = examples()
    return TASK.fit(train, valid, Fitting(threads=1, settings={"learner": "trees", "iterations": 2}))


def test_a_strategy_that_was_never_sent_has_a_value_and_one_not_allowed_is_not_chosen(fitted: PolicyModel) -> None:
    states = examples()[1].rows.slice(0, 50)
    cold = Candidate("sms.save35.noon.x1.loud", "save35", 35, "sms", "noon", 1, "loud", 6, 0.0)
    found = fitted.score_grid(states, [*fitted.frame.deck, cold])[VALUE_CENTS]
    assert np.isfinite(found).all()
    assert len(np.unique(found[:, -1].round(6))) > 10
    for channel in ("email", "push"):
        at = states.schema.get_field_index(left_on(channel))
        states = states.set_column(at, left_on(channel), pa.array(np.zeros(50)))
    assert (fitted.choose(states)[0] == -1).all()


def test_greedy_is_worth_its_one_night(fitted: PolicyModel) -> None:
    greedy = TASK.baseline(examples()[0], Fitting(threads=1))
    found = greedy.score_grid(examples()[1].rows.slice(0, 20), greedy.frame.deck)
    assert (found[VALUE_CENTS] == found["profit_cents"]).all()
    later = fitted.score_grid(examples()[1].rows.slice(0, 20), fitted.frame.deck)
    assert not np.allclose(later[VALUE_CENTS], later["profit_cents"])


def test_a_bandit_learns_from_answers_and_is_surest_of_what_it_saw() -> None:
    train, valid = examples()
    frame = TASK.baseline(train, Fitting(threads=1)).frame
    new = Bandit.of(frame)
    states = valid.rows.slice(0, 30)
    assert new.values(states) == pytest.approx(frame.profit(states, frame.deck))
    none = valid.take(np.zeros(len(valid), dtype=bool))
    assert new.seen(none).values(states) == pytest.approx(new.values(states))
    clicked = train.target[C.FREQUENCY].to_numpy() > 0
    at = train.target.schema.get_field_index("clicked")
    all_click = train.target.set_column(at, "clicked", pa.array(np.where(clicked, 1.0, np.nan)))
    convinced = new.seen(replace(train, target=all_click))
    assert convinced.values(states).mean() > new.values(states).mean() + 1

    def width(bandit: Bandit) -> float:
        return float((bandit.values(states, bound=1.0) - bandit.values(states)).mean()) / bandit.noise

    assert width(convinced) < 0.5 * width(new)
    draws = [convinced.values(states, draw=np.random.default_rng(seed)) for seed in range(40)]
    assert np.mean(draws, axis=0) == pytest.approx(convinced.values(states), abs=convinced.noise)
    assert np.std(draws, axis=0).mean() == pytest.approx(width(convinced) * convinced.noise, rel=0.2)


# -- from the store


def night_of(store: Store, eve: date, sent: list[dict[str, Any]], plan: list[dict[str, Any]] | None = None) -> None:
    users = ("ann", "ben")
    publish(store, "user_profiles", eve, [{"user_key": user, "top_category_id": "k1"} for user in users])
    publish(store, "segments", eve, [{"user_key": user, "segment_name": "owls"} for user in users])
    if plan is not None:
        publish(store, "campaign_plan", eve, plan)
    night = eve + timedelta(days=1)
    publish(store, "deliveries", night, [one | {"sent_at": datetime.combine(night, time(10), UTC)} for one in sent])


def test_a_state_counts_what_was_sent_lately_and_what_may_still_be_sent(tmp_path: Path) -> None:
    store, small = Store(tmp_path, "small"), shop()
    night_of(store, MONDAY, [delivery("ann", PLAIN)])
    night_of(store, MONDAY + timedelta(days=1), [delivery("ann", PLAIN), delivery("ben", PLAIN, "bounced")])
    last = MONDAY + timedelta(days=2)
    publish(store, "user_profiles", last, [{"user_key": user} for user in ("ann", "ben")])
    publish(store, "segments", last, [{"user_key": user} for user in ("ann", "ben")])
    publish(
        store, "channel_response", last,
        [{"user_key": "ann", "channel": "email", "n_deliveries_cap_window": 2},
         {"user_key": "ben", "channel": "push", "is_suppressed": True}],
    )  # fmt: skip
    found = states_of(small, store, last)
    assert found["message_fast"].to_pylist() == pytest.approx([1.6, 0.0])
    assert found[TIRED].to_pylist() == pytest.approx([1.85, 0.0])
    caps = {channel.id: channel.cap_messages for channel in small.strategy.channels}
    allowed = [small.strategy.channels[0].default_consent * 1.0] * 2
    assert [found[left_on(name)].to_pylist() for name in caps] == [[0.0, 2 * allowed[0]], [2 * allowed[0], 0.0]]
    agreed = tuple(one.model_copy(update={"default_consent": True}) for one in small.strategy.channels)
    for nights, ann_on_push in ((0, 2.0), (1, 0.0)):
        strategy = small.strategy.model_copy(update={"rest_nights": nights, "channels": agreed})
        left = states_of(small.model_copy(update={"strategy": strategy}), store, last)
        assert left[left_on("push")].to_pylist() == [ann_on_push, 0.0]
        assert left[left_on("email")].to_pylist() == [0.0, 2.0], "ben's message bounced: no rest"


def test_a_state_counts_what_is_told_late_for_its_own_night_once_and_only_when_it_was_told(tmp_path: Path) -> None:
    store, small = Store(tmp_path, "small"), shop()
    agreed = tuple(one.model_copy(update={"default_consent": True}) for one in small.strategy.channels)
    strategy = small.strategy.model_copy(update={"rest_nights": 1, "channels": agreed})
    small = small.model_copy(update={"strategy": strategy})
    tuesday, wednesday, thursday = (MONDAY + timedelta(days=day) for day in (1, 2, 3))
    for night in (MONDAY, tuesday, wednesday):
        publish(store, "user_profiles", night, [{"user_key": user} for user in ("ann", "ben")])
        publish(store, "segments", night, [{"user_key": user} for user in ("ann", "ben")])
    click, purchase = ({"outcome_id": f"o-{what}", "delivery_id": "d-ann-0", "user_key": "ann", "outcome": what}
                       for what in ("click", "purchase"))  # fmt: skip
    publish(store, "deliveries", MONDAY, [delivery("ann", PLAIN)])
    publish(store, "deliveries", tuesday, [delivery("ben", PLAIN)])  # sent on Monday
    publish(store, "outcomes", tuesday, [click])
    publish(store, "deliveries", wednesday, [delivery("ann", PLAIN, "bounced")])  # told again, and better known
    publish(store, "outcomes", wednesday, [click, purchase, click | {"outcome_id": "o-lost", "delivery_id": "lost"}])
    publish(store, "deliveries", thursday, [delivery("ben", PLAIN, number=1)])
    publish(store, "outcomes", thursday, [click | {"outcome_id": "o-2"}])

    def told(night: date) -> np.ndarray:
        found = states_of(small, store, night)
        return np.array([found[f"{what}_slow"].to_pylist() for what in ("message", "click", "purchase")])

    assert told(MONDAY) == pytest.approx(np.array([[1, 0], [0, 0], [0, 0]]))
    assert told(tuesday) == pytest.approx(np.array([[0.85, 0.85], [0.85, 0], [0, 0]]))
    assert told(wednesday) == pytest.approx(np.array([[0, 0.85**2], [0.85**2, 0], [0.85**2, 0]]))
    rests = [(states_of(small, store, night)[left_on("push")].to_numpy() == 0).tolist() for night in (MONDAY, tuesday)]
    assert rests == [[True, False], [False, False]], "a night of rest follows the night of the message"


def test_nights_that_cannot_teach_a_policy_are_refused_in_one_line(tmp_path: Path) -> None:
    store, small = Store(tmp_path, "small"), shop()
    first, second, third = (MONDAY + timedelta(days=day) for day in range(3))
    with pytest.raises(NoDataError, match="nothing was delivered in 2 nights"):
        TASK.examples(small, store, (second, third))
    night_of(store, first, [delivery("ann", PLAIN)])
    with pytest.raises(NoDataError, match="1 nights of deliveries up to 2026-03-03, no two of them in a row"):
        TASK.examples(small, store, (second,))
    plan = [{"user_key": "ann", "strategy_id": PLAIN, "propensity": 0.0}, {"user_key": "ben", "propensity": 1.0}]
    night_of(store, second, [delivery("ann", PLAIN)], plan)
    with pytest.raises(NoDataError, match="campaign_plan of 2026-03-03: 1 of 2 rows have no propensity in 0 to 1"):
        TASK.examples(small, store, (second, third))
    with pytest.raises(WrongUseError, match=r"models\.settings\.policy\.lerner"):
        TASK.examples(shop(settings={"policy": {"lerner": "net"}}), store, (second,))


def test_examples_without_transitions_or_messages_cannot_be_fitted() -> None:
    train, valid = examples()
    with pytest.raises(TrainingError, match="nothing was sent in the"):
        TASK.fit(train.take(train.target[C.FREQUENCY].to_numpy() == 0), valid, Fitting(threads=1))
    apart = train.take(train.night != np.unique(train.night)[1])
    with pytest.raises(TrainingError, match="no customer is seen on two nights in a row"):
        TASK.fit(apart, valid, Fitting(threads=1))


# -- in the night


@pytest.mark.parametrize(
    ("policy", "champion", "passed", "told"),
    [
        ("rests", "greedy", True, "value_cents better: challenger minus champion"),
        ("greedy", "greedy", False, "value_cents tie: challenger minus champion 0 [0, 0], higher is better"),
        ("greedy", "rests", False, "value_cents worse: challenger minus champion"),
    ],
)
def test_promotion_keeps_the_greedy_policy_unless_another_earns_more_over_the_nights(
    policy: str, champion: str, passed: bool, told: str
) -> None:
    tired, sent = tired_world()
    nights, n = tired.shape
    profit = np.where(sent, np.where(tired > 0, 1.0, 10.0), 0.0)
    who, sends, zeros = [f"u{who}" for _ in range(nights) for who in range(n)], sent.ravel() * 1.0, np.zeros(tired.size)
    target = pa.table({
        C.USER_KEY: who, NIGHT: np.repeat(np.arange(nights), n), USUAL_CENTS: zeros, MARGIN_CENTS: profit.ravel(),
        TIRED: tired.ravel(), C.FREQUENCY: sends, C.DISCOUNT_PERCENT: zeros,
    })  # fmt: skip
    would = {"greedy": np.ones(tired.size), "rests": 1 - tired.ravel()}
    told_nights = np.datetime64("2026-03-03") + target[NIGHT].to_numpy()
    judged = Examples(target, target, np.array(who), np.full(len(who), ""), told_nights)
    predicted = {
        name: pa.table({CHOSEN + C.FREQUENCY: would[kind], CHOSEN + C.DISCOUNT_PERCENT: zeros})
        for name, kind in (("challenger", policy), ("champion", champion))
    }
    speed = {"challenger": {"seconds_per_row": 0.0, "size_mb": 0.0}}
    metric, *others = judged_findings(compare(TASK, judged, predicted) | {"speed": speed}, Models())
    assert (metric.check, metric.passed) == ("metric", passed)
    assert metric.text.startswith(told)
    assert all(one.passed for one in others)


def test_scores_tell_what_a_strategy_costs_in_later_nights_and_nothing_for_the_greedy(
    fitted: PolicyModel, tmp_path: Path
) -> None:
    fitted.save(tmp_path)
    policy, states = load_policy(tmp_path), examples()[1].rows.slice(0, 30)
    strategies = list(policy.frame.deck)
    told = list(score_blocks(policy.frame.effect, strategies, "m", "1", states.to_batches(), policy))
    assert [batch.schema for batch in told] == [SCHEMA]
    scores = policy.score_grid(states, strategies)
    later = told[0][C.LONG_RUN_CENTS].to_numpy()
    assert later == pytest.approx((scores[VALUE_CENTS] - scores["profit_cents"]).ravel())
    assert np.abs(later).max() > 0.01
    (plain,) = score_blocks(policy.frame.effect, strategies, "m", "1", states.to_batches())
    assert plain[C.LONG_RUN_CENTS].null_count == len(plain)
    assert plain.drop_columns([C.LONG_RUN_CENTS]) == told[0].drop_columns([C.LONG_RUN_CENTS])


@pytest.mark.parametrize(
    ("tasks", "kind", "scores"),
    [(("effect", "policy"), "trees", True), (("effect", "policy"), GREEDY, False), (("effect",), "trees", False)],
)
def test_only_a_champion_that_thinks_of_later_nights_is_asked_for_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tasks: tuple[str, ...], kind: str, scores: bool
) -> None:
    champion = Version("small-policy", "4", "run", tags={"kind": kind, "content_sha256": "abc"})
    monkeypatch.setattr(Registry, "champion", lambda self, task, night: champion)
    monkeypatch.setattr(Registry, "fetch", lambda self, version: tmp_path)
    small = shop()
    small = small.model_copy(update={"models": small.models.model_copy(update={"tasks": tasks})})
    found = score._policy(MONDAY, Context(small, Machine(), Store(tmp_path, "small"), tmp_path))
    assert (found is not None) == scores
    if found:
        assert found.inputs["model/small-policy/4"] == "abc"
        looked = {f"{table}/{one}" for table in ("deliveries", "outcomes") for one in window(MONDAY, LOOK_BACK)}
        assert looked < set(found.inputs)
    assert score.GREEDY == GREEDY


def test_a_registry_that_is_down_changes_no_scores_that_a_policy_made_before(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    small, store = shop(), Store(tmp_path, "small")
    small = small.model_copy(update={
        "models": small.models.model_copy(update={"tasks": ("effect", "policy")}),
        "strategy": small.strategy.model_copy(update={"explore_nights": 1}),
    })  # fmt: skip
    publish(store, "deliveries", MONDAY, [delivery("ann", PLAIN)])
    made_by = {"model/small-effect/1": "a", "model/small-policy/4": "b"}
    inputs = {name: digest for table in score.INPUTS for name, digest in store.inputs(table, [MONDAY]).items()}
    inputs |= made_by | store.inputs("deliveries", window(MONDAY, score.LOOKED_BACK_NIGHTS))
    inputs |= store.inputs("outcomes", window(MONDAY, score.LOOKED_BACK_NIGHTS))
    with store.staging() as staging:
        (staging / "strategy_scores").mkdir()
        told = {"model": "small-effect", "version": "1", "why": "champion", "policy": "small-policy version 4"}
        store.publish(
            "strategy_scores", MONDAY, staging / "strategy_scores", rows=0, inputs=inputs,
            config_hash=digest_of(small.strategy, sources_digest("training")), counts=told,
        )  # fmt: skip

    def is_down(*args: Any, **more: Any) -> None:
        raise RegistryError("the model registry does not answer")

    monkeypatch.setattr(Registry, "champion", is_down)
    result = score.run(MONDAY, Context(small, Machine(), store, tmp_path))
    assert result.counts == told
    publish(store, "outcomes", MONDAY, [])  # what the policy looked back on has changed: only then it is scored again
    monkeypatch.setattr(score, "launch", is_down)
    with pytest.raises(RegistryError):
        score.run(MONDAY, Context(small, Machine(), store, tmp_path))
