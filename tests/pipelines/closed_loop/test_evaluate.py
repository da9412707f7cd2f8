"""The evaluation of the loop: every policy plays, the same seed is the same, what was played is kept."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.closed_loop import evaluate as loop
from pipelines.closed_loop import policies
from pipelines.closed_loop.shocks import with_shocks
from pipelines.core.config import load_shop
from pipelines.core.errors import WrongUseError
from pipelines.core.shop import Shop, Simulator


def shop_of(customers: int = 120) -> Shop:
    demo = load_shop("demo")
    simulator = Simulator(customers=customers, items=60, history_nights=5, history_campaign_percent=60, seed=3)
    strategy = demo.strategy.model_copy(update={"explore_nights": 2})
    models = demo.models.model_copy(update={"valid_nights": 1})
    return demo.model_copy(update={"simulator": simulator, "strategy": strategy, "models": models})


def night(value: float) -> dict[str, float]:
    return {"organic": 1_000.0, "incremental": value, "possible": 100.0, "sent": 5.0}


def run_of(seed: int, nights: int) -> dict[str, Any]:
    """What `play_seed` keeps."""
    told = {
        who: [night(value + seed)] * nights for who, value in (("oracle", 90.0), ("insider", 80.0), ("single", 9.0))
    }
    told |= {who: [night(50.0 + seed)] * nights for who in ("plan", "first_version")}
    told["random"] = [night(-60.0)] * nights
    told["plan"] = [one | {"expected_of_chosen": 3.0, "true_of_chosen": 2.0} for one in told["plan"]]
    return {"seed": seed, "best_single": "x", "trained": {"1": "first"}, "policies": told}


def test_every_policy_plays_and_the_plan_is_scored_by_a_trained_model(tmp_path: Path) -> None:
    loop.play_seed(shop_of(), 4, 2, tmp_path)
    told = json.loads((tmp_path / "4.json").read_text())
    assert sorted(told["policies"]) == ["first_version", "insider", "oracle", "plan", "random", "single"]
    assert told["trained"] == {"1": "first"}
    for who, nights in told["policies"].items():
        assert len(nights) == 2
        # On the first night all stand in one place: nobody earns more than who knows tonight.
        assert nights[0]["incremental"] <= 1.001 * told["policies"]["oracle"][0]["incremental"] + 1, who
        assert nights[0]["organic"] == told["policies"]["oracle"][0]["organic"]
    assert all("expected_of_chosen" in one for one in told["policies"]["plan"])
    assert told["policies"]["plan"] == told["policies"]["first_version"]  # not yet trained again
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []


def test_the_same_seed_lives_the_same_nights(tmp_path: Path) -> None:
    shop = shop_of(60)
    first, again = (loop.live(loop.lived(shop, tmp_path / name), policies.planned, 1) for name in ("a", "b"))
    assert first == again


def test_seeds_that_were_played_are_not_played_again(tmp_path: Path) -> None:
    shop, root = shop_of(), tmp_path / "var"
    with pytest.raises(WrongUseError, match="expected 7 nights and 2 seeds at least"):
        loop.evaluate(shop, root, 3, 2, jobs=1)
    basis = loop.basis_of(with_shocks(shop), 7)
    kept = root / "demo" / "evaluations" / "closed_loop" / basis
    (kept / ".12-killed").mkdir(parents=True)  # what a killed run leaves
    for seed in (11, 12):
        (kept / f"{seed}.json").write_text(json.dumps(run_of(seed, 7)))
    found = loop.evaluate(shop, root, 7, 2, jobs=1, first_seed=11, plot_to=tmp_path / "loop.svg")
    assert [run["seed"] for run in found["seeds"]] == [11, 12]
    assert found["summary"]["last_week"]["share_of_random_regret"]["plan"]["value"] == pytest.approx(
        40 / 161.5, abs=1e-3
    )
    assert not (kept / ".12-killed").exists()
    written = root / "demo" / "evaluations"
    assert json.loads((written / "closed_loop.json").read_text()) == found
    picture = (tmp_path / "loop.svg").read_text()
    assert picture == (written / "closed_loop.svg").read_text()
    assert picture.startswith("<svg")
    assert "our plan" in picture


def test_a_shop_without_a_known_truth_has_no_loop_to_play(tmp_path: Path) -> None:
    with pytest.raises(WrongUseError, match="not simulated"):
        loop.evaluate(load_shop("demo").model_copy(update={"simulator": None}), tmp_path, 7, 2, jobs=1)


def test_the_standard_shocks_give_way_to_a_shop_s_own() -> None:
    shocked = with_shocks(shop_of())
    assert shocked.simulator
    assert [(one.kind, one.channel) for one in shocked.simulator.shocks] == [
        ("price_war", ""),
        ("channel_outage", "push"),
        ("new_category", ""),
    ]
    assert with_shocks(shocked) == shocked
