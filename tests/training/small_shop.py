"""A shop for recommendations that fits in the head: teas t0 to t5, lamps l0 to l5, twelve customers over eight nights.

Customers 0 to 5 look at teas, the others at lamps; each looks at two neighbouring items a night, at t0 or l0 most.
"""

from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

from pipelines.core.columns import Columns as C
from pipelines.core.recommending import Recommend
from pipelines.core.shop import Channel, Models, Shop, Source, Strategy
from pipelines.core.storage import Store
from tests.pipelines.test_report import publish

NIGHT, N_NIGHTS = date(2026, 3, 14), 8
CUSTOMERS = [f"{number:064x}" for number in range(12)]
ITEMS = [f"{kind}{number}" for kind in "tl" for number in range(6)]


def shop(**more: Any) -> Shop:
    told = {"k": 4, "holdout_percent": 0, "explore_percent": 0, "max_per_category": 6, "price_band_factor": 50, **more}
    return Shop(
        shop="small",
        landing={"events": Source(connector="jsonl", pattern="{night}/*")},
        strategy=Strategy(
            channels=tuple(Channel(id=name, cost_cents=1, capacity_per_night=9) for name in ("email", "push"))
        ),
        models=Models(tasks=("recommender",)),
        recommend=Recommend(**told),
    )


def event(customer: int, item: str | None, back: int = 0, kind: str = "view", **more: Any) -> dict[str, Any]:
    at = datetime.combine(NIGHT - timedelta(days=back), time(12, customer))
    return {
        C.USER_KEY: CUSTOMERS[customer], C.EVENT_TYPE: kind, C.ITEM_ID: item, C.OCCURRED_AT: at, C.IS_BOT: False,
        C.CATEGORY_ID: {"t": "teas", "l": "lamps"}.get((item or "")[:1]), C.PRICE_CENTS: 1000, **more,
    }  # fmt: skip


def usual() -> list[dict[str, Any]]:
    """Everybody's events, night by night."""
    made = []
    for back in range(N_NIGHTS):
        for customer in range(12):
            kind, first = "t" if customer < 6 else "l", (customer * back) % 5
            made += [event(customer, f"{kind}{first}", back), event(customer, f"{kind}{(first + 1) % 6}", back)]
    return made


def item(name: str, **more: Any) -> dict[str, Any]:
    category = {"t": "teas", "l": "lamps"}[name[0]]
    return {C.ITEM_ID: name, C.TITLE: f"Title of {name}", C.CATEGORY_ID: category, C.CATEGORY_PATH: f"home.{category}",
            C.PRICE_CENTS: 1000, C.STOCK: 9, **more}  # fmt: skip


def fill(root: Path, events: list[dict[str, Any]] | None = None, catalog: list[dict[str, Any]] | None = None) -> Store:
    """The store at the end of NIGHT; `catalog` None: the twelve items."""
    store = Store(root, "small")
    told = usual() if events is None else events
    for back in range(N_NIGHTS):
        night = NIGHT - timedelta(days=back)
        publish(store, "events", night, [row for row in told if row[C.OCCURRED_AT].date() == night])
    publish(store, "catalog", NIGHT, [item(name) for name in ITEMS] if catalog is None else catalog)
    for table in ("segments", "user_profiles"):
        rows = [{C.USER_KEY: key, C.SEGMENT_ID: int(at >= 6), C.SEGMENT_NAME: "s"} for at, key in enumerate(CUSTOMERS)]
        publish(store, table, NIGHT, rows)
    return store
