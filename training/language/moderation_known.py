"""What is known of a product and an offer, in the forms that a text's claims are compared with."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from training.language.moderation_amounts import NUMBER, ONES, digits, number_of, quantities
from training.language.moderation_views import normal

_WORD: Final = re.compile(
    rf"(?<![a-z])(?:{'|'.join(ONES)})(?![a-z])|(?<=[\u3400-\u9fff])[二两三四五六七八九十](?=[件双只个条片支])|[二两三四五六七八九十](?=[件双只个条片支])"
)
NEGATED: Final = re.compile(
    r"(?<![a-z])(?:not|isn't|without|never|no)\s(?:(?:a|any|fully|made of|real|entirely)\s)?\w+|(?:不是"
    r"|没有|不含|并非|不(?!锈))[\u3400-\u9fff]{2}"
)


@dataclass(frozen=True)
class Known:
    """What is known, read once per product and offer."""

    product: str  # the catalogue's words, normal; what it says not to be is left out
    granted: str  # the shop's own words, normal
    prices: frozenset[int]  # cents: now, with the discount, and the list price
    cheapest: int | None
    savings: frozenset[int]  # cents
    percents: frozenset[int]
    currency: str
    stock: int | None
    rating: float | None
    counts: frozenset[int]
    quantities: frozenset[tuple[str, float]]
    numbers: frozenset[float]


def known_of(facts: Mapping[str, Any]) -> Known:
    """What facts say, in the forms that claims are compared with."""
    attributes = facts.get("attributes") or {}
    if isinstance(attributes, str):
        attributes = _read(attributes)
    parts = [facts.get(name) for name in ("title", "description", "brand", "category")]
    parts += [
        f"{name} {value}" if value is not True else name
        for name, value in attributes.items()
        if value not in (None, False)
    ]
    product = " . ".join(normal(str(part)) for part in parts if part)
    granted = " . ".join(
        normal(str(facts[name]))
        for name in ("offer_text", "ends", "terms", "delivery", "returns", "shop_title")
        if facts.get(name)
    )
    if facts.get("free_shipping") is True:
        granted += " . free shipping free delivery 包邮 免运费 免邮"
    price, before = _cents(facts.get("price_cents")), _cents(facts.get("list_price_cents"))
    percent = float(facts.get("discount_percent") or 0)
    now = round(price * (100 - percent) / 100) if price else None
    old = [one for one in (price, before) if one]
    percents = {percent} if percent else set()
    if price and before and before > price:
        percents |= {100 * (1 - price / before)} | ({100 * (1 - (now or price) / before)} if percent else set())
    told = [float(n["n"].replace(",", "")) for n in re.finditer(rf"(?P<n>{NUMBER})\s?%", granted)]
    rounded = {round(one) for one in (*percents, *told)}
    savings = {a - b for a in (*old, now or 0) for b in (*old, now or 0) if a > b > 0}
    savings |= {round(float(m.replace(",", "")) * 100) for m in re.findall(rf"[€$£¥]\s?({NUMBER})", granted)}
    counts = {int(facts[name]) for name in ("n_reviews", "n_sold", "n_ratings") if facts.get(name)}
    bare = NEGATED.sub(" ", product)
    amounts = list(quantities(digits(f"{product} . {granted}")))
    return Known(
        product=bare,
        granted=granted,
        prices=frozenset(one for one in (price, before, now) if one),
        cheapest=now,
        savings=frozenset(savings),
        percents=frozenset(rounded),
        currency=str(facts.get("currency") or ""),
        stock=int(facts["stock"]) if facts.get("stock") is not None else None,
        rating=float(facts["rating"]) if facts.get("rating") else None,
        counts=frozenset(counts),
        quantities=frozenset((kind, round(value, 6)) for kind, value, _ in amounts if kind),
        numbers=frozenset({*(number for _, _, number in amounts), *map(float, map(number_of, _WORD.findall(product)))}),
    )


def _read(text: str) -> dict[str, Any]:
    try:
        told = json.loads(text)
    except ValueError:
        return {"": text}
    return told if isinstance(told, dict) else {"": text}


def _cents(value: Any) -> int | None:
    return round(float(value)) if value not in (None, "") and float(value) > 0 else None
