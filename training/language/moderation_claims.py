"""What a text claims of a product and an offer, beside what is known of them: prices, discounts, quantities, deadlines,
delivery, ratings, and words for material, colour, features, origin and brands.

The catalogue's words are evidence for what a product is. Of what the shop grants (price, discount, delivery, gifts,
deadlines) only its own numbers and words are: `price_cents`, `discount_percent`, ..., `offer_text`, `ends`, `terms`.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from pipelines.core.moderating import Claims
from training.language.moderation_phrases import either
from training.language.moderation_views import normal

_ONES: Final = "zero one two three four five six seven eight nine ten eleven twelve".split()
_TENS: Final = {
    "fifteen": 15,
    "twenty": 20,
    "twenty five": 25,
    "thirty": 30,
    "forty": 40,
    "fifty": 50,
    "sixty": 60,
    "seventy": 70,
} | {"seventy five": 75, "eighty": 80, "ninety": 90, "hundred": 100}
_NUMBERS: Final = {word: n for n, word in enumerate(_ONES)} | _TENS
_HAN_DIGITS: Final = {c: n for n, c in enumerate("零一二三四五六七八九十")} | {"两": 2}
_HAN_TENS: Final = {"十": 10, "百": 100}
_N: Final = r"\d[\d,]*(?:\.\d+)?"
_WORDS: Final = "|".join(sorted((w.replace(" ", r"[\s\-]") for w in _NUMBERS), key=len, reverse=True))
_MONEY: Final = (
    {
        "€": "EUR",
        "eur": "EUR",
        "euro": "EUR",
        "欧元": "EUR",
        "欧": "EUR",
        "$": "USD",
        "usd": "USD",
        "dollar": "USD",
        "buck": "USD",
    }
    | {
        "美元": "USD",
        "£": "GBP",
        "gbp": "GBP",
        "pound": "GBP",
        "quid": "GBP",
        "英镑": "GBP",
        "¥": "CNY",
        "cny": "CNY",
        "rmb": "CNY",
        "yuan": "CNY",
    }
    | {"元": "CNY", "块": "CNY", "块钱": "CNY", "人民币": "CNY", "jpy": "JPY", "日元": "JPY"}
)
_UNIT_WORD: Final = "|".join(
    sorted(
        (rf"{re.escape(w)}s?(?![a-z])" if w.isalpha() and w.isascii() else re.escape(w) for w in _MONEY),
        key=len,
        reverse=True,
    )
)
_PRICE: Final = re.compile(
    rf"(?P<before>[€$£¥]|(?:eur|usd|gbp|cny|rmb)\s)\s?(?P<a>\d[\d.,]*)|(?P<b>\d[\d.,]*)\s?(?P<after>{_UNIT_WORD})|(?P<c>\d+)\s?(?:cents?|pence)(?![a-z])"
)
_PERCENT: Final = re.compile(
    rf"(?P<n>{_N}|(?<![a-z])(?:{_WORDS}))\s?(?:%|per\s?cent(?![a-z])|pct(?![a-z]))|百分之(?P<h>[零一二三四五六七八九十]+|\d+)"
)
_DISCOUNT_WORD: Final = re.compile(
    r"(?<![a-z])(?:off|discount(?:ed|s)?|sav(?:e|es|ing|ings)|reduc(?:ed|tion)|less|cheaper|cut|down|rebate|cash\s?back|back|knocked|slashed|lower|deal|bonus)(?![a-z])|折扣|优惠|立减|直减|减|省|降|让利|返|便宜"
)
_FRACTIONS: Final = re.compile(
    r"(?<![a-z])(?:half[\s\-]price|half off|half the price|(?P<third>a third off|one third off)|(?P<quarter>a quarter off|quarter off))(?![a-z])|半价|(?P<zhe>\d(?:\.\d)?|\d{2}|[一二三四五六七八九]{1,2})\s?折(?!叠|扣|痕|射|页|腾|衷|返|边|纸|合|皱|线|耳|中)"
)
_SOME_DISCOUNT: Final = re.compile(
    r"(?<![a-z])(?:on sale|discount(?:ed|s)?|price (?:drop|cut)|reduced|special (?:offer|price|deal)|sale price|bargains?|markdowns?|marked down|best deal|great deal on|savings?|money off|price just dropped)(?![a-z])|打折|折扣|优惠价|特惠|特价|降价|促销|优惠(?!券)|立减|让利"
)
_GRANTED: Final = {  # what a shop may grant, in code because only its own words count
    "claim.delivery": re.compile(
        r"(?<![a-z])(?:free|no|zero|complimentary|without)[\s\-](?:\w+\s)?(?:shipping|delivery|postage|p&p|returns?|courier|collection|exchanges?)(?:\s(?:costs?|fees?|charges?))?|(?:shipping|delivery|postage|returns?)\s(?:is|are|included|for)\s?(?:on us|free|nothing|included|our treat)?|(?:next|same|one|two|1|2)[\s\-]day (?:delivery|shipping|dispatch)|overnight (?:delivery|shipping)|(?:ships?|shipped|delivered|dispatched|arrives?|get it|at your door|on your doorstep|delivery)\s(?:\w+\s){0,2}(?:today|tomorrow|tonight|within|by|in (?:\w+\s)?(?:hours?|days?)|the same day|overnight|in \d+)|express (?:delivery|shipping)|we (?:pay|cover) (?:the )?(?:shipping|postage|delivery)|(?:30|60|90|365|100|14|28)[\s\-]days?(?:\s\w+)? (?:returns?|trial|refund)|free returns?|returns? accepted|(?:return|send|bring) (?:it|them|this) (?:back )?(?:any|when|within|even|for|free|after|in)|money back|包邮|免邮|免运费|邮费全免|次日达|当日达|隔日达|当天发货|小时达|小时送达|小时内发货|分钟送达|送货上门|运费险|七天无理由|7天无理由|无理由退|顺丰|急速发货|极速发货|免费退|免费送"
    ),
    "claim.gift": re.compile(
        r"(?<![a-z])(?:free|bonus|complimentary|extra|surprise)\s(?:\w+\s){0,2}(?:gift|gifts|sample|samples|item|mug|bag|tote|cup|bottle|one|set|pillow|socks|case|towel|present|voucher|credit)(?![a-z])|(?:gift|voucher|tote|mug|bottle|sample)s? (?:with (?:every|each|your|any)|included|on us)|buy (?:one|two|three|1|2|3)[\s,]+(?:and\s)?get|bogo(?![a-z])|2 for 1|two for one|(?:two|three|2|3|4) (?:\w+ )?for (?:the price|\d|one|two)|\d\s?\+\s?\d|loyalty points|double points|cash\s?back|gift card|store credit|赠品|附赠|加赠|赠送|送礼|买[\u3400-\u9fff\d]{1,5}送|送[一两]?[个件只条盒瓶]|第二件|满\s?\d+|返现|红包|优惠券|代金券|抵用券|购物券|积分|多倍|领券"
    ),
    "claim.code": re.compile(
        r"(?<![a-z])(?:promo|coupon|voucher|discount|checkout|gift|use|with|enter|apply)[\s\-]*(?:the\s)?codes?(?![a-z])|(?<![a-z])coupons?(?![a-z])|(?<![a-z])vouchers?(?![a-z])|优惠码|折扣码|口令|兑换码|邀请码"
    ),
    "claim.warranty": re.compile(
        r"(?<![a-z])(?:warrant(?:y|ies)|extended cover|repair service|repairs? for)(?![a-z])|质保|保修|保用|联保|包修"
    ),
    "claim.rating": re.compile(
        r"★|⭐|(?<![a-z])(?:stars|star rating|star-rated|reviews|rated|rating|ratings)(?![a-z])|好评|评分|五星|星级|满分"
    ),
}
_DEADLINE: Final = re.compile(
    r"(?<![a-z])(?:until|till|'til|ends?|ending|by|before|expires?|closes?|only|through|within(?: the)?(?: next)?|in the next|for the next|last day|offer)(?:\s(?:at|on|this|the|is|next|for|in|just))*\s(?P<when>midnight|tonight|today|tomorrow|noon|this week(?:end)?|weekend|sunday|monday|tuesday|wednesday|thursday|friday|saturday|new year|christmas|easter|end of (?:the )?(?:day|week|month)|\d+\s?(?:hours?|minutes?|days?|h|min|am|pm)|(?:january|february|march|april|may|june|july|august|september|october|november|december)\s\d+|\d+(?:st|nd|rd|th)?\s(?:of\s)?(?:january|february|march|april|may|june|july|august|september|october|november|december))(?![a-z])"
    r"|(?<![a-z])(?P<bare>(?:tonight|today|this weekend|this week|tomorrow|midnight|24 hours|48 hours|one day|three days)\sonly)"
    r"|(?:截至|截止到?|仅限|只限|仅|只在|只到|限|最后|有效期至|至|到|于|还剩)?(?P<han>今晚|今天|今日|明天|明日|午夜|零点|24点|24:00|本周[末日五六]?|周[一二三四五六日天末]|月底|\d+月\d+[日号]|\d+[日号]|\d+\s?(?:小时|天|分钟)|[一二三两]天)(?:24点|零点|24:00|晚上|为止|之前|内)?(?:截止|结束|为止|止|失效|过期|恢复|涨价|关闭|前|有效|限定|专享)"
)
_SAME_DAY: Final = (
    frozenset(
        {
            "midnight",
            "tonight",
            "today",
            "tonight only",
            "today only",
            "midnight only",
            "end of the day",
            "end of day",
            "午夜",
            "今晚",
            "今天",
            "今日",
            "零点",
            "24点",
            "24:00",
        }
    ),
    frozenset({"this weekend", "weekend", "sunday", "saturday", "本周末", "周末", "周日", "周六", "本周日", "周天"}),
    frozenset({"tomorrow", "明天", "明日"}),
)
_STOCK: Final = re.compile(
    rf"(?<![a-z])(?:only|just|last|final|remaining)\s(?P<n>{_N}|{_WORDS})\s(?:\w+\s)?(?:left|remain(?:ing)?|in stock|pieces?|items?|pairs?|units?|to go|available)|(?P<m>{_N}|{_WORDS})\s(?:\w+\s)?(?:left|remaining|in stock)(?![a-z])|(?:仅剩|只剩|剩余|库存|还剩|最后)(?:下|最后)?\s?(?P<h>\d+|[一二两三四五六七八九十]+)\s?(?:件|个|只|双|套|台|条|份|盏|瓶|盒)"
)
_RATING: Final = re.compile(
    rf"(?P<n>\d(?:\.\d)?|{'|'.join(_ONES[1:6])})[\s\-]*(?:stars?|★|⭐|/\s?5|out of (?:5|five)|星|分好评|分(?=[,，。!]|$))|(?:rated|评分|rating of|评分高达)\s?(?P<m>\d(?:\.\d)?)"
)
_COUNTED: Final = re.compile(
    rf"(?P<n>\d[\d,.]*)\s?(?P<k>k|万|千|million|thousand)?\+?\s?(?:\w+\s){{0,2}}(?:reviews?|ratings|customers?|buyers?|sold|orders?|条评|条好评|条评价|人评)"
)
_UNITS: Final = {  # unit -> (of what, how many of its base)
    **dict.fromkeys(("mm", "millimetre", "millimeter", "毫米"), ("m", 0.001)),
    **dict.fromkeys(("cm", "centimetre", "centimeter", "厘米", "公分"), ("m", 0.01)),
    **dict.fromkeys(("m", "metre", "meter", "米"), ("m", 1.0)),
    **dict.fromkeys(("inch", "inche", "in", '"', "英寸", "寸"), ("m", 0.0254)),
    **dict.fromkeys(("ft", "feet", "foot"), ("m", 0.3048)),
    **dict.fromkeys(("g", "gram", "gramme", "克"), ("g", 1.0)),
    **dict.fromkeys(("kg", "kilo", "kilogram", "公斤", "千克"), ("g", 1000.0)),
    **dict.fromkeys(("斤",), ("g", 500.0)),
    **dict.fromkeys(("oz", "ounce"), ("g", 28.35)),
    **dict.fromkeys(("lb", "lbs"), ("g", 453.6)),
    **dict.fromkeys(("ml", "millilitre", "milliliter", "毫升"), ("l", 0.001)),
    **dict.fromkeys(("cl",), ("l", 0.01)),
    **dict.fromkeys(("l", "litre", "liter", "升"), ("l", 1.0)),
    **dict.fromkeys(("w", "watt", "瓦"), ("w", 1.0)),
    **dict.fromkeys(("lm", "lumen", "流明"), ("lm", 1.0)),
    **dict.fromkeys(("v", "volt", "伏"), ("v", 1.0)),
    **dict.fromkeys(("mah", "毫安"), ("mah", 1.0)),
    **dict.fromkeys(("minute", "min", "分钟"), ("h", 1 / 60)),
    **dict.fromkeys(("hour", "hr", "h", "小时"), ("h", 1.0)),
    **dict.fromkeys(("day", "天", "日"), ("h", 24.0)),
    **dict.fromkeys(("week", "周", "星期"), ("h", 168.0)),
    **dict.fromkeys(("month", "个月", "月"), ("month", 1.0)),
    **dict.fromkeys(("year", "yr", "年"), ("month", 12.0)),
    **dict.fromkeys(
        (
            "piece",
            "pc",
            "pack",
            "set",
            "件",
            "件套",
            "只",
            "个",
            "片",
            "支",
            "枚",
            "块装",
            "只装",
            "片装",
            "件装",
            "count",
            "ct",
            "pair",
            "双",
        ),
        ("n", 1.0),
    ),
    **dict.fromkeys(("°c", "c", "℃", "度", "°", "degree"), ("deg", 1.0)),
    **dict.fromkeys(("gb", "g内存"), ("gb", 1.0)),
    **dict.fromkeys(("tb",), ("gb", 1024.0)),
    **dict.fromkeys(("%",), ("%", 1.0)),
}
_UNIT: Final = "|".join(
    sorted(
        (re.escape(u) + ("s?(?![a-z])" if u[-1].isascii() and u[-1].isalpha() else "") for u in _UNITS),
        key=len,
        reverse=True,
    )
)
_QUANTITY: Final = re.compile(rf"(?<![\d.,a-z])(?P<n>{_N})[\s\-]?(?P<u>{_UNIT})?")
_SPOKEN: Final = re.compile(
    rf"(?<![a-z])(?P<n>{_WORDS})[\s\-](?P<u>years?|months?|weeks?|days?|hours?|minutes?|packs?|pieces?|sets?|pairs?|litres?|liters?|degrees?|percent|met(?:re|er)s?|centimet(?:re|er)s?|kilos?|kilograms?|grams?|inches|feet|watts?|volts?)(?![a-z])(?!\s(?:of|for)\s(?:peace|quiet|calm|silence|rest|joy|fun|happiness|reading|you|me|yourself)(?![a-z]))|(?:pack|set|box|pair|case) of (?P<m>{_WORDS}|\d+)|(?P<h>[二两三四五六七八九十]+)(?P<hu>年|个月|小时|件套|只装|片装|件装|升|米|公斤)"
)
_HAN_NUMBER: Final = re.compile(
    r"[一二两三四五六七八九]?[十百][一二三四五六七八九十]{0,3}(?=元|块|双|件|只|个|片|支|年|天|小时|分钟|斤|米|厘米|克|毫升|升|瓦)|[一二两三四五六七八九](?=元|块钱)"
)
_COUNT: Final = re.compile(rf"(?<![a-z])(?P<n>{'|'.join(_ONES[2:])})\s(?:[a-z]+\s)?(?P<thing>[a-z]{{2,}}s)(?![a-z])")
_WORD: Final = re.compile(
    rf"(?<![a-z])(?:{'|'.join(_ONES)})(?![a-z])|(?<=[\u3400-\u9fff])[二两三四五六七八九十](?=[件双只个条片支])|[二两三四五六七八九十](?=[件双只个条片支])"
)
_BODY: Final = frozenset(
    {"hand", "feet", "leg", "arm", "ear", "eye", "finger", "toe", "time", "thing", "people", "thi"}
)
_NEGATED: Final = re.compile(
    r"(?<![a-z])(?:not|isn't|without|never|no)\s(?:(?:a|any|fully|made of|real|entirely)\s)?\w+|(?:不是|没有|不含|并非|不(?!锈))[\u3400-\u9fff]{2}"
)
_CHEAPER: Final = re.compile(r"(?:under|below|less than|for less than|不到|低于|不足)\s*$")
_AMOUNT_OFF: Final = re.compile(r"^\W{0,2}(?:off|discount|less|cheaper|reduction|cash\s?back)|^\W{0,2}(?:优惠|折扣)")
_AMOUNT_BEFORE: Final = re.compile(
    r"(?:save|saving|saves|take|knock|less|立减|直减|减|省|返|便宜)(?:\s(?:up to|over|an extra|a further|you))*\s*$"
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


class ClaimBook:
    """Words that claim, compiled: a finder per kind, and the concepts of each word."""

    def __init__(self, claims: Claims) -> None:
        self._allowed = (
            re.compile(rf"(?<![a-z0-9])(?:{either([normal(one) for one in claims.allowed])})")
            if claims.allowed
            else None
        )
        self._kinds = []
        for kind, concepts in claims.kinds.items():
            of_word = {normal(word): name for name, concept in concepts.items() for word in concept.words if word}
            grounds = {
                name: frozenset(
                    normal(word) for other in (name, *_implied(name, claims, kind)) for word in concepts[other].words
                )
                for name in concepts
            }
            finder = re.compile(either(sorted(of_word, key=lambda word: -len(word))))
            self._kinds.append((kind, finder, of_word, grounds))

    def faults(self, text: str, known: Known) -> Iterator[tuple[str, str]]:
        """(rule, detail) of each word that neither catalogue nor offer says. `text` is normal."""
        shown = self._allowed.sub(" ~ ", text) if self._allowed else text
        unsaid = _NEGATED.sub(" ~ ", shown)
        evidence = f"{known.product} {known.granted}"
        for kind, finder, of_word, grounds in self._kinds:
            for found in finder.finditer(unsaid if kind in ("material", "colour") else shown):
                before = found.string[found.start() - 1] if found.start() else " "
                if found[0][0].isascii() and before.isascii() and (before.isalnum() or before == "'"):
                    continue
                name = (
                    of_word.get(re.sub(r"[\s\-]+", " ", found[0]))
                    or of_word.get(found[0])
                    or _stripped(found[0], of_word)
                )
                if name and not any(_says(evidence, word) for word in grounds[name]):
                    yield f"claim.{kind}", f"says '{found[0]}'; the catalogue does not"
                    break


def _stripped(word: str, of_word: Mapping[str, str]) -> str | None:
    bare = re.sub(r"[\s\-]+", "", word)
    return next((name for known, name in of_word.items() if re.sub(r"[\s\-]+", "", known) == bare), None)


def _implied(name: str, claims: Claims, kind: Any) -> list[str]:
    """Concepts that make one true, and those that make these true."""
    found: list[str] = []
    waiting = list(claims.kinds[kind][name].implied_by)
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.append(one)
            waiting += claims.kinds[kind][one].implied_by
    return found


def _says(evidence: str, word: str) -> bool:
    return bool(_finder(word).search(evidence))


@lru_cache(maxsize=4096)
def _finder(word: str) -> re.Pattern[str]:
    text = r"[\s\-]?".join(re.escape(part) for part in re.split(r"[\s\-]+", word))
    return re.compile(rf"(?<![a-z]){text}(?:s|es|ed|en)?(?![a-z])" if word[0].isascii() else text)


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
    told = [float(n["n"].replace(",", "")) for n in re.finditer(rf"(?P<n>{_N})\s?%", granted)]
    rounded = {round(one) for one in (*percents, *told)}
    savings = {a - b for a in (*old, now or 0) for b in (*old, now or 0) if a > b > 0}
    savings |= {round(float(m.replace(",", "")) * 100) for m in re.findall(rf"[€$£¥]\s?({_N})", granted)}
    counts = {int(facts[name]) for name in ("n_reviews", "n_sold", "n_ratings") if facts.get(name)}
    bare = _NEGATED.sub(" ", product)
    amounts = list(_quantities(_digits(f"{product} . {granted}")))
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
        numbers=frozenset({*(number for _, _, number in amounts), *map(float, map(_number, _WORD.findall(product)))}),
    )


def _read(text: str) -> dict[str, Any]:
    try:
        told = json.loads(text)
    except ValueError:
        return {"": text}
    return told if isinstance(told, dict) else {"": text}


def _cents(value: Any) -> int | None:
    return round(float(value)) if value not in (None, "") and float(value) > 0 else None


def number_faults(text: str, known: Known) -> Iterator[tuple[str, str]]:
    """(rule, detail) of numbers, grants and deadlines that nothing known says. `text` is normal."""
    left = _digits(text)
    for check in (_prices, _discounts, _stocks, _ratings, _grants, _deadlines):
        faults, left = check(left, known)
        yield from faults
    yield from _amounts(left, known)


Checked = tuple[list[tuple[str, str]], str]  # faults, and the text without what was judged


def _digits(text: str) -> str:
    """二十九元 as 29元: numbers of tens before a unit, and any before money."""
    return _HAN_NUMBER.sub(lambda found: f"{_number(found[0]):g}", text)


def _prices(text: str, known: Known) -> Checked:
    faults = []
    for found in _PRICE.finditer(text):
        cents = round(_amount(found["a"] or found["b"] or "") * 100) if not found["c"] else int(found["c"])
        unit = (found["before"] or found["after"] or "").strip()
        currency = _MONEY.get(unit) or _MONEY.get(unit.rstrip("s"), "")
        before, after = text[: found.start()], text[found.end() :]
        whole = cents % 100 == 0
        if currency and known.currency and currency != known.currency and not (unit == "¥" and known.currency == "JPY"):
            faults.append(("claim.currency", f"says {found[0].strip()}; prices are in {known.currency}"))
        elif _AMOUNT_OFF.match(after) or _AMOUNT_BEFORE.search(before):
            if not any(_near(cents, one, whole) for one in known.savings):
                faults.append(("claim.discount", f"says {found[0].strip()} less; known: {_shown(known.savings)}"))
        elif _CHEAPER.search(before):
            if known.cheapest is None or known.cheapest >= cents:
                faults.append(("claim.price", f"says under {found[0].strip()}; known: {_shown(known.prices)}"))
        elif cents not in known.prices:
            faults.append(("claim.price", f"says {found[0].strip()}; known: {_shown(known.prices)}"))
        elif (
            re.search(r"(?:was|were|instead of|not|usually|normally|rrp|before|原价|原先|平时)\s*$", before)
            and cents == known.cheapest
        ):
            faults.append(("claim.price", f"says it was {found[0].strip()}, which it is"))
    return faults, _PRICE.sub(" ~ ", text)


def _near(cents: int, one: int, whole: bool) -> bool:
    return abs(cents - one) < 1 or (whole and cents == one // 100 * 100)


def _shown(cents: frozenset[int]) -> str:
    return ", ".join(f"{one / 100:.2f}" for one in sorted(cents)) or "nothing"


def _amount(text: str) -> float:
    """1,299.00 and 1.299,00 and 19,99 and 1299."""
    text = text.rstrip(".,")
    if re.search(r"[.,]\d{1,2}$", text):
        whole, part = re.sub(r"[.,]", "", text[:-3] if text[-3] in ".," else text[:-2]), re.split(r"[.,]", text)[-1]
        return float(f"{whole or 0}.{part}")
    return float(re.sub(r"[.,]", "", text) or 0)


def _discounts(text: str, known: Known) -> Checked:
    faults = []
    said_any = False
    for found in _PERCENT.finditer(text):
        number = _number(found["n"] or found["h"])
        around = text[max(0, found.start() - 22) : found.start()] + " ~ " + text[found.end() : found.end() + 18]
        if _DISCOUNT_WORD.search(around):
            said_any = True
            if round(number) != number or int(number) not in known.percents:
                faults.append(("claim.discount", f"says {found[0]}; known: {_percents(known)}"))
        elif ("%", number) not in known.quantities:
            faults.append(("claim.percent", f"says {found[0]}; the catalogue does not"))
    for found in _FRACTIONS.finditer(text):
        said_any = True
        percent = (
            33 if found["third"] else 25 if found["quarter"] else 100 - _tenths(found["zhe"]) if found["zhe"] else 50
        )
        if percent not in known.percents:
            faults.append(("claim.discount", f"says {found[0]} ({percent}%); known: {_percents(known)}"))
    left = _FRACTIONS.sub(" ~ ", _PERCENT.sub(" ~ ", text))
    some = _SOME_DISCOUNT.search(left)
    if some and not said_any and not known.percents and some[0] not in known.granted:
        faults.append(("claim.discount", f"says '{some[0]}'; none is known"))
    return faults, left


def _percents(known: Known) -> str:
    return ", ".join(f"{one}%" for one in sorted(known.percents)) or "no discount"


def _tenths(text: str) -> int:
    """九折 is 90 of 100, 85折 is 85, 七五折 is 75, 7.5折 is 75."""
    digits = "".join(str(_HAN_DIGITS.get(c, c)) for c in text)
    return round(float(digits) * 10) if "." in digits or len(digits) == 1 else int(digits)


def _number(text: str) -> float:
    text = text.strip()
    if text in _NUMBERS:
        return float(_NUMBERS[text])
    if all(c in _HAN_DIGITS or c in _HAN_TENS for c in text):
        value = 0
        for c in text:
            value = (value or 1) * _HAN_TENS[c] if c in _HAN_TENS else value + _HAN_DIGITS[c]
        return float(value)
    spoken = text.replace("-", " ")
    return float(_NUMBERS[spoken]) if spoken in _NUMBERS else float(text.replace(",", ""))


def _stocks(text: str, known: Known) -> Checked:
    faults = []
    for found in _STOCK.finditer(text):
        number = _number(found["n"] or found["m"] or found["h"])
        if known.stock is None or number != known.stock:
            faults.append(
                ("claim.stock", f"says '{found[0]}'; in stock: {'not known' if known.stock is None else known.stock}")
            )
    return faults, _STOCK.sub(" ~ ", text)


def _ratings(text: str, known: Known) -> Checked:
    faults = []
    for found in _RATING.finditer(text):
        if known.rating is None or round(_number(found["n"] or found["m"]), 1) != round(known.rating, 1):
            faults.append(("claim.rating", f"says '{found[0]}'; rated {known.rating or 'by nobody'}"))
    for found in _COUNTED.finditer(text):
        number = float(found["n"].replace(",", "").rstrip(".") or 0) * {
            "k": 1e3,
            "千": 1e3,
            "thousand": 1e3,
            "万": 1e4,
            "million": 1e6,
        }.get(found["k"] or "", 1)
        if int(number) not in known.counts:
            faults.append(
                ("claim.rating", f"says '{found[0]}'; known: {', '.join(map(str, sorted(known.counts))) or 'none'}")
            )
    return faults, _COUNTED.sub(" ~ ", _RATING.sub(" ~ rated ~ " if known.rating is None else " ~ ", text))


def _grants(text: str, known: Known) -> Checked:
    faults = []
    for rule, finder in _GRANTED.items():
        for found in finder.finditer(text):
            is_product_word = rule == "claim.warranty"
            evidence = f"{known.granted} {known.product}" if is_product_word else known.granted
            if rule == "claim.rating" and known.rating is not None:
                continue
            if found[0].strip() not in evidence:
                faults.append((rule, f"says '{found[0].strip()[:40]}'; neither offer nor catalogue does"))
                break
    return faults, text


def _deadlines(text: str, known: Known) -> Checked:
    faults = []
    for found in _DEADLINE.finditer(text):
        when = found["when"] or found["bare"] or found["han"]
        alike = next((group for group in _SAME_DAY if when in group), frozenset({when}))
        if not any(one in known.granted for one in alike):
            faults.append(("claim.deadline", f"says '{when}'; the offer does not"))
    return faults, _DEADLINE.sub(" ~ ", text)


def _quantities(text: str) -> Iterator[tuple[str, float, float]]:
    """(of what or "", in its base unit, the number) of every number. In "30 x 20 cm" the unit is of both."""
    spread = re.sub(rf"({_N})(?=(?:\s?[x×*/\-]\s?{_N})+\s?(?P<u>{_UNIT}))", lambda found: f"{found[1]} ", text)
    later = re.compile(rf"\s*[x×*/\-]\s?{_N}(?:\s*[x×*/\-]\s?{_N})?\s?(?P<u>{_UNIT})")
    for found in _QUANTITY.finditer(spread):
        number = float(found["n"].replace(",", ""))
        unit = found["u"] or ((shared := later.match(spread, found.end())) and shared["u"]) or ""
        kind, factor = _unit(unit)
        yield kind, number * factor, number
    for found in _SPOKEN.finditer(text):
        number = _number(found["n"] or found["m"] or found["h"])
        kind, factor = _unit(found["u"] or found["hu"] or "piece")
        yield kind, number * factor, number


def _unit(text: str) -> tuple[str, float]:
    return _UNITS.get(text) or _UNITS.get(text.rstrip("s"), ("", 1.0))


def _amounts(text: str, known: Known) -> Iterator[tuple[str, str]]:
    for kind, value, number in _quantities(text):
        is_known = (kind, round(value, 6)) in known.quantities if kind else number in known.numbers
        if not is_known and kind in ("n", "deg") and number in known.numbers:
            is_known = True  # "set of 6" of a title that says "6 glasses"
        if not is_known:
            yield "claim.quantity", f"says {number:g}{f' ({kind})' if kind else ''}; neither catalogue nor offer does"
    for found in _COUNT.finditer(text):
        thing = found["thing"].removesuffix("s")
        is_part = thing not in _BODY and re.search(rf"(?<![a-z]){thing}", known.product)
        if is_part and _NUMBERS[found["n"]] not in known.numbers:
            yield "claim.quantity", f"says '{found[0]}'; the catalogue does not"
