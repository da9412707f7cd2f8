"""The words of a reason, English and Chinese, as a customer reads them on the day after the night they were made for."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_DAY_HOURS: Final = 24
_MAX_TITLE: Final = 80  # characters
_OFTEN: Final = 3  # events from which on somebody looks often
_FIXED: Final[Mapping[str, tuple[str, str]]] = {
    "price_band": ("In the price range that you usually look at", "在您常看的价格区间内"),
    "popular": ("Many customers look at this now", "最近很多顾客都在看"),
    "new": ("New in the shop", "新品上架"),
    "range": ("From our range", "本店在售商品"),
    "lot": ("Something different, picked at random", "随机挑选，换个口味"),
}


@dataclass(frozen=True)
class Past:
    """What a customer did with one item (or category), as far as it is told."""

    views: int = 0
    count: int = 0  # of all events
    hours: float = 0.0  # before the end of the night
    is_carted: bool = False
    is_bought: bool = False


def words(code: str, cause: str | None, past: Past) -> tuple[str, str]:
    """English and Chinese. `cause`: the title of the earlier item, the search, the category's name or the percent;
    `past`: what was done with the item itself (again), the earlier one (together), the category."""
    if code in _FIXED:
        return _FIXED[code]
    name = _short(cause or "")
    if code == "again":
        return _of_item(past, "You", "this", "您", "这件商品")
    if code == "together":
        return _of_item(past, "Because you", name, "因为您", f"“{name}”")
    if code == "search":
        return f"Because you searched for “{name}”", f"因为您搜索过“{name}”"
    if code == "category":
        if past.count >= _OFTEN:
            return f"Because you often look at {name}", f"因为您常看“{name}”"
        return f"Because you looked at {name}", f"因为您看过“{name}”"
    if code == "price_drop":
        return f"{name}% cheaper than when you last looked at it", f"比您上次看时便宜了{name}%"
    raise ValueError(f"no words for reason '{code}'")


def _of_item(past: Past, you: str, it: str, you_zh: str, it_zh: str) -> tuple[str, str]:
    when, when_zh = _when(past.hours)
    if past.is_bought:
        return f"{you} bought {it} {when}", f"{you_zh}{when_zh}买过{it_zh}"
    if past.is_carted:
        return f"{you} put {it} in your cart {when}", f"{you_zh}{when_zh}把{it_zh}加入过购物车"
    if past.views > 1:
        times = "twice" if past.views == 2 else f"{past.views} times"
        return f"{you} looked at {it} {times}, last {when}", f"{you_zh}看过{it_zh}{past.views}次，最近是{when_zh}"
    if past.views == 1:
        return f"{you} looked at {it} {when}", f"{you_zh}{when_zh}看过{it_zh}"
    return f"{you} saved {it} {when}", f"{you_zh}{when_zh}收藏了{it_zh}"


def _when(hours: float) -> tuple[str, str]:
    """The night's own day is yesterday to who reads it."""
    days = int(max(hours, 0.0) // _DAY_HOURS) + 1
    return ("yesterday", "昨天") if days == 1 else (f"{days} days ago", f"{days}天前")


def _short(title: str) -> str:
    return title if len(title) <= _MAX_TITLE else f"{title[: _MAX_TITLE - 1].rstrip()}…"
