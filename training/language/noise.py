"""What customers' typing does to a text, to judge models under it and to train them for it: pure, seeded by its `rng`.

    rng = np.random.default_rng(7)
    typos("where is my order", 0.1, rng)        # "where is ym ordwr"

`rate` is the share of letters that are hit (of digits none: an order number with a typo is another order). Chinese
characters are letters too, but have no neighbour on a keyboard and no case.
"""

from typing import Final

import numpy as np

_ROWS: Final = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_EMOJI: Final = ("😀", "😂", "😍", "👍", "🙏", "😡", "😢", "🤔", "🎉", "❤️", "🔥", "😅")
_FILLERS: Final = {
    "zh": ("你好，", "请问，", "谢谢", "麻烦了", "真的", "哈哈", "亲，", "那个"),
    "en": ("hi ", "please ", " thanks", " ok", " really ", " lol", " hello ", " btw "),
}


def _neighbours() -> dict[str, str]:
    """The letters beside each on a QWERTY keyboard, rows above and below included."""
    found: dict[str, str] = {}
    for row, letters in enumerate(_ROWS):
        for at, letter in enumerate(letters):
            beside = [letters[place] for place in (at - 1, at + 1) if 0 <= place < len(letters)]
            for other, places in ((row - 1, (at, at + 1)), (row + 1, (at - 1, at))):
                if 0 <= other < len(_ROWS):
                    beside += [_ROWS[other][place] for place in places if 0 <= place < len(_ROWS[other])]
            found[letter] = "".join(beside)
    return found


_BESIDE: Final = _neighbours()


def typos(text: str, rate: float, rng: np.random.Generator) -> str:
    """Each letter is hit with probability `rate`: left out, doubled, swapped with the next, or its neighbour on the
    keyboard instead, one as likely as another; left out as well where it has no next or no neighbour."""
    made: list[str] = []
    hit, kind = rng.random(len(text)) < rate, rng.integers(4, size=len(text))
    at = 0
    while at < len(text):
        letter = text[at]
        if not (hit[at] and letter.isalpha()):
            made.append(letter)
        elif kind[at] == 1:
            made.append(letter * 2)
        elif kind[at] == 2 and at + 1 < len(text) and text[at + 1].isalpha():
            made.append(text[at + 1] + letter)
            at += 1
        elif kind[at] == 3 and letter.lower() in _BESIDE:
            other = str(rng.choice(list(_BESIDE[letter.lower()])))
            made.append(other.upper() if letter.isupper() else other)
        at += 1  # what no branch wrote is left out
    return "".join(made)


def case_noise(text: str, rate: float, rng: np.random.Generator) -> str:
    """Each letter changes its case with probability `rate`."""
    hit = rng.random(len(text)) < rate
    return "".join(letter.swapcase() if change else letter for letter, change in zip(text, hit, strict=True))


def with_emoji(text: str, rng: np.random.Generator, n_emoji: int = 2) -> str:
    """Emoji between words or at the ends, of any mood: they must not decide."""
    for _ in range(n_emoji):
        places = [0, len(text), *(at for at, letter in enumerate(text) if letter == " ")]
        at = int(rng.choice(places))
        text = text[:at] + str(rng.choice(_EMOJI)) + text[at:]
    return text


def mixed(text: str, rng: np.random.Generator, n_words: int = 2) -> str:
    """Words of politeness in the other language (Chinese in a Latin text and the other way round), which say nothing."""
    is_chinese = any("\u4e00" <= letter <= "\u9fff" for letter in text)
    for filler in rng.choice(_FILLERS["en" if is_chinese else "zh"], size=n_words):
        places = [0, len(text), *(at for at, letter in enumerate(text) if letter in " ，。,.")]
        at = int(rng.choice(places))
        text = text[:at] + str(filler) + text[at:]
    return text
