"""Logs with a known truth for benchmarks/off_policy.py: zr-obp's synthetic protocol, and the demo shop's customers.

The synthetic logs follow obp.dataset.SyntheticBanditDataset 0.5.7 draw by draw (a test compares the two where obp is
there): normal contexts, a logistic reward of context, action and their product with uniform coefficients, a linear or
polynomial logging policy softmax(beta x logits). The judged policy takes the best action with probability 1 - EPSILON, else
any, as in the papers that obp's authors measured on it (Saito and Joachims 2022, section 5).
"""

from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np

from pipelines.core.config import load_shop
from pipelines.simulator.response import Treatment, respond, tonight
from pipelines.simulator.world import build_world

EPSILON = 0.2
DIMENSIONS = 5


@dataclass(frozen=True)
class Setting:
    """One kind of log."""

    name: str
    n_actions: int = 10
    beta: float = 1.0  # of the logging policy: the larger, the smaller its overlap with any other
    shift: float = 0.0  # subtracted from the reward's logit: 4 makes rewards rare
    rows: int = 2_000
    degree: int = 1  # of the reward in the context


@dataclass(frozen=True)
class Log:
    """A log and the truth about the judged policy."""

    context: np.ndarray  # (n, d)
    action: np.ndarray  # (n,)
    reward: np.ndarray  # (n,)
    propensity: np.ndarray  # (n,)
    policy: np.ndarray  # (n, a)
    truth: float  # mean expected reward of the judged policy on these contexts, as obp defines it


def synthetic(setting: Setting, seed: int) -> Log:
    """One log by obp's protocol, with `seed` as its random_state."""
    random = np.random.RandomState(seed)
    actions = np.eye(setting.n_actions)
    context = random.normal(size=(setting.rows, DIMENSIONS))
    expected = _sigmoid(reward_logits(context, actions, setting.degree, seed) - setting.shift)
    logging = _softmax(setting.beta * behaviour_logits(context, actions, seed))
    draw = np.random.RandomState(seed).uniform(size=setting.rows)[:, None]
    action = (logging.cumsum(axis=1) > draw).argmax(axis=1)
    rows = np.arange(setting.rows)
    reward = random.binomial(n=1, p=expected[rows, action]).astype(float)
    policy = np.full(expected.shape, EPSILON / setting.n_actions)
    policy[rows, expected.argmax(axis=1)] += 1 - EPSILON
    return Log(context, action, reward, logging[rows, action], policy, float((policy * expected).sum(axis=1).mean()))


TREATMENTS = (
    None, *(Treatment(d, c, h, h + 3, 1, y) for c in ("email", "push") for d in (0, 10, 20)
            for h, y in ((8, "plain"), (18, "warm"))),
)  # fmt: skip
MARGIN, MESSAGE_CENTS, COMPLAINT_CENTS = 0.4, 1.0, 500.0


def shop(setting: Setting, seed: int) -> Log:
    """One night of a demo shop of its own: 13 ways to write to each customer or not, reward clicks or cents of profit.

    Half the customers' treatments are drawn by lot, half by a model that sees the truth through noise; the judged policy is
    another such model's best treatment, nine times in ten. Contexts are traits, as seen through a clickstream: with noise.
    """
    demo = load_shop("demo")
    assert demo.simulator is not None
    world = build_world(demo.model_copy(update={"simulator": demo.simulator.model_copy(update={"seed": seed})}))
    random = np.random.default_rng(seed)
    people, who = world.customers, np.arange(world.customers.size)
    n, a = len(who), len(TREATMENTS)
    evening = tonight(world, world.first_night + 20)
    chances = [respond(world, evening, who, one, np.zeros(n)) for one in TREATMENTS]
    paid = np.array([1 - (one.discount_percent if one else 0) / 100 for one in TREATMENTS])
    sent = np.array([0.0] + [1.0] * (a - 1))
    click, buys, complaint = (
        np.stack([getattr(one, name) for one in chances], axis=1) for name in ("click", "purchase", "complaint")
    )
    earned = np.stack([one.order_cents for one in chances], axis=1) * (1 - (1 - MARGIN) / paid)
    expected = (
        click if setting.name == "shop clicks" else buys * earned - sent * MESSAGE_CENTS - complaint * COMPLAINT_CENTS
    )

    def guess() -> np.ndarray:
        seen = (expected - expected.mean(axis=1, keepdims=True)) / expected.std()
        return seen + random.normal(size=seen.shape) * seen.std()

    logging = 0.5 / a + 0.5 * _softmax(3 * setting.beta * guess())
    action = (logging.cumsum(axis=1) > random.random((n, 1))).argmax(axis=1)
    happened = [random.random(n) < chance[who, action] for chance in (click, buys, complaint)]
    profit = happened[1] * earned[who, action] - sent[action] * MESSAGE_CENTS - happened[2] * COMPLAINT_CENTS
    reward = happened[0].astype(float) if setting.name == "shop clicks" else profit
    policy = np.full((n, a), 0.1 / a)
    policy[who, guess().argmax(axis=1)] += 0.9
    traits = (people.activity, people.appetite, people.sensitivity, people.main_hour, people.warmth)
    context = np.stack([one + random.normal(size=n) * one.std() / 2 for one in traits], axis=1)
    truth = float((policy * expected).sum(axis=1).mean())
    return Log(context, action, reward, logging[who, action], policy, truth)


def reward_logits(context: np.ndarray, actions: np.ndarray, degree: int, seed: int) -> np.ndarray:
    """(n, a): obp's _base_reward_function, its z-score (which only shifts) included."""
    random = np.random.RandomState(seed)
    x, a = polynomial(context, degree), polynomial(actions, degree)
    of_context = random.uniform(-1, 1, size=x.shape[1])
    of_action = random.uniform(-1, 1, size=a.shape[1])
    of_both = random.uniform(-1, 1, size=(x.shape[1], a.shape[1]))
    found = (x @ of_context)[:, None] + (a @ of_action)[None, :] + x @ of_both @ a.T
    return degree * (found - found.mean() / found.std())


def behaviour_logits(context: np.ndarray, actions: np.ndarray, seed: int) -> np.ndarray:
    """(n, a): obp's linear_behavior_policy."""
    random = np.random.RandomState(seed)
    x, a = polynomial(context, 1), polynomial(actions, 1)
    of_action = random.uniform(size=a.shape[1])
    of_both = random.uniform(size=(x.shape[1], a.shape[1]))
    found = x @ of_both @ a.T + of_action @ a.T
    return (found - found.mean()) / found.std()


def polynomial(x: np.ndarray, degree: int) -> np.ndarray:
    """(n, terms) products of up to `degree` columns, in the order of scikit-learn's PolynomialFeatures."""
    columns = [np.ones(len(x))]
    for d in range(1, degree + 1):
        columns += [x[:, list(which)].prod(axis=1) for which in combinations_with_replacement(range(x.shape[1]), d)]
    return np.stack(columns, axis=1)


def _softmax(raw: np.ndarray) -> np.ndarray:
    powers = np.exp(raw - raw.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _sigmoid(raw: np.ndarray) -> np.ndarray:
    return np.exp(np.minimum(raw, 0)) / (1.0 + np.exp(-np.abs(raw)))
