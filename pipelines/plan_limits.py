"""What the limits of a plan beyond capacity and budget need to know, read from the store: preferred brands and groups,
what was sent not long ago, who is unhappy with the shop, and what of a period's budget was spent."""

from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.core.columns import Columns as C
from pipelines.core.feedback import Feedback
from pipelines.core.reading import read
from pipelines.core.servicing import LOW_RATING, NEGATIVE
from pipelines.core.shop import Shop, Strategy
from pipelines.core.storage import Store, window
from pipelines.plan_scores import REACH_NIGHTS
from pipelines.strategy.candidates import Candidate, candidates
from pipelines.strategy.constraints import Labels
from pipelines.strategy.pacing import tonights_budget, worth_of_weekdays

if TYPE_CHECKING:
    import pyarrow as pa

WORTH_NIGHTS = 28  # whose purchases tell what a weekday is worth


def label_columns(strategy: Strategy) -> list[str]:
    """Columns of user_profiles, and segment_id, that minimums and fairness go by."""
    found = {minimum.column for minimum in strategy.minimums}
    return sorted(found | ({strategy.fair_share.column} if strategy.fair_share else set()))


def labels_of(words: "pa.ChunkedArray") -> Labels:
    """A column of texts or numbers, null for none, as labels; names in order."""
    import pyarrow as pa
    import pyarrow.compute as pc

    texts = words.cast(pa.string())
    names = sorted(pc.unique(texts.drop_null()).to_pylist())
    place = pc.fill_null(pc.index_in(texts, value_set=pa.array(names, pa.string()), skip_nulls=True), -1)
    return Labels(tuple(names), place.to_numpy().astype(np.int64))


def inputs_of(night: date, strategy: Strategy, store: Store) -> dict[str, str]:
    """Content hashes of what is read here, for the nights of rest and for what channels reach."""
    back = max([REACH_NIGHTS, strategy.rest_nights, *(repeat.nights for repeat in strategy.repeats)])
    found = store.inputs("deliveries", window(night, back))
    for table in ("conversations", "reviews"):
        found |= store.inputs(table, window(night, strategy.unhappy_rest_nights))
    if strategy.pacing:
        found |= store.inputs("campaign_plan", _earlier(night, strategy))
        found |= store.inputs("category_stats", window(night, WORTH_NIGHTS))
    return found


def repeated(night: date, shop: Shop, store: Store, keys: "pa.Array") -> np.ndarray | None:
    """(n, s) bool: candidates that would send customer `keys` (n) the same again too soon; None: no such limit."""
    import pyarrow.compute as pc

    found, strategy = candidates(shop.strategy), shop.strategy
    if not strategy.repeats:
        return None
    result = np.zeros((len(keys), len(found)), dtype=bool)
    ids = {candidate.strategy_id: candidate for candidate in found}
    feedback = Feedback(shop, store, night)
    for repeat in strategy.repeats:
        for past in window(night, repeat.nights):  # of sending, however late it was told
            told = feedback.sent_on(past)
            told = told.filter(pc.equal(told[C.STATUS], "delivered"))
            rows = pc.fill_null(pc.index_in(told[C.USER_KEY], value_set=keys), -1).to_numpy()
            had = told[C.STRATEGY_ID].to_numpy(zero_copy_only=False)
            for text in sorted({str(one) for one in had if one is not None}):
                offer = ids[text].offer if text in ids else text.split(".")[1] if text.count(".") == 4 else ""
                same = [k for k, one in enumerate(found) if _is_same(one, text, offer, repeat.same)]
                same = [k for k in same if not repeat.offers or found[k].offer in repeat.offers]
                mine = rows[(had == text) & (rows >= 0)]
                result[np.ix_(mine, same)] = True
    return result


def unhappy(night: date, shop: Shop, store: Store, keys: "pa.Array") -> np.ndarray:
    """(n,) bool: customers `keys` (n) who within `strategy.unhappy_rest_nights` rated something low, or whose latest talk with
    the desk complained or ended in a bad mood with nothing settled."""
    import pyarrow as pa
    import pyarrow.compute as pc

    nights = window(night, shop.strategy.unhappy_rest_nights)
    found = []
    rated = read(store, "reviews", nights, C.USER_KEY, C.RATING)
    if rated is not None:
        found.append(rated.filter(pc.less_equal(rated[C.RATING], LOW_RATING))[C.USER_KEY])
    columns = (C.USER_KEY, C.CONVERSATION_ID, C.OCCURRED_AT, C.MOOD, C.IS_COMPLAINT, C.IS_RESOLVED)
    talks = read(store, "conversations", nights, *columns)
    if talks is not None and len(talks):
        talks = talks.sort_by(
            [(C.USER_KEY, "ascending"), (C.OCCURRED_AT, "ascending"), (C.CONVERSATION_ID, "ascending")]
        )
        who = talks[C.USER_KEY].to_numpy()
        latest = talks.filter(pa.array(np.append(who[1:] != who[:-1], True)))
        open_end = pc.and_(pc.equal(latest[C.MOOD], NEGATIVE), pc.invert(latest[C.IS_RESOLVED]))
        found.append(latest.filter(pc.or_(open_end, latest[C.IS_COMPLAINT]))[C.USER_KEY])
    is_unhappy = np.zeros(len(keys), dtype=bool)
    for users in found:
        is_unhappy[pc.index_in(users, value_set=keys).drop_null().to_numpy()] = True
    return is_unhappy


def _is_same(candidate: Candidate, strategy_id: str, offer: str, same: str) -> bool:
    return candidate.strategy_id == strategy_id if same == "strategy" else candidate.offer == offer


def paced(night: date, shop: Shop, store: Store) -> tuple[Strategy, dict[str, Any] | None]:
    """The strategy with tonight's budget, and how the period stands; as it is where no budget is for several nights.

    What earlier nights of the period have planned counts as spent; a night without a plan has spent nothing. A night's
    worth is what was bought on days like the one after it, on which its plan is sent.
    """
    strategy, pacing = shop.strategy, shop.strategy.pacing
    if pacing is None:
        return strategy, None
    earlier = _earlier(night, strategy)
    plans = [store.manifest("campaign_plan", past) for past in earlier]
    spent = sum(int(plan.counts.get("expected_cost_cents", 0)) for plan in plans if plan)
    n_left = pacing.nights - len(earlier)
    known = [(n, read(store, "category_stats", [n], C.N_PURCHASES)) for n in window(night, WORTH_NIGHTS)]
    sold = [(n, sum(rows[C.N_PURCHASES].to_pylist())) for n, rows in known if rows is not None]
    worth = worth_of_weekdays([amount for _, amount in sold], [n.weekday() for n, _ in sold])
    days = [worth[(night + timedelta(days=1 + k)).weekday()] for k in range(n_left)]
    tonight = min(tonights_budget(pacing.budget_cents, spent, days[0], days[1:]), strategy.nightly_budget_cents)
    told = {
        "budget_cents": pacing.budget_cents,
        "spent_cents": spent,
        "nights_left": n_left,
        "worth": round(float(days[0] * n_left / sum(days)), 4),  # of tonight, over the mean of the nights left
        "tonight_cents": tonight,
    }
    return strategy.model_copy(update={"nightly_budget_cents": tonight}), told


def _earlier(night: date, strategy: Strategy) -> list[date]:
    """The nights of the period before this one."""
    assert strategy.pacing is not None
    place = (night - strategy.pacing.first_night).days % strategy.pacing.nights
    return [night - timedelta(days=back) for back in range(place, 0, -1)]
