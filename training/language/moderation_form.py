"""What every channel refuses, whatever is advertised: length, language, links, markup, broken and repeated text."""

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
    r"|(?<![a-z])[a-z0-9\-]{2,}\s?(?:\.|\(dot\)|\[dot\]|\sdot\s)\s?(?:com|net|org|info|biz|shop|store"
    r"|online|xyz|top|site|club|cn|co|io|eu|de|uk|nl|ru|fr|me|app|link|click|ly|vip|cc)(?![a-z0-9])"
)
_MARKUP: Final = re.compile(
    r"</?[a-z][^>]{0,60}>|&(?:[a-z]{2,8}|#x?[0-9a-f]{2,6});|```|\*\*|(?:^|\n)\s*#{1,6}\s|\]\(|javascript:|onerror\s?=|<!--"
    r"|(?:^|\n)\s*[*+]\s\S|\\[nturx](?![a-z])|\"\s?:\s?[\"\[{]|;\s*drop\stable|'\s?or\s1\s?=\s?1"
    r"|\[/?(?:b|i|url|img)\]|(?<!\w)_[a-z]+_(?!\w)|__\w",
    re.IGNORECASE,
)
_ENDS_OPEN: Final = re.compile(
    r"(?:\b(?:and|or|the|a|an|with|of|to|for|from|in|your|our|is|are|by|but|that|this|at|as|its|because)"
    r"|[,;:，、；：\-(（\[\u201c]|的是|适合|用于|采用|为了|让|把|被|以及|因为|并且|而且|或者|还有|和|与|及)\s*$"
)
_MOJIBAKE: Final = re.compile(
    r"\ufffd|Ã[\x80-\xbf©¨¼¶]|â€|Â[£€ ]|ä½|å¥|锟斤拷|烫烫烫|屯屯屯|ï»¿|\\u[0-9a-f]{4}|&amp;amp|%[0-9A-F]{2}%[0-9A-F]{2}"
    r"|\?{3,}"
)
_WORD: Final = re.compile(r"[a-z][a-z'\-]*|[\u3400-\u9fff]|\d+")
_LOUD: Final = re.compile(r"[!！]{2,}|[?？]{2,}|[!?！？]{3,}|(?:[.。…]\s?){5,}|[$€£¥]{2,}|(?:[~～*=#_\-<>^|+]){4,}")
_CAPITALS: Final = re.compile(r"\b[A-Z]{2,}\b(?:[\s,&\-]+[A-Z]{2,}\b){2,}")
_SHOUT: Final = re.compile(
    r"\b(?:FREE|SALE|BUY|NOW|HURRY|WOW|OMG|CHEAP|WIN|ONLY|LAST|NEW)\b[ !]+\b(?:FREE|SALE|BUY|NOW"
    r"|HURRY|WOW|OMG|CHEAP|WIN|ONLY|LAST|NEW|[A-Z]{3,})\b"
)
_MAX_EMOJI: Final = 4
_COMMON: Final = 3  # of the same word or pair of words in a row, from which a text is stuck


def form_faults(text: str, views: Views, language: str, channel: str, channels: Channels) -> Iterator[tuple[str, str]]:
    """(rule, detail) of every fault, the gravest first."""
    plain = views.plain
    if not any(c.isalnum() for c in text):
        yield "form.empty", "no word in it"
        return
    yield from _hidden(text, views)
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
    r"(?<![a-z])(?:und|oder|nicht|mit|fur|ist|das|die|der|ein|eine|sie|ihr|ihre|auf|le|la|les|des"
    r"|une|pour|avec|est|votre|vous|dans|el|los|las|una|con|para|por|su|sus|del|il|lo|gli|che|di"
    r"|per|een|het|voor|met|niet|van|uw|jouw|nu|je|en|um|uma|com|seu)(?![a-z])"
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
