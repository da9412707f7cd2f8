"""What every channel refuses, whatever is advertised: form of the text, links and markup, personal data."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from typing import Final

from pipelines.core.moderating import Channels
from training.language.moderation_views import EMOJI, HAN, Views, is_chinese

_GSM: Final = frozenset(  # letters of a text message that are one byte each (3GPP TS 23.038)
    "@£$¥èéùìòÇØøÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ ÄÖÑÜ§¿äöñüà¡\n\r!\"#¤%&'()*+,-./0123456789:;<=>?ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    "abcdefghijklmnopqrstuvwxyz^{}\\[~]|€‘’“”–—…"  # the last six are sent as their plain forms
)
_LINK: Final = re.compile(
    r"(?:https?|ftp|hxxps?)\s?:|//\w|\bwww\s?\.|\b(?:bit\.ly|t\.co|tinyurl|t\.me|wa\.me|goo\.gl)\b"
    r"|(?<![a-z])[a-z0-9\-]{2,}\s?(?:\.|\(dot\)|\[dot\]|\sdot\s)\s?(?:com|net|org|info|biz|shop|store|online|xyz|top|site|club|cn|co|io|eu|de|uk|nl|ru|fr|me|app|link|click|ly|vip|cc)(?![a-z0-9])"
)
_MARKUP: Final = re.compile(
    r"</?[a-z][^>]{0,60}>|&(?:[a-z]{2,8}|#x?[0-9a-f]{2,6});|```|\*\*|(?:^|\n)\s*#{1,6}\s|\]\(|javascript:|onerror\s?=|<!--"
    r"|(?:^|\n)\s*[*+]\s\S|\\[nturx](?![a-z])|\"\s?:\s?[\"\[{]|;\s*drop\stable|'\s?or\s1\s?=\s?1|\[/?(?:b|i|url|img)\]|(?<!\w)_[a-z]+_(?!\w)|__\w",
    re.IGNORECASE,
)
_EMAIL: Final = re.compile(
    r"[\w.+\-]+\s?(?:@|\(at\)|\[at\])\s?[\w\-]+\s?(?:\.|\(dot\)|\[dot\]|\sdot\s)\s?[a-z]{2,}"
    r"|[\w.+\-]+\sat\s[\w\-]+(?:\sdot\s|\.)(?:com|net|org|info|eu|de|nl|cn|co|io|uk|fr)(?![a-z])"
)
_PHONE: Final = re.compile(r"(?<![\d.,])(?:\+|00)?\(?\d{1,4}\)?(?:[\s.\-/()]{0,2}\d{2,5}){2,5}(?![\d%])")
_ID_NUMBER: Final = re.compile(
    r"(?<!\d)\d{17}[\dx](?!\d)|(?<!\d)\d{3}-\d{2}-\d{4}(?!\d)|(?<![a-z])[a-z]{2}\d{2}(?:\s?[a-z0-9]{4}){3,7}(?![a-z0-9])"
)
_ACCOUNT: Final = re.compile(
    r"(?<![a-z])(?:微信|薇信|vx|wechat|qq|telegram|whatsapp|line id|instagram|snapchat|skype|passport|护照|身份证|iban|ssn|工号|车牌)"
    r"(?:号|码| ?id| ?no\.?| ?number)?\s?[:：是]?\s?@?[a-z0-9_\-]{5,}|(?<![\w.])@[a-z0-9_]{3,}|\bborn (?:on )?\d|出生于?\d|\b(?:order|customer|account|client|member) (?:no\.?|number|id|#)\s?:?\s?#?[a-z]*\d{4,}"
)
_STREET: Final = re.compile(
    r"(?<!\d)\d{1,4}[a-z]?\s(?:[a-z']+\s){1,3}(?:street|road|avenue|lane|drive|boulevard|court|close|terrace|square|st\.|rd\.|ave\.?|blvd)(?![a-z])"
    r"|[a-z]+(?:straat|strasse|gracht|weg|laan)\s\d{1,4}(?!\d)|(?<!\w)(?:apartment|apt\.?|flat|unit|suite)\s\d+[a-z]?(?!\w)"
    r"|[\u4e00-\u9fff]{2,}(?:路|街|大道|巷|弄)\s?\d+\s?[号弄]|\d+\s?[号栋幢]楼?\s?\d+\s?(?:室|单元)|[\u4e00-\u9fff]{2,4}(?:小区|花园|公寓)\s?\d+"
)
_SURNAMES: Final = "王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林罗郑梁谢宋唐许韩冯邓曹彭曾肖田董袁潘蒋蔡余杜叶程苏魏吕丁任沈姚卢姜崔钟谭陆汪范金石廖贾夏韦付方白邹孟熊秦邱江尹薛闫段雷侯龙史陶黎贺顾毛郝龚邵万钱严武戴莫孔向汤"
_CHINESE_NAME: Final = re.compile(
    rf"(?<![\u4e00-\u9fff])(?:(?:亲爱的|尊敬的|你好|您好|嗨|hi)[,， ]?)?[{_SURNAMES}][\u4e00-\u9fff]{{0,2}}(?:先生|女士|小姐|太太|同学|老师)"
    rf"|(?:亲爱的|尊敬的)[{_SURNAMES}][\u4e00-\u9fff]{{1,2}}(?=[,，!！:：])|[{_SURNAMES}][\u4e00-\u9fff]{{1,2}}(?:先生|女士)"
)
_GREETED: Final = re.compile(
    r"(?:^|[.!?\n]\s*)(?:[Dd]ear|[Hh]i|[Hh]ello|[Hh]ey|DEAR|HI|HELLO|HEY|[Mm]r\.?|[Mm]rs\.?|[Mm]s\.?)[ ,]+([A-Z][\w'\-]+)(?:\s[A-Z][\w'\-]+)?\s?[,!:.—-]"
)
_ADDRESSED: Final = re.compile(
    r"\b(?:Mr|Mrs|Ms|Miss|Dr)\.? [A-Z][a-z]+|(?:^|[.!?] )[A-Z][a-z]+ [A-Z][a-z]+, (?:your|you|we)\b|(?:^|[.!?] )[A-Z][a-z]+, (?:your (?:order|cart|basket|account|birthday)|we miss you|we saved|come back)"
)
_NOBODY: Final = frozenset(
    "there all everyone everybody friend friends you folks team shopper customer customers summer spring autumn winter sunshine weekend monday tuesday wednesday thursday friday saturday sunday january february march april may june july august september october november december morning night christmas neighbour neighbor reader cook gardener santa mum mom dad parent parents sleepyhead adventure comfort runner runners traveller santa".split()
)
_FIRST_NAMES: Final = frozenset(  # common ones that are no other word
    """anna anne maria sarah sara john peter paul david michael thomas james robert lisa laura julia emma sophie sophia olivia
    emily jessica jennifer amanda linda susan karen nancy betty helen sandra ashley kimberly donna carol michelle melissa
    stephanie rebecca sharon cynthia kathleen amy angela nicole samantha katherine christine deborah rachel catherine janet
    william richard joseph charles christopher daniel matthew anthony steven andrew kenneth joshua kevin brian george edward
    ronald timothy jason jeffrey ryan jacob gary nicholas eric jonathan stephen larry justin scott brandon benjamin samuel
    gregory alexander patrick raymond dennis jerry tyler aaron jose adam nathan henry zachary kyle noah ethan liam lucas
    mohammed muhammad ahmed fatima aisha ali omar hassan ibrahim yusuf priya raj amit sanjay wei ming chen li hiroshi yuki
    carlos juan luis miguel pedro sofia lucia carmen pablo diego giulia marco luca giovanni francesca hans klaus jürgen
    heike ursula greta ingrid lars sven bjorn astrid pierre jean-luc françois camille chloé elodie jan piet kees willem sanne
    femke lotte daan bram joost marieke tom tim ben sam kate katie lucy chloe hannah megan charlotte isabella mia ella
    oliver harry leo oscar theo felix hugo""".split()
)
_CALENDAR: Final = frozenset(
    "new year day days eve black cyber mother mothers father fathers valentine valentines happy good easter".split()
)
_TWO_NAMES: Final = re.compile(r"(?<![.!?] )(?<!^)\b([A-Z][a-z]{2,}) ([A-Z][a-z]{2,})\b")
_ENDS_OPEN: Final = re.compile(
    r"(?:\b(?:and|or|the|a|an|with|of|to|for|from|in|your|our|is|are|by|but|that|this|at|as|its|because)|[,;:，、；：\-(（\[\u201c]|的是|适合|用于|采用|为了|让|把|被|以及|因为|并且|而且|或者|还有|和|与|及)\s*$"
)
_MOJIBAKE: Final = re.compile(
    r"\ufffd|Ã[\x80-\xbf©¨¼¶]|â€|Â[£€ ]|ä½|å¥|锟斤拷|烫烫烫|屯屯屯|ï»¿|\\u[0-9a-f]{4}|&amp;amp|%[0-9A-F]{2}%[0-9A-F]{2}|\?{3,}"
)
_WORD: Final = re.compile(r"[a-z][a-z'\-]*|[\u3400-\u9fff]|\d+")
_LOUD: Final = re.compile(r"[!！]{2,}|[?？]{2,}|[!?！？]{3,}|(?:[.。…]\s?){5,}|[$€£¥]{2,}|(?:[~～*=#_\-<>^|+]){4,}")
_CAPITALS: Final = re.compile(r"\b[A-Z]{2,}\b(?:[\s,&\-]+[A-Z]{2,}\b){2,}")
_SHOUT: Final = re.compile(
    r"\b(?:FREE|SALE|BUY|NOW|HURRY|WOW|OMG|CHEAP|WIN|ONLY|LAST|NEW)\b[ !]+\b(?:FREE|SALE|BUY|NOW|HURRY|WOW|OMG|CHEAP|WIN|ONLY|LAST|NEW|[A-Z]{3,})\b"
)
_MAX_EMOJI: Final = 4
_COMMON: Final = 3  # of the same word or pair of words in a row, from which a text is stuck


def form_faults(
    text: str, views: Views, language: str, channel: str, channels: Channels, product: str = ""
) -> Iterator[tuple[str, str]]:
    """(rule, detail) of every fault, the gravest first; personal data is named, never repeated. A name that the catalogue
    has in `product` is a product's."""
    plain = views.plain
    if not any(c.isalnum() for c in text):
        yield "form.empty", "no word in it"
        return
    yield from _hidden(text, views)
    yield from _personal(text, plain, product)
    for rule, pattern, what in (
        ("form.link", _LINK, "a link"),
        ("form.markup", _MARKUP, "markup or code"),
        ("form.broken", _MOJIBAKE, "characters of a broken encoding"),
    ):
        if found := pattern.search(plain if rule == "form.link" else text):
            yield rule, f"{what}: '{found[0].strip()[:30]}'"
    yield from _length(text, channel, channels)
    yield from _language(text, plain, language)
    yield from _repeats(plain)
    yield from _shape(text, plain, language)


def _hidden(text: str, views: Views) -> Iterator[tuple[str, str]]:
    if any(unicodedata.category(c) == "Cc" and c not in "\n\t\r" for c in text):
        yield "form.control", "a control character"
    if views.disguise:
        yield "form.disguised", views.disguise


def _personal(text: str, plain: str, product: str) -> Iterator[tuple[str, str]]:
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
        (greeted and greeted[1].lower() not in _NOBODY)
        or _ADDRESSED.search(text)
        or _CHINESE_NAME.search(plain)
        or _names_somebody(text, product)
    ):
        yield "privacy.name", "a person's name"


def _names_somebody(text: str, product: str) -> bool:
    """A common first name, or two capitalised words within a sentence, that the catalogue does not have."""
    words = re.findall(r"[A-Za-z][\w'\-]*", text)
    known = set(re.findall(r"[a-z]+", product))
    capitals = [word for word in words if word[0].isupper()]
    if any((bare := word.split("'")[0].lower()) in _FIRST_NAMES and bare not in known for word in capitals):
        return True
    if 2 * len(capitals) > len(words):
        return False  # a headline
    pairs = (found.groups() for found in _TWO_NAMES.finditer(text))
    return any(not {one.lower() for one in pair} & (known | _NOBODY | _CALENDAR) for pair in pairs)


def _is_card(digits: str) -> bool:
    """Luhn's check digit (ISO/IEC 7812-1)."""
    doubled = [int(d) * (2 if at % 2 else 1) for at, d in enumerate(reversed(digits))]
    return sum(d - 9 if d > 9 else d for d in doubled) % 10 == 0


def _length(text: str, channel: str, channels: Channels) -> Iterator[tuple[str, str]]:
    limit = channels.limits.get(channel, channels.otherwise)
    is_wide = bool(HAN.search(text) or EMOJI.search(text)) or (channel == "sms" and not set(text) <= _GSM)
    most = limit.wide if is_wide else limit.latin
    n = len(text) + (text.count("€") if channel == "sms" and not is_wide else 0)  # the euro sign takes two
    if n > most:
        yield "form.length", f"{n} characters, {channel} carries {most}"


def _language(text: str, plain: str, language: str) -> Iterator[tuple[str, str]]:
    letters = [c for c in unicodedata.normalize("NFKC", text) if c.isalpha()]
    n_other = sum(not (HAN.match(c) or c.isascii() or "LATIN" in unicodedata.name(c, "") or c in "μµ") for c in letters)
    if n_other > max(1, 0.1 * len(letters)):
        yield "form.language", f"letters that are not {language}"
    elif language in ("en", "zh") and len(letters) >= 4 and (is_chinese(text) != (language == "zh")):
        yield "form.language", f"not written in {language}"
    elif language == "en" and len(HAN.findall(text)) > 1:
        yield "form.language", "Chinese characters in an English text"
    elif language == "en" and _FOREIGN.search(plain) and len(_FOREIGN.findall(plain)) * 4 > len(plain.split()):
        yield "form.language", "not written in English"


_FOREIGN: Final = re.compile(
    r"(?<![a-z])(?:und|oder|nicht|mit|fur|ist|das|die|der|ein|eine|sie|ihr|ihre|auf|le|la|les|des|une|pour|avec|est|votre|vous|dans|el|los|las|una|con|para|por|su|sus|del|il|lo|gli|che|di|per|een|het|voor|met|niet|van|uw|jouw|nu|je|en|um|uma|com|seu)(?![a-z])"
)


def _repeats(plain: str) -> Iterator[tuple[str, str]]:
    words = _WORD.findall(plain)
    for size in (1, 2, 3, 4):
        for at in range(len(words) - size * _COMMON + 1 if size > 1 else len(words) - 2):
            piece = words[at : at + size]
            is_han = all(HAN.match(word) for word in piece)  # Chinese doubles characters: 高高兴兴
            times = _COMMON if size == 1 or (is_han and size < 4) else 2
            if words[at : at + size * times] == piece * times:
                yield "form.repeated", f"'{' '.join(piece)[:30]}' again and again"
                return
    sentences = Counter(part.strip() for part in re.split(r"[.!?。！？;；\n]", plain) if len(part.strip()) > 5)
    if sentences and max(sentences.values()) > 1:
        yield "form.repeated", "the same sentence twice"
    elif len(words) >= 12 and len(set(words)) < 0.4 * len(words):
        yield "form.repeated", f"{len(set(words))} different of {len(words)} words"
    elif re.search(r"(.)\1{5,}", plain):
        yield "form.repeated", "one character again and again"


def _shape(text: str, plain: str, language: str) -> Iterator[tuple[str, str]]:
    shown = text.strip()
    words = _WORD.findall(plain)
    if sum(c.isalnum() for c in text) < 0.5 * sum(not c.isspace() for c in text):
        yield "form.broken", "fewer letters than other characters"
    elif len(words) < (4 if language == "zh" else 2):
        yield "form.broken", f"{len(words)} words"
    elif _ENDS_OPEN.search(shown if language == "zh" else shown.lower()):
        yield "form.broken", "it stops in the middle of a sentence"
    elif (
        any(shown.count(a) != shown.count(b) for a, b in ("()", "[]", "（）", "《》", "【】", "「」"))
        or shown.count('"') % 2
    ):
        yield "form.broken", "a bracket or quotation mark is not closed"
    elif _is_gibberish(words):
        yield "form.broken", "words that are none"
    if _LOUD.search(shown):
        yield "form.loud", "a run of signs"
    elif _CAPITALS.search(shown) or _SHOUT.search(shown):
        yield "form.loud", "a run of words in capitals"
    elif shown.count("!") + shown.count("！") > 3:
        yield "form.loud", "an exclamation mark too many"
    elif len(EMOJI.findall(shown)) > _MAX_EMOJI:
        yield "form.loud", f"more than {_MAX_EMOJI} emoji"


def _is_gibberish(words: list[str]) -> bool:
    """Two words or more without a vowel, or with five consonants and more in a row."""
    odd = [
        w for w in words if len(w) >= 5 and w.isalpha() and w.isascii() and re.search(r"^[^aeiouy]+$|[^aeiouy]{6,}", w)
    ]
    return len(odd) >= 2 or any(len(w) > 28 for w in words)
