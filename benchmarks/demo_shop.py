"""A simulated shop of another seed and size, for benchmarks that play it by pipelines/closed_loop/."""

from pipelines.core.config import load_shop
from pipelines.core.shop import Shop


def shop_of(name: str, seed: int, customers: int | None) -> Shop:
    """The shop with this seed, and limits that grow with its customers."""
    shop = load_shop(name)
    assert shop.simulator
    factor = (customers or shop.simulator.customers) / shop.simulator.customers
    changes = {"seed": seed, "customers": customers or shop.simulator.customers}
    channels = tuple(
        channel.model_copy(update={"capacity_per_night": int(channel.capacity_per_night * factor)})
        for channel in shop.strategy.channels
    )
    limits = {"channels": channels, "nightly_budget_cents": int(shop.strategy.nightly_budget_cents * factor)}
    strategy = shop.strategy.model_copy(update=limits)
    return shop.model_copy(update={"strategy": strategy, "simulator": shop.simulator.model_copy(update=changes)})
