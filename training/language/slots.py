"""What a message names that an answer needs: order number, product of the catalogue, date, quantity; English and Chinese.

    found = slots_of("Where is order A-20458? I bought it 3 days ago", date(2026, 3, 14), goods)
    found == {"order_number": "A-20458", "date": "2026-03-11"}

A slot is filled only where the message leaves no doubt: of two order numbers none is taken, of five lamps none.
"""

import calendar
import math
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, Final

_NUMBERS: Final = {
    "a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
    "ten": 10, "eleven": 11, "twelve": 12, "couple of": 2, "一": 1, "二": 2, "两": 2, "俩": 2, "三": 3, "四": 4, "五": 5,
    "六": 6, "七": 7, "八": 8, "九": 9, "十": 10, "十一": 11, "十二": 12,
}  # fmt: skip
_NUMBER: Final = rf"(\d{{1,3}}|{'|'.join(sorted(map(re.escape, _NUMBERS), key=len, reverse=True))})"
_MONTHS: Final = {name.lower(): n for n, name in enumerate(calendar.month_abbr) if name}
_MONTH: Final = r"(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_DAYS: Final = {
    "day before yesterday": -2, "yesterday": -1, "today": 0, "tonight": 0, "day after tomorrow": 2, "tomorrow": 1,
    "大前天": -3, "前天": -2, "昨天": -1, "昨晚": -1, "今天": 0, "今晚": 0, "大后天": 3, "后天": 2, "明天": 1,
}  # fmt: skip
_WEEKDAYS_EN: Final = [name.lower() for name in calendar.day_name]
_WEEKDAYS_ZH: Final = "一二三四五六日"
_UNITS: Final = {"day": 1, "night": 1, "week": 7, "天": 1, "日": 1, "周": 7, "星期": 7, "个星期": 7}

_AFTER_WORD: Final = re.compile(
    r"(?:order|purchase|parcel|invoice)(?: (?:number|no\.?|nr\.?|id|code))?(?: is| was)?[ :#＃]*([A-Za-z]{0,4}-?\d[\dA-Za-z-]{2,23})"
    r"|(?:订单|单号|订单号)(?:号|编号|号码)?(?:是|为)?[ :：#＃]*([A-Za-z]{0,4}-?\d[\dA-Za-z-]{2,23})"
    r"|[#＃]([A-Za-z]{0,4}-?\d[\dA-Za-z-]{2,23})",
    re.IGNORECASE,
)
_CODE: Final = re.compile(r"(?<![\w.+@-])([A-Za-z]{1,4}-?\d[\dA-Za-z-]{3,19}|\d{6,20})(?![\w@])", re.IGNORECASE)
_ASKED_CODE: Final = re.compile(r"(?<![\w.+@-])([A-Za-z]{0,4}-?\d[\dA-Za-z-]{3,19})(?![\w@])")
_NO_ORDER: Final = re.compile(r"\d{4}-\d{1,2}-\d{1,2}|1[3-9]\d{9}|0\d{8,}")  # a day, a telephone
_COUNTED: Final = r"x\b|pieces?\b|pcs\b|items?\b|units?\b|of (?:them|these|those)\b|pairs?\b|boxes\b|sets?\b"
_COUNT: Final = re.compile(
    rf"\b(\d{{1,3}}|one|two|three|four|five|six|seven|eight|nine|ten|twelve)\s*(?:{_COUNTED})"
    rf"|\bx\s?(\d{{1,3}})\b|{_NUMBER}\s*(?:个|件|双|台|套|盒|只|条|本|瓶|支|把|张|份)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Goods:
    """The catalogue as a customer may name it. Titles (n,) with their prices in cents and stock, None where not told."""

    titles: tuple[str, ...] = ()
    price_cents: tuple[int | None, ...] = ()
    stock: tuple[int | None, ...] = ()
    currency: str = ""
    _weights: dict[str, float] = field(init=False, repr=False, compare=False)  # word -> idf
    _holders: dict[str, list[int]] = field(init=False, repr=False, compare=False)  # word -> titles

    def __post_init__(self) -> None:
        holders: dict[str, list[int]] = defaultdict(list)
        for at, title in enumerate(self.titles):
            for word in set(words_of(title)):
                holders[word].append(at)
        object.__setattr__(self, "_holders", dict(holders))
        weights = {word: math.log((1 + len(self.titles)) / len(at)) for word, at in holders.items()}
        object.__setattr__(self, "_weights", weights)

    def named_in(self, text: str) -> list[int]:
        """Places of the titles that the text names best: those of most weight (idf) of words said; [] where only words
        are said that a good part of all titles hold, or less than a title's worth of them."""
        if not self.titles:
            return []
        said = set(words_of(text)) & self._holders.keys()
        rare = {word for word in said if len(self._holders[word]) <= max(1, len(self.titles) // 10)}
        named = {at for word in rare if not word.isdecimal() for at in self._holders[word]}  # 12 alone names nothing
        scores = dict.fromkeys(named, 0.0)
        for word in sorted(rare):
            for at in named.intersection(self._holders[word]):
                scores[at] += self._weights[word]
        if not scores:
            return []
        best = max(scores.values())
        found = sorted(at for at, score in scores.items() if score >= best - 1e-9)
        whole = [at for at in found if set(words_of(self.titles[at])) <= set(words_of(text))]
        return whole or found


def words_of(text: str) -> list[str]:
    """Lower-case words of a text, plurals cut; of Chinese, pairs of characters."""
    found: list[str] = []
    for part in re.findall(r"[a-z0-9\u00c0-\u024f]+|[\u3400-\u9fff]+", text.lower()):
        if part[0] >= "\u3400":
            found += [part[at : at + 2] for at in range(len(part) - 1)] or [part]
        else:
            found.append(part[:-1] if len(part) > 3 and part.endswith("s") and not part.endswith("ss") else part)
    return found


def slots_of(text: str, today: date, goods: Goods, asked: str = "") -> dict[str, str]:
    """The slots that the text fills; a product is the title that it names alone. `asked`: the slot that was asked for."""
    found: dict[str, str] = {}
    named = goods.named_in(text)
    if len(named) == 1:
        found["product"] = goods.titles[named[0]]
    order = order_number(text, is_asked=asked == "order_number")
    others = {"order_number": order, "date": date_in(text, today), "quantity": quantity(text)}
    return found | {slot: value for slot, value in others.items() if value is not None}


def order_number(text: str, *, is_asked: bool = False) -> str | None:
    """The order that the text names: after the word, else the only code of letters and digits or of six digits and more, of
    four where it is asked for."""
    after = {next(filter(None, one)).strip("-") for one in _AFTER_WORD.findall(text)}
    after = {one for one in after if len(re.findall(r"\d", one)) >= 3 and not _NO_ORDER.fullmatch(one)}
    if after:
        return after.pop() if len(after) == 1 else None
    pattern = _ASKED_CODE if is_asked else _CODE
    codes = {one.strip("-") for one in pattern.findall(text) if not _NO_ORDER.fullmatch(one)}
    codes = {one for one in codes if len(re.findall(r"\d", one)) >= 4}
    return codes.pop() if len(codes) == 1 else None


def quantity(text: str) -> str | None:
    found = {next(filter(None, one)).lower() for one in _COUNT.findall(text)}
    values = {_number(one) for one in found}
    return str(values.pop()) if len(values) == 1 else None


def date_in(text: str, today: date) -> str | None:
    """The day that the text names, YYYY-MM-DD, seen from `today`; None for none or several. A day without its year is the
    one nearest to today; 03/04 is left alone, as nobody knows which is the month."""
    low = text.lower()
    days: set[date] = set()
    for year, month, day in re.findall(r"(?<!\d)(\d{4})[-/.年](\d{1,2})[-/.月](\d{1,2})日?(?!\d)", low):
        days |= _day(int(year), int(month), int(day))
    low = re.sub(r"(?<!\d)\d{4}[-/.年]\d{1,2}[-/.月]\d{1,2}日?", " ", low)
    for day, month, year in re.findall(rf"\b(\d{{1,2}})(?:st|nd|rd|th)?(?: of)? {_MONTH}(?:,? (\d{{4}}))?\b", low):
        days |= _near(int(day), _MONTHS[month], year, today)
    for month, day, year in re.findall(rf"\b{_MONTH} (\d{{1,2}})(?:st|nd|rd|th)?\b(?:,? (\d{{4}}))?", low):
        days |= _near(int(day), _MONTHS[month], year, today)
    for month, day in re.findall(r"(\d{1,2})月(\d{1,2})[日号]?", low):
        days |= _near(int(day), int(month), "", today)
    rest = low
    for word, shift in sorted(_DAYS.items(), key=lambda one: -len(one[0])):  # "today" is no part of "the day after"
        if word in rest:
            days.add(today + timedelta(days=shift))
            rest = rest.replace(word, " ")
    for n, unit in re.findall(rf"\b{_NUMBER} (day|night|week)s? (?:ago|back)\b", low):
        days.add(today - timedelta(days=_number(n) * _UNITS[unit]))
    for n, unit in re.findall(rf"\bin {_NUMBER} (day|night|week)s?\b", low):
        days.add(today + timedelta(days=_number(n) * _UNITS[unit]))
    for n, unit, which in re.findall(rf"{_NUMBER}(天|日|周|个星期|星期)(以?前|之前|以?后|之后)", low):
        days.add(today + timedelta(days=_number(n) * _UNITS[unit] * (-1 if which.endswith("前") else 1)))
    for which, weekday in re.findall(rf"\b(last|next|on|this) ({'|'.join(_WEEKDAYS_EN)})\b", low):
        days.add(_weekday(_WEEKDAYS_EN.index(weekday), which, today))
    for which, weekday in re.findall(r"(上|下|本|这)(?:个)?(?:周|星期)([一二三四五六日天])", low):
        monday = today - timedelta(days=today.weekday() - {"上": -7, "下": 7}.get(which, 0))
        days.add(monday + timedelta(days=_WEEKDAYS_ZH.index(weekday.replace("天", "日"))))
    return days.pop().isoformat() if len(days) == 1 else None


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else _NUMBERS[text.lower()]


def _day(year: int, month: int, day: int) -> set[date]:
    try:
        return {date(year, month, day)}
    except ValueError:  # such as 30 February: not a day, so not told
        return set()


def _near(day: int, month: int, year: str, today: date) -> set[date]:
    if year:
        return _day(int(year), month, day)
    years = [one for shift in (-1, 0, 1) for one in _day(today.year + shift, month, day)]
    return {min(years, key=lambda one: abs((one - today).days))} if years else set()


def _weekday(weekday: int, which: str, today: date) -> date:
    """`last` lies before today, `next` after it; `on` and `this` name the nearest, today included, a later one first."""
    ahead = (weekday - today.weekday()) % 7
    if which == "last":
        return today - timedelta(days=(today.weekday() - weekday) % 7 or 7)
    return today + timedelta(days=ahead or 7 if which == "next" else ahead)


def goods_of(catalog: Any, currency: str) -> Goods:
    """Goods of a night's catalogue (title, price_cents, stock); None: no catalogue is there."""
    if catalog is None:
        return Goods()
    rows: Sequence[dict[str, Any]] = [row for row in catalog.to_pylist() if row["title"]]
    return Goods(
        tuple(row["title"] for row in rows),
        tuple(row["price_cents"] for row in rows),
        tuple(row["stock"] for row in rows),
        currency,
    )
