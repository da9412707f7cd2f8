"""Does the loop earn? A simulated shop's true profit, night by night, under our plan and under the policies beside it.

    nightmarket simulate --shop demo --nights 30 --evaluate [--seeds 5] [--plot docs/closed-loop.svg] [--json]

Per seed one world lives through its history, then once more under each policy, through the same nights with the same luck
and the same shocks (shocks.py). Candidates, limits, exploration, model, knapsack and simulator are the real ones; no audit,
registry or promotion gate stands in between. Truth is what the simulator expects with luck averaged out, so fatigue and
unsubscribes that a policy causes are its own: profit is margin over sending nothing that night, less messages and
complaints.

- plan: lots until the shop has told of `explore_nights` nights of campaigns, then the effect model, trained again every
  seventh night and after one that drifted;
- first_version: the same, but the model that was trained before the first planned night serves on;
- random: drawn by lot on all nights;
- single: one strategy for lots of those who may get it, the best of all in hindsight, by the truth;
- insider: the knapsack with every customer's true response, tonight's luck averaged out;
- oracle: the knapsack with tonight's truth, baskets and bounces included. Regret is what is missing to it.

Each seed is kept in <root>/<shop>/evaluations/closed_loop/ as soon as it is played, so that an interrupted evaluation goes
on. The result lies beside it as closed_loop.json, where the shop's report looks for it, with the plot, closed_loop.svg.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.closed_loop import policies
from pipelines.closed_loop.plot import plot
from pipelines.closed_loop.policies import Learner, Policy, Single, best_single
from pipelines.closed_loop.shocks import planned_night, with_shocks
from pipelines.closed_loop.summary import LAST_NIGHTS, summary
from pipelines.closed_loop.world import World
from pipelines.core.columns import Columns as C
from pipelines.core.errors import WrongUseError
from pipelines.core.shop import Shop
from pipelines.core.storage import Store, sources_digest
from pipelines.launch import conversation, die_with
from pipelines.stage import digest_of
from pipelines.strategy.candidates import candidates

FIRST_SEED = 20_261_201  # of the judged ones: nothing was tuned on them
JOB = "training.answer_loop"


def evaluate(
    shop: Shop,
    root: Path,
    nights: int,
    seeds: int,
    *,
    jobs: int,
    first_seed: int = FIRST_SEED,
    plot_to: Path | None = None,
    note: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Plays all seeds, `jobs` at the same time, and writes result and plot. Raises WrongUseError, JobError, and
    LockedError where another one plays."""
    if shop.simulator is None:
        raise WrongUseError(f"shop '{shop.shop}' is not simulated, so its truth is not known: nothing to evaluate")
    if nights < LAST_NIGHTS or seeds < 2:
        raise WrongUseError(f"--nights {nights} --seeds {seeds}: expected {LAST_NIGHTS} nights and 2 seeds at least")
    if not candidates(shop.strategy):
        raise WrongUseError(f"shop '{shop.shop}' has no strategy to choose from: add offers and channels to it")
    shop = with_shocks(shop)
    store = Store(root, shop.shop)
    kept = store.folder / "evaluations" / "closed_loop" / basis_of(shop, nights)
    kept.mkdir(parents=True, exist_ok=True)
    chosen = range(first_seed, first_seed + seeds)
    with store.lock("closed_loop", wait=False):
        for left in kept.glob(".*-*"):  # worlds of a run that was killed
            shutil.rmtree(left)
        _play([seed for seed in chosen if not (kept / f"{seed}.json").is_file()], shop, nights, kept, jobs, note)
    runs = [json.loads((kept / f"{seed}.json").read_text(encoding="utf-8")) for seed in chosen]
    assert shop.simulator
    shocks = [
        {"kind": one.kind, "night": planned_night(shop, one.first_night), "nights": one.nights}
        for one in shop.simulator.shocks
    ]
    result = {
        "shop": shop.shop,
        "currency": shop.currency,
        "customers": shop.simulator.customers,
        "nights": nights,
        "shocks": shocks,
        "summary": summary([run["policies"] for run in runs], shocks),
        "seeds": runs,
    }
    _write(store.folder / "evaluations" / "closed_loop.json", json.dumps(result, indent=1) + "\n")
    picture = plot(result)
    for path in (store.folder / "evaluations" / "closed_loop.svg", plot_to):
        if path:
            _write(path, picture)
    return result


def _play(seeds: list[int], shop: Shop, nights: int, kept: Path, jobs: int, note: Callable[[str], None]) -> None:
    with ProcessPoolExecutor(jobs, get_context("spawn"), initializer=partial(die_with, os.getpid())) as pool:
        running = [pool.submit(play_seed, shop, seed, nights, kept) for seed in seeds]
        for n_done, one in enumerate(as_completed(running), 1):
            one.result()
            note(f"{n_done} of {len(seeds)} seeds played")


def basis_of(shop: Shop, nights: int) -> str:
    """What the play of a seed depends on, besides the seed: settings and code."""
    return digest_of(shop, nights, sources_digest("pipelines", "training"))


def play_seed(shop: Shop, seed: int, nights: int, kept: Path) -> None:
    """Plays the worlds of one seed and keeps what was true of each."""
    assert shop.simulator
    shop = shop.model_copy(update={"simulator": shop.simulator.model_copy(update={"seed": seed})})
    with tempfile.TemporaryDirectory(dir=kept, prefix=f".{seed}-") as text:
        folder = Path(text)
        with conversation(JOB, {"shop": shop.model_dump(mode="json"), "threads": 1}, folder / "job", kept) as ask:
            history = lived(shop, folder / "history")
            single = best_single(history, nights)
            plan = Learner(ask, "plan", keeps_learning=True)
            all_policies: dict[str, Policy] = {
                "plan": plan,
                "first_version": Learner(ask, "first_version", keeps_learning=False),
                "random": policies.planned,
                "single": Single(single),
                "insider": policies.insider,
                "oracle": policies.oracle,
            }
            told = {name: live(history.branch(folder / name), policy, nights) for name, policy in all_policies.items()}
    run = {
        "seed": seed,
        "best_single": history.found[single].strategy_id,
        "trained": plan.trained,
        "policies": told,
    }
    _write(kept / f"{seed}.json", json.dumps(run))


def lived(shop: Shop, folder: Path) -> World:
    """A world at the end of its history: on every night but the first, some customers were sent a strategy, all by lot."""
    assert shop.simulator
    world = World(shop, folder)
    luck = np.random.default_rng(shop.simulator.seed)
    share = shop.simulator.history_campaign_percent / 100
    for night in range(shop.simulator.history_nights):
        if night and share:
            world.remember()
        told = luck.random(len(world.keys)) < (share if night else 0.0)
        world.play(np.where(told, luck.integers(len(world.found), size=len(told)), -1))
    world.remember()
    return world


def live(world: World, policy: Policy, nights: int) -> list[dict[str, float]]:
    """Plays planned nights of one policy; the truth of each, in cents.

    `possible` is what the knapsack with tonight's truth would have earned in its place, that night.
    """
    told = []
    for night in range(1, nights + 1):
        organic, added = world.profit()
        strategy, best = policy(world, night), policies.by_truth(world, added)

        def earned(decisions: np.ndarray, added: np.ndarray = added) -> float:
            sent = np.flatnonzero(decisions >= 0)
            return float(added[sent, decisions[sent]].sum())

        row = {
            "organic": float(organic.sum()),
            "incremental": earned(strategy),
            "possible": earned(best),
            "sent": float((strategy >= 0).sum()),
        }
        told.append(row | _expected(world, strategy, added))
        world.play(strategy)
        world.remember()
    return told


def _expected(world: World, strategy: np.ndarray, added: np.ndarray) -> dict[str, float]:
    """What the plan expected of those it chose for, not by lot, and what is true of them; nothing without scores."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    files = world.store.files("campaign_plan", [world.eve])
    if not files or not world.store.files("strategy_scores", [world.eve]):
        return {}
    columns = [C.USER_KEY, C.STRATEGY_ID, C.EXPECTED_PROFIT_CENTS, C.WHY]
    rows = pq.read_table(files[0], columns=columns, partitioning=None)
    chosen = pc.and_(pc.starts_with(rows[C.WHY], "exploit"), pc.not_equal(rows[C.STRATEGY_ID], "none"))
    rows = rows.filter(chosen)
    places = np.array([world.user_of[key] for key in rows[C.USER_KEY].to_pylist()], dtype=np.int64)
    return {
        "expected_of_chosen": float(pc.sum(rows[C.EXPECTED_PROFIT_CENTS]).as_py() or 0),
        "true_of_chosen": float(added[places, strategy[places]].sum()),
    }


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f".{path.name}.partial")
    half.write_text(text, encoding="utf-8")
    half.replace(path)
