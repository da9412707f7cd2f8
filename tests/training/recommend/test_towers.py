"""Two towers: an item is served the night it appears, and who has no past is served too."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipelines.core.columns import Columns as C
from pipelines.core.errors import TrainingError
from training.recommend.interactions import NO_ITEM, Interactions
from training.recommend.texts import items_of
from training.recommend.towers import LENGTH, Towers, _teaching, fit_towers, item_vectors, past_of, pooled

KINDS, ITEMS, CUSTOMERS = 4, 10, 60
OWN = np.repeat(np.arange(KINDS), ITEMS)  # the category of an item
DAY = 86_400.0


def told(seed: int = 0, n: int = 1_500) -> Interactions:
    """Each customer touches items of one category, most of all of the first, in random order over ten days."""
    rng = np.random.default_rng(seed)
    customer = rng.integers(0, CUSTOMERS, n)
    item = (customer % KINDS) * ITEMS + rng.integers(0, ITEMS, n)
    item = np.where(rng.random(n) < 0.15, rng.integers(0, 3, n), item)
    return Interactions(
        np.arange(CUSTOMERS).astype(str), np.arange(KINDS * ITEMS).astype(str), customer, item,
        rng.integers(0, 4, n).astype(np.int8), np.sort(rng.uniform(0, 10 * DAY, n)),
    )  # fmt: skip


def places() -> np.ndarray:
    """(items, 12): near their category's own direction."""
    rng = np.random.default_rng(9)
    return (np.eye(KINDS, 12)[OWN] + 0.1 * rng.normal(size=(len(OWN), 12))).astype(np.float32)


@pytest.fixture(scope="module")
def towers(tmp_path_factory: pytest.TempPathFactory) -> Towers:
    return fit_towers(told(), places(), work=tmp_path_factory.mktemp("towers"))


def test_a_past_is_what_was_touched_before_newest_first_and_nothing_of_the_moment_itself() -> None:
    events = Interactions(
        np.array(["a", "b"]), np.array(["x", "y", "z"]), np.array([0, 1, 0, 0]), np.array([0, 1, 2, 1]),
        np.array([0, 3, 1, 2], dtype=np.int8), np.array([0.0, 1.0, DAY, 2 * DAY]),
    )  # fmt: skip
    past = past_of(events, np.array([0, 0, 1]), np.array([2 * DAY, 3 * DAY, 0.5]))
    assert past.item[:, :3].tolist() == [[2, 0, NO_ITEM], [1, 2, 0], [NO_ITEM] * 3]
    assert past.behaviour[1, :3].tolist() == [2, 1, 0]
    assert past.age_days[0, :2].tolist() == [1.0, 2.0]
    assert past.item.shape == (3, LENGTH)
    no_one = past_of(events.take(np.zeros(4, dtype=bool)), np.array([0, 1]), 5.0)
    assert (no_one.item == NO_ITEM).all()


def test_recent_events_weigh_more_and_behaviours_are_kept_apart() -> None:
    events = Interactions(
        np.array(["a"]), np.array(["x", "y"]), np.zeros(3, np.int64), np.array([0, 1, 1]),
        np.array([0, 0, 3], dtype=np.int8), np.array([0.0, DAY, DAY]),
    )  # fmt: skip
    found = pooled(past_of(events, np.array([0]), 2 * DAY), np.eye(2, dtype=np.float32))
    day, fortnight, n_views = found[0, :2], found[0, 2:4], found[0, 4]
    np.testing.assert_allclose(day, [1 / 3, 2 / 3], rtol=1e-4)
    assert day[1] > fortnight[1] > 0.5
    assert n_views == pytest.approx(np.log(3))
    assert found[0, 15:17].tolist() == [0.0, 1.0]  # purchases by the day: of the second item alone


def test_a_new_item_of_a_liked_category_ranks_above_others_that_were_never_touched_or_even_were(towers: Towers) -> None:
    new = np.eye(KINDS, 12, dtype=np.float32)  # one new item in the middle of each category
    vectors = np.vstack([places(), new])
    customers = np.arange(CUSTOMERS)
    scores = towers.scores(past_of(told(), customers, 11 * DAY), vectors)[:, len(OWN) :]
    assert (scores.argmax(axis=1) == customers % KINDS).mean() > 0.95
    everything = towers.scores(past_of(told(), customers, 11 * DAY), vectors)
    others = np.where((customers % KINDS)[:, None] == OWN, np.nan, everything[:, : len(OWN)])
    assert (scores.max(axis=1) > np.nanmedian(others, axis=1)).all()


def test_a_customer_without_a_past_gets_what_others_touch_first(towers: Towers) -> None:
    nothing = past_of(told().take(np.zeros(1_500, dtype=bool)), np.array([0, 1]), 11 * DAY)
    scores = towers.scores(nothing, places())
    assert np.isfinite(scores).all()
    assert np.array_equal(scores[0], scores[1])
    assert scores[0, :3].mean() > scores[0].mean()  # the items that everybody touches


def test_scores_are_products_of_both_vectors_and_a_batch_changes_nothing(towers: Towers) -> None:
    past = past_of(told(), np.arange(8), 11 * DAY)
    whole = towers.scores(past, places())
    np.testing.assert_allclose(towers.customers(past, places()) @ towers.items(places()).T, whole, rtol=1e-6)
    one = towers.scores(past_of(told(), np.array([3]), 11 * DAY), places())
    np.testing.assert_allclose(one[0], whole[3], rtol=1e-4, atol=1e-5)


def test_saved_towers_score_the_same_and_damaged_ones_say_so(towers: Towers, tmp_path: Path) -> None:
    towers.save(tmp_path)
    past = past_of(told(), np.arange(5), 11 * DAY)
    assert np.array_equal(Towers.load(tmp_path).scores(past, places()), towers.scores(past, places()))
    (tmp_path / "towers.safetensors").write_bytes(b"broken")
    with pytest.raises(TrainingError, match="train again"):
        Towers.load(tmp_path)


def test_a_profile_tells_what_a_past_does_not_and_gaps_in_it_are_fine(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    events = told(seed=4).take(np.sort(rng.permutation(1_500)[:400]))
    profile = np.eye(KINDS)[np.arange(CUSTOMERS) % KINDS] + 0.0
    profile[::7, 1] = np.nan
    towers = fit_towers(events, places(), work=tmp_path, profile=profile)
    nobody = past_of(events.take(np.zeros(400, dtype=bool)), np.arange(KINDS), 11 * DAY)
    scores = towers.scores(nobody, places(), np.eye(KINDS))
    mean = np.stack([scores[:, kind == OWN].mean(axis=1) for kind in range(KINDS)], axis=1)
    assert (mean.argmax(axis=1) == np.arange(KINDS)).sum() >= 3
    assert np.isfinite(towers.scores(nobody, places())).all()


def test_a_bot_with_many_events_does_not_drown_the_customers() -> None:
    few = told(n=300)
    bot = Interactions(
        few.customers, few.items, np.append(few.customer, np.full(5_000, 7)), np.append(few.item, np.full(5_000, 1)),
        np.append(few.behaviour, np.zeros(5_000, np.int8)), np.append(few.seconds, np.full(5_000, 9.9 * DAY)),
    )  # fmt: skip
    kept = _teaching(bot)
    assert np.bincount(bot.customer[kept])[7] == 200
    assert set(np.flatnonzero(few.customer != 7)) <= set(kept.tolist())
    assert (np.diff(bot.seconds[kept]) >= 0).all()


def test_one_item_or_one_event_is_too_little(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="two of each"):
        fit_towers(told(), places()[:1], work=tmp_path)


def test_vectors_of_items_need_no_list_of_known_brands_or_categories() -> None:
    columns = {
        C.ITEM_ID: ["a", "b", "c", "d"],
        C.CATEGORY_PATH: ["x > y", "x > z", "u", None],
        C.BRAND: ["Acme", "acme", None, None],
        C.PRICE_CENTS: [3_000, 6_000, None, None],
    }
    found = item_vectors(items_of(pa.table(columns)), np.zeros((4, 0), np.float32))
    assert np.array_equal(found[0, 32:64], found[1, 32:64])  # the brand
    assert found[0, :32] @ found[1, :32] > found[0, :32] @ found[2, :32]  # a shelf in common
    assert found[:, -1].tolist() == pytest.approx([0, np.log(2) / 8, 0, 0])
    assert not found[3].any()
    alone = item_vectors(items_of(pa.table({name: cells[1:2] for name, cells in columns.items()})), np.zeros((1, 0)))
    assert np.array_equal(alone[0], found[1])
