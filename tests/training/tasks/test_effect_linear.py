"""The linear part of the effect model: what is believed of few visits and few clicks."""

import numpy as np
import pyarrow as pa

from pipelines.core.columns import Columns as C
from pipelines.strategy.candidates import Candidate
from tests.training.small_effect import CHANNELS, profiles
from training.tasks.effect_examples import SEEN, strategy_table
from training.tasks.effect_linear import CustomerTerms, StrategyTerms, fit_bilinear, penalties

N = 1_000  # customers, a quarter of them with each style and channel


def test_an_evening_person_is_known_by_many_visits_not_by_two() -> None:
    rows = profiles(200)
    terms = CustomerTerms.of(rows, CHANNELS)
    leaning = terms.names.index(C.EVENING_SHARE)

    def evening(share: float, n_visits: float) -> float:
        one = rows.slice(0, 1)
        rest = [C.MORNING_SHARE, C.AFTERNOON_SHARE, C.NIGHT_SHARE]
        told = {C.EVENING_SHARE: share, SEEN: n_visits, **dict.fromkeys(rest, (1 - share) / 3)}
        for name, value in told.items():
            one = one.set_column(one.schema.get_field_index(name), name, pa.array([value]))
        return float(terms.matrix(one)[0, leaning])

    assert evening(0.7, 20) > evening(0.7, 2) > evening(0.25, 20) > evening(0.1, 2) > evening(0.1, 20)
    assert np.isclose(evening(0.25, 2), evening(0.25, 20)), "nobody's hours: visits tell nothing"


def test_a_style_that_luck_favours_hardly_moves_what_a_channel_would() -> None:
    """Of 500 messages each 30 and 20 clicks, once between two styles, once between two channels."""
    found = [
        Candidate(f"{channel}.none.evening.x1.{style}", "none", 0, channel, "evening", 1, style, 1, 0.0)
        for channel in CHANNELS
        for style in ("plain", "warm")
    ]
    sent = strategy_table(found).take(pa.array(np.arange(N) % 4))
    customers, strategies = CustomerTerms.of(profiles(N), CHANNELS), StrategyTerms.of(sent)
    phi = np.zeros((N, len(customers.names)))
    phi[:, 0] = 1.0  # all customers alike
    psi = strategies.matrix(sent)

    def gap(column: str, better: str) -> float:
        """How far the model sets the better half apart."""
        is_better = np.array([text == better for text in sent[column].to_pylist()])
        clicked = np.zeros(N)
        for half, clicks in ((is_better, 30), (~is_better, 20)):
            clicked[np.flatnonzero(half)[:clicks]] = 1.0
        logits = fit_bilinear(phi, psi, clicked, np.ones(N), penalties(customers, strategies)).pairs(phi, psi)
        return float(logits[is_better].mean() - logits[~is_better].mean())

    raw = np.log(30 / 470) - np.log(20 / 480)
    assert 0 < gap(C.CREATIVE_STYLE, "warm") < raw / 3 < raw / 2 < gap(C.CHANNEL, "push") < raw
