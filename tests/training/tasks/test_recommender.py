"""The recommender: what it is shown of each customer, how its lists are judged, and that its blend finds tastes."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipelines.core.columns import Columns as C
from pipelines.core.errors import NoDataError
from tests.training.small_recommender import examples
from tests.training.small_shop import CUSTOMERS, NIGHT, event, fill, shop, usual
from training.task import Fitting
from training.tasks.recommender import TASK, RecommenderSettings, _pairs
from training.tasks.recommender_examples import AGE_HOURS, BEHAVIOUR, BOUGHT, ITEMS, SEARCH, TOUCHED, histories
from training.tasks.recommender_features import SOURCES, Sight
from training.tasks.recommender_knowledge import Knowledge, Shelf
from training.tasks.recommender_model import LISTED
from training.tasks.recommender_sight import Histories

EVE = NIGHT - timedelta(days=1)


def test_a_row_tells_the_newest_events_before_the_night_and_the_target_what_was_touched_on_it(tmp_path: Path) -> None:
    events = [
        event(0, "t1", 2, "cart"), event(0, None, 1, "search", **{C.QUERY: " Green TEA "}), event(0, "t2", 1, "impression"),
        event(0, "t3"), event(0, "t3", 0, "purchase"), event(0, "t4"),
        event(1, "t5"),  # not known before
        event(2, "l1", 1), event(2, "l2", 1, **{C.IS_BOT: True}),  # known, and does not come
    ]  # fmt: skip
    found = TASK.examples(shop(), fill(tmp_path, events), (NIGHT,))
    first, other = found.rows.to_pylist()
    assert (first[C.USER_KEY], other[C.USER_KEY]) == (CUSTOMERS[0], CUSTOMERS[2])
    assert (first[TOUCHED], first[BEHAVIOUR], first[AGE_HOURS]) == (["green tea", "t1"], [SEARCH, 2], [12.0, 36.0])
    assert other[TOUCHED] == ["l1"]
    assert found.target.select([ITEMS, BOUGHT]).to_pylist() == [
        {ITEMS: ["t3", "t4"], BOUGHT: ["t3"]},
        {ITEMS: [], BOUGHT: []},
    ]
    assert (found.night == np.datetime64(NIGHT)).all()


def test_earlier_nights_tell_of_who_came_and_the_newest_of_everybody(tmp_path: Path) -> None:
    events = [event(at, "t1", 3) for at in range(3)] + [event(0, "t2", 2), event(1, "t2", 1)]
    found = TASK.examples(shop(), fill(tmp_path, events), (NIGHT - timedelta(days=2), EVE))
    assert [(key, str(night)) for key, night in zip(found.customer, found.night, strict=True)] == [
        (CUSTOMERS[0], "2026-03-12"), *((CUSTOMERS[at], "2026-03-13") for at in range(3)),
    ]  # fmt: skip


def test_of_a_busy_customer_the_newest_200_events_are_told(tmp_path: Path) -> None:
    store = fill(tmp_path, [event(0, f"x{number}", number // 100 + 1) for number in range(300)])
    [row] = histories(shop(), store, EVE).to_pylist()
    assert len(row[TOUCHED]) == 200
    assert max(row[AGE_HOURS]) < 48


def test_nights_on_which_nobody_known_came_are_one_clear_line(tmp_path: Path) -> None:
    store = fill(tmp_path, [event(0, "t1", 0)])
    with pytest.raises(NoDataError, match="nobody known before came on one of 1 nights"):
        TASK.examples(shop(), store, (NIGHT,))
    with pytest.raises(NoDataError):
        TASK.examples(shop(), store, ())


def test_measures_of_lists_that_can_be_counted_by_hand() -> None:
    kind = pa.list_(pa.string())
    target = pa.table({ITEMS: pa.array([["a", "b"], ["z"], []], kind), BOUGHT: pa.array([["b"], [], []], kind)})
    predicted = pa.table({LISTED: pa.array([["b", "c"], ["a"], ["a", "b"]], kind)})
    found = {name: float(one.of(target, predicted, np.ones(3))) for name, one in TASK.measures.items()}
    assert found == pytest.approx(
        {
            "ndcg": (1 / (1 + 1 / np.log2(3)) + 0) / 2,
            "bought_ndcg": 1.0,
            "recall": 0.25,
            "hit_rate": 0.5,
            "distinct_items": 3,
        }
    )
    drawn = np.array([[1.0, 0, 0], [0, 2, 0], [0, 0, 1]])
    assert TASK.measures["hit_rate"].of(target, predicted, drawn).tolist() == [1, 0, 0]
    assert TASK.measures["distinct_items"].of(target, predicted, drawn).tolist() == [2, 1, 2]


def test_the_blend_finds_what_own_history_cannot() -> None:
    """On the world of small_recommender, fitted on its first five nights and judged on the seventh."""
    train, valid = examples()
    how = Fitting(threads=1, settings={"length": 8, "rounds": 60})
    weight = np.ones(len(valid))
    blend, own = (
        TASK.measures["ndcg"].of(valid.target, model.predict(valid.rows), weight)
        for model in (TASK.fit(train, valid, how), TASK.baseline(train, how))
    )
    assert blend > own + 0.02


def test_an_item_that_nobody_has_touched_stands_as_its_category_s_usual_item(tmp_path: Path) -> None:
    seen = Histories.of(histories(shop(), fill(tmp_path, usual()), NIGHT))
    told = Shelf.of(seen)
    items = np.array([*told.items.tolist(), "l9", "t9"])
    order = np.argsort(items)
    shelf = Shelf(items[order], np.where(np.char.startswith(items, "t"), "teas", "lamps")[order], np.full(14, 10.0))
    known = Knowledge.fit(seen, shelf)
    teas = np.flatnonzero(shelf.category == "teas")
    new = int(np.flatnonzero(shelf.items == "t9")[0])
    assert known.age_nights[new] == 0
    assert known.rate[teas].min() < known.rate[new] < known.rate[teas].max()
    sight = Sight(seen, known)
    _, item, rank = sight.candidates()
    by_new = rank[(item == new) & (rank[:, SOURCES.index("new")] > 0), SOURCES.index("new")]
    assert len(by_new) == 6  # for whoever looks at teas


def test_knowledge_knows_what_goes_together_and_searches_that_lead_there(tmp_path: Path) -> None:
    events = [event(at, name, 1) for at in range(4) for name in ("t1", "t2")]
    events += [event(at, name, 1) for at in range(4, 8) for name in ("l1", "l2")]
    events += [event(at, None, 1, "search", **{C.QUERY: "lamp"}) for at in range(4, 8)]
    known = Knowledge.fit(Histories.of(histories(shop(), fill(tmp_path, events), NIGHT)))
    names, items = known.names.tolist(), known.shelf.items.tolist()
    assert items == ["l1", "l2", "t1", "t2"]
    similar = known.similar.toarray()
    assert similar[names.index("t1")].argmax() == items.index("t2")
    assert similar[names.index("t1"), items.index("t1")] == 0
    assert set(np.flatnonzero(similar[names.index("\x1flamp")])) == {items.index("l1"), items.index("l2")}


def test_words_of_its_title_say_what_a_new_item_goes_with_and_searches_find_it(tmp_path: Path) -> None:
    """t9 is called like t1, which customer 1 looked at; customers 4 to 6 searched for its words."""
    events = [event(1, "t1", 1), event(2, "l1", 1)]
    events += [event(at, None, 1, "search", **{C.QUERY: "jasmine pearls"}) for at in (4, 5, 6)]
    seen = Histories.of(histories(shop(), fill(tmp_path, events), NIGHT))
    shelf = Shelf(np.array(["l1", "t1", "t9"]), np.array(["lamps", "teas", "teas"]), np.full(3, 10.0))
    titles = np.array(["Desk lamp of brass", "Green tea, jasmine pearls, tin", "Green tea, jasmine pearls, 100 g"])
    sight = Sight(seen, Knowledge.fit(seen, shelf, titles))
    row, item, rank = sight.candidates()
    together = rank[:, SOURCES.index("together")] > 0
    assert row[together & (item == 2)].tolist() == [0, 2, 3, 4]  # of the five who were seen
    carried = sight.carried(np.array([0]), np.array([2]))
    assert sight.known.names[carried.indices].tolist() == ["t1"]
    assert sight.known.rate[2] > 0


def test_a_model_that_ranks_for_another_shelf_lists_only_what_stands_on_it(tmp_path: Path) -> None:
    train, valid = examples()
    model = TASK.baseline(train, Fitting())
    one = Shelf(np.array(["i03"]), np.array(["teas"]), np.array([10.0]))
    lists = model.renewed(Knowledge.fit(Histories.of(valid.rows), one)).predict(valid.rows)[LISTED].to_pylist()
    assert all(found == ["i03"] for found in lists)


def test_what_was_shown_is_learnt_from_without_the_favour_of_its_slot_and_own_touches_need_no_slot(
    tmp_path: Path,
) -> None:
    # The customer touches t3 by herself; t1 was refused, t2 clicked, t3 not clicked, x9 is on no shelf.
    events = [event(0, item, night) for item in ("t1", "t2", "t3") for night in (1, 2)] + [event(0, "t3", 0)]
    found = TASK.examples(shop(), fill(tmp_path, events), (NIGHT,))
    shown = {"shown": ["t1", "t2", "t3", "x9"], "answer": [0, 1, 0, 1], "answer_weight": [0.5, 3.0, 0.5, 3.0]}
    target = found.target.drop_columns(list(shown))
    for name, told in shown.items():
        target = target.append_column(name, pa.array([told]))
    settings, nights = RecommenderSettings(), np.unique(found.night)
    plain, learnt = (_pairs(one, nights, settings, 1) for one in (found, replace(found, target=target)))
    assert plain.weight is not None
    assert learnt.weight is not None
    assert (plain.y.tolist(), plain.weight.tolist()) == ([0, 0, 1], [1, 1, 1])
    assert (learnt.y.tolist(), learnt.weight.tolist()) == ([0, 1, 1], [0.5, 3, 1])
