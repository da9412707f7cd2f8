"""Writes the demo shop's landing folder, night after night: landing/<YYYY-MM-DD>/<feed>.jsonl.gz.

nightmarket simulate --shop demo --date 2026-03-14
"""

import gzip
import shutil
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

from pipelines.core.errors import LandingError, WrongUseError
from pipelines.core.privacy import PseudonymKey
from pipelines.core.shop import Shop
from pipelines.simulator.answer import read_plan
from pipelines.simulator.campaigns import history_plan
from pipelines.simulator.night import Night, live
from pipelines.simulator.pages import read_lists
from pipelines.simulator.state import State, first_state, load_state, save_state, state_path
from pipelines.simulator.world import build_world

_MOST_NIGHTS = 400  # at once; a shop's history has 365 at most
_GZIP_LEVEL = 1  # the files are read once; time counts more than size


def simulate(
    shop: Shop,
    landing: Path,
    through: date,
    plan_of: Callable[[date], Path | None],
    key: PseudonymKey,
    progress: Callable[[date], None] | None = None,
) -> list[date]:
    """Writes every missing night from the shop's first one through `through`, in order; returns those it wrote.

    Night N answers the plan and the recommendations made on night N-1 where `plan_of` knows their folder; in the shop's
    history, where there is none, the random campaign of campaigns.py. A night that exists is never rewritten;
    a folder that a killed run left half-written is. Raises ConfigError for a shop that is not simulated, WrongUseError for
    a night so far ahead that its date must be wrong, LandingError for a night whose state is lost, a plan that fails its
    checks, or a folder that cannot be written.
    """
    world = build_world(shop)
    _refuse_far_ahead(through, date.fromordinal(world.first_night), landing)
    user_of: dict[str, int] = {}
    written: list[date] = []
    state: State | None = None
    night = date.fromordinal(world.first_night)
    try:
        while night <= through:
            if (landing / night.isoformat()).exists():
                state = None
            else:
                eve = night - timedelta(days=1)
                if state is None:
                    is_first = night.toordinal() == world.first_night
                    channels = tuple(channel.id for channel in shop.strategy.channels)
                    state = first_state(world, channels) if is_first else load_state(landing, eve, world)
                folder = plan_of(eve)
                if not user_of:
                    user_of = {key.pseudonym(user): place for place, user in enumerate(world.customers.ids.tolist())}
                n = night.toordinal()
                plan = read_plan(folder, shop.shop, eve) if folder else history_plan(shop, world, n, list(user_of))
                lists = read_lists(folder, shop.shop, eve, user_of, world.catalogue.size_of) if folder else None
                done = live(shop, world, night, state, plan, user_of, lists=lists)
                write_night(landing, night, done)
                state = done.state
                written.append(night)
                if progress:
                    progress(night)
            night += timedelta(days=1)
    except OSError as error:
        where = error.filename or landing
        raise LandingError(f"{where}: cannot write night {night}: {error.strerror}; free space or fix it") from error
    return written


def _refuse_far_ahead(night: date, first: date, landing: Path) -> None:
    written = [path.name for path in landing.glob("????-??-??")]
    furthest = max([first.isoformat(), *written])
    limit = date.fromisoformat(furthest) + timedelta(days=_MOST_NIGHTS - 1)
    if night > limit:
        raise WrongUseError(
            f"night {night} is too far ahead of {furthest} to be simulated: expected a night up to {limit}; "
            "mend the date, or simulate up to an earlier night first"
        )


def write_night(landing: Path, night: date, done: Night) -> None:
    """The state first, then the folder, each by one rename: a night that can be seen is whole and can be followed."""
    aside = landing / f".{night.isoformat()}.partial"
    if aside.exists():
        shutil.rmtree(aside)
    aside.mkdir(parents=True)
    for feed, lines in done.feeds.items():
        # No name and no time in the header: the same lines are the same bytes.
        with (aside / f"{feed}.jsonl.gz").open("wb") as file, gzip.GzipFile("", "wb", _GZIP_LEVEL, file, 0) as packed:
            packed.write(b"\n".join(lines) + b"\n" if lines else b"")
    kept = state_path(landing, night)
    kept.parent.mkdir(exist_ok=True)
    half = kept.with_suffix(".partial")
    save_state(half, done.state)
    half.replace(kept)
    aside.rename(landing / night.isoformat())
