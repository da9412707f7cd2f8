"""What the demo shop sent before Nightmarket planned for it: every night a share of its customers, drawn by lot, was sent
one strategy, drawn by lot. So the first plan has campaigns to learn from, as a shop that tests at random would have."""

import numpy as np

from pipelines.core.shop import Shop
from pipelines.simulator.answer import Plan
from pipelines.simulator.draws import uniform
from pipelines.simulator.response import Treatment
from pipelines.simulator.world import World
from pipelines.strategy.candidates import candidates


def history_plan(shop: Shop, world: World, night: int, keys: list[str]) -> Plan | None:
    """The random campaign of a night (ordinal) of the shop's history, None where there was none.

    `keys` are the customers' pseudonyms by place. Each customer is written to with the chance
    `simulator.history_campaign_percent`, whatever was sent before, with any candidate alike.
    """
    simulator = shop.simulator
    if simulator is None or simulator.history_campaign_percent == 0:
        return None
    if not world.first_night < night < world.first_night + simulator.history_nights:
        return None
    found = candidates(shop.strategy)
    if not found:
        return None
    hours = {window.id: (window.from_hour, window.to_hour) for window in shop.strategy.send_windows}
    treatments = [
        Treatment(c.discount_percent, c.channel, *hours[c.send_window], c.frequency, c.creative_style) for c in found
    ]
    everyone = np.arange(world.customers.size)
    drawn = uniform(world.seed, "history campaign", night, everyone) < simulator.history_campaign_percent / 100
    who = everyone[drawn]
    which = (uniform(world.seed, "history strategy", night, who) * len(found)).astype(np.int64)
    return Plan(
        user_key=[keys[place] for place in who.tolist()],
        strategy_id=[found[place].strategy_id for place in which.tolist()],
        treatment=which,
        treatments=treatments,
    )
