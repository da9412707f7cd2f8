"""What goes with an item, as tables of the night: related items (item_relations) and pairs to offer together (bundles).

Relations come from the sessions of the window, newer ones counting more, and from the items' words and pictures; how far
these are trusted, and whether frequent items come first, is chosen on the newest nights by what those before them tell.
Which bundles pay is pipelines/strategy/bundles.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.core.columns import Columns as C
from pipelines.core.reading import read
from pipelines.core.shop import Shop
from pipelines.core.storage import Store, window
from pipelines.strategy.bundles import BundleItems, BundleRules, Bundles, bundles, why
from training.recommend.interactions import NO_ITEM
from training.recommend.ranker_protocol import places
from training.recommend.relations import KINDS, Meetings, Relations, Weighting, choose, meetings, related, relations
from training.recommend.texts import items_of
from training.recommend.words import Words, split

_BASKET: Final = ("cart", "purchase")
_TOUCHES: Final = ("view", "click", "favorite", *_BASKET)
_LATER_NIGHTS: Final = 3  # that choose the weighting
_WEIGHTINGS: Final = tuple(Weighting(alpha, beta) for alpha in (0.03, 0.3, 3.0) for beta in (0.5, 1.0))
_DIRECTIONS: Final = 64  # of the words
_GOODS: Final = {
    **dict.fromkeys((C.TITLE, C.DESCRIPTION, C.BRAND, C.ATTRIBUTES, C.CATEGORY_ID, C.CATEGORY_PATH), pa.string()),
    **dict.fromkeys((C.PRICE_CENTS, C.UNIT_COST_CENTS, C.STOCK), pa.float64()),
}


@dataclass(frozen=True)
class Touches:
    """n items of sessions, each once per session."""

    session: np.ndarray  # (n,) places in `nights_ago`
    item: np.ndarray  # (n,) places on the shelf
    is_basket: np.ndarray  # (n,) bool: carted or bought there
    nights_ago: np.ndarray  # (sessions,)

    def meetings(self, where: np.ndarray, n_items: int, half_life_nights: float) -> Meetings | None:
        """Counts of the touches where a mask (n,) is true, of all their sessions; None where there is none."""
        if not where.any():
            return None
        _, session = np.unique(self.session[where], return_inverse=True)
        ago = self.nights_ago[np.unique(self.session[where])]
        return meetings(session, self.item[where], n_items, ago, half_life_nights)


def item_tables(
    shop: Shop,
    store: Store,
    night: date,
    items: np.ndarray,
    is_able: np.ndarray,
    threads: int,
    look: np.ndarray | None = None,
) -> tuple[pa.Table, pa.Table, dict[str, Any]]:
    """Rows of item_relations and bundles of the shelf `items` (i,), sorted ids, and counts for the manifest. Only what is
    able to be sold (i,) bool is named; `look` (i, w): what the items look like; `shop.recommend` is given."""
    assert shop.recommend is not None
    goods, touches = _goods(store, night, items), touches_of(shop, store, night, items)
    half_life, everything = shop.features.pair_half_life_nights, np.ones(len(touches.item), dtype=bool)
    met = touches.meetings(everything, len(items), half_life)
    if met is None:
        return _relation_rows(items, None), _bundle_rows(items, None, [], []), {"relations": 0, "bundles": 0}
    sights = {"words": _vectors(goods, items)}
    if look is not None:
        sights["words_and_pictures"] = _side_by_side(sights["words"], look)
    seen_by, weighting = _weighting(touches, sights, len(items), half_life, threads)
    vectors = sights[seen_by]
    k = shop.recommend.relations_per_item
    lists, lifts = related(met, vectors, weighting, k, allowed=is_able, threads=threads)
    lists[~is_able] = NO_ITEM
    baskets = touches.meetings(touches.is_basket, len(items), half_life)
    category = _codes(goods[C.CATEGORY_ID])
    found = relations((lists, lifts), met, baskets or met, category, 2 if baskets else 1 << 62)
    rules = BundleRules(
        discount_percent=shop.recommend.bundle_discount_percent,
        margin_floor_percent=shop.strategy.margin_floor_percent,
        min_stock=max(BundleRules.min_stock, shop.recommend.min_stock),
    )
    shelf = _shelf(goods, items, is_able, category, touches, shop.strategy.default_margin_percent)
    offers = _bundles(shelf, baskets, touches, rules) if baskets else None
    told = {
        "relations": len(found.item),
        **{name: int((found.kind == code).sum()) for code, name in enumerate(KINDS)},
        "bundles": len(offers.a) if offers else 0,
        "trust_in_words": weighting.alpha,
        **({"alike_by": seen_by} if look is not None else {}),
    }
    texts = why(shelf, offers, rules) if offers else []
    return _relation_rows(items, found), _bundle_rows(items, offers, _full_price(shelf, offers), texts), told


def touches_of(shop: Shop, store: Store, night: date, items: np.ndarray) -> Touches:
    """The window's sessions, bots left out, each with its first items only where it has very many."""
    files = [str(path) for path in store.files("events", window(night, shop.features.window_nights))]
    if not files:
        none = np.zeros(0, dtype=np.int64)
        return Touches(none, none, none.astype(bool), none)
    shelf = pa.table({C.ITEM_ID: pa.array(items.tolist(), pa.string()), "place": np.arange(len(items))})
    touched, basket = (", ".join(f"'{name}'" for name in names) for names in (_TOUCHES, _BASKET))
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'; SET threads = 1")
    connection.register("shelf", shelf)
    # A session's night is the one its events are stored under.
    found = connection.sql(
        f"""WITH told AS (
              SELECT {C.USER_KEY}, {C.SESSION_ID}, place, min({C.OCCURRED_AT}) AS first_at,
                max(({C.EVENT_TYPE} IN ({basket}))::INT) AS is_basket, min({C.NIGHT}::DATE) AS told_on
              FROM read_parquet({files}, hive_partitioning = true) events
                JOIN shelf ON shelf.{C.ITEM_ID} = events.{C.ITEM_ID}::VARCHAR
              WHERE NOT coalesce({C.IS_BOT}, false) AND {C.EVENT_TYPE} IN ({touched})
              GROUP BY ALL)
            SELECT dense_rank() OVER (ORDER BY {C.USER_KEY}, {C.SESSION_ID}) - 1 AS session, place, is_basket,
              date_diff('day', told_on, DATE '{night}') AS ago
            FROM told
            QUALIFY row_number() OVER (PARTITION BY {C.USER_KEY}, {C.SESSION_ID} ORDER BY first_at, place)
              <= {shop.features.pair_max_session_items}
            ORDER BY session, place"""
    ).to_arrow_table()
    connection.close()
    session, place, is_basket, ago = (found[name].to_numpy() for name in found.column_names)
    nights_ago = np.full(int(session.max(initial=-1)) + 1, 1 << 30)
    np.minimum.at(nights_ago, session, ago)
    return Touches(session, place, is_basket.astype(bool), nights_ago)


def _weighting(
    touches: Touches, sights: Mapping[str, np.ndarray], n_items: int, half_life_nights: float, threads: int
) -> tuple[str, Weighting]:
    """Which vectors (by name), how much trusted, tell most of the newest nights' sessions from those before; in a young shop
    all that is known, with the middle weighting."""
    newest = touches.nights_ago.min() + min(_LATER_NIGHTS, (np.ptp(touches.nights_ago) + 1) // 3)
    is_later = touches.nights_ago[touches.session] < newest
    before = touches.meetings(~is_later, n_items, half_life_nights)
    later = (touches.session[is_later], touches.item[is_later])
    has_pairs = len(later[0]) > 0 and bool((np.unique(later[0], return_counts=True)[1] > 1).any())
    if before is None or not has_pairs:
        return list(sights)[-1], _WEIGHTINGS[len(_WEIGHTINGS) // 2]
    found = {name: choose(before, vectors, later, _WEIGHTINGS, 10, threads=threads) for name, vectors in sights.items()}
    best = max(found, key=lambda name: found[name][1][found[name][0]])
    return best, found[best][0]


def _goods(store: Store, night: date, items: np.ndarray) -> pa.Table:
    """_GOODS of the shelf's items, null where the catalogue does not tell."""
    told = read(store, "catalog", [night], C.ITEM_ID, *_GOODS)
    if told is None:
        return pa.table({name: pa.nulls(len(items), kind) for name, kind in _GOODS.items()})
    at = pc.index_in(pa.array(items.tolist(), pa.string()), value_set=pc.cast(told[C.ITEM_ID], pa.string()))
    return pa.table({name: pc.cast(told[name], kind).take(at) for name, kind in _GOODS.items()})


def _vectors(goods: pa.Table, items: np.ndarray) -> np.ndarray:
    """(i, d) what the items' words say, in their main directions (Deerwester et al. 1990); zeros for who says nothing."""
    from sklearn.decomposition import TruncatedSVD

    told = items_of(goods.append_column(C.ITEM_ID, pa.array(items.tolist(), pa.string())))
    texts = [split(text) for text in told.texts]
    words = Words.fit(texts, least=2).rows(texts)
    width = min(_DIRECTIONS, min(words.shape) - 1)
    if width < 2 or not words.nnz:
        return np.zeros((len(items), 1))
    return np.asarray(TruncatedSVD(width, random_state=0).fit_transform(words))


def _side_by_side(words: np.ndarray, look: np.ndarray) -> np.ndarray:
    """(i, d): both in their main directions, each of unit length where it says anything, so that they count alike."""
    from sklearn.decomposition import TruncatedSVD

    width = min(_DIRECTIONS, min(look.shape) - 1)
    if width < 2 or not look.any():
        return words
    parts = (words, np.asarray(TruncatedSVD(width, random_state=0).fit_transform(look)))
    return np.hstack([part / np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-12) for part in parts])


def _shelf(
    goods: pa.Table,
    items: np.ndarray,
    is_able: np.ndarray,
    category: np.ndarray,
    touches: Touches,
    default_margin_percent: float,
) -> BundleItems:
    price, cost, stock = (goods[name].to_numpy() for name in (C.PRICE_CENTS, C.UNIT_COST_CENTS, C.STOCK))
    price = np.where(is_able & (price > 0), price, np.nan)
    cost = np.where(np.isfinite(cost), cost, price * (1 - default_margin_percent / 100))
    names = [title or key for title, key in zip(goods[C.TITLE].to_pylist(), items.tolist(), strict=True)]
    carted = np.bincount(touches.item[touches.is_basket], minlength=len(items))
    return BundleItems(names, category, price, cost, stock, carted)


def _bundles(shelf: BundleItems, baskets: Meetings, touches: Touches, rules: BundleRules) -> Bundles:
    pairs = baskets.sessions.tocoo()
    above = pairs.row < pairs.col
    a, b = pairs.row[above].astype(np.int64), pairs.col[above].astype(np.int64)
    n_sessions = len(np.unique(touches.session[touches.is_basket]))
    return bundles(shelf, a, b, pairs.data[above], n_sessions, rules)


def _full_price(shelf: BundleItems, offers: Bundles | None) -> list[float]:
    return (shelf.price[offers.a] + shelf.price[offers.b]).tolist() if offers else []


def _codes(texts: pa.ChunkedArray) -> np.ndarray:
    """(n,) int64, -1 for none."""
    told = pc.fill_null(texts, "").to_numpy().astype(str)
    return places(np.unique(told[told != ""]), told)


def _relation_rows(items: np.ndarray, found: Relations | None) -> pa.Table:
    """Item by item, best first."""
    if found is None:
        none = np.zeros(0, dtype=np.int64)
        found = Relations(none, none, none.astype(float), none.astype(np.int8), none)
    rank = np.arange(len(found.item)) - np.searchsorted(found.item, found.item) + 1
    return pa.table(
        {
            C.ITEM_ID: pa.array(items[found.item].tolist(), pa.string()),
            C.RANK: pa.array(rank, pa.int64()),
            C.RELATED_ITEM_ID: pa.array(items[found.other].tolist(), pa.string()),
            C.RELATION: pa.array(np.array(KINDS)[found.kind].tolist(), pa.string()),
            C.LIFT: pa.array(found.lift, pa.float64()),
            C.N_SESSIONS_BOTH: pa.array(found.support, pa.int64()),
        }
    )


def _bundle_rows(items: np.ndarray, offers: Bundles | None, full_price: list[float], texts: list[str]) -> pa.Table:
    """The most profitable first."""
    if offers is None:
        none = np.zeros(0, dtype=np.int64)
        offers = Bundles(*([none] * len(Bundles.__dataclass_fields__)))
    whole = {
        C.RANK: np.arange(1, len(offers.a) + 1),
        C.N_SESSIONS_BOTH: offers.both,
        C.PRICE_CENTS: np.array(full_price),
        C.BUNDLE_CENTS: offers.price,
    }
    told = {
        C.LIFT: offers.lift,
        C.LIFT_LOW: offers.lift_low,
        C.MARGIN_PERCENT: offers.margin_percent,
        C.PROFIT_PER_1000_SESSIONS_CENTS: offers.extra_per_1000,
        C.BREAK_EVEN_UPTAKE: offers.break_even,
    }
    columns = {
        C.ITEM_A: pa.array(items[offers.a].tolist(), pa.string()),
        C.ITEM_B: pa.array(items[offers.b].tolist(), pa.string()),
        **{name: pa.array(np.round(values).astype(np.int64)) for name, values in whole.items()},
        **{name: pa.array(values, pa.float64()) for name, values in told.items()},
        C.WHY: pa.array(texts, pa.string()),
    }
    return pa.table(columns)
