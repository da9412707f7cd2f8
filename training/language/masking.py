"""Takes out of customers' words what may tell who they are, before anybody else reads them."""

import re
from typing import Final

MASK: Final = "…"
_PERSONAL: Final = re.compile(
    r"(?:https?://|www\.)\S+"  # pages
    r"|[\w.+-]+@[\w-]+(?:\.[\w-]+)*"  # addresses of mail
    r"|(?<!\w)@\w{2,}"  # names of accounts
    r"|(?<![\w.])[+(]?\d[\d ()./-]{6,}\d(?!\w)"  # telephones, cards, orders in groups of digits
    r"|\b(?=\w*\d\w*\d\w*\d\w*\d)[A-Za-z]*\d\w{4,}\b"  # numbers of orders and parcels
    r"|(?:微信|VX|vx|QQ|qq|电话|手机)[号:： ]*[\w-]{4,}"
    r"|(?i:\b(?:my name is|i am called))\s+\w+(?:\s+[A-Z]\w+)?"
    r"|我叫[\u4e00-\u9fff]{2,3}"
)  # fmt: skip


def masked(text: str) -> str:
    """With MASK in place of addresses of mail and pages, accounts, telephones, long numbers and told names."""
    return _PERSONAL.sub(MASK, text)
