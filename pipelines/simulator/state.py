"""What one night leaves for the next: fatigue, unsubscribes, stock, orders on their way, lines held back.

Kept as landing/.state/<night>.npz, written just before the night's folder appears.
"""

import zipfile
import zlib
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.core.errors import LandingError
from pipelines.simulator.draws import Bools, Floats, Ints, uniform
from pipelines.simulator.response import respond, tonight
from pipelines.simulator.world import World

_FORGET = 0.78  # of fatigue that is left after a night
_NIGHTS_BEFORE = 6  # orders on their way when the history begins


@dataclass(frozen=True)
class Orders:
    """Bought items that have not arrived yet, one entry each."""

    user: Ints
    item: Ints
    due: Ints  # ordinal of the night they arrive
    days_late: Ints

    def pick(self, mask: Bools) -> "Orders":
        return Orders(self.user[mask], self.item[mask], self.due[mask], self.days_late[mask])

    def plus(self, other: "Orders") -> "Orders":
        names = ("user", "item", "due", "days_late")
        return Orders(*(np.concatenate([getattr(self, name), getattr(other, name)]) for name in names))


@dataclass(frozen=True)
class State:
    """The shop after a night."""

    fatigue: Floats  # [customer]; 1 is what two recent messages leave
    unsubscribed: dict[str, Bools]  # channel -> [customer]
    stock: Ints  # [item]
    orders: Orders
    held: tuple[tuple[int, bytes], ...]  # (ordinal of the night in whose file it lands, line)

    def rest(self) -> "State":
        """The state a night later, before anything happens."""
        return replace(self, fatigue=self.fatigue * _FORGET)


def first_state(world: World, channels: tuple[str, ...]) -> State:
    """The shop on the eve of its history: rested customers, full shelves, orders of the last nights on their way."""
    orders = Orders(*(np.zeros(0, dtype=np.int64) for _ in range(4)))
    who = np.arange(world.customers.size)
    calm = np.zeros(world.customers.size)
    for night in range(world.first_night - _NIGHTS_BEFORE, world.first_night):
        evening = tonight(world, night)
        bought = respond(world, evening, who, None, calm).happens(evening, who)["purchase"]
        orders = orders.plus(ship(world, night, who[bought], evening.basket[bought, 0]))
    return State(
        fatigue=calm,
        unsubscribed={channel: np.zeros(world.customers.size, dtype=bool) for channel in channels},
        stock=world.catalogue.first_stock.copy(),
        orders=orders.pick(orders.due >= world.first_night),
        held=(),
    )


def ship(world: World, night: int, user: Ints, item: Ints) -> Orders:
    """Orders of one night: two nights on the way, one in nine late by up to six."""
    late = uniform(world.seed, "late parcel", night, user, item)
    days = np.where(late < 0.11, 1 + (late / 0.11 * 6).astype(np.int64), 0)
    return Orders(user, item, night + 2 + days, days)


def state_path(landing: Path, night: date) -> Path:
    return landing / ".state" / f"{night.isoformat()}.npz"


def save_state(path: Path, state: State) -> None:
    """Writes the state, arrays only, never pickled objects."""
    lines = [line for _, line in state.held]
    orders = state.orders
    arrays: dict[str, Any] = {
        "fatigue": state.fatigue,
        "stock": state.stock,
        "orders": np.stack([orders.user, orders.item, orders.due, orders.days_late]),
        "held_due": np.array([due for due, _ in state.held], dtype=np.int64),
        "held_end": np.cumsum([len(line) for line in lines], dtype=np.int64),
        "held_text": np.frombuffer(b"".join(lines), dtype=np.uint8),
        "channels": np.array(sorted(state.unsubscribed), dtype=np.str_),
        "unsubscribed": np.array([state.unsubscribed[c] for c in sorted(state.unsubscribed)], dtype=bool),
    }
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)


def load_state(landing: Path, night: date, world: World) -> State:
    """The state that a night left. Raises LandingError where it is missing, damaged or of a shop of another size."""
    path = state_path(landing, night)
    remedy = f"remove the simulated nights under {landing} and simulate again"
    if not path.is_file():
        raise LandingError(f"{path}: missing although night {night} is written; {remedy}")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        ends = arrays["held_end"].tolist()
        text = arrays["held_text"].tobytes()
        starts = [0, *ends][: len(ends)]
        lines = [text[a:b] for a, b in zip(starts, ends, strict=True)]
        state = State(
            fatigue=arrays["fatigue"],
            unsubscribed=dict(zip(arrays["channels"].tolist(), arrays["unsubscribed"], strict=True)),
            stock=arrays["stock"],
            orders=Orders(*arrays["orders"]),
            held=tuple(zip(arrays["held_due"].tolist(), lines, strict=True)),
        )
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise LandingError(f"{path}: not a state of the simulator ({error}); {remedy}") from error
    if len(state.fatigue) != world.customers.size or len(state.stock) != world.catalogue.size_of:
        raise LandingError(
            f"{path}: written for {len(state.fatigue)} customers and {len(state.stock)} items, the configuration has"
            f" {world.customers.size} and {world.catalogue.size_of}; {remedy}"
        )
    return state
