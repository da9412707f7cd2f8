"""How good copy is, without a model: what it says of what it should, what it says that it should not, how it varies.

Words are Latin words and numbers, lower-cased, and single Chinese characters. Claims are looked for by own lists, not by
moderation's, and by words that the data themselves have as values (`unbacked`), so that what moderation lets through is
measured by something else.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Final

import numpy as np

_WORD: Final = re.compile(r"[a-zà-öø-ÿ]+(?:['’-][a-zà-öø-ÿ]+)*|\d+(?:[.,]\d+)*|[\u3400-\u9fff]")
_CLAIMS: Final = {
    "number": re.compile(r"\d+(?:[.,]\d+)?"),
    "price": re.compile(r"[€$£¥￥]|\b(?:eur|usd|euros?|dollars?|cents?)\b|\d\s*元"),
    "discount": re.compile(
        r"\b(?:discount\w*|sale|save|saving|off|free|deal|bargain|cheap\w*|coupon|voucher|gift)\b"
        r"|折|优惠|促销|特价|免费|包邮|赠|秒杀|立减|半价|降价"
    ),
    "superlative": re.compile(
        r"\b(?:best|finest|greatest|perfect|ultimate|unbeatable|number one|world[- ]class|guarantee\w*|"
        r"cheapest|lowest|most \w+|no\. ?1)\b|最|第一|顶级|极致|唯一|国家级|绝对|完美"
    ),
    "material": re.compile(
        r"\b(?:cotton|wool|silk|linen|leather|oak|walnut|brass|steel|copper|bamboo|cashmere|denim|velvet|polyester|"
        r"nylon|gold|silver|glass|ceramic|plastic|rubber|marble|suede|merino|titanium|aluminium|aluminum|pine|beech)\b"
        r"|棉|羊毛|真丝|桑蚕丝|亚麻|牛皮|真皮|橡木|胡桃木|黄铜|不锈钢|羊绒|牛仔|天鹅绒|涤纶|锦纶|陶瓷|玻璃|竹|蕾丝|雪纺|针织"
    ),
}  # fmt: skip

_ONE_WORD: Final = re.compile(r"[a-z]{3,}|[\u3400-\u9fff]{2,4}")
_DIGITS: Final = re.compile(r"\d+(?:[.,]\d+)*")
_SPOKEN: Final = {  # "one" is more often a pronoun
    word: str(number)
    for number, said in (
        (2, "two twice double"), (3, "three triple"), (4, "four"), (5, "five"), (6, "six"), (7, "seven"), (8, "eight"),
        (9, "nine"), (10, "ten"), (12, "twelve dozen"), (15, "fifteen"), (20, "twenty"), (30, "thirty"),
        (40, "forty"), (50, "fifty"), (60, "sixty"), (80, "eighty"), (90, "ninety"), (100, "hundred"), (1000, "thousand"),
    )
    for word in said.split()
}  # fmt: skip


def words(text: str) -> list[str]:
    """The words of a text, in order."""
    return _WORD.findall(text.casefold())


def coverage(text: str, values: Sequence[str]) -> float:
    """Share of the values whose words all stand in the text; NaN without values."""
    said = set(words(text))
    asked = [found for value in values if (found := set(words(value)))]
    return sum(found <= said for found in asked) / len(asked) if asked else math.nan


def invented(text: str, facts: str) -> list[str]:
    """Kinds of claims in a text of which the facts hold nothing alike: numbers, prices, discounts, superlatives, materials."""
    told, known = text.casefold(), facts.casefold()
    found = []
    for kind, pattern in _CLAIMS.items():
        said = {match.group() for match in pattern.finditer(told)}
        if kind in ("number", "material", "superlative"):
            said -= {match.group() for match in pattern.finditer(known)}
        elif pattern.search(known):
            said = set()
        if said:
            found.append(kind)
    return found


def vocabulary(values: Sequence[str], least: int = 2) -> frozenset[str]:
    """What a catalogue says of its products in one word (black, oak, lace), each of `least` products at least: words that
    are claims, taken from the data and from no list. A Chinese value counts as a word where it has 2 to 4 characters."""
    seen = Counter(value.strip().casefold() for value in values)
    return frozenset(one for one, n in seen.items() if n >= least and _ONE_WORD.fullmatch(one))


def unbacked(text: str, facts: str, claims: frozenset[str]) -> list[str]:
    """Numbers, in digits or in words, and words of `claims` (as of `vocabulary`) in a text that the facts do not say."""
    told, known = text.casefold(), facts.casefold()
    known_words, known_numbers = set(words(known)), _numbers(known)
    latin = sorted((set(words(told)) & claims) - known_words)
    chinese = sorted(one for one in claims if not one.isascii() and one in told and one not in known)
    return [*sorted(_numbers(told) - known_numbers), *latin, *(one for one in chinese if one not in latin)]


def _numbers(text: str) -> set[str]:
    found = {one.replace(",", "").rstrip(".") for one in _DIGITS.findall(text)}
    return found | {_SPOKEN[one] for one in re.findall(r"[a-z]+", text) if one in _SPOKEN}


def distinct(texts: Sequence[str], n: int) -> float:
    """Different n-grams of words over all n-grams of some texts (distinct-n, Li et al. 2016, arXiv:1510.03055); NaN without."""
    grams = [gram for text in texts for gram in _grams(words(text), n)]
    return len(set(grams)) / len(grams) if grams else math.nan


def self_bleu(variants: Sequence[str]) -> float:
    """Mean BLEU-4 of each text beside the others (Zhu et al. 2018, arXiv:1802.01886): 1 where all are alike; NaN of one."""
    split = [words(text) for text in variants]
    others = [[other for j, other in enumerate(split) if j != i] for i in range(len(split))]
    return (
        float(np.mean([bleu(one, rest) for one, rest in zip(split, others, strict=True)]))
        if len(split) > 1
        else math.nan
    )


def bleu(said: Sequence[str], references: Sequence[Sequence[str]], n: int = 4) -> float:
    """Sentence BLEU, 0 to 1, with brevity penalty and smoothing 3 of Chen and Cherry 2014 (NIST's: the k-th order without a
    match counts 1 / 2^k matches), as nltk's sentence_bleu with method3 has it."""
    if not said:
        return 0.0
    halves, logs = 0, []
    for order in range(1, n + 1):
        mine = Counter(_grams(said, order))
        most: Counter[tuple[str, ...]] = Counter()
        for reference in references:
            most |= Counter(_grams(reference, order))
        matches, total = sum((mine & most).values()), max(1, sum(mine.values()))
        if order == 1 and not matches:
            return 0.0
        if not matches:
            halves += 1
        logs.append(math.log((matches or 2.0**-halves) / total))
    closest = min((len(reference) for reference in references), key=lambda size: (abs(size - len(said)), size))
    penalty = 1.0 if len(said) > closest else math.exp(1 - closest / len(said))
    return penalty * math.exp(sum(logs) / n)


def rouge_l(said: Sequence[str], reference: Sequence[str]) -> float:
    """F1 of the longest common subsequence, 0 to 1 (Lin 2004)."""
    if not said or not reference:
        return 0.0
    codes = {word: at for at, word in enumerate(dict.fromkeys([*said, *reference]))}
    mine, other = (np.array([codes[word] for word in part]) for part in (said, reference))
    row = np.zeros(len(other) + 1, dtype=np.int64)
    for word in mine:  # row[j]: longest so far against other[:j]
        row[1:] = np.maximum.accumulate(np.maximum(row[1:], (row[:-1] + 1) * (other == word)))
    common = int(row[-1])
    return 2 * common / (len(said) + len(reference))


def _grams(split: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(split[at : at + n]) for at in range(len(split) - n + 1)]
