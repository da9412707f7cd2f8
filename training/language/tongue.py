"""Which language a text is written in, as far as models differ by it: English letters, Chinese characters, or other.

    tongue_of("物流很快，质量不错")     # "zh"

By script alone: no dictionary, no model. A mixed text counts by its larger part; one Chinese character is worth as much
as two Latin letters, about what either says. Other languages in Latin letters count as English, whose models read them
best of what is here; without any letter a text is "other".
"""

import re
from typing import Final, Literal

Tongue = Literal["en", "zh", "other"]

_HAN: Final = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f]")
_KANA: Final = re.compile(r"[\u3040-\u30fa]")
_LATIN: Final = re.compile(r"[A-Za-z\u00c0-\u024f\uff21-\uff3a\uff41-\uff5a]")
_WEIGHT: Final = 2  # of a character that stands for a syllable, in letters
_JAPANESE_SHARE: Final = 0.2  # of kana among kana and Han: a Chinese text quotes fewer


def tongue_of(text: str) -> Tongue:
    """The language of the larger part of a text; of equal parts Chinese, then English, then other."""
    han, kana, latin = (len(kind.findall(text)) for kind in (_HAN, _KANA, _LATIN))
    other = sum(map(str.isalpha, text)) - han - latin
    if kana > _JAPANESE_SHARE * (han + kana):  # then the Han characters are Japanese too
        han, other = 0, _WEIGHT * (han + kana) + (other - kana)
    parts: dict[Tongue, int] = {"zh": _WEIGHT * han, "en": latin, "other": other}
    return max(parts, key=lambda tongue: parts[tongue]) if any(parts.values()) else "other"
