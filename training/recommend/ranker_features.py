"""What a blender knows of a customer and an item: the customer's touches of both item and category, by behaviour and how
long ago, how both stand among what the customer touched, and how the item does with everybody."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from training.recommend.interactions import BEHAVIOURS, Interactions
from training.recommend.ranker_protocol import DAY_S

SESSION_GAP_S: Final = 1_800.0
LONGEST_LOOK_S: Final = 300.0  # a longer gap before the next event is no look at the item
_TAUS_DAYS: Final = {"6h": 0.25, "1d": 1.0, "4d": 4.0}
_NEVER_DAYS: Final = 1_000.0
_STRENGTH: Final = np.array([1.0, 2.0, 3.0, 4.0])  # of the behaviours, where one number has to do


@dataclass(frozen=True)
class Events:
    """What all grains share of the events before a moment."""

    told: Interactions
    age_days: np.ndarray  # (n,)
    session: np.ndarray  # (n,) code of the customer's session
    night: np.ndarray  # (n,) whole days before the moment
    look_s: np.ndarray  # (n,) until the customer's next event, at most LONGEST_LOOK_S
    repeated: np.ndarray  # (n,) whether the customer had touched the item on an earlier day

    @classmethod
    def of(cls, told: Interactions, at_s: float) -> "Events":
        told = told.before(at_s)
        order = np.argsort(told.customer, kind="stable")
        seconds, customer = told.seconds[order], told.customer[order]
        gap = np.diff(seconds, append=np.inf)
        gap[np.append(customer[1:] != customer[:-1], True)[: len(gap)]] = np.inf
        starts = np.append(True, gap[:-1] > SESSION_GAP_S)[: len(gap)]
        session, look = np.empty(len(told), dtype=np.int64), np.empty(len(told))
        session[order] = np.cumsum(starts)
        look[order] = np.where(gap > SESSION_GAP_S, 30.0, np.minimum(gap, LONGEST_LOOK_S))
        age = (at_s - told.seconds) / DAY_S
        night = np.floor(age).astype(np.int64)
        _, place = np.unique(told.customer * len(told.items) + told.item, return_inverse=True)
        first = np.full(place.max(initial=-1) + 1, -1)
        np.maximum.at(first, place, night)
        return cls(told, age, session, night, look, first[place] > night)


def features(
    told: Interactions, customer: np.ndarray, item: np.ndarray, at_s: float, crowd: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Name -> (n,) for n pairs of a customer and an item, as seen at a moment; a customer's pairs stand together.

    crowd: (n_items,) how many people touched an item of whom `told` has no events; without it some columns are left out.
    """
    events = Events.of(told, at_s)
    told, width = events.told, len(told.items)
    category, n_categories = told.category_of, int(told.category_of.max(initial=0)) + 2
    own_category = category[item]
    found = _grain("own_item", told.customer * width + told.item, customer * width + item, events)
    found |= _grain(
        "own_category",
        told.customer * n_categories + category[told.item],
        customer * n_categories + own_category,
        events,
    )
    found |= _grain("customer", told.customer, customer, events)
    found |= _grain("item", told.item, item, events)
    found |= _grain("category", category[told.item], own_category, events)
    found |= _among(found, customer)
    found["item_of_category"] = found["item_customers"] / np.maximum(found["category_customers"], 1)
    if crowd is not None:
        of_category = np.bincount(category + 1, weights=crowd)[own_category + 1]
        found["crowd_knows"] = np.minimum(crowd[item], 1)
        found["crowd_customers"] = crowd[item] + 1
        found["crowd_of_category"] = of_category + 1
        found["crowd_share"] = (crowd[item] + 0.1) / (of_category + 1)
    return found


def _grain(prefix: str, key: np.ndarray, asked: np.ndarray, events: Events) -> dict[str, np.ndarray]:
    """The same columns for any key of the events, looked up for the asked keys; 0 and _NEVER_DAYS for unknown ones."""
    keys, place = np.unique(key, return_inverse=True)
    size, behaviour = len(keys), events.told.behaviour
    at = np.minimum(np.searchsorted(keys, asked), max(size - 1, 0))
    known = keys[at] == asked if size else np.zeros(len(asked), dtype=bool)
    found: dict[str, np.ndarray] = {}

    def tell(name: str, values: np.ndarray, missing: float = 0.0) -> None:
        found[f"{prefix}_{name}"] = np.where(known, values[at], missing) if size else np.full(len(asked), missing)

    def counted(weight: np.ndarray | None = None) -> np.ndarray:
        return np.bincount(place, weights=weight, minlength=size).astype(np.float64)

    def distinct(code: np.ndarray) -> np.ndarray:
        pairs = np.unique(np.stack([place, code]), axis=1)[0]
        return np.bincount(pairs, minlength=size).astype(np.float64)

    total = counted()
    tell("events", total)
    tell("sessions", distinct(events.session))
    tell("days", distinct(events.night))
    tell("customers", distinct(events.told.customer))
    tell("items", distinct(events.told.item))
    tell("look_s", counted(events.look_s))
    tell("repeated", counted(events.repeated.astype(np.float64)) / np.maximum(total, 1))
    for name, tau in _TAUS_DAYS.items():
        decay = np.exp(-events.age_days / tau)
        tell(f"strength_{name}", counted(decay * _STRENGTH[behaviour]))
        tell(f"looked_{name}", counted(decay * events.look_s))
    for code, name in enumerate(BEHAVIOURS):
        own = behaviour == code
        tell(f"{name}_events", counted(own.astype(np.float64)))
        last = np.full(size, _NEVER_DAYS)
        last[place[own]] = events.age_days[own]  # in time order: the latest stays
        tell(f"{name}_days_ago", last, _NEVER_DAYS)
    last = np.full(size, _NEVER_DAYS)
    last[place] = events.age_days
    tell("days_ago", last, _NEVER_DAYS)
    first = np.full(size, _NEVER_DAYS)
    first[place[::-1]] = events.age_days[::-1]
    tell("first_days_ago", first, _NEVER_DAYS)
    return found


def _among(found: dict[str, np.ndarray], customer: np.ndarray) -> dict[str, np.ndarray]:
    """How a pair stands among all of its customer's: its rank, 1 the best, and its share."""
    told: dict[str, np.ndarray] = {}
    for name in (
        "own_item_strength_1d",
        "own_item_strength_4d",
        "own_category_strength_1d",
        "own_category_strength_4d",
    ):
        told[f"{name}_rank"] = rank_within(customer, found[name])
    for grain in ("own_item", "own_category"):
        told[f"{grain}_days_ago_rank"] = rank_within(customer, -found[f"{grain}_days_ago"])
        for tau in ("1d", "4d"):
            told[f"{grain}_share_{tau}"] = found[f"{grain}_strength_{tau}"] / np.maximum(
                found[f"customer_strength_{tau}"], 1e-12
            )
    told["own_item_of_category"] = found["own_item_strength_4d"] / np.maximum(found["own_category_strength_4d"], 1e-12)
    told["since_newest_in_category"] = found["own_item_days_ago"] - found["own_category_days_ago"]
    told["since_newest"] = found["own_item_days_ago"] - found["customer_days_ago"]
    told["since_purchase_in_category"] = found["own_category_purchase_days_ago"] - found["own_item_days_ago"]
    return told


def rank_within(customer: np.ndarray, value: np.ndarray) -> np.ndarray:
    """(n,) rank of a value among its customer's, the highest is 1; equal values share the mean of their ranks."""
    order = np.lexsort((-value, customer))
    group, sorted_value = customer[order], value[order]
    begins = np.append(True, group[1:] != group[:-1])[: len(order)]
    starts = np.flatnonzero(begins)
    within = np.arange(len(order)) - starts[np.cumsum(begins) - 1]
    runs = np.append(True, begins[1:] | (sorted_value[1:] != sorted_value[:-1]))[: len(order)]
    run = np.cumsum(runs) - 1
    mean = np.bincount(run, weights=within + 1) / np.maximum(np.bincount(run), 1)
    ranks = np.empty(len(order))
    ranks[order] = mean[run]
    return ranks
