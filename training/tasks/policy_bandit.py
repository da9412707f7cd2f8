"""A contextual bandit for one night: what the effect model expects, corrected by answers as they come, with what is not known.

Bayesian linear regression of the profit that answers tell of, less what was expected, on features of customer and strategy:
strategies share parameters through their attributes, so one that was never sent has a mean and a variance too. From it
LinUCB (Li, Chu, Langford, Schapire 2010) takes the upper bound, Thompson sampling (Agrawal and Goyal 2013) a draw.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from pipelines.core.columns import Columns as C
from training.task import Examples
from training.tasks.effect_examples import CLICKED, COMPLAINED, strategy_table
from training.tasks.policy_examples import COMPLAINT_COST, MARGIN_PERCENT, TIRED
from training.tasks.policy_model import Frame, numbers

_PRECISION: Final = 100.0  # of the prior around no correction, in answers
_MIN_CLICK: Final = 0.01
_TENS_OF_CENTS: Final = 10.0


@dataclass(frozen=True)
class Bandit:
    """Posterior of d weights: precision (d, d), moment (d,); `noise` (cents) is the scatter of one answer."""

    frame: Frame
    precision: np.ndarray
    moment: np.ndarray
    noise: float

    @classmethod
    def of(cls, frame: Frame) -> "Bandit":
        d = 3 * frame.terms.matrix(strategy_table([None])).shape[1]
        return cls(frame, _PRECISION * np.eye(d), np.zeros(d), 1.0)

    def seen(self, examples: Examples) -> "Bandit":
        """Knowing these examples too."""
        rows = examples.rows.append_column("clicked", examples.target[CLICKED])
        rows = rows.append_column("complained", examples.target[COMPLAINED])
        rows = rows.filter(pa.array(~np.isnan(examples.target[CLICKED].to_numpy())))
        best = self.frame.profit(rows, self.frame.deck).max(axis=1)
        x = _crossed(_context(rows, best)[:, None], self.frame.terms.matrix(rows)[:, None])[:, 0]
        surprise = told_profit(self.frame, rows)
        noise = float(np.sqrt(np.mean(surprise**2))) if len(surprise) else self.noise
        return Bandit(self.frame, self.precision + x.T @ x, self.moment + x.T @ surprise, max(noise, 1e-9))

    def values(self, states: pa.Table, bound: float = 0.0, draw: np.random.Generator | None = None) -> np.ndarray:
        """(n, deck) cents over sending nothing: the mean plus `bound` standard deviations, or with `draw` one draw of the
        weights per customer."""
        profit = self.frame.profit(states, self.frame.deck)
        x = _crossed(
            _context(states, profit.max(axis=1))[:, None],
            self.frame.terms.matrix(strategy_table(self.frame.deck))[None],
        )
        mean = np.linalg.solve(self.precision, self.moment)
        root = np.linalg.cholesky(np.linalg.inv(self.precision)) * self.noise  # weights = mean + root z
        if draw is not None:
            weights = mean + draw.standard_normal((len(x), len(mean))) @ root.T
            return profit + np.einsum("nkd,nd->nk", x, weights)
        return profit + x @ mean + bound * np.sqrt(((x @ root) ** 2).sum(axis=2))


def told_profit(frame: Frame, sent: pa.Table) -> np.ndarray:
    """(n,) cents by which the answers to what was sent tell of more profit than was expected.

    A click brings what the message was expected to bring per expected click: purchases themselves, rare and mostly made
    anyway, would drown it (the surrogate index of Athey, Chetty, Imbens and Kang 2019).
    """
    found = frame.effect.predict(sent)
    scores = {
        name: found[name].to_numpy()
        for name in (C.P_CLICK, C.P_CONVERSION, C.SPEND_CENTS, C.LIFT_CONVERSION, C.P_COMPLAINT)
    }
    margin, discount = numbers(sent, MARGIN_PERCENT) / 100, numbers(sent, C.DISCOUNT_PERCENT) / 100
    order_cents = scores[C.SPEND_CENTS] / np.maximum(scores[C.P_CONVERSION], 1e-9)
    brought = scores[C.LIFT_CONVERSION] * order_cents * (1 - (1 - margin) / (1 - discount))
    clicked = sent["clicked"].to_numpy() / np.maximum(scores[C.P_CLICK], _MIN_CLICK) - 1
    return brought * clicked - numbers(sent, COMPLAINT_COST) * (sent["complained"].to_numpy() - scores[C.P_COMPLAINT])


def _context(states: pa.Table, best_cents: np.ndarray) -> np.ndarray:
    """(n, 3): a one, the best one-night profit, recent messages."""
    return np.stack([np.ones(states.num_rows), best_cents / _TENS_OF_CENTS, numbers(states, TIRED)], axis=1)


def _crossed(context: np.ndarray, psi: np.ndarray) -> np.ndarray:
    """(n, k, 3 q) of contexts (n, 1, 3) and terms (n or 1, k, q)."""
    return (context[..., :, None] * psi[..., None, :]).reshape(len(context), psi.shape[1], 3 * psi.shape[2])
