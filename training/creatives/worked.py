"""Which way of wording messages was answered more often, from wordings that were drawn by lot; and lots that lean to it.

The kind of a wording is where its offer stands: first, last, or within greetings. Every customer's wording is drawn among
those that the brief may use, so what one kind would have brought alone is told by inverse propensities, self-normalised
(Swaminathan and Joachims 2015), beside what the lot brought on the same rows. Only evenings and briefs where the kind had
another beside it count: products and offers then cancel out. A kind is proven where the interval of its gain, over
customers and shared among the kinds that are compared, lies above zero.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import numpy as np
import pyarrow.compute as pc

from pipelines.core.columns import Columns as C
from pipelines.core.copywriting import LOOKED_BACK_NIGHTS, SAFE, USABLE
from pipelines.core.feedback import Feedback
from pipelines.core.reading import read
from pipelines.core.shop import Shop
from pipelines.core.storage import Store
from pipelines.strategy.judgement import LEVEL, Interval
from pipelines.strategy.off_policy_interval import freedom, student_t, widest
from training.creatives.briefs import words_of_offer

FIRST, WITHIN, LAST, NO_OFFER = "offer first", "offer within", "offer last", "no offer"
MIN_ANSWERS: Final = 10  # to a kind, before anything is said of it
_ANSWERS: Final = ("click", "purchase")


@dataclass(frozen=True)
class Lots:
    """n messages whose wording was drawn by lot and that arrived."""

    audience: np.ndarray  # (n,) str, language and style: kinds are compared within
    kind: np.ndarray  # (n,) str of the wording drawn
    propensity: np.ndarray  # (n,) of that wording, below 1
    alike: np.ndarray  # (n,) int, wordings of that kind that the lot had
    kinds: np.ndarray  # (n,) of frozenset, all kinds that the lot had
    is_answered: np.ndarray  # (n,) bool: clicked or bought
    user: np.ndarray  # (n,) str

    def __len__(self) -> int:
        return len(self.kind)


def kind_of(text: str, offer: str) -> str:
    """Where the offer stands in a message."""
    said = offer.rstrip(".。!！")
    if not said or said not in text:
        return NO_OFFER
    rest = text.rstrip(".。!！")
    return FIRST if text.startswith(said) else LAST if rest.endswith(said) else WITHIN


def gains(lots: Lots) -> dict[tuple[str, str], Interval]:
    """(audience, kind) -> answers per message over the lot's, of those that can be told; the interval's level is shared."""
    asked = []
    for audience in np.unique(lots.audience):
        for kind in np.unique(lots.kind[lots.audience == audience]):
            beside = np.array([kind in some and len(some) > 1 for some in lots.kinds], dtype=bool)
            rows = (lots.audience == audience) & beside
            if lots.is_answered[rows & (lots.kind == kind)].sum() >= MIN_ANSWERS:
                asked.append((str(audience), str(kind), rows))
    level = 1 - (1 - LEVEL) / max(len(asked), 1)
    return {(audience, kind): _gain(lots, kind, rows, level) for audience, kind, rows in asked}


def _gain(lots: Lots, kind: str, rows: np.ndarray, level: float) -> Interval:
    """Difference of two ratios of sums over customers, by their influence on it."""
    weight = (lots.kind == kind)[rows] / (lots.propensity * lots.alike)[rows]
    answered = lots.is_answered[rows].astype(np.float64)
    _, user = np.unique(lots.user[rows], return_inverse=True)
    n = int(user.max()) + 1
    with_kind, by_lot = (weight @ answered) / weight.sum(), answered.mean()
    mine = np.bincount(user, weight * (answered - with_kind), n) / weight.sum()
    other = np.bincount(user, answered - by_lot, n) / len(answered)
    terms = (with_kind - by_lot) + n * (mine - other)
    return widest([student_t(terms, level)], freedom(terms), n, level)


def proven(found: Mapping[tuple[str, str], Interval]) -> dict[tuple[str, str], float]:
    """Of `gains` those above zero beyond chance, with the gain that is sure."""
    return {which: one.low for which, one in found.items() if one.low > 0}


def chances(kinds: Sequence[str], sure: Mapping[str, float], even_percent: float) -> np.ndarray:
    """(n,) how likely each of n wordings is drawn: `even_percent` of the lots fall evenly on all, the others on the kind that
    is proven best among those at hand, if any is. `sure`: kind -> gain."""
    even = np.full(len(kinds), 1 / len(kinds))
    known = [kind for kind in set(kinds) if kind in sure]
    if not known:
        return even
    best = max(known, key=lambda kind: (sure[kind], kind))
    is_best = np.array([kind == best for kind in kinds], dtype=np.float64)
    share = even_percent / 100
    return np.asarray(share * even + (1 - share) * is_best / is_best.sum())


def read_lots(night: date, shop: Shop, store: Store) -> Lots:
    """What was drawn on the last LOOKED_BACK_NIGHTS nights before `night`, and answered as far as it was told by its end."""
    offers = {offer.id: offer for offer in shop.strategy.offers}
    feedback = Feedback(shop, store, night)
    rows: list[tuple[str, str, float, int, frozenset[str], bool, str]] = []
    for made in [one for one in store.nights("plan_copy") if night - timedelta(days=LOOKED_BACK_NIGHTS) <= one < night]:
        copies = read(store, "plan_copy", [made], C.USER_KEY, C.STRATEGY_ID, C.CREATIVE_ID, C.PROPENSITY)
        told = read(
            store, "creatives", [made], C.CREATIVE_ID, C.BRIEF_ID, C.OFFER_ID, C.CREATIVE_STYLE, C.LANGUAGE, C.TEXT,
            C.SOURCE, C.STATUS,
        )  # fmt: skip
        sent = feedback.sent_on(made + timedelta(days=1))
        if copies is None or told is None or not sent.num_rows:
            continue
        sent = sent.filter(pc.equal(sent[C.STATUS], "delivered"))
        answered = {
            key
            for _, answers in feedback.answers_to(made + timedelta(days=1), sent)
            for key, what in zip(answers[C.DELIVERY_ID].to_pylist(), answers[C.OUTCOME].to_pylist(), strict=True)
            if what in _ANSWERS
        }
        arrived: dict[tuple[str, str], bool] = {}
        for delivery, user, strategy in zip(
            *(sent[name].to_pylist() for name in (C.DELIVERY_ID, C.USER_KEY, C.STRATEGY_ID)), strict=True
        ):
            arrived[user, strategy] = arrived.get((user, strategy), False) or delivery in answered
        creatives = {row[C.CREATIVE_ID]: row for row in told.to_pylist()}
        kind: dict[str, str] = {}
        of_brief: dict[str, list[str]] = {}
        for name, row in creatives.items():
            if row[C.STATUS] in USABLE and row[C.SOURCE] != SAFE and row[C.OFFER_ID] in offers:
                kind[name] = kind_of(row[C.TEXT], words_of_offer(offers[row[C.OFFER_ID]], row[C.LANGUAGE]))
                of_brief.setdefault(row[C.BRIEF_ID], []).append(kind[name])
        for row in copies.to_pylist():
            name, where = row[C.CREATIVE_ID], (row[C.USER_KEY], row[C.STRATEGY_ID])
            if name in kind and where in arrived and row[C.PROPENSITY] < 1:
                had, style = of_brief[creatives[name][C.BRIEF_ID]], creatives[name][C.CREATIVE_STYLE]
                rows.append((
                    audience(creatives[name][C.LANGUAGE], style), kind[name], row[C.PROPENSITY], had.count(kind[name]),
                    frozenset(had), arrived[where], row[C.USER_KEY],
                ))  # fmt: skip
    return lots_of(rows)


def audience(language: str, style: str) -> str:
    return f"{language} {style}"


def lots_of(rows: Sequence[tuple[str, str, float, int, frozenset[str], bool, str]]) -> Lots:
    """Of rows (audience, kind, propensity, alike, kinds, is_answered, user)."""
    parts = list(zip(*rows, strict=True)) or [()] * 7
    kinds = np.empty(len(rows), dtype=object)
    kinds[:] = parts[4]
    texts = [np.array(parts[at], dtype=str) for at in (0, 1, 6)]
    return Lots(
        texts[0], texts[1], np.array(parts[2], dtype=np.float64), np.array(parts[3], dtype=np.int64), kinds,
        np.array(parts[5], dtype=bool), texts[2],
    )  # fmt: skip
