"""Safe copy: sentences that say what the data say and nothing else, within any channel's limit; and the frame that any
product sentence, a decoder's too, is put into. What is promised is never left to a model: the offer's words stand in the
frame exactly as the shop has written them."""

from collections.abc import Sequence
from typing import Final

from pipelines.core.copywriting import Language
from training.creatives.prompts import Brief

# (language, style) -> frames; {body} is about the product, {offer} in the shop's own words.
_FRAMES: Final[dict[tuple[str, str], tuple[str, ...]]] = {
    ("en", "plain"): ("{body} {offer}", "{offer} {body}"),
    ("en", "warm"): (
        "Hello! {body} {offer} We would love to see you.",
        "We thought of you. {body} {offer}",
        "{offer} Come and have a look: {body}",
    ),
    ("zh", "plain"): ("{body}{offer}", "{offer}{body}"),
    ("zh", "warm"): ("您好！{body}{offer}期待您的光临。", "为您留意到：{body}{offer}", "{offer}欢迎来看看：{body}"),
}
_NO_PRODUCT: Final[dict[Language, tuple[str, ...]]] = {
    "en": ("Have a look in our shop.", "Come and see what we have for you."),
    "zh": ("欢迎到店选购。", "来店里看看吧。"),
}
_STOPS: Final = ".!?…。！？"


def bodies(brief: Brief) -> list[str]:
    """Sentences about the product, each true by its data; where these are of another language only the brand is named."""
    if not brief.item_id:
        return list(_NO_PRODUCT[brief.language])
    zh = brief.language == "zh"
    if (brief.item_language and brief.item_language != brief.language) or not brief.title:
        if not brief.brand:
            return list(_NO_PRODUCT[brief.language])
        kind = brief.category if brief.category.isascii() and brief.category else "something"
        return [f"{brief.brand}的商品。"] if zh else [f"{kind.capitalize()} by {brief.brand}."]
    said = brief.title.casefold()
    more = [value for _, value in brief.attributes if value.casefold() not in said]
    if zh:
        return [_ended("，".join([brief.title, *more]), zh), _ended(f"看看这款{brief.title}", zh)]
    return [
        _ended(": ".join([brief.title, *([", ".join(more)] if more else [])]), zh),
        _ended(f"See {brief.title}", zh),
    ]


def compose(brief: Brief, body: str, variant: int) -> str | None:
    """The body in the style's frame, within the brief's limit: what does not fit goes, greeting first, then the body's last
    sentences, its end at last; the offer never. None where the offer alone is too long."""
    zh = brief.language == "zh"
    frames = _FRAMES.get((brief.language, brief.style), _FRAMES[(brief.language, "plain")])
    offer = _ended(brief.offer_text, zh) if brief.offer_text else ""
    plain = _FRAMES[(brief.language, "plain")][0]
    for frame, sentences in [(frames[variant % len(frames)], body), *((plain, part) for part in shortened(body))]:
        text = " ".join(frame.format(body=sentences, offer=offer).split())
        if len(text) <= brief.max_chars:
            return text
    room = brief.max_chars - len(offer) - 1
    if body and room >= 20:
        cut = body[: room - 1]
        kept = cut if zh else cut.rpartition(" ")[0] or cut
        return " ".join(plain.format(body=kept.rstrip(" ,:;，：") + "…", offer=offer).split())
    return offer if offer and len(offer) <= brief.max_chars else None


def shortened(body: str) -> list[str]:
    """The body, and without its last sentences, one by one."""
    ends = [
        at + 1
        for at, c in enumerate(body)
        if c in _STOPS and (at + 1 == len(body) or c in "。！？" or body[at + 1] == " ")
    ]
    cuts = [body[:end].rstrip() for end in reversed(ends)]
    return list(dict.fromkeys([body, *cuts]))


def room_for(brief: Brief) -> int:
    """Characters that a body may have in the plain frame."""
    return max(0, brief.max_chars - len(brief.offer_text) - 2)


def worded(brief: Brief, sentences: Sequence[str], n: int) -> list[str]:
    """Up to n different messages of these bodies."""
    found: dict[str, None] = {}
    frames = len(_FRAMES.get((brief.language, brief.style), _FRAMES[(brief.language, "plain")]))
    for number in range(n + frames * len(sentences)):
        if len(found) >= n or not sentences:
            break
        body = sentences[number % len(sentences)]
        text = compose(brief, body, number % frames + number // (frames * len(sentences)))
        if text:
            found[text] = None
    return list(found)


def safe(brief: Brief, n: int) -> list[str]:
    """Up to n messages of templates."""
    return worded(brief, bodies(brief), n)


def _ended(text: str, zh: bool) -> str:
    return text if not text or text[-1] in _STOPS else text + ("。" if zh else ".")
