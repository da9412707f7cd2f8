from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from pipelines.core.errors import NoDataError, TrainingError, WrongUseError
from pipelines.core.shop import Features, Models, Shop, Source
from pipelines.core.storage import Store
from pipelines.core.tables import TABLES
from tests.training.small_behaviour import NIGHTS, event, examples, histories, settings, table, world
from training.task import Fitting, settings_of
from training.tasks.behaviour import TASK, BehaviourSettings
from training.tasks.behaviour_encoder import EventNet, _config, knots_of, spread
from training.tasks.behaviour_events import BETWEEN, CONTEXT, KINDS, Histories, event_texts, read_events
from training.tasks.behaviour_features import examples_from, features
from training.tasks.behaviour_model import Chain, Rule, best_weights, mixed

# One customer: a lamp looked at twice, put in the cart, a search, another lamp, the first bought; the next day a bag.
LAMPS = [
    event(
        "u", "2 10:00:00", "view", "l1", brand="Halm", price_cents=900, category_path="home.lamps", title="Small lamp"
    ),
    event("u", "2 10:00:20", "view", "l1"),
    event("u", "2 10:01:20", "cart", "l1"),
    event("u", "2 10:05:00", "search", query="red lamp, cheap"),
    event("u", "2 11:00:00", "view", "l2"),
    event("u", "2 11:00:05", "purchase", "l1"),
    event("u", "3 09:00:00", "view", "b1"),
]


def test_an_example_is_an_event_after_the_fifth() -> None:
    found = examples_from(histories(LAMPS), [date(2026, 3, 2), date(2026, 3, 3)])
    assert found.target["behaviour"].to_pylist() == ["purchase", "view"]
    assert found.night.astype(str).tolist() == ["2026-03-02", "2026-03-03"]
    assert found.customer.tolist() == ["u", "u"]


def test_a_night_without_examples_is_told() -> None:
    with pytest.raises(NoDataError, match="more than 5 events"):
        examples_from(histories(LAMPS[:5]), [date(2026, 3, 2)])


def test_features_tell_what_came_before() -> None:
    known = features(histories(LAMPS))
    at_purchase = {name: values[5] for name, values in known.items()}
    expected = {
        "n_events": 6,
        "kind_0_back": KINDS.index("purchase"),
        "kind_2_back": KINDS.index("search"),
        "is_same_item_1_back": 0,
        "is_same_item_3_back": 1,
        "n_view_last_3": 1,
        "n_view_last_20": 3,
        "item_n_view": 2,
        "item_n_cart": 1,
        "item_kind_before": KINDS.index("cart"),
        "item_events_since": 3,
        "run_kind": 1,
        "events_since_cart": 3,
        "cart_was_same_item": 1,
        "n_carted_open": 0,
        "is_carted_open": 0,
        "session_events": 2,
        "session_items": 2,
        "n_sessions": 2,
        "n_days": 1,
        "hour": 11 + 5 / 3_600,
        "weekday": 0,  # Monday
        "share_view": 3 / 16,
    }
    assert {name: pytest.approx(value, rel=1e-5) for name, value in expected.items()} == {
        name: at_purchase[name] for name in expected
    }
    assert at_purchase["gap_0_back"] == pytest.approx(np.log1p(5))
    assert known["n_carted_open"].tolist() == [0, 0, 1, 1, 1, 0, 0]
    assert known["n_view_today"].tolist() == [1, 2, 2, 2, 3, 3, 1]
    assert np.isnan(known["gap_0_back"][0])
    assert np.isnan(known["kind_1_back"][0])
    assert known["price_above_usual"][0] == 0


def test_the_crowd_is_the_others_until_now() -> None:
    rows = [
        event("a", "2 10:00:00", "view", "l1"),
        event("b", "2 10:01:00", "cart", "l1"),
        event("a", "2 10:02:00", "view", "l1"),
        event("b", "2 10:03:00", "cart", "l1"),
    ]
    known = features(histories(rows))
    shares = known["crowd_share_cart_of_item"]  # of a's two events, then of b's two
    usual_then = 1 / 3  # of the three events until 10:02 one was a cart
    assert np.exp(known["crowd_n_of_item"]).tolist() == pytest.approx([1, 2, 2, 3])
    assert shares[1] == pytest.approx((1 + 20 * usual_then) / (1 + 20))


def test_a_row_tells_nothing_of_the_predicted_event_and_later_ones() -> None:
    changed = [*LAMPS[:5], event("u", "2 13:47:00", "favorite", "x9", brand="Other", price_cents=1), *LAMPS[6:]]
    one, other = (examples_from(histories(rows), [date(2026, 3, 2)]) for rows in (LAMPS, changed))
    assert str(one.rows.to_pylist()) == str(other.rows.to_pylist())  # NaN is not equal to itself
    assert not one.target.equals(other.target)


def test_features_of_a_customer_do_not_hang_on_who_else_is_there() -> None:
    alone = features(histories([row for row in world(8) if row["user_key"] == "u003"]))
    among = histories(world(8))
    where = among.keys[among.customer] == "u003"
    for name, values in features(among).items():
        if not name.startswith("crowd_"):
            np.testing.assert_allclose(values[where], alone[name], rtol=1e-5, atol=1e-6, err_msg=name)


def test_the_text_tells_gap_kind_what_is_known_and_the_thing() -> None:
    assert event_texts(histories(LAMPS)).tolist() == [
        "start view lamps Halm cheap Small lamp",
        "quick view again similar",
        "minute cart again similar",
        "minutes search red lamp cheap",
        "hour view familiar",
        "fast purchase back similar",
        "night view",
    ]


def test_the_text_ends_with_the_newest_event_and_is_bounded() -> None:
    rows = [event("u", f"2 10:{minute:02}:00", "view", f"l{minute}") for minute in range(CONTEXT + 10)]
    told = examples_from(histories(rows), [date(2026, 3, 2)]).rows["recent"].to_pylist()
    assert len(told[0].split(BETWEEN)) == 5
    assert len(told[-1].split(BETWEEN)) == CONTEXT


def test_nights_and_hours_are_those_of_the_shop() -> None:
    told = Histories.of(table([event("u", "2 22:30:00", "view", "l1")]), ZoneInfo("Asia/Shanghai"))
    assert told.local_hour.tolist() == [6.5]
    assert told.local_day.astype("datetime64[D]").astype(str).tolist() == ["2026-03-03"]


# -- from the store


def shop_of(**settings: object) -> Shop:
    return Shop(
        shop="small",
        landing={"events": Source(connector="jsonl", pattern="{night}.jsonl")},
        features=Features(window_nights=3),
        models=Models(settings={"behaviour": settings}),
    )


def store_of(root: Path, rows: list[dict[str, object]], **tables: pa.Table) -> Store:
    store = Store(root, "small")
    for night in sorted({row["night"] for row in rows}):
        mine = [{k: v for k, v in row.items() if k not in ("night", "title")} for row in rows if row["night"] == night]
        full = [{"is_bot": False, "session_id": "s", **row} for row in mine]
        told = {"events": pa.Table.from_pylist(full, _SCHEMA), **tables}
        for name, content in told.items():
            with store.staging() as staging:
                folder = staging / name
                folder.mkdir()
                pq.write_table(content, folder / "part-00000.parquet")
                store.publish(
                    name, night, folder, rows=len(content), inputs={}, config_hash="x", audit={"success": True}
                )
    return store


_TYPES = {"timestamp": pa.timestamp("us", tz="UTC"), "bigint": pa.int64(), "boolean": pa.bool_(), "string": pa.string()}
_SCHEMA = pa.schema([(name, _TYPES[kind]) for name, kind in TABLES["events"].columns.items()])


def test_events_come_from_the_window_without_bots_and_other_kinds(tmp_path: Path) -> None:
    rows = [
        event("a", "1 10:00:00", "view", "l1"),  # before the window
        event("a", "2 10:00:00", "view", "l1"),
        event("a", "3 10:00:00", "impression", "l1"),
        event("bot", "3 10:00:00", "view", "l1", is_bot=True),
        event("absent", "3 10:00:00", "view", "l1"),  # does not come on the night that is asked for
        event("a", "5 10:00:00", "cart", "l1"),
        event("a", "6 10:00:00", "purchase", "l1"),  # later than asked for
    ]
    catalog = pa.table({"item_id": ["l1"], "title": ["Small lamp"]})
    found = read_events(shop_of(), store_of(tmp_path, rows, catalog=catalog), [date(2026, 3, 5)], 100)
    assert found.select(["user_key", "event_type", "title"]).to_pylist() == [
        {"user_key": "a", "event_type": "view", "title": "Small lamp"},
        {"user_key": "a", "event_type": "cart", "title": "Small lamp"},
    ]
    assert found["night"].to_pylist() == [date(2026, 3, 2), date(2026, 3, 5)]


def test_whole_customers_are_drawn_and_always_the_same(tmp_path: Path) -> None:
    rows = world(30, NIGHTS[:2])
    store = store_of(tmp_path, rows)
    few = read_events(shop_of(), store, NIGHTS[:2], 100)
    assert few.equals(read_events(shop_of(), store, NIGHTS[:2], 100))
    drawn = set(few["user_key"].to_pylist())
    assert 1 <= len(drawn) < 30
    assert few.num_rows == sum(row["user_key"] in drawn for row in rows)
    more = read_events(shop_of(), store, NIGHTS[:2], 200)
    assert drawn < set(more["user_key"].to_pylist())


def test_examples_carry_the_segment_of_the_night_before(tmp_path: Path) -> None:
    segments = pa.table({"user_key": ["u000"], "segment_name": ["loyal"]})
    store = store_of(tmp_path, world(3, NIGHTS[:3]), segments=segments)
    found = TASK.examples(shop_of(), store, NIGHTS[:3])
    named = {
        (str(night), customer): segment
        for night, customer, segment in zip(found.night, found.customer, found.segment, strict=True)
    }
    assert named["2026-03-03", "u000"] == "loyal"
    assert named["2026-03-03", "u001"] == ""
    assert {segment for (night, _), segment in named.items() if night == "2026-03-02"} == {""}


def test_no_events_are_told(tmp_path: Path) -> None:
    with pytest.raises(NoDataError, match="no events"):
        TASK.examples(shop_of(), Store(tmp_path, "small"), NIGHTS[:1])


# -- the model's parts


def test_the_rule_guesses_what_adds_most_to_macro_f1() -> None:
    rng = np.random.default_rng(0)
    rare = np.clip(rng.beta(1, 12, 4_000), 0, 0.9)
    probability = np.column_stack([1 - rare, rare])
    guess = Rule.of(probability)(probability)

    def expected_f1(guess: np.ndarray) -> float:
        hits = np.bincount(guess, probability[np.arange(len(guess)), guess], 2)
        return float((2 * hits / (probability.sum(axis=0) + np.bincount(guess, minlength=2))).mean())

    thresholds = [expected_f1((rare > cut).astype(int)) for cut in np.linspace(0.05, 0.5, 91)]
    assert expected_f1(guess) == pytest.approx(max(thresholds), abs=1e-3)
    assert expected_f1(guess) > expected_f1((rare > 0.5).astype(int)) + 0.01


def test_the_chain_backs_off_where_it_saw_little() -> None:
    view, cart = KINDS.index("view"), KINDS.index("cart")
    rows = pa.table({"kind_1_back": [view] * 101, "kind_0_back": [view] * 100 + [cart]})
    chain = Chain.of(rows, np.array([0] * 100 + [1]), 2)
    seen, once, never = (
        np.exp(chain.logits(pa.table({"kind_1_back": [before], "kind_0_back": [last]})))[0]
        for before, last in ((view, view), (view, cart), (cart, cart))
    )
    assert seen[0] > 0.99
    assert once[1] > never[1] > 0.05
    np.testing.assert_allclose([part.sum() for part in (seen, once, never)], 1)


def test_weights_find_the_part_that_knows() -> None:
    rng = np.random.default_rng(0)
    target = rng.integers(0, 3, 500)
    knows = np.log(np.where(np.arange(3) == target[:, None], 0.8, 0.1))
    guesses = rng.normal(size=(500, 3))
    weights = best_weights([knows, guesses], target)
    assert weights[0] > 0.8
    assert abs(weights[1]) < 0.15
    np.testing.assert_allclose(mixed([knows, guesses], weights).sum(axis=1), 1)


def test_features_are_spread_by_rank() -> None:
    rows = pa.table({"x": pa.array([1.0, 2.0, 3.0, 1_000.0, None]), "empty": pa.nulls(5, pa.float64())})
    names = ("x", "empty")
    found = spread(rows, names, knots_of(rows, names))
    assert (np.diff(found[:4, 0]) > 0).all()
    assert found[4, 0] == 0
    assert np.abs(found).max() < 3
    assert (found[:, 1] == 0).all()


def test_the_net_looks_back_only(tiny_encoder: Path) -> None:
    from transformers import BertModel

    torch.manual_seed(0)
    net = EventNet(BertModel(_config(tiny_encoder), add_pooling_layer=False), 2, 3).eval()
    pieces = torch.randint(1, 60, (1, 6, 3))
    numbers = torch.randn(1, 6, 2)
    mask = torch.ones(1, 6, dtype=torch.long)
    changed = pieces.clone()
    changed[0, 4:] = 7
    with torch.inference_mode():
        (one,), (other,) = net(pieces, mask, numbers), net(changed, mask, numbers)
        (last,) = net(pieces[:, :4], mask[:, :4], numbers[:, 3])
    assert torch.allclose(one[0, :4], other[0, :4], atol=1e-6)
    assert not torch.allclose(one[0, 4:], other[0, 4:], atol=1e-3)
    assert torch.allclose(one[0, 3], last[0], atol=1e-5), "one row is predicted as it was trained: in its sequence"


def test_a_kind_that_was_never_seen_gets_a_little_probability(tiny_encoder: Path) -> None:
    train, valid = examples()
    never_bought = train.take(np.array([kind != "purchase" for kind in train.target["behaviour"].to_pylist()]))
    how = Fitting(threads=1, settings=settings(tiny_encoder)["boosted"])
    predicted = TASK.fit(never_bought, valid, how).predict(valid.rows)
    assert predicted["p_purchase"].to_pylist() == [1e-6] * len(valid)
    total = sum(predicted[f"p_{kind}"].to_numpy() for kind in KINDS)
    np.testing.assert_allclose(total, 1)


def test_one_kind_only_is_refused_in_one_line() -> None:
    train, valid = examples()
    views = train.take(np.array([kind == "view" for kind in train.target["behaviour"].to_pylist()]))
    with pytest.raises(TrainingError, match="nothing to tell apart"):
        TASK.fit(views, valid, Fitting(settings={"kind": "boosted"}))


def test_no_validation_examples_are_refused() -> None:
    train, valid = examples()
    with pytest.raises(TrainingError, match="no validation examples"):
        TASK.fit(train, valid.take(np.arange(0)), Fitting(settings={"kind": "boosted"}))


def test_a_wrong_setting_is_named() -> None:
    with pytest.raises(WrongUseError, match=r"behaviour\.kind"):
        settings_of(BehaviourSettings, "behaviour", {"kind": "magic"})
    with pytest.raises(WrongUseError, match=r"behaviour\.loop\.epoch"):
        settings_of(BehaviourSettings, "behaviour", {"loop": {"epoch": 3}})


def test_another_encoder_than_a_bert_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(TrainingError, match="gpt2"):
        _config(tmp_path)


def test_a_damaged_model_is_refused(tmp_path: Path) -> None:
    train, valid = examples()
    TASK.fit(train, valid, Fitting(threads=1, settings={"kind": "boosted", "rounds": 5, "boosters": 1})).save(tmp_path)
    (tmp_path / "booster_0.txt").write_text("tree\nbroken")
    with pytest.raises(TrainingError, match=r"booster_0\.txt"):
        TASK.load(tmp_path)
