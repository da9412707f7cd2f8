"""Personal data in a text: it is named, never repeated."""

import re
from collections.abc import Iterator
from typing import Final

from pipelines.core.moderating import People

_EMAIL: Final = re.compile(
    r"[\w.+\-]+\s?(?:@|\(at\)|\[at\])\s?[\w\-]+\s?(?:\.|\(dot\)|\[dot\]|\sdot\s)\s?[a-z]{2,}"
    r"|[\w.+\-]+\sat\s[\w\-]+(?:\sdot\s|\.)(?:com|net|org|info|eu|de|nl|cn|co|io|uk|fr)(?![a-z])"
)
_PHONE: Final = re.compile(r"(?<![\d.,])(?:\+|00)?\(?\d{1,4}\)?(?:[\s.\-/()]{0,2}\d{2,5}){2,5}(?![\d%])")
_ID_NUMBER: Final = re.compile(
    r"(?<!\d)\d{17}[\dx](?!\d)|(?<!\d)\d{3}-\d{2}-\d{4}(?!\d)|(?<![a-z])[a-z]{2}\d{2}(?:\s?[a-z0-9]{4}){3,7}(?![a-z0-9])"
)
_ACCOUNT: Final = re.compile(
    r"(?<![a-z])(?:微信|薇信|vx|wechat|qq|telegram|whatsapp|line id|instagram|snapchat|skype|passport"
    r"|护照|身份证|iban|ssn|工号|车牌)"
    r"(?:号|码| ?id| ?no\.?| ?number)?\s?[:：是]?\s?@?[a-z0-9_\-]{5,}|(?<![\w.])@[a-z0-9_]{3,}|\bborn (?:on )?\d"
    r"|出生于?\d|\b(?:order|customer|account|client|member) (?:no\.?|number|id|#)\s?:?\s?#?[a-z]*\d{4,}"
)
_STREET: Final = re.compile(
    r"(?<!\d)\d{1,4}[a-z]?\s(?:[a-z']+\s){1,3}(?:street|road|avenue|lane|drive|boulevard|court|close"
    r"|terrace|square|st\.|rd\.|ave\.?|blvd)(?![a-z])"
    r"|[a-z]+(?:straat|strasse|gracht|weg|laan)\s\d{1,4}(?!\d)|(?<!\w)(?:apartment|apt\.?|flat|unit|suite)\s\d+[a-z]?(?!\w)"
    r"|[\u4e00-\u9fff]{2,}(?:路|街|大道|巷|弄)\s?\d+\s?[号弄]|\d+\s?[号栋幢]楼?\s?\d+\s?(?:室|单元)|[\u4e00-\u9fff]{2,4}(?:小区"
    r"|花园|公寓)\s?\d+"
)
_SURNAMES: Final = (
    "王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林罗郑梁谢宋唐许韩冯邓曹彭曾肖田董袁潘蒋蔡余杜叶程苏魏吕丁任沈姚卢姜崔钟谭陆汪范金石廖贾夏韦付方白邹孟熊秦邱江尹"
    "薛闫段雷侯龙史陶黎贺顾毛郝龚邵万钱严武戴莫孔向汤"
)
_CHINESE_NAME: Final = re.compile(
    rf"(?<![\u4e00-\u9fff])(?:(?:亲爱的|尊敬的|你好|您好|嗨|hi)[,， ]?)?[{_SURNAMES}][\u4e00-\u9fff]{{0,2}}(?:先生"
    rf"|女士|小姐|太太|同学|老师)"
    rf"|(?:亲爱的|尊敬的)[{_SURNAMES}][\u4e00-\u9fff]{{1,2}}(?=[,，!！:：])|[{_SURNAMES}][\u4e00-\u9fff]{{1,2}}(?:先生"
    rf"|女士)"
)
_GREETED: Final = re.compile(
    r"(?:^|[.!?\n]\s*)(?:[Dd]ear|[Hh]i|[Hh]ello|[Hh]ey|DEAR|HI|HELLO|HEY|[Mm]r\.?|[Mm]rs\.?|[Mm]s\.?)[ ,]+"
    r"([A-Z][\w'\-]+)(?:\s[A-Z][\w'\-]+)?\s?[,!:.—-]"
)
_ADDRESSED: Final = re.compile(
    r"\b(?:Mr|Mrs|Ms|Miss|Dr)\.? [A-Z][a-z]+|(?:^|[.!?] )[A-Z][a-z]+ [A-Z][a-z]+, (?:your|you|we)\b"
    r"|(?:^|[.!?] )[A-Z][a-z]+, (?:your (?:order|cart|basket|account|birthday)|we miss you|we saved"
    r"|come back)"
)
_TWO_NAMES: Final = re.compile(r"(?<![.!?] )(?<!^)\b([A-Z][a-z]{2,}) ([A-Z][a-z]{2,})\b")


def personal_faults(text: str, plain: str, product: str, people: People) -> Iterator[tuple[str, str]]:
    if _EMAIL.search(plain):
        yield "privacy.email", "an e-mail address"
    for found in _PHONE.finditer(plain):
        digits = re.sub(r"\D", "", found[0])
        if 13 <= len(digits) <= 19 and _is_card(digits):
            yield "privacy.card", "a card number"
        elif 7 <= len(digits) <= 15 and not re.fullmatch(r"(?:19|20)\d\d\W(?:19|20)\d\d", found[0].strip()):
            yield "privacy.phone", "a telephone number"
    if _ID_NUMBER.search(plain):
        yield "privacy.id", "a number of a person's papers or account"
    if _ACCOUNT.search(plain):
        yield "privacy.account", "an account or number of somebody"
    if _STREET.search(plain):
        yield "privacy.address", "a postal address"
    greeted = _GREETED.search(text)
    if (
        (greeted and greeted[1].lower() not in people.nobody)
        or _ADDRESSED.search(text)
        or _CHINESE_NAME.search(plain)
        or _names_somebody(text, product, people)
    ):
        yield "privacy.name", "a person's name"


def _names_somebody(text: str, product: str, people: People) -> bool:
    """A common first name, or two capitalised words within a sentence, that the catalogue does not have."""
    words = re.findall(r"[A-Za-z][\w'\-]*", text)
    known = set(re.findall(r"[a-z]+", product))
    capitals = [word for word in words if word[0].isupper()]
    if any((bare := word.split("'")[0].lower()) in people.first_names and bare not in known for word in capitals):
        return True
    if 2 * len(capitals) > len(words):
        return False  # a headline
    pairs = (found.groups() for found in _TWO_NAMES.finditer(text))
    return any(not {one.lower() for one in pair} & (known | people.nobody) for pair in pairs)


def _is_card(digits: str) -> bool:
    """Luhn's check digit (ISO/IEC 7812-1)."""
    doubled = [int(d) * (2 if at % 2 else 1) for at, d in enumerate(reversed(digits))]
    return sum(d - 9 if d > 9 else d for d in doubled) % 10 == 0
