"""Numbers as texts have them: digits, words and Chinese numerals, with their units in one base each."""

import re
from collections.abc import Iterator
from typing import Final

ONES: Final = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
]
_TENS: Final = {
    "thirteen": 13,
    "fourteen": 14,
    "sixteen": 16,
    "seventeen": 17,
    "eighteen": 18,
    "nineteen": 19,
    "dozen": 12,
    "fifteen": 15,
    "twenty": 20,
    "twenty five": 25,
    "thirty": 30,
    "forty": 40,
    "fifty": 50,
    "sixty": 60,
    "seventy": 70,
} | {"seventy five": 75, "eighty": 80, "ninety": 90, "hundred": 100}
NUMBERS: Final = {word: n for n, word in enumerate(ONES)} | _TENS
HAN_DIGITS: Final = {c: n for n, c in enumerate("零一二三四五六七八九十")} | {"两": 2}
_HAN_TENS: Final = {"十": 10, "百": 100}
NUMBER: Final = r"\d[\d,]*(?:\.\d+)?"
SPOKEN: Final = "|".join(sorted((w.replace(" ", r"[\s\-]") for w in NUMBERS), key=len, reverse=True))
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
_QUANTITY: Final = re.compile(rf"(?<![\d.,a-z])(?P<n>{NUMBER})[\s\-]?(?P<u>{_UNIT})?")
_SPOKEN_QUANTITY: Final = re.compile(
    rf"(?<![a-z])(?P<n>{SPOKEN})[\s\-](?P<u>years?|months?|weeks?|days?|hours?|minutes?|packs?|pieces?"
    rf"|sets?|pairs?|litres?|liters?|degrees?|percent|met(?:re|er)s?|centimet(?:re|er)s?|kilos?|kilograms?"
    rf"|grams?|inches|feet|watts?|volts?)(?![a-z])(?!\s(?:of|for)\s(?:peace|quiet|calm|silence|rest"
    rf"|joy|fun|happiness|reading|you|me|yourself)(?![a-z]))|(?:pack|set|box|pair|case) of (?P<m>{SPOKEN}"
    rf"|\d+)|(?P<h>[二两三四五六七八九十]+)(?P<hu>年|个月|小时|件套|只装|片装|件装|升|米|公斤)"
)
_HAN_NUMBER: Final = re.compile(
    r"[一二两三四五六七八九]?[十百][一二三四五六七八九十]{0,3}(?=元|块|双|件|只|个|片|支|年|天|小时|分钟|斤|米|厘米|克|毫升|升|瓦)|[一二两三四五六七八九](?=元"
    r"|块钱)"
)


_SAID: Final = "|".join(sorted((word for word in NUMBERS if " " not in word), key=len, reverse=True))
_SAID_NUMBER: Final = re.compile(  # forty-nine euros, a hundred and twenty dollars, fifteen percent
    rf"(?<![a-z])(?:a\s(?=hundred|thousand|dozen))?(?:{_SAID}|thousand)(?:(?:\sand)?[\s\-](?:{_SAID}|thousand))*"
    r"(?=[\s\-](?:euros?|dollars?|pounds?|bucks?|quid|yuan|rmb|kuai|cents?|pence|per\s?cent|pct)(?![a-z]))"
)
_SAID_AMOUNT: Final = re.compile(  # of several words: seven hundred millilitres, twenty-two watts, a thousand lumens
    rf"(?<![a-z])(?:(?:a\s)?thousand|(?:a\s)?(?:{_SAID})(?:(?:\sand)?[\s\-](?:{_SAID}|thousand))+)"
    rf"(?=[\s\-](?:{'|'.join(sorted((u for u in _UNITS if u.isascii() and u.isalpha() and len(u) > 3), key=len, reverse=True))})"
    r"s?(?![a-z]))"
)
_PARTS: Final = {"half": 2, "third": 3, "quarter": 4} | {
    f"{word}th": n
    for word, n in (
        ("four", 4),
        ("fif", 5),
        ("six", 6),
        ("seven", 7),
        ("eigh", 8),
        ("nin", 9),
        ("ten", 10),
        ("twentie", 20),
    )
}
_OF_PRICE: Final = r"(?:the|its|their|our|that)\s(?:\w+\s){0,2}price"
_FRACTION: Final = re.compile(  # two fifths off, a quarter less today, save a third, three quarters of the usual price
    rf"(?<![a-z])(?P<save>sav(?:e|es|ing)\s)?(?:(?P<n>an?|{'|'.join(ONES[1:])})[\s\-])?(?P<part>{'|'.join(_PARTS)}|halves)s?(?![a-z])"
    rf"(?:(?P<off>\s(?:(?:knocked|taken|cut|slashed)\s)?off(?![a-z])|\s(?:less|cheaper)(?=\s*(?:[^\sa-z]|$|today|now|than|for)))"
    rf"|(?P<of>\s(?:of\s)?{_OF_PRICE}(?![a-z])))?(?!\sof(?![a-z]))"
)


def digits(text: str) -> str:
    """二十九元 as 29元, forty-nine euros as 49 euros, two fifths off as 40 percent off: numbers of several words before a
    unit, any before money or percent, and fractions of a price."""
    text = _FRACTION.sub(_percent_off, text)
    text = _SAID_NUMBER.sub(lambda found: f"{_said(found[0]):g}", text)
    text = _SAID_AMOUNT.sub(lambda found: f"{_said(found[0]):g}", text)
    return _HAN_NUMBER.sub(lambda found: f"{number_of(found[0]):g}", text)


def _percent_off(found: re.Match[str]) -> str:
    """A fraction as the percent that is taken off; as it was where it is of no price ("a third lamp", "half an hour")."""
    if not (found["save"] or found["off"] or found["of"]) or not (found["n"] or found["part"] == "half"):
        return found[0]
    n = NUMBERS.get(found["n"] or "", 1)
    percent = 100 * n / _PARTS.get(found["part"], 2)
    return f"{found['save'] or ''}{round(100 - percent if found['of'] else percent)} percent off"


def _said(text: str) -> float:
    """A number in English words: a hundred and twenty is 120."""
    whole, part = 0, 0
    for word in re.findall(r"[a-z]+", text):
        if word == "thousand":
            whole, part = whole + max(part, 1) * 1000, 0
        elif word in ("hundred", "dozen"):
            part = max(part, 1) * NUMBERS[word]
        else:
            part += NUMBERS.get(word, 0)
    return float(whole + part)


def decimal(text: str) -> float:
    """1,299.00 and 1.299,00 and 19,99 and 1299."""
    text = text.rstrip(".,")
    if re.search(r"[.,]\d{1,2}$", text):
        whole, part = re.sub(r"[.,]", "", text[:-3] if text[-3] in ".," else text[:-2]), re.split(r"[.,]", text)[-1]
        return float(f"{whole or 0}.{part}")
    return float(re.sub(r"[.,]", "", text) or 0)


def number_of(text: str) -> float:
    text = text.strip()
    if text in NUMBERS:
        return float(NUMBERS[text])
    if all(c in HAN_DIGITS or c in _HAN_TENS for c in text):
        value = 0
        for c in text:
            value = (value or 1) * _HAN_TENS[c] if c in _HAN_TENS else value + HAN_DIGITS[c]
        return float(value)
    spoken = text.replace("-", " ")
    return float(NUMBERS[spoken]) if spoken in NUMBERS else float(text.replace(",", ""))


def quantities(text: str) -> Iterator[tuple[str, float, float]]:
    """(of what or "", in its base unit, the number) of every number. In "30 x 20 cm" the unit is of both."""
    spread = re.sub(rf"({NUMBER})(?=(?:\s?[x×*/\-]\s?{NUMBER})+\s?(?P<u>{_UNIT}))", lambda found: f"{found[1]} ", text)
    later = re.compile(rf"\s*[x×*/\-]\s?{NUMBER}(?:\s*[x×*/\-]\s?{NUMBER})?\s?(?P<u>{_UNIT})")
    for found in _QUANTITY.finditer(spread):
        number = float(found["n"].replace(",", ""))
        unit = found["u"] or ((shared := later.match(spread, found.end())) and shared["u"]) or ""
        kind, factor = _unit(unit)
        yield kind, number * factor, number
    for found in _SPOKEN_QUANTITY.finditer(text):
        number = number_of(found["n"] or found["m"] or found["h"])
        kind, factor = _unit(found["u"] or found["hu"] or "piece")
        yield kind, number * factor, number


def _unit(text: str) -> tuple[str, float]:
    return _UNITS.get(text) or _UNITS.get(text.rstrip("s"), ("", 1.0))
