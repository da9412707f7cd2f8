"""What happens to the whole simulated world from a night on, whatever is planned; none unless a shop's `simulator.shocks`
says so.

- price_war: competitors cut prices. Some customers look elsewhere, each as much as the seed says: they buy less unasked and
  answer a discount more.
- channel_outage: messages of one channel hardly arrive.
- new_category: a category that was not sold before opens, its neighbour was bought in its place. While it is talked about,
  a share of all new wishes is for it.

A shock draws its own random numbers: those of the world around it stay what they were.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from pipelines.core.shop import Shock
from pipelines.simulator.draws import Floats, uniform
from pipelines.simulator.words import CATEGORIES

LOST_LOGIT = 0.8  # of buying unasked, for whom a price war reaches fully
BARGAIN_GAIN = 0.8  # how much more a discount does for them
OUTAGE_SHARE = 0.9  # of a channel's messages that bounce in an outage
NEWS_SHARE = 0.2  # of new wishes, while a new category is talked about


@dataclass(frozen=True)
class Opening:
    """A category that is not sold from the start; nights are ordinals."""

    category: int
    first_night: int
    end_night: int  # from here on nobody talks about it any more


def is_on(shock: Shock, night: int) -> bool:
    """Whether it lasts on this night (ordinal)."""
    return 0 <= night - shock.first_night.toordinal() < shock.nights


def rivalry(seed: int, shocks: Iterable[Shock], night: int, n: int) -> Floats:
    """How much of a price war reaches each of n customers tonight, 0 to 1; 0 in peace."""
    if not any(shock.kind == "price_war" and is_on(shock, night) for shock in shocks):
        return np.zeros(n)
    return uniform(seed, "price war", np.arange(n))


def outages(shocks: Iterable[Shock], night: int) -> frozenset[str]:
    """Channels whose messages hardly arrive tonight."""
    return frozenset(shock.channel for shock in shocks if shock.kind == "channel_outage" and is_on(shock, night))


def opening(seed: int, shocks: Iterable[Shock]) -> Opening | None:
    """The category that opens later, drawn by the seed; None where all are sold from the start."""
    for shock in shocks:
        if shock.kind == "new_category":
            first = shock.first_night.toordinal()
            category = int(uniform(seed, "new category", np.zeros(1, dtype=np.int64))[0] * len(CATEGORIES))
            return Opening(category, first, first + shock.nights)
    return None
