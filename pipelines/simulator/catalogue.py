"""The demo shop's shelves: items with titles, descriptions, prices, costs, hidden popularity and quality.

Prices are a pure function of (seed, item, night); only stock has a memory (state.py). A shop whose prices move
(`price_changes_percent`) has a known rule for them and customers who answer by a known elasticity per category.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date

import numpy as np
from numpy.typing import NDArray

from pipelines.simulator.draws import Bools, Floats, Ints, generator, normal, uniform
from pipelines.simulator.shocks import NEWS_SHARE, Opening
from pipelines.simulator.words import CATEGORIES, Kind

N_KINDS = N_BRANDS = 4  # per category
N_CHOICES = 3  # features, materials and sizes per kind
N_TIERS = 3  # cheap, middling, dear within a category
ITEM_LANGUAGES = ("en", "zh")
_CHINESE_SHARE = 0.35
_NEW_SHARE = 0.1  # items that appear after the first night
_NEW_WITHIN_NIGHTS = 60
_MARKDOWNS = np.array([1.0, 1.0, 1.0, 1.0, 0.95, 0.9, 0.8, 1.05])
_MOVE = 0.2  # a moved price lies within exp(+-this) of the list price
_WEEKEND_SHARE, _WEEKEND_PRICE = 0.3, 0.9  # items on promotion on Saturday and Sunday, when more is bought anyway
_ELASTICITY = (-1.2, -3.4)  # of demand to price, from the least to the most elastic category


@dataclass(frozen=True)
class Catalogue:
    """Arrays of one entry per item; `group_*` index the items of (category, tier), most popular first."""

    seed: int
    first_night: int  # ordinal
    category: Ints
    noun: Ints
    feature: Ints
    material: Ints
    size: Ints
    brand: Ints
    is_chinese: Bools
    base_price_cents: Ints
    quality: Floats  # hidden, standard normal: what reviews answer to
    launch: Ints  # ordinal of the first night it is sold
    first_stock: Ints
    group_start: Ints  # [category * N_TIERS + tier] -> position in group_items
    group_size: Ints
    group_items: Ints
    opening: Opening | None = None  # a category that is not sold from the start
    price_changes_percent: float = 0.0
    told_prices: Mapping[int, Ints] = field(default_factory=dict)  # night -> cents per item, where a rule was overruled

    @property
    def size_of(self) -> int:
        return len(self.category)

    def prices(self, night: int) -> Ints:
        """Cents per item on a night (ordinal): a markdown may change on the item's own weekday.

        Where prices move, each item has a new one every 100 / price_changes_percent nights, up or down alike, and some
        items are cheaper at weekends.
        """
        if night in self.told_prices:
            return self.told_prices[night]
        items = np.arange(self.size_of)
        if self.price_changes_percent:
            period = max(1, round(100 / self.price_changes_percent))
            move = 2 * uniform(self.seed, "price move", items, (night + items) // period) - 1
            is_promoted = uniform(self.seed, "weekend price", items) < _WEEKEND_SHARE
            is_weekend = date.fromordinal(night).weekday() >= 5
            cents = self.base_price_cents * np.exp(_MOVE * move) * np.where(is_promoted & is_weekend, _WEEKEND_PRICE, 1)
        else:
            week = (night + items) // 7
            step = (uniform(self.seed, "markdown", items, week) * len(_MARKDOWNS)).astype(np.int64)
            cents = self.base_price_cents * _MARKDOWNS[step]
        # Shop prices end in 9.
        return np.maximum(np.round(cents / 10).astype(np.int64) * 10 - 1, 99)

    @property
    def new_category(self) -> int:
        """The category that opens later; -1 for none."""
        return self.opening.category if self.opening else -1

    def newcomer(self, night: int | Ints, u: Floats) -> tuple[Bools, Floats]:
        """Who is drawn to the new category while it is talked about, and what is left of `u` (uniform) to draw by taste."""
        if self.opening is None:
            return np.zeros(len(u), dtype=bool), u
        is_talked = (night >= self.opening.first_night) & (np.asarray(night) < self.opening.end_night)
        share = np.where(is_talked, NEWS_SHARE, 0.0)
        return u < share, (u - share) / (1.0 - share)

    def on_sale(self, night: int | Ints, category: Ints) -> Ints:
        """The categories themselves; before the new one opens, its neighbour in its place."""
        if self.opening is None:
            return category
        is_shut = (category == self.opening.category) & (np.asarray(night) < self.opening.first_night)
        return np.where(is_shut, (category + 1) % len(CATEGORIES), category)

    def elasticity(self) -> Floats:
        """Percent of demand per percent of price of a middling customer, (categories,): the truth where prices move."""
        least, most = _ELASTICITY
        return least + (most - least) * uniform(self.seed, "elasticity", np.arange(len(CATEGORIES)))

    def draw(self, night: int | Ints, category: Ints, tier: Ints, u: Floats) -> Ints:
        """Items for (category, tier) pairs; `u` uniform, squared so that popular items come more often."""
        group = category * N_TIERS + tier
        rank = (self.group_size[group] * u**1.8).astype(np.int64)
        items = self.group_items[self.group_start[group] + rank]
        best = self.group_items[self.group_start[group]]  # sold from the first night
        return np.where(self.launch[items] <= night, items, best)

    def tier(self) -> Ints:
        """Price tier of each item within its category, 0 cheap to N_TIERS - 1 dear."""
        tier = np.zeros(self.size_of, dtype=np.int64)
        for group in reversed(
            range(len(self.group_start))
        ):  # an empty tier borrows the cheapest, whose items stay cheap
            start = self.group_start[group]
            tier[self.group_items[start : start + self.group_size[group]]] = group % N_TIERS
        return tier

    def unit_cost_cents(self) -> Ints:
        """What each item costs the shop."""
        shares = np.array([shelf.cost_share for shelf in CATEGORIES])
        return np.round(self.base_price_cents * shares[self.category]).astype(np.int64)

    def kind(self, item: int) -> Kind:
        """What kind of thing the item is."""
        return CATEGORIES[self.category[item]].kinds[self.noun[item]]

    def name(self, item: int, language: int) -> str:
        """What a person calls the item, such as 'desk lamp'. Languages: 0 English, 1 Chinese."""
        return self.kind(item).noun[language]

    def query(self, item: int, language: int, variant: int) -> str:
        """What a person types who looks for the item: its noun, with a feature, with the brand or with a material."""
        kind, noun = self.kind(item), self.name(item, language)
        gap = "" if language else " "
        if variant == 1:
            return f"{kind.features[self.feature[item]][language]}{gap}{noun}"
        if variant == 2:
            return f"{CATEGORIES[self.category[item]].brands[self.brand[item]]} {noun}"
        if variant == 3:
            return f"{kind.materials[self.material[item]][language]}{gap}{noun}"
        return noun

    def heads(self) -> NDArray[np.object_]:
        """The keys of every event that names an item, as JSON text: item, category, path and brand."""
        brands = [shelf.brands for shelf in CATEGORIES]
        return np.array(
            [
                f',"item_id":"{item_id(i)}","category_id":"{category_id(c)}","category_path":"{CATEGORIES[c].path}"'
                f',"brand":{json.dumps(brands[c][b], ensure_ascii=False)}'
                for i, (c, b) in enumerate(zip(self.category.tolist(), self.brand.tolist(), strict=True))
            ],
            dtype=object,
        )

    def lines(self, items: Iterable[int], prices: Ints, stock: Ints) -> list[bytes]:
        """Catalogue feed lines of these items, as docs/INPUT.md has them."""
        rows = (self._row(item, int(prices[item]), int(stock[item])) for item in items)
        return [json.dumps(row, ensure_ascii=False).encode() for row in rows]

    def _row(self, item: int, price_cents: int, stock: int) -> dict[str, object]:
        shelf, kind, tongue = CATEGORIES[self.category[item]], self.kind(item), int(self.is_chinese[item])
        brand, size, noun = shelf.brands[self.brand[item]], kind.sizes[self.size[item]], kind.noun[tongue]
        feature, material = kind.features[self.feature[item]][tongue], kind.materials[self.material[item]][tongue]
        uses = [use[tongue] for use in kind.uses]
        if tongue:
            title = f"{brand} {material}{feature}{noun} {size}"
            text = f"{brand} {feature}{noun}，{material}，规格 {size}。{''.join(uses)}"
        else:
            title = f"{brand} {feature} {noun}, {material}, {size}"
            text = f"{feature[0].upper()}{feature[1:]} {noun} by {brand}: {material}, {size}. {' '.join(uses)}"
        return {
            "item_id": item_id(item),
            "title": title,
            "description": text,
            "category_id": category_id(int(self.category[item])),
            "category_path": shelf.path,
            "brand": brand,
            "price": price_cents / 100,
            "unit_cost": round(int(self.base_price_cents[item]) * shelf.cost_share) / 100,
            "stock": stock,
            "attributes": {"material": material, "feature": feature, "size": size} | self._list_price(item),
            "language": ITEM_LANGUAGES[tongue],
        }

    def _list_price(self, item: int) -> dict[str, float]:
        return {"list_price": int(self.base_price_cents[item]) / 100} if self.price_changes_percent else {}


def item_id(item: int) -> str:
    """The shop's id of an item, such as 'i000012'."""
    return f"i{item:06d}"


def category_id(category: int) -> str:
    """The shop's id of a category, such as 'k03'."""
    return f"k{category + 1:02d}"


def build_catalogue(
    seed: int, n_items: int, first_night: int, opening: Opening | None = None, price_changes_percent: float = 0.0
) -> Catalogue:
    """All items that the shop will ever sell; `first_night` is an ordinal. `opening`: a category that is sold later."""
    rng = generator(seed, "catalogue", 0)
    items = np.arange(n_items)
    category = items % len(CATEGORIES)  # every category has its share, even in a tiny shop

    def pick(n: int) -> Ints:
        return rng.integers(0, n, n_items)

    noun, brand = pick(N_KINDS), pick(N_BRANDS)
    feature, material, size = pick(N_CHOICES), pick(N_CHOICES), pick(N_CHOICES)
    # The kind of thing sets the price, then the brand: a smartphone is dearer than its case.
    middling = np.array([[kind.price_cents for kind in shelf.kinds] for shelf in CATEGORIES])
    level = 0.25 * normal(seed, "brand price", category, brand) + 0.2 * rng.standard_normal(n_items)
    price = (middling[category, noun] * np.exp(level)).astype(np.int64)
    quality = 0.4 * normal(seed, "brand quality", category, brand) + 0.9 * rng.standard_normal(n_items)
    popularity = rng.standard_normal(n_items) + 0.3 * quality
    late = (rng.random(n_items) < _NEW_SHARE) & (items >= len(CATEGORIES) * N_TIERS)
    launch = first_night + np.where(late, 1 + rng.integers(0, _NEW_WITHIN_NIGHTS, n_items), 0)

    # Tier by price rank inside the category, then most popular first; what is sold from the start leads its group.
    order = np.lexsort((price, category))
    counts = np.bincount(category, minlength=len(CATEGORIES))
    starts = np.concatenate(([0], np.cumsum(counts)[:-1]))
    rank = np.empty(n_items, dtype=np.int64)
    rank[order] = np.arange(n_items) - starts[category[order]]
    tier = np.minimum(rank * N_TIERS // np.maximum(counts[category], 1), N_TIERS - 1)
    group = category * N_TIERS + tier
    group_items = np.lexsort((-popularity, launch > first_night, group))
    group_size = np.bincount(group, minlength=len(CATEGORIES) * N_TIERS)
    group_start = np.concatenate(([0], np.cumsum(group_size)[:-1]))
    # A shop of 20 items has empty tiers: they borrow the shelf of the category's cheapest tier.
    empty = group_size == 0
    cheapest = np.repeat(np.arange(len(CATEGORIES)) * N_TIERS, N_TIERS)
    group_start = np.where(empty, group_start[cheapest], group_start)
    group_size = np.where(empty, group_size[cheapest], group_size)
    leaders = group_items[group_start]
    launch[leaders] = first_night
    if opening:
        launch = np.where(category == opening.category, np.maximum(launch, opening.first_night), launch)
    return Catalogue(
        seed=seed,
        first_night=first_night,
        category=category,
        noun=noun,
        feature=feature,
        material=material,
        size=size,
        brand=brand,
        is_chinese=rng.random(n_items) < _CHINESE_SHARE,
        base_price_cents=price,
        quality=quality,
        launch=launch,
        first_stock=rng.integers(40, 400, n_items),
        group_start=group_start,
        group_size=group_size,
        group_items=group_items,
        opening=opening,
        price_changes_percent=price_changes_percent,
    )
