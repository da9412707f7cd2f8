"""How a customer feels, from the words of one message: rules that a person can read, in English and Chinese.

    mood_of("This is unacceptable, I want to cancel.")     # "negative"
    is_upset("WHERE IS MY ORDER??? answer me!!")           # True: time for a person

Words decide; "not", "no" or "不" before a word turns it round. Models of sentiment are learnt from reviews, to which most
questions sound like bad news, so one is believed only where it is all but sure and nothing is asked.
"""

import re
from typing import Final

from pipelines.core.servicing import NEGATIVE, NEUTRAL, POSITIVE

_BAD_EN: Final = (
    "unacceptable|ridiculous|terribl[ey]|horrible|awful|worst|angry|furious|annoy(?:ed|ing)|disappoint(?:ed|ing|ment)|"
    "disgusting|disgrace(?:ful)?|scam(?:med|mers)?|fraud|cheat(?:ed|ers)?|thie(?:f|ves)|liars?|lied|useless|fed up|sick of|"
    "never (?:buy|order|shop)(?:ing)? (?:here |from you )?again|rude|lawyer|sue you|waste of|joke|shame(?:ful)?|ashamed|"
    "unhappy|dissatisfied|upset|incompetent|outrag(?:e|eous)|pathetic|nonsense|far too long|nobody (?:answers|replies|cares)|"
    "frustrat(?:ed|ing)|appalling|hate|bad service|poor service|garbage|rubbish|wtf|damn|hell"
)
_BAD_ZH: Final = (
    "过分|失望|差劲|垃圾|骗子|骗人|欺骗|被骗|投诉|生气|愤怒|气死|受不了|太差|很差|无语|坑人|坑爹|恶心|恶劣|再也不|忍无可忍|"
    "不像话|无法接受|不能接受|差评|没人理|没人管|敷衍|烦死|火大|可恶|倒霉|后悔|糟糕|太慢|消协|12315|起诉|曝光|混蛋|滚"
)
_GOOD_EN: Final = (
    "thanks?|thank you|thx|great|perfect|wonderful|excellent|awesome|happy|glad|pleased|love|lovely|appreciate|helpful|cheers|"
    "fantastic|brilliant|nice|that was quick"
)
_GOOD_ZH: Final = "谢谢|多谢|感谢|太好了|很好|满意|完美|不错|棒|开心|高兴|喜欢|赞|挺快|给力|辛苦了"
_NOT_EN: Final = re.compile(
    r"\b(?:not|no|never|hardly|isn'?t|wasn'?t|don'?t|didn'?t|without|nothing)\b(?: \w+){0,2} ?$"
)
_NOT_ZH: Final = re.compile(r"(?:不|没有?|别|并非|不是|不太|不怎么)$")
_BAD: Final = re.compile(rf"\b(?:{_BAD_EN})\b|{_BAD_ZH}")
_GOOD: Final = re.compile(rf"\b(?:{_GOOD_EN})\b|{_GOOD_ZH}")
_RAGE: Final = re.compile(r"[!！]{2,}|(?:[!！][?？]|[?？][!！])|[?？]{3,}|[😡🤬👿]")
_SURE: Final = 0.03  # a model's probability of a positive text from which on it is all but sure
_LOUD_LETTERS, _LOUD_SHARE = 10, 0.6  # in capitals: more than a code or an acronym, and most of the message


def mood_of(text: str, p_positive: float | None = None) -> str:
    """negative, neutral or positive, as the message itself tells it. `p_positive`: what a model of sentiment says."""
    text = text.replace("’", "'")
    bad, good = _count(text, _BAD), _count(text, _GOOD)
    if bad[0] + good[1] or _is_loud(text) or (_RAGE.search(text) and not good[0]):
        return NEGATIVE
    if good[0] + bad[1]:
        return POSITIVE
    if p_positive is not None and not re.search(r"[?？吗呢]", text) and len(text) > _LOUD_LETTERS:
        return NEGATIVE if p_positive < _SURE else NEUTRAL
    return NEUTRAL


def is_upset(text: str) -> bool:
    """Angry enough for a person: strong words told with force, two of them, or a message shouted."""
    n_bad = _count(text.replace("’", "'"), _BAD)[0]
    return n_bad >= 2 or _is_loud(text) or bool(n_bad and (_RAGE.search(text) or re.search(r"[!！]", text)))


def _count(text: str, words: re.Pattern[str]) -> tuple[int, int]:
    """How many of the words stand in the text as they are, and how many turned round by a "not" before them."""
    low, turned, plain = text.lower(), 0, 0
    for found in words.finditer(low):
        before = low[: found.start()]
        if (_NOT_ZH if found[0][0] > "\u2fff" else _NOT_EN).search(before):
            turned += 1
        else:
            plain += 1
    return plain, turned


def _is_loud(text: str) -> bool:
    """Several words, nearly all in capitals."""
    letters = [one for one in text if one.isalpha() and one.isascii()]
    n_upper = sum(one.isupper() for one in letters)
    return len(text.split()) >= 3 and n_upper >= _LOUD_LETTERS and n_upper >= _LOUD_SHARE * len(letters)
