"""The judgement of the recommenders: what is read, what counts as truth, who is compared with whom."""

import csv
import gzip
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.core.errors import NoDataError
from training.evaluate_behaviour import ZONE
from training.evaluate_recommend import (
    BEST,
    CHOSEN,
    CROWDED,
    FILE,
    NIGHTS,
    OURS,
    champions,
    judged,
    name_of,
    run,
)
from training.recommend.history import History
from training.recommend.measures import ndcg
from training.recommend.ranker import Blending
from training.recommend.ranker_protocol import best
from training.taobao_days import CROWD, Day, crowd_of, read_events
from training.taobao_peers import FILES, MEASURES, PEERS, read_peers

SHARED = Path(__file__).parents[3] / "shared" / "data" / "taobao-userbehavior"
SMALL = Blending(nights=2, n_fresh=5, rounds=4, n_boosters=1)


def at(day: int, hour: int, second: int = 0) -> int:
    """Seconds since 1970 of an hour of a local day, 1 to 9."""
    local = datetime(2017, 11, 24, tzinfo=ZONE) + timedelta(days=day, hours=hour, seconds=second)
    return int(local.astimezone(UTC).timestamp())


def write(folder: Path, lines: list[str]) -> Path:
    path = folder / FILE
    path.write_bytes(gzip.compress(("\n".join(lines) + "\n").encode()))
    return path


def write_peers(folder: Path, users: list[str]) -> None:
    """One peer that always hits the first place of item_any_kept, in the shape of the real files."""
    (folder / PEERS).mkdir()
    for name in FILES:
        out = StringIO()
        rows = csv.writer(out)
        rows.writerow(["level", "target", "seen", "truth", "method", "user", "recall", "ndcg", "hit"])
        if name == FILES[0]:
            rows.writerows(["item", "any", "kept", "full", "oracle", user, 1, 1, 1] for user in users)
        (folder / PEERS / name).write_bytes(gzip.compress(out.getvalue().encode()))


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty customers over nine days, each with two items that they come back to and now and then another."""
    luck, lines = np.random.default_rng(5), []
    for customer in range(30):
        for day in range(1, 10):
            items = [customer % 7, 10 + customer % 5, int(luck.integers(40))]
            kinds = ["pv", "cart" if luck.random() < 0.5 else "pv", "buy" if luck.random() < 0.4 else "fav"]
            lines += [
                f"{customer},{item},{item % 4},{kind},{at(day, 12, 60 * place)}"
                for place, (item, kind) in enumerate(zip(items, kinds, strict=True))
            ]
    folder = tmp_path_factory.mktemp("taobao")
    write(folder, lines)
    crowd = [f"x{who},{who % 40},{who % 4},pv,{at(2, 9, who)}" for who in range(90)]
    (folder / CROWD).write_bytes(gzip.compress(("\n".join(crowd) + "\n").encode()))
    write_peers(folder, [str(customer) for customer in range(30)])
    return folder


@pytest.fixture(scope="module")
def result(lived: Path) -> dict[str, Any]:
    return run(lived, 1, SMALL)


def test_a_day_knows_what_was_before_it_and_what_came_on_it(tmp_path: Path) -> None:
    lines = [f"7,1,2,pv,{at(7, 9)}", f"7,3,2,pv,{at(8, 0)}", f"7,1,2,buy,{at(8, 23)}", f"7,1,2,pv,{at(9, 0)}"]
    day = Day.of(read_events(write(tmp_path, lines)), "item", NIGHTS[7])
    assert day.told.items.tolist() == ["1"]
    assert day.at_s == at(8, 0)
    assert day.truth["any"].toarray().tolist() == [[1.0]]
    assert day.misses["any"].tolist() == [1], "item 3 was not known"
    assert day.truth["purchase"].toarray().tolist() == [[1.0]]
    assert day.misses["purchase"].tolist() == [0]


def test_full_and_warm_truth_with_seen_items_kept_and_removed_by_hand(tmp_path: Path) -> None:
    """One customer touched x, another y; on the day the first comes back to x, finds y, and z that nobody knew."""
    lines = [f"1,x,1,pv,{at(7, 9)}", f"2,y,1,pv,{at(7, 9)}", *(f"1,{item},1,pv,{at(8, 9)}" for item in "xyz")]
    day = Day.of(read_events(write(tmp_path, lines)), "item", NIGHTS[7])
    found = judged(day, History.fit(day.told, day.at_s), "item", "any")
    rows = {setting[2:]: told[0].tolist() for setting, (told, _) in found.items()}
    both = 1 + 1 / np.log2(3)
    assert rows["kept", "full"] == pytest.approx([2 / 3, both / (both + 1 / 2), 1])
    assert rows["kept", "warm"] == pytest.approx([1, 1, 1])
    assert rows["removed", "full"] == pytest.approx([1 / 2, 1 / both, 1]), "of y and z, y is found"
    assert rows["removed", "warm"] == pytest.approx([1, 1, 1])
    assert all(np.isnan(told[1]).all() for told, _ in found.values()), "the second customer did not come"
    assert found["item", "any", "kept", "full"][1]["coverage"] == 1.0


def test_the_champion_has_the_highest_ndcg_of_the_full_truth_of_equals_the_first() -> None:
    key = ("item", "any", "kept")
    high, low = np.array([[0.0, 0.9, 0.0], [np.nan] * 3]), np.array([[1.0, 0.1, 1.0], [np.nan] * 3])
    rows = {(*key, "full"): {"a": low, "b": high, "c": high}, (*key, "warm"): {"a": high, "b": low, "c": low}}
    assert champions(rows) == {(*key, "full"): "b", (*key, "warm"): "b"}


def test_the_judgement_has_the_shape_of_all_judgements(result: dict[str, Any]) -> None:
    name = "item_any_kept_ndcg_at_20"
    assert name in result["metrics"]
    assert set(result["chosen"].values()) <= set(result["baselines"]) | {OURS}
    assert {CHOSEN, "history", "ease", "als", "item-knn", "popularity", "peer: oracle"} <= set(result["baselines"])
    assert set(result["docs"]) == set(result["metrics"])
    found = result["metrics"][name]
    assert 0 < found["low"] < found["value"] < found["high"] < 1
    assert 0 < result["metrics"]["item_any_kept_coverage_at_20"]["value"] <= 1


def test_on_customers_with_habits_the_blender_beats_popularity(result: dict[str, Any]) -> None:
    assert result["paired"]["recent popularity"]["item_any_kept_ndcg_at_20"]["low"] > 0


def test_with_the_crowd_the_blender_stands_apart(result: dict[str, Any]) -> None:
    """The crowd looks at items that the ranked customers know; it is never what day 8 chooses."""
    assert CROWDED in result["baselines"]
    assert CROWDED not in result["chosen"].values()
    name = "item_any_kept_ndcg_at_20"
    gain = result["baselines"][CROWDED][name]["value"] - result["metrics"][name]["value"]
    assert result["paired_with_crowd"][OURS][name]["value"] == pytest.approx(gain)


def test_the_crowd_counts_other_people_once_each(tmp_path: Path) -> None:
    day = Day.of(read_events(write(tmp_path, [f"7,1,2,pv,{at(7, 9)}", f"7,1,2,pv,{at(8, 0)}"])), "item", NIGHTS[7])
    lines = [f"{who},{item},2,pv,{at(2, 9)}" for who, item in ((7, 1), (8, 1), (8, 1), (9, 1), (9, 5))]
    crowd = crowd_of(read_events(write(tmp_path, lines)), "item", day)
    assert crowd.items.tolist() == ["1", "5"]
    assert crowd.customers.tolist() == [2.0, 1.0]


def test_peers_are_paired_customer_by_customer(result: dict[str, Any]) -> None:
    name = "item_any_kept_ndcg_at_20"
    gap = result["paired"]["peer: oracle"][name]
    assert gap["value"] == pytest.approx(result["metrics"][name]["value"] - 1)
    assert gap["high"] < 0
    assert result["best_peers"] == {f"item_any_kept_{what}_at_20": "peer: oracle" for what in ("recall", "ndcg", "hit")}
    assert result["paired"][BEST][name] == gap


def test_peers_of_other_customers_are_refused(tmp_path: Path) -> None:
    write_peers(tmp_path, ["1", "99"])
    with pytest.raises(NoDataError, match="customers that the events do not know"):
        read_peers(tmp_path, np.array(["1", "2"]))


def test_without_peers_nothing_is_compared_and_a_damaged_file_is_refused_in_one_line(tmp_path: Path) -> None:
    assert read_peers(tmp_path, np.array(["1"])) == {}
    write_peers(tmp_path, ["1"])
    path = tmp_path / PEERS / FILES[0]
    path.write_bytes(path.read_bytes()[:30])
    with pytest.raises(NoDataError, match=rf"{FILES[0]}.*expected the peers' results per customer"):
        read_peers(tmp_path, np.array(["1"]))


def test_a_missing_and_a_damaged_data_file_are_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(NoDataError, match="no such file; expected the sample"):
        run(tmp_path, 1)
    path = write(tmp_path, [f"1,2,3,pv,{at(1, 0)}"] * 500)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(NoDataError, match=rf"{FILE}.*SOURCE.md"):
        run(tmp_path, 1)
    path.write_bytes(b"not gzip")
    with pytest.raises(NoDataError, match=rf"{FILE}.*SOURCE.md"):
        run(tmp_path, 1)


def test_days_without_events_are_told(tmp_path: Path) -> None:
    write(tmp_path, [f"1,2,3,pv,{at(9, 0)}"])
    with pytest.raises(NoDataError, match="0 events before 2017-12-02 and 0 on it"):
        run(tmp_path, 1)


def test_a_metric_says_level_target_seen_truth_and_length() -> None:
    assert name_of(("category", "purchase", "kept", "warm"), "hit") == "category_purchase_kept_warm_hit_at_10"


@pytest.mark.skipif(not (SHARED / PEERS).is_dir(), reason="shared/data/taobao-userbehavior/peers is not here")
def test_history_is_the_peers_own_on_the_real_customers() -> None:
    """Day 9 as the definitions cut it: their best own history (tau 4, weights 1 2 3 4) is ours, customer by customer."""
    day = Day.of(read_events(SHARED / FILE), "item", NIGHTS[8])
    peers = read_peers(SHARED, day.told.customers)["item", "any", "kept", "full"]["repeat: behaviour x recency"][:150]
    truth, misses = day.truth["any"], day.misses["any"]
    assert (np.isnan(peers[:, 0]) == (np.diff(truth.indptr) + misses == 0)[:150]).all()
    lists = best(History.fit(day.told, day.at_s).score(day.told, np.arange(150), day.at_s), 20)
    gap = ndcg(lists, truth[:150], misses[:150]) - peers[:, MEASURES.index("ndcg")]
    # Ties of the 20th place may stand in another order, so a few customers differ.
    assert (np.abs(gap[~np.isnan(gap)]) < 1e-5).mean() > 0.95
    assert np.nanmean(gap) == pytest.approx(0, abs=0.002)
