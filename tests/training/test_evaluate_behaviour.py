"""The judgement of the behaviour model: what is read, what the baselines may do, and that nothing of a judged night leaks."""

import gzip
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.core.errors import NoDataError
from training.evaluate_behaviour import FILE, NIGHTS, ZONE, best_factors, read_taobao, run
from training.evaluate_buyers import judge_buyers, profiles
from training.task import Fitting
from training.tasks.behaviour_events import Histories
from training.tasks.behaviour_features import examples_from

SHARED = Path(__file__).parents[3] / "shared" / "data" / "taobao-userbehavior"
KINDS = ("pv", "fav", "cart", "buy")


def at(day: int, hour: int, second: int = 0) -> int:
    """Seconds since 1970 of an hour of a local day, 1 to 9."""
    local = datetime(2017, 11, 24, tzinfo=ZONE) + timedelta(days=day, hours=hour, seconds=second)
    return int(local.astimezone(UTC).timestamp())


def write(folder: Path, lines: list[str], last: str = "") -> Path:
    path = folder / FILE
    path.write_bytes(gzip.compress(("\n".join(lines) + "\n" + last).encode()))
    return path


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty customers over nine days; those with an odd number carry to the cart what they viewed twice, others do not."""
    luck, lines = np.random.default_rng(5), []
    for customer in range(60):
        for day in range(1, 10):
            item = int(luck.integers(1, 30))
            kinds = ["pv", "pv", "cart" if customer % 2 else "pv", "buy" if luck.random() < 0.3 else "pv", "fav", "pv"]
            lines += [
                f"{customer},{item},{item % 5},{kind},{at(day, 12, 60 * place)}" for place, kind in enumerate(kinds)
            ]
    folder = tmp_path_factory.mktemp("taobao")
    write(folder, lines)
    return folder


def test_the_file_is_read_by_local_day_and_a_cut_last_line_and_other_days_are_left_out(tmp_path: Path) -> None:
    lines = [f"7,1,2,pv,{at(1, 0)}", f"7,1,2,buy,{at(9, 23)}", f"7,1,2,pv,{at(0, 23)}", f"7,1,2,pv,{at(10, 0)}"]
    found = read_taobao(write(tmp_path, lines, "7,1,2,p"))
    assert found["event_type"].to_pylist() == ["view", "purchase"]
    assert found["night"].to_pylist() == [date(2017, 11, 25), date(2017, 12, 3)]


def test_without_the_file_it_says_which_one_is_missing(tmp_path: Path) -> None:
    with pytest.raises(NoDataError, match=FILE):
        read_taobao(tmp_path / FILE)


@pytest.mark.skipif(not SHARED.exists(), reason="the public data are not here")
def test_the_nine_taobao_days_give_as_many_examples_as_the_published_comparison_has() -> None:
    examples = examples_from(Histories.of(read_taobao(SHARED / FILE), ZONE), NIGHTS)
    counts = [int((examples.night == np.datetime64(night)).sum()) for night in NIGHTS]
    assert (sum(counts[:7]), counts[7], counts[8]) == (57_520, 11_478, 11_370)


def test_factors_make_a_rare_class_guessed_where_that_serves_macro_f1() -> None:
    probability = np.array([[0.9, 0.1]] * 90 + [[0.7, 0.3]] * 10)
    target = np.array([0] * 90 + [1] * 10)
    assert not probability.argmax(axis=1).any()
    assert ((probability * best_factors(probability, target)).argmax(axis=1) == target).all()


def test_a_profile_knows_the_nights_before_the_asked_one_and_nothing_of_it(lived: Path) -> None:
    told = Histories.of(read_taobao(lived / FILE), ZONE)
    known, buys, customers = profiles(told, NIGHTS, 3)
    assert len(customers) == 60
    assert (known["nights_known"] == 3).all()
    assert (known["n_view"] + known["n_cart"] + known["n_purchase"] + known["n_favorite"] == 18).all()
    assert 0 < buys.mean() < 1
    fewer = told.night < np.datetime64(NIGHTS[3])
    early = Histories(**{name: value if name == "keys" else value[fewer] for name, value in vars(told).items()})
    for name, values in profiles(early, NIGHTS, 3)[0].items():
        assert (values == known[name]).all(), name


def test_buyers_are_judged_with_intervals_and_paired_differences(lived: Path) -> None:
    found = judge_buyers(Histories.of(read_taobao(lived / FILE), ZONE), NIGHTS, Fitting(threads=1))
    interval = found["metrics"]["next_day_buyer_roc_auc"]
    assert interval["low"] <= interval["value"] <= interval["high"]
    assert set(found["paired"]) == set(found["baselines"])


def test_the_judgement_sets_the_model_beside_all_baselines_on_the_last_day_alone(lived: Path) -> None:
    settings: dict[str, Any] = {"kind": "boosted", "boosters": 1, "rounds": 30}
    found = run(lived, 1, Path("no weights are needed"), settings)
    assert found["rows"] == {"fitted": 60 * 37, "chosen_by": 360, "judged": 360, "customers": 60}
    assert found["baselines"]["majority"]["accuracy"]["value"] == pytest.approx(_share_of_views(lived))
    assert found["paired"]["majority"]["log_loss"]["high"] < 0
    assert set(found["metrics"]) <= set(found["docs"])


def _share_of_views(folder: Path) -> float:
    rows = [line.split(",") for line in gzip.decompress((folder / FILE).read_bytes()).decode().splitlines()]
    last = [row[3] for row in rows if int(row[4]) >= at(9, 0)]
    return last.count("pv") / len(last)
