"""The demo shop as a whole: its catalogue, its customers and its clock. Built once per seed and size."""

from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np

from pipelines.core.errors import ConfigError
from pipelines.core.shop import Shock, Shop, Simulator
from pipelines.simulator.catalogue import Catalogue, build_catalogue
from pipelines.simulator.customers import Customers, build_customers
from pipelines.simulator.draws import Floats, Ints
from pipelines.simulator.shocks import opening

DAY_S = 86_400


@dataclass(frozen=True)
class World:
    """Everything that does not change from night to night."""

    seed: int
    first_night: int  # ordinal
    zone: ZoneInfo
    catalogue: Catalogue
    customers: Customers
    shocks: tuple[Shock, ...] = ()

    def utc_ms(self, night: int, local_s: Floats, after_s: Floats | float = 0.0) -> Ints:
        """Epoch milliseconds of `after_s` seconds after a local second of the night; hours follow the zone's clock."""
        day = date.fromordinal(night)
        hours = np.array([datetime(day.year, day.month, day.day, h, tzinfo=self.zone).timestamp() for h in range(24)])
        hour = np.clip(local_s // 3600, 0, 23).astype(np.int64)
        return np.floor((hours[hour] + (local_s - 3600 * hour) + after_s) * 1000).astype(np.int64)


def build_world(shop: Shop) -> World:
    """The shop's world. Raises ConfigError for a shop that is not simulated."""
    if shop.simulator is None:
        raise ConfigError(f"shop '{shop.shop}' is not simulated: no 'simulator' in its configuration; add one")
    return _build(shop.simulator, shop.timezone)


@lru_cache(maxsize=2)
def _build(simulator: Simulator, timezone: str) -> World:
    first = simulator.first_night.toordinal()
    return World(
        seed=simulator.seed,
        first_night=first,
        zone=ZoneInfo(timezone),
        catalogue=build_catalogue(
            simulator.seed,
            simulator.items,
            first,
            opening(simulator.seed, simulator.shocks),
            simulator.price_changes_percent,
        ),
        customers=build_customers(simulator.seed, simulator.customers),
        shocks=simulator.shocks,
    )
