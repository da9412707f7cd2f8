"""Policy: what a strategy is worth over the nights to come, where a message tonight tires the customer for tomorrow.

    nightmarket train policy --shop demo

Offline Q-learning on nights whose strategies were drawn by lot: fitted Q iteration with trees, or a Q-network with a
conservative penalty. What a customer does tonight is the effect model's to say; learnt here is what tonight leaves behind:
fatigue, caps and rest that stand in the way of a better night, customers who leave. The baseline is the greedy one-night
optimum, and whoever takes its place has to earn more by fitted Q evaluation on later nights.
"""

from collections.abc import Mapping
from datetime import date
from functools import partial
from pathlib import Path
from typing import Literal

from pydantic import Field

from pipelines.core.columns import Columns as C
from pipelines.core.settings import Settings
from pipelines.core.shop import Shop
from pipelines.core.storage import Store
from training.task import Examples, Fitting, Measure, settings_of
from training.tasks.effect_examples import CUSTOMER_NUMBERS, CUSTOMER_TEXTS, STRATEGY_COLUMNS
from training.tasks.policy_examples import MESSAGE_COST, STATE, examples_of
from training.tasks.policy_fit import fit_net, fit_trees, frame_of, memory_of
from training.tasks.policy_model import Continuation, PolicyModel, load_policy
from training.tasks.policy_value import DISCOUNT, policy_value


class PolicySettings(Settings):
    """Under models.settings.policy of a shop."""

    learner: Literal["net", "trees"] = Field(
        "trees", description="fitted Q iteration, or a Q-network with CQL's penalty"
    )
    discount: float = Field(0.9, ge=0, lt=1, description="what a cent of tomorrow night is worth tonight")
    penalty: float = Field(
        0.4, ge=0, description="CQL's weight on strategies that the nights hardly show; 0: double DQN"
    )
    steps: int = Field(400, ge=10, description="of the Q-network, 256 transitions each")
    iterations: int = Field(12, ge=1, description="of fitted Q iteration")
    max_examples: int = Field(200_000, ge=100, description="customers x nights; customers by lot if there are more")


class PolicyTask:
    """See training/task.py.

    `value_cents` decides, from raw profits: no model's opinion of itself enters. On a small shop its interval is wide, and
    a tie keeps the greedy policy.
    """

    name = "policy"
    metric = "value_cents"
    example_columns = (
        C.USER_KEY, C.SEGMENT_NAME, *CUSTOMER_NUMBERS, *CUSTOMER_TEXTS, *STRATEGY_COLUMNS, *STATE, MESSAGE_COST,
    )  # fmt: skip
    measures: Mapping[str, Measure] = {
        "value_cents": Measure(
            partial(policy_value, discount=DISCOUNT), True,
            "profit of a customer's night under the policy, over the nights to come: fitted Q evaluation, cents",
        ),
        "night_profit_cents": Measure(
            partial(policy_value, discount=0.0), True, "the same of one night alone, nothing thought of what follows, cents"
        ),
    }  # fmt: skip

    def examples(self, shop: Shop, store: Store, nights: tuple[date, ...]) -> Examples:
        """One example per customer known the night before, see policy_examples.py."""
        settings = settings_of(PolicySettings, self.name, shop.models.settings.get(self.name, {}))
        return examples_of(shop, store, nights, settings.max_examples)

    def baseline(self, train: Examples, how: Fitting) -> PolicyModel:
        """The greedy one-night optimum of the same effect model that `fit` learns from."""
        settings = settings_of(PolicySettings, self.name, how.settings)
        return PolicyModel(frame_of(train, how), settings.discount)

    def fit(self, train: Examples, valid: Examples, how: Fitting) -> PolicyModel:
        """Transitions of `train`; the effect model chooses on its newest night, `valid` is seen by nothing."""
        settings = settings_of(PolicySettings, self.name, how.settings)
        frame, memory = memory_of(frame_of(train, how), train, settings.discount)
        part: Continuation
        if settings.learner == "trees":
            part = fit_trees(memory, how, settings.iterations)
        else:
            part = fit_net(memory, how, steps=settings.steps, penalty=settings.penalty)
        return PolicyModel(frame, settings.discount, part)

    def load(self, folder: Path) -> PolicyModel:
        return load_policy(folder)


TASK = PolicyTask()
