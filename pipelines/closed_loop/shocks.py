"""What happens to the world while the loop is judged: a price war on night 12; on night 20 the channel that may be used most
often fails and a new category opens. A shop whose configuration names shocks of its own lives with those."""

from datetime import date, timedelta
from typing import Final

from pipelines.core.shop import Shock, Shop

PRICE_WAR: Final = (12, 7)  # first planned night, nights
OUTAGE: Final = (20, 5)
NEW_CATEGORY: Final = (20, 14)


def first_planned(shop: Shop) -> date:
    """The night after the shop's history."""
    assert shop.simulator
    return shop.simulator.first_night + timedelta(days=shop.simulator.history_nights)


def with_shocks(shop: Shop) -> Shop:
    """The shop with its own shocks, or else the standard ones."""
    assert shop.simulator
    if shop.simulator.shocks:
        return shop
    busiest = max(shop.strategy.channels, key=lambda channel: channel.cap_messages / channel.cap_window_nights).id

    def shock(kind: str, when: tuple[int, int], **more: str) -> Shock:
        first = first_planned(shop) + timedelta(days=when[0] - 1)
        return Shock.model_validate({"kind": kind, "first_night": first, "nights": when[1], **more})

    shocks = (
        shock("price_war", PRICE_WAR),
        shock("channel_outage", OUTAGE, channel=busiest),
        shock("new_category", NEW_CATEGORY),
    )
    return shop.model_copy(update={"simulator": shop.simulator.model_copy(update={"shocks": shocks})})


def planned_night(shop: Shop, night: date) -> int:
    """Nights counted from 1, the first after the history."""
    return (night - first_planned(shop)).days + 1
