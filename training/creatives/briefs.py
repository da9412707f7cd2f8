"""What tonight's plan needs words for: one brief per product, offer, channel, style and language that it sends."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.core.columns import Columns as C
from pipelines.core.copywriting import LANGUAGES, Language, Write
from pipelines.core.shop import Offer, Shop
from training.creatives.prompts import Brief, as_data, attributes_of
from training.language.tongue import tongue_of

GOODS: Final = (C.ITEM_ID, C.TITLE, C.DESCRIPTION, C.CATEGORY_PATH, C.BRAND, C.PRICE_CENTS, C.LANGUAGE, C.ATTRIBUTES)
_COMBINED: Final = (C.OFFER, C.CHANNEL, C.CREATIVE_STYLE, C.ITEM_ID, C.SEGMENT_NAME, C.LANGUAGE)
_APART: Final = "\x1f"


@dataclass(frozen=True)
class Asked:
    """m briefs, those that most customers read first, and the brief of each of n rows of the plan."""

    briefs: list[Brief]
    row: np.ndarray  # (n,) place in `briefs`
    customers: np.ndarray  # (m,)


def asked_for(plan: pa.Table, goods: pa.Table | None, shop: Shop, languages: Mapping[str, Language]) -> Asked:
    """The briefs of a plan's rows that send something.

    plan: user_key, offer, channel, creative_style, item_id and segment_name (null: for anybody); goods: GOODS of the
    catalogue; languages: of customers who told one.
    """
    settings = shop.write or Write()
    offers = {offer.id: offer for offer in shop.strategy.offers}
    products = _products(goods)
    spoken = pa.array([languages.get(key, settings.language) for key in plan[C.USER_KEY].to_pylist()], pa.string())
    named = plan.select([name for name in _COMBINED if name != C.LANGUAGE]).append_column(C.LANGUAGE, spoken)
    texts = [pc.fill_null(named[name], "").combine_chunks() for name in _COMBINED]
    code = pc.binary_join_element_wise(*texts, _APART).dictionary_encode()
    place = code.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    briefs = [
        _brief(dict(zip(_COMBINED, text.split(_APART), strict=True)), products, offers, shop, settings)
        for text in code.dictionary.to_pylist()
    ]
    known: dict[str, int] = {}
    same = np.array([known.setdefault(brief.id, len(known)) for brief in briefs], dtype=np.int64)
    distinct = list({brief.id: brief for brief in briefs}.values())
    count = np.bincount(same[place] if len(place) else place, minlength=len(distinct))
    order = sorted(range(len(distinct)), key=lambda at: (-count[at], distinct[at].id))
    rank = np.empty(len(distinct), dtype=np.int64)
    rank[order] = np.arange(len(distinct))
    row = rank[same[place]] if len(place) else place
    return Asked([distinct[at] for at in order], row, count[order])


def language_of(offer: Offer, wanted: Language, default: Language) -> Language:
    """The language wanted, unless the offer says something and not in it."""
    said = {"en": offer.text, "zh": offer.text_zh or (offer.text if tongue_of(offer.text) == "zh" else "")}
    return wanted if not offer.text or said[wanted] else default


def words_of_offer(offer: Offer, language: Language) -> str:
    """What the shop says of the offer in that language, or at all."""
    return offer.text_zh if language == "zh" and offer.text_zh else offer.text


def product_brief(row: Mapping[str, Any], **how: Any) -> Brief:
    """A brief about one row of the catalogue; `how`: the fields that are not the product's."""
    title = as_data(row.get(C.TITLE))
    path = as_data(row.get(C.CATEGORY_PATH))
    said = row.get(C.LANGUAGE)
    return Brief(
        item_id=str(row[C.ITEM_ID]),
        title=title,
        brand=as_data(row.get(C.BRAND), 60),
        category=path.rpartition(".")[2].rpartition(" > ")[2].replace("_", " "),
        attributes=attributes_of(row.get(C.ATTRIBUTES)),
        item_language=said if said in LANGUAGES else tongue_of(title),
        **how,
    )


def _products(goods: pa.Table | None) -> dict[str, dict[str, Any]]:
    return {str(row[C.ITEM_ID]): row for row in goods.to_pylist()} if goods is not None else {}


def _brief(
    told: Mapping[str, str], products: Mapping[str, Any], offers: Mapping[str, Offer], shop: Shop, settings: Write
) -> Brief:
    offer = offers[told[C.OFFER]]
    wanted: Language = "zh" if told[C.LANGUAGE] == "zh" else "en"
    language = language_of(offer, wanted, settings.language)
    known = {"currency": shop.currency, "shop_title": shop.title}
    how: dict[str, Any] = {
        "offer_id": offer.id,
        "offer_text": as_data(words_of_offer(offer, language), 200),
        "discount_percent": offer.discount_percent,
        "channel": told[C.CHANNEL],
        "style": told[C.CREATIVE_STYLE],
        "language": language,
        "max_chars": settings.limit(told[C.CHANNEL], language),
        "segment": told[C.SEGMENT_NAME] if settings.by_segment else "",
    }
    product = products.get(told[C.ITEM_ID])
    if product is None:
        return Brief(**how, told=known)
    more = {"price_cents": product[C.PRICE_CENTS], "description": as_data(product[C.DESCRIPTION], 2_000)}
    return product_brief(product, **how, told=known | more)
