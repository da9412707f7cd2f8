"""Customers' words without what tells who they are: addresses of mail, telephone, card and account numbers, order numbers,
names that somebody gives as the own, links.

    masked("My name is Ann Lee, order A-20458, mail ann@lee.org")     # "My name is [name], order [order], mail [email]"

What is masked is by pattern and so by chance not complete: a transcript stays under its customer's pseudonym and is erased with
it. Masking twice changes nothing more.
"""

import json
import re
from collections.abc import Iterable
from typing import Final

_NAME_EN: Final = r"[A-Z][\w'’-]+(?:[ ]+(?:van|von|de|der|den|da|la|le|bin|al)\b)*(?:[ ]+[A-Z][\w'’.-]+){0,3}"
_PATTERNS: Final = (  # in this order: what a later one would cut in pieces comes first
    ("email", re.compile(r"[\w.+%-]+@[\w-]+(?:\.[\w-]+)+")),
    ("link", re.compile(r"\b(?:https?://|www\.)[^\s，。！？)）]+", re.IGNORECASE)),
    ("account", re.compile(r"\b[A-Z]{2}\d{2}(?:[ ]?[A-Z0-9]{4}){2,7}(?:[ ]?[A-Z0-9]{1,3})?\b")),
    ("account", re.compile(r"(?<![\w.])@\w{2,}|(?<=微信)[号:： ]*[A-Za-z][\w-]{4,}|(?i:(?<=wechat )|(?<=qq)|(?<=vx))[号:： ]*[\w-]{5,}")),
    ("card", re.compile(r"(?<![\w-])\d{4}(?:[ -]?\d{4}){2}[ -]?\d{1,7}(?![\w-])")),
    ("order", re.compile(
        r"(?<=[#＃])\w{0,4}-?\d[\w-]{3,}"
        r"|(?<![A-Za-z0-9-])(?!\d{4}-\d{2}-\d{2}(?!\d))[A-Za-z]{1,4}-?\d[\dA-Za-z-]{3,}"
        r"|(?:(?<=order )|(?<=number )|(?<=no\. )|(?<=单号)|(?<=订单)|(?<=单号[:：是 ])|(?<=订单[:：是 ]))\d{5,}(?!\d)",
        re.IGNORECASE,
    )),
    ("phone", re.compile(r"(?<![\w-])(?:\+|00)\d[\d ()/.-]{6,17}\d(?!\w)|(?<!\d)1[3-9]\d{9}(?!\d)|(?<![\w-])0\d[\d /-]{6,12}\d(?!\w)")),
    ("order", re.compile(r"(?<!\d)(?<!\d-)\d{6,}(?!\d)")),
    ("name", re.compile(
        rf"(?:(?<=my name is )|(?<=My name is )|(?<=this is )(?=[A-Z][a-z]+[ ][A-Z])|(?<=This is )(?=[A-Z][a-z]+[ ][A-Z])"
        rf"|(?<=I am called )|(?<=Regards, )|(?<=regards, )){_NAME_EN}"
    )),
    ("name", re.compile(r"(?:(?<=我叫)|(?<=我的名字是)|(?<=姓名是)|(?<=姓名[:：]))[\u4e00-\u9fff·]{2,4}?(?=[，。,.！!；;\s]|$)")),
)  # fmt: skip


def masked(text: str) -> str:
    """The text with [email], [phone], [card], [account], [order], [name] and [link] in place of what they stand for."""
    for name, pattern in _PATTERNS:
        text = pattern.sub(f"[{name}]", text)
    return text


def transcript_of(turns: Iterable[tuple[str, str]]) -> str:
    """JSON, [[sender, masked text], ...], of (sender, text) pairs."""
    return json.dumps([[sender, masked(text)] for sender, text in turns], ensure_ascii=False)
