"""Numbers, grants and deadlines of a text beside what is known: prices, discounts, stock, ratings, delivery, quantities.

The catalogue's words are evidence for what a product is. Of what the shop grants (price, discount, delivery, gifts,
deadlines) only its own numbers and words are: `price_cents`, `discount_percent`, ..., `offer_text`, `ends`, `terms`.
"""

import re
from collections.abc import Iterator
from typing import Final

from training.language.moderation_amounts import (
    HAN_DIGITS,
    NUMBER,
    NUMBERS,
    ONES,
    SPOKEN,
    decimal,
    digits,
    number_of,
    quantities,
)
from training.language.moderation_known import Known

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
    rf"(?P<before>[€$£¥]|(?:eur|usd|gbp|cny|rmb)\s)\s?(?P<a>\d[\d.,]*)|(?P<b>\d[\d.,]*)\s?(?P<after>{_UNIT_WORD})"
    rf"|(?P<c>\d+)\s?(?:cents?|pence)(?![a-z])"
)
_PERCENT: Final = re.compile(
    rf"(?P<n>{NUMBER}|(?<![a-z])(?:{SPOKEN}))\s?(?:%|per\s?cent(?![a-z])|pct(?![a-z]))|百分之(?P<h>[零一二三四五六七八九十]+"
    rf"|\d+)"
)
_DISCOUNT_WORD: Final = re.compile(
    r"(?<![a-z])(?:off|discount(?:ed|s)?|sav(?:e|es|ing|ings)|reduc(?:ed|tion)|less|cheaper|cut|down"
    r"|rebate|cash\s?back|back|knocked|slashed|lower|deal|bonus)(?![a-z])|折扣|优惠|立减|直减|减|省|降|让利|返"
    r"|便宜"
)
_FRACTIONS: Final = re.compile(
    r"(?<![a-z])(?:half[\s\-]price|half off|half the price|(?P<third>a third off|one third off)|(?P<quarter>a quarter off"
    r"|quarter off))(?![a-z])|半价|(?P<zhe>\d(?:\.\d)?|\d{2}|[一二三四五六七八九]{1,2})\s?折(?!叠|扣|痕|射|页|腾|衷"
    r"|返|边|纸|合|皱|线|耳|中)"
)
_SOME_DISCOUNT: Final = re.compile(
    r"(?<![a-z])(?:on sale|discount(?:ed|s)?|price (?:drop|cut)|reduced|special (?:offer|price|deal)"
    r"|sale price|bargains?|markdowns?|marked down|best deal|great deal on|savings?|money off|price just dropped)(?![a-z])"
    r"|打折|折扣|优惠价|特惠|特价|降价|促销|优惠(?!券)|立减|让利"
)
_GRANTED: Final = {  # what a shop may grant, in code because only its own words count
    "claim.delivery": re.compile(
        r"(?<![a-z])(?:free|no|zero|complimentary|without)[\s\-](?:\w+\s)?(?:shipping|delivery|postage"
        r"|p&p|returns?|courier|collection|exchanges?)(?:\s(?:costs?|fees?|charges?))?|(?:shipping|delivery"
        r"|postage|returns?)\s(?:is|are|included|for)\s?(?:on us|free|nothing|included|our treat)?|(?:next"
        r"|same|one|two|1|2)[\s\-]day (?:delivery|shipping|dispatch)|overnight (?:delivery|shipping)"
        r"|(?:ships?|shipped|delivered|dispatched|arrives?|get it|at your door|on your doorstep|delivery)\s(?:\w+\s){0,2}(?:today"
        r"|tomorrow|tonight|within|by|in (?:\w+\s)?(?:hours?|days?)|the same day|overnight|in \d+)|express (?:delivery"
        r"|shipping)|we (?:pay|cover) (?:the )?(?:shipping|postage|delivery)|(?:30|60|90|365|100|14|28)[\s\-]days?(?:\s\w+)? (?:returns?"
        r"|trial|refund)|free returns?|returns? accepted|(?:return|send|bring) (?:it|them|this) (?:back )?(?:any"
        r"|when|within|even|for|free|after|in)|money back|包邮|免邮|免运费|邮费全免"
        r"|次日达|当日达|隔日达|当天发货|小时达|小时送达|小时内发货"
        r"|分钟送达|送货上门|运费险|七天无理由|7天无理由|无理由退|顺丰|急速发货|极速发货|免费退|免费送"
    ),
    "claim.gift": re.compile(
        r"(?<![a-z])(?:free|bonus|complimentary|extra|surprise)\s(?:\w+\s){0,2}(?:gift|gifts|sample|samples"
        r"|item|mug|bag|tote|cup|bottle|one|set|pillow|socks|case|towel|present|voucher|credit)(?![a-z])"
        r"|(?:gift|voucher|tote|mug|bottle|sample)s? (?:with (?:every|each|your|any)|included|on us)"
        r"|buy (?:one|two|three|1|2|3)[\s,]+(?:and\s)?get|bogo(?![a-z])|2 for 1|two for one|(?:two|three"
        r"|2|3|4) (?:\w+ )?for (?:the price|\d|one|two)|\d\s?\+\s?\d|loyalty points|double points|cash\s?back"
        r"|gift card|store credit|赠品|附赠|加赠|赠送|送礼|买[\u3400-\u9fff\d]{1,5}送|送[一两]?[个件只条盒瓶]|第二件|满\s?\d+"
        r"|返现|红包|优惠券|代金券|抵用券|购物券|积分|多倍|领券"
    ),
    "claim.code": re.compile(
        r"(?<![a-z])(?:promo|coupon|voucher|discount|checkout|gift|use|with|enter|apply)[\s\-]*(?:the\s)?codes?(?![a-z])"
        r"|(?<![a-z])coupons?(?![a-z])|(?<![a-z])vouchers?(?![a-z])|优惠码|折扣码|口令|兑换码|邀请码"
    ),
    "claim.warranty": re.compile(
        r"(?<![a-z])(?:warrant(?:y|ies)|extended cover|repair service|repairs? for)(?![a-z])|质保|保修|保用|联保|包修"
    ),
    "claim.rating": re.compile(
        r"★|⭐|(?<![a-z])(?:stars|star rating|star-rated|reviews|rated|rating|ratings)(?![a-z])|好评|评分|五星|星级|满分"
    ),
}
_DEADLINE: Final = re.compile(
    r"(?<![a-z])(?:until|till|'til|ends?|ending|by|before|expires?|closes?|only|through|within(?: the)?(?: next)?"
    r"|in the next|for the next|last day|offer)(?:\s(?:at|on|this|the|is|next|for|in|just))*\s(?P<when>midnight"
    r"|tonight|today|tomorrow|noon|this week(?:end)?|weekend|sunday|monday|tuesday|wednesday|thursday"
    r"|friday|saturday|new year|christmas|easter|end of (?:the )?(?:day|week|month)|\d+\s?(?:hours?"
    r"|minutes?|days?|h|min|am|pm)|(?:january|february|march|april|may|june|july|august|september"
    r"|october|november|december)\s\d+|\d+(?:st|nd|rd|th)?\s(?:of\s)?(?:january|february|march|april"
    r"|may|june|july|august|september|october|november|december))(?![a-z])"
    r"|(?<![a-z])(?P<bare>(?:tonight|today|this weekend|this week|tomorrow|midnight|24 hours|48 hours|one day|three days)\sonly)"
    r"|(?:截至|截止到?|仅限|只限|仅|只在|只到|限|最后|有效期至|至|到|于|还剩)?(?P<han>今晚|今天|今日|明天|明日|午夜|零点|24点|24:00|本周[末日五六]?"
    r"|周[一二三四五六日天末]|月底|\d+月\d+[日号]|\d+[日号]|\d+\s?(?:小时|天|分钟)|[一二三两]天)(?:24点|零点|24:00|晚上|为止|之前|内)?(?:截止"
    r"|结束|为止|止|失效|过期|恢复|涨价|关闭|前|有效|限定|专享)"
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
    rf"(?<![a-z])(?:only|just|last|final|remaining)\s(?P<n>{NUMBER}|{SPOKEN})\s(?:\w+\s)?(?:left|remain(?:ing)?"
    rf"|in stock|pieces?|items?|pairs?|units?|to go|available)|(?P<m>{NUMBER}|{SPOKEN})\s(?:\w+\s)?(?:left"
    rf"|remaining|in stock)(?![a-z])|(?:仅剩|只剩|剩余|库存|还剩|最后)(?:下|最后)?\s?(?P<h>\d+|[一二两三四五六七八九十]+)\s?(?:件"
    rf"|个|只|双|套|台|条|份|盏|瓶|盒)"
)
_RATING: Final = re.compile(
    rf"(?P<n>\d(?:\.\d)?|{'|'.join(ONES[1:6])})[\s\-]*(?:stars?|★|⭐|/\s?5|out of (?:5|five)|星|分好评"
    rf"|分(?=[,，。!]|$))|(?:rated|评分|rating of|评分高达)\s?(?P<m>\d(?:\.\d)?)"
)
_COUNTED: Final = re.compile(
    r"(?P<n>\d[\d,.]*)\s?(?P<k>k|万|千|million|thousand)?\+?\s?(?:\w+\s){0,2}(?:reviews?|ratings"
    r"|customers?|buyers?|sold|orders?|条评|条好评|条评价|人评)"
)
_MANY: Final = "|".join(word for word, n in NUMBERS.items() if n > 1 and " " not in word)
_COUNT: Final = re.compile(rf"(?<![a-z])(?P<n>{_MANY})\s(?:[a-z]+\s)?(?P<thing>[a-z]{{2,}}s)(?![a-z])")
BODY: Final = frozenset({"hand", "feet", "leg", "arm", "ear", "eye", "finger", "toe", "time", "thing", "people", "thi"})
_CHEAPER: Final = re.compile(r"(?:under|below|less than|for less than|不到|低于|不足)\s*$")
_AMOUNT_OFF: Final = re.compile(r"^\W{0,2}(?:off|discount|less|cheaper|reduction|cash\s?back)|^\W{0,2}(?:优惠|折扣)")
_AMOUNT_BEFORE: Final = re.compile(
    r"(?:save|saving|saves|take|knock|less|立减|直减|减|省|返|便宜)(?:\s(?:up to|over|an extra|a further|you))*\s*$"
)


def number_faults(text: str, known: Known) -> Iterator[tuple[str, str]]:
    """(rule, detail) of numbers, grants and deadlines that nothing known says. `text` is normal."""
    left = digits(text)
    for check in (_prices, _discounts, _stocks, _ratings, _grants, _deadlines):
        faults, left = check(left, known)
        yield from faults
    yield from _amounts(left, known)


Checked = tuple[list[tuple[str, str]], str]  # faults, and the text without what was judged


def _prices(text: str, known: Known) -> Checked:
    faults = []
    for found in _PRICE.finditer(text):
        cents = round(decimal(found["a"] or found["b"] or "") * 100) if not found["c"] else int(found["c"])
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


def _discounts(text: str, known: Known) -> Checked:
    faults = []
    said_any = False
    for found in _PERCENT.finditer(text):
        number = number_of(found["n"] or found["h"])
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
    digits = "".join(str(HAN_DIGITS.get(c, c)) for c in text)
    return round(float(digits) * 10) if "." in digits or len(digits) == 1 else int(digits)


def _stocks(text: str, known: Known) -> Checked:
    faults = []
    for found in _STOCK.finditer(text):
        number = number_of(found["n"] or found["m"] or found["h"])
        if known.stock is None or number != known.stock:
            faults.append(
                ("claim.stock", f"says '{found[0]}'; in stock: {'not known' if known.stock is None else known.stock}")
            )
    return faults, _STOCK.sub(" ~ ", text)


def _ratings(text: str, known: Known) -> Checked:
    faults = []
    for found in _RATING.finditer(text):
        if known.rating is None or round(number_of(found["n"] or found["m"]), 1) != round(known.rating, 1):
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


def _amounts(text: str, known: Known) -> Iterator[tuple[str, str]]:
    for kind, value, number in quantities(text):
        is_known = (kind, round(value, 6)) in known.quantities if kind else number in known.numbers
        if not is_known and kind in ("n", "deg") and number in known.numbers:
            is_known = True  # "set of 6" of a title that says "6 glasses"
        if not is_known:
            yield "claim.quantity", f"says {number:g}{f' ({kind})' if kind else ''}; neither catalogue nor offer does"
    for found in _COUNT.finditer(text):
        thing = found["thing"].removesuffix("s")
        is_part = thing not in BODY and re.search(rf"(?<![a-z]){thing}", known.product)
        if is_part and NUMBERS[found["n"]] not in known.numbers:
            yield "claim.quantity", f"says '{found[0]}'; the catalogue does not"
