"""In how many ways a candidate answers a query: what the ranker learns from.

    x = features(goods, sight)          # (c, len(NAMES)) float32, NaN where a question does not arise

Beside words and cosines, a candidate is compared with the first few candidates (pseudo-relevance feedback, Rocchio 1971;
with vectors Wang et al. 2021, arXiv:2106.11251): a query is short, and what answers it best says more of what is meant.
"""

from typing import Final

import numpy as np

from training.search.goods import ALL, BRAND, COLOUR, LONG, MULTILINGUAL, NAME, SHELF, TITLE, Goods, Sight
from training.search.words import tokens

COMPANY: Final = (3, 5, 10, 20)  # how many of the first candidates stand for the query
_SHELF_COMPANY: Final = (10, 30)
_VIEWS: Final = (TITLE, MULTILINGUAL)
_PEOPLE: Final = {
    word: kind
    for kind, words in {
        "men": "men man mens hombre male", "women": "women woman womens lady ladie female", "girls": "girl",
        "boys": "boy", "small": "kid baby toddler child children infant newborn", "grown": "adult",
    }.items()
    for word in words.split()
}  # fmt: skip
_LACKS: Final = ("without", "free", "less", "no", "non", "not")  # a title that says so may lack what is not wanted
_COLOURS: Final = frozenset(
    (
        "black", "white", "red", "blue", "green", "yellow", "orange", "purple", "pink", "brown", "gray", "grey", "silver",
        "gold", "beige", "navy", "teal", "turquoise", "ivory", "tan", "burgundy", "khaki", "rose", "clear",
        "黑色", "白色", "红色", "蓝色", "绿色", "黄色", "灰色", "粉色", "棕色",
    )
)  # fmt: skip
NAMES: Final = (
    "first", "behind_best", *(f"words_{key}" for key in (ALL, LONG, NAME, SHELF)), "words_raw",
    *(f"{what}_{view}" for view in _VIEWS for what in ("cosine", "cosine_behind_best")),
    *(f"company_{size}_{view}" for size in COMPANY for view in _VIEWS), *(f"company_{size}" for size in COMPANY),
    "company_again", *(f"{what}_of_{size}" for size in _SHELF_COMPANY for what in ("shelf", "department", "brand")),
    *(f"covered_{key}" for key in (NAME, ALL, LONG)), "missing", "missing_in_name", "missing_more_than_least",
    "brand_words", "brand_words_behind_best", "brand_full", "numbers", "unwanted", "says_without", "is_negative",
    "colour", "colour_told", "phrase", "head", "position", "behind_for", "share_of_title", "title_words", "people",
    "query_words", "price_ratio",
)  # fmt: skip


def features(goods: Goods, sight: Sight) -> np.ndarray:
    """(c, f) float32 of the candidates of one query."""
    told = _by_score(sight) | _by_company(goods, sight) | _by_words(goods, sight) | _by_title(goods, sight)
    price = np.log(goods.items.prices[sight.places])
    known = price[: min(30, sight.n_found)]
    known = known[np.isfinite(known)]
    told["price_ratio"] = price - np.median(known) if len(known) else price
    c = len(sight.places)
    return np.stack([np.broadcast_to(np.asarray(told[name], np.float32), (c,)) for name in NAMES], axis=1)


def _by_score(sight: Sight) -> dict[str, np.ndarray]:
    told = {"first": sight.first, "behind_best": _behind(sight.first, sight.n_found)}
    told |= {f"words_{key}": sight.scores[key] / max(sight.best[key], 1e-9) for key in (ALL, LONG, NAME, SHELF)}
    told["words_raw"] = sight.scores[ALL]
    for view in _VIEWS:
        cosine = sight.cosines.get(view, np.full(len(sight.places), np.nan, np.float32))
        told |= {f"cosine_{view}": cosine, f"cosine_behind_best_{view}": _behind(cosine, sight.n_found)}
    return told


def _by_company(goods: Goods, sight: Sight) -> dict[str, np.ndarray]:
    """How like each candidate is to the first few, and to those that come first when this, too, is counted."""
    c, n = len(sight.places), sight.n_found
    rows = sight.vectors
    told = {f"company_{size}_{view}": np.full(c, np.nan) for size in COMPANY for view in _VIEWS}

    def company(first: np.ndarray) -> dict[str, np.ndarray]:
        weight = (1 / np.log2(np.arange(2, len(first) + 2))).astype(np.float32)  # float64 would turn all rows to it
        return {view: told_of @ _unit(weight @ told_of[first]) for view, told_of in rows.items()}

    def joined(each: dict[str, np.ndarray]) -> np.ndarray:
        return sum((_standard(one, n) for one in each.values()), np.zeros(c))

    for size in COMPANY:
        each = company(np.arange(min(size, n)))
        told |= {f"company_{size}_{view}": one for view, one in each.items()}
        told[f"company_{size}"] = joined(each)
    again = _standard(sight.first, n) + told["company_5"]
    told["company_again"] = joined(company(np.argsort(-again[:n], kind="stable")[:8]))
    sames = dict(zip(("shelf", "department", "brand"), (*goods.shelves, goods.brands), strict=True))
    for size in _SHELF_COMPANY:
        first = sight.places[: min(size, n)]
        weight = 1 / np.log2(np.arange(2, len(first) + 2))
        for what, codes in sames.items():
            same = (codes[sight.places][:, None] == codes[first]) & (codes[first] >= 0)
            told[f"{what}_of_{size}"] = same @ weight / max(weight.sum(), 1e-9)
    return told


def _by_words(goods: Goods, sight: Sight) -> dict[str, np.ndarray]:
    """Which of the query's words an item holds, and where; words that are not wanted count apart."""
    query, c = sight.query, len(sight.places)
    words = query.words
    hit = {key: goods.fields[key].each(words, sight.places) > 0 for key in (NAME, ALL, LONG, BRAND, COLOUR)}
    wanted = np.array([word not in query.unwanted for word in words], float)
    rarity = goods.fields[NAME].rarity(words) * wanted
    told = {f"covered_{key}": rarity @ hit[key] / max(rarity.sum(), 1e-9) for key in (NAME, ALL, LONG)}
    told["missing"] = wanted @ ~(hit[LONG] | hit[ALL])
    told["missing_in_name"] = wanted @ ~hit[NAME]
    told["missing_more_than_least"] = -_behind(-told["missing_in_name"], sight.n_found)
    told["brand_words"] = wanted @ hit[BRAND]
    told["brand_words_behind_best"] = _behind(told["brand_words"], sight.n_found)
    told["brand_full"] = told["brand_words"] >= np.maximum(goods.brand_words[sight.places], 1)
    told["numbers"] = _share(np.array([word[0].isdigit() for word in words], float), hit[NAME])
    told["unwanted"] = _share(1 - wanted, hit[NAME])
    colour = np.array([word in _COLOURS for word in words], float) * wanted
    told["colour"] = _share(colour, hit[COLOUR] | hit[NAME])
    told["colour_told"] = _share(colour, hit[COLOUR])
    told["is_negative"] = np.full(c, float(bool(query.unwanted)))
    told["query_words"] = np.full(c, float(len(words)))
    return told


def _by_title(goods: Goods, sight: Sight) -> dict[str, np.ndarray]:
    """Where the wanted words stand in a title: side by side, early, last of the query; "for" turns to another thing."""
    c, known = len(sight.places), goods.fields[NAME].places
    wanted = sight.query.wanted
    title = goods.title_words[sight.places]  # (c, l)
    length = (title >= 0).sum(axis=1)
    stands = title == np.array([known.get(word, -2) for word in wanted], np.int32).reshape(-1, 1, 1)  # (w, c, l)
    there = stands.any(axis=2)
    at = np.where(there, stands.argmax(axis=2), title.shape[1])  # (w, c)
    after_for = np.arange(title.shape[1]) > _place_of(title, known.get("for", -2))[:, None]
    side_by_side = (stands[:-1, :, :-1] & stands[1:, :, 1:]).any(axis=2)
    asked = _people(sight.query.text)
    kinds = {word: known[word] for word in _PEOPLE if word in known}
    people = np.zeros(c)
    if asked:
        own = {kind: np.zeros(c, bool) for kind in set(_PEOPLE.values())}
        for word, place in kinds.items():
            own[_PEOPLE[word]] |= (title == place).any(axis=1)
        right = np.any([own[kind] for kind in asked], axis=0)
        people = np.where(right, 1, np.where(np.any(list(own.values()), axis=0), -1, 0))
    lacks = np.isin(title, [known[word] for word in _LACKS if word in known]).any(axis=1).astype(float)
    some = max(len(wanted), 1)
    return {
        "phrase": side_by_side.sum(axis=0) / max(len(wanted) - 1, 1),
        "head": there[-1] if wanted else np.zeros(c),
        "position": at.min(axis=0, initial=title.shape[1]),
        "behind_for": (there & ~(stands & ~after_for).any(axis=2)).sum(axis=0) / some,
        "share_of_title": there.sum(axis=0) / np.maximum(length, 1),
        "title_words": length,
        "people": people,
        "says_without": lacks if sight.query.unwanted else np.full(c, np.nan),
    }


def _place_of(title: np.ndarray, word: int) -> np.ndarray:
    """(c,) where a word first stands in titles (c, l); l where it does not."""
    stands = title == word
    return np.where(stands.any(axis=1), stands.argmax(axis=1), title.shape[1])


def _people(text: str) -> set[str]:
    return {_PEOPLE[word] for word in tokens(text) if word in _PEOPLE}


def _share(weight: np.ndarray, hit: np.ndarray) -> np.ndarray:
    """(c,) which share of the words that weigh something an item holds; NaN where none does."""
    return weight @ hit / weight.sum() if weight.any() else np.full(hit.shape[1], np.nan)


def _behind(values: np.ndarray, n: int) -> np.ndarray:
    """Values (c,) minus the largest of the first n."""
    return values - values[:n].max() if n else np.zeros(len(values))


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / max(float(np.linalg.norm(vector)), 1e-9)


def _standard(values: np.ndarray, n: int) -> np.ndarray:
    """Values (c,) by mean and deviation of the first n."""
    some = values[:n]
    return (values - some.mean()) / (some.std() + 1e-9) if n else np.zeros(len(values))
