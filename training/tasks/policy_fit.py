"""Fits what a policy expects of the nights to come: fitted Q iteration by trees, and a Q-network with the penalty of CQL.

The known part of a reward is not learnt again: what the effect model expects of one night stands in for the purchases,
whose chance would hide every difference between strategies (a night's purchases scatter by some 600 cents per customer, a
contact moves them by 5). So all learners fit C(s, a) = E[V(s')], with V(s) = max over what is allowed of Q(s, a).
"""

from dataclasses import dataclass, replace
from typing import Any, Final

import lightgbm
import numpy as np
import pyarrow.compute as pc
import torch

from pipelines.core.columns import Columns as C
from pipelines.core.errors import TrainingError
from pipelines.strategy.candidates import NOTHING, Candidate
from training.task import Examples, Fitting
from training.tasks import effect
from training.tasks.effect_examples import STRATEGY_COLUMNS, strategy_table
from training.tasks.effect_linear import StrategyTerms
from training.tasks.policy_examples import MESSAGE_COST, followers
from training.tasks.policy_model import Continuation, Frame, Trees
from training.tasks.policy_net import Net, QNetwork

_TREES: Final[dict[str, Any]] = {
    "objective": "l2", "learning_rate": 0.1, "num_leaves": 15, "min_data_in_leaf": 50, "lambda_l2": 10.0,
}  # fmt: skip
_ROUNDS: Final = 60


@dataclass(frozen=True)
class Memory:
    """m rows with states, of which n are followed by another: what iteration after iteration looks at."""

    summary: np.ndarray  # (m, f)
    profit: np.ndarray  # (m, s) of one night; minus infinity where not allowed
    psi: np.ndarray  # (s, q)
    sent: np.ndarray  # (n, q): terms of what was sent, zeros for nothing
    place: np.ndarray  # (n,) rows that are followed
    after: np.ndarray  # (n,) the rows that follow
    discount: float

    def values(self, part: Continuation | None) -> np.ndarray:
        """(n,) V of the states that follow."""
        profit = self.profit[self.after]
        if part is None:
            return profit.max(axis=1, initial=0.0)
        later = self.discount * part.grid(self.summary[self.after], self.psi)
        return np.maximum((profit + later[:, :-1]).max(axis=1, initial=-np.inf), later[:, -1])


def frame_of(train: Examples, how: Fitting) -> Frame:
    """The effect model and what stands around it; the newest night chooses within the effect model. Raises TrainingError
    where nothing was sent, or nobody or everybody bought."""
    sent = train.rows.filter(pc.greater(train.rows[C.FREQUENCY], 0))
    if not len(sent):
        raise TrainingError(
            f"policy: nothing was sent in the {len(train)} examples to learn from; wait for more nights"
        )
    newest = train.night == train.night.max()
    fitted = effect.TASK.fit(train.take(~newest), train.take(newest), replace(how, settings={}))
    told = sent.group_by([*STRATEGY_COLUMNS, MESSAGE_COST]).aggregate([]).sort_by(C.STRATEGY_ID).to_pylist()
    deck = {one[C.STRATEGY_ID]: _candidate(one) for one in told if one[C.STRATEGY_ID] != NOTHING}
    channels = tuple(sorted({one.channel for one in deck.values()}))
    return Frame(fitted, channels, StrategyTerms.of(sent), tuple(deck.values()))


def _candidate(told: dict[str, Any]) -> Candidate:
    numbers = {C.FREQUENCY: int(told[C.FREQUENCY]), C.DISCOUNT_PERCENT: int(told[C.DISCOUNT_PERCENT])}
    return Candidate(
        **{name: told[name] for name in STRATEGY_COLUMNS} | numbers,
        message_cost_cents=round(told[MESSAGE_COST]),
        discount_share=0.0,
    )


def memory_of(frame: Frame, examples: Examples, discount: float) -> tuple[Frame, Memory]:
    """The frame with the summary's scale, and what is learnt from. Raises TrainingError without a single transition."""
    after = followers(examples.customer, examples.night)
    place = np.flatnonzero(after >= 0)
    if not len(place):
        raise TrainingError(
            f"policy: no customer is seen on two nights in a row in the {len(examples)} examples; wait for more nights"
        )
    profit = frame.profit(examples.rows, frame.deck)
    raw = frame.summary(examples.rows, profit, frame.deck)
    scale = np.where(raw.std(axis=0) > 1e-9, raw.std(axis=0), 1.0)
    frame = replace(frame, mean=tuple(raw.mean(axis=0).tolist()), scale=tuple(scale.tolist()))
    allowed = frame.allowed(examples.rows, frame.deck)
    return frame, Memory(
        summary=frame.summary(examples.rows, profit, frame.deck),
        profit=np.where(allowed, profit, -np.inf),
        psi=frame.traces(strategy_table(frame.deck)),
        sent=frame.traces(examples.rows.take(place)),
        place=place,
        after=after[place],
        discount=discount,
    )


def fit_trees(memory: Memory, how: Fitting, iterations: int) -> Trees:
    """Fitted Q iteration (Ernst, Geurts, Wehenkel 2005) with boosted trees."""
    x = np.concatenate([memory.summary[memory.place], memory.sent], axis=1)
    part = None
    for _ in range(iterations):
        part = Trees(_booster(x, memory.values(part), how))
    assert part is not None
    return part


def fit_net(memory: Memory, how: Fitting, *, steps: int, penalty: float, width: int = 32) -> Net:
    """Double DQN (van Hasselt, Guez, Silver 2016) with the conservative penalty of CQL (Kumar et al. 2020, equation 4):

    the loss is (Q - target)^2 + penalty x (logsumexp over what is allowed of Q - Q of what was sent), in units of the
    values' scatter.
    """
    # Not by training/loop.py: labels that move with a target network, which no checkpoint of its Trainer holds.
    torch.manual_seed(how.seed)
    torch.set_num_threads(1)
    scale = max(float(memory.values(None).std()), 1e-6)
    place, after, sent, psi, summary = (
        torch.from_numpy(values.astype(dtype))
        for values, dtype in (
            (memory.place, np.int64), (memory.after, np.int64), (memory.sent, np.float32),
            (np.concatenate([memory.psi, np.zeros((1, memory.psi.shape[1]))]), np.float32), (memory.summary, np.float32),
        )
    )  # fmt: skip
    profit = torch.from_numpy(np.pad(memory.profit / scale, ((0, 0), (0, 1))).astype(np.float32))
    network, target = (QNetwork(summary.shape[1], psi.shape[1], width) for _ in range(2))
    target.load_state_dict(network.state_dict())
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    draw = torch.Generator().manual_seed(how.seed)
    for step in range(steps):
        some = torch.randint(len(place), (256,), generator=draw)
        now, then = place[some], after[some]
        with torch.no_grad():
            online = profit[then] + memory.discount * network(summary[then][:, None], psi[None])
            best = online.argmax(dim=1, keepdim=True)
            value = profit[then].gather(1, best)[:, 0] + memory.discount * target(summary[then], psi[best[:, 0]])
        loss = (network(summary[now], sent[some]) - value).square().mean()
        if penalty:
            later = memory.discount * network(summary[now][:, None], psi[None])
            logged = memory.discount * network(summary[now], sent[some])
            loss = loss + penalty * ((profit[now] + later).logsumexp(dim=1) - logged).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 10 == 0:
            how.log({"policy_loss": float(loss.detach())}, step)
        with torch.no_grad():
            for slow, fast in zip(target.parameters(), network.parameters(), strict=True):
                slow.lerp_(fast, 0.05)
    return Net(target.eval(), scale)


def _booster(x: np.ndarray, y: np.ndarray, how: Fitting) -> lightgbm.Booster:
    given = {**_TREES, "seed": how.seed, "num_threads": how.threads, "deterministic": True, "verbosity": -1}
    return lightgbm.train({**given, "force_row_wise": True}, lightgbm.Dataset(x, y), num_boost_round=_ROUNDS)
