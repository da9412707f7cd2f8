"""Templates: always within the limit, the offer always whole, and nothing said that the data do not say."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.creatives.measures import invented
from training.creatives.prompts import Brief, as_data
from training.creatives.templates import bodies, compose, room_for, safe, shortened

LAMP = Brief(
    offer_id="save10", offer_text="10% off until midnight", discount_percent=10, channel="email", style="warm",
    language="en", max_chars=200, item_id="i1", title="Nordlys dimmable desk lamp, oak, 30 cm", brand="Nordlys",
    category="lighting", attributes=(("material", "oak"), ("size", "30 cm")), item_language="en",
)  # fmt: skip


def test_a_message_is_the_product_and_the_offer_in_the_style_s_words() -> None:
    assert safe(LAMP, 2) == [
        "Hello! Nordlys dimmable desk lamp, oak, 30 cm. 10% off until midnight. We would love to see you.",
        "We thought of you. See Nordlys dimmable desk lamp, oak, 30 cm. 10% off until midnight.",
    ]
    plain = replace(LAMP, style="plain")
    assert safe(plain, 1) == ["Nordlys dimmable desk lamp, oak, 30 cm. 10% off until midnight."]
    assert safe(replace(LAMP, style="unheard of"), 1) == safe(plain, 1)


def test_attributes_that_the_title_lacks_are_told() -> None:
    brief = replace(LAMP, title="Desk lamp", style="plain", offer_text="")
    assert safe(brief, 1) == ["Desk lamp: oak, 30 cm."]


def test_chinese_has_its_own_words() -> None:
    brief = replace(
        LAMP, language="zh", style="plain", title="橡木台灯", item_language="zh", attributes=(), offer_text="午夜前9折"
    )
    assert safe(brief, 1) == ["橡木台灯。午夜前9折。"]


def test_a_product_told_in_another_language_is_named_by_its_brand() -> None:
    brief = replace(LAMP, title="橡木台灯", item_language="zh", style="plain")
    assert safe(brief, 1) == ["Lighting by Nordlys. 10% off until midnight."]
    assert bodies(replace(brief, brand="")) == bodies(LAMP.without_product())


def test_a_safe_message_without_a_product_holds_no_word_of_it() -> None:
    for text in safe(LAMP.without_product(), 4):
        assert "10% off until midnight" in text
        assert "Nordlys" not in text


def test_what_does_not_fit_goes_greeting_first_and_the_offer_never() -> None:
    body = "A lamp of oak. It gives a warm light."
    assert compose(replace(LAMP, max_chars=63), body, 0) == f"{body} 10% off until midnight."
    assert compose(replace(LAMP, max_chars=40), body, 0) == "A lamp of oak. 10% off until midnight."
    assert compose(replace(LAMP, max_chars=30), body, 0) == "10% off until midnight."
    assert compose(replace(LAMP, max_chars=10), body, 0) is None


def test_sentences_go_from_the_end_and_decimals_end_none() -> None:
    assert shortened("One. It is 2.5 m long. Three!") == [
        "One. It is 2.5 m long. Three!",
        "One. It is 2.5 m long.",
        "One.",
    ]
    assert shortened("一。二！") == ["一。二！", "一。"]


TEXT = st.text(st.characters(codec="utf-8"), max_size=80)


@given(TEXT, TEXT, TEXT, st.sampled_from(["en", "zh"]), st.sampled_from(["plain", "warm"]), st.integers(20, 200))
def test_whatever_the_data_say_a_message_fits_holds_the_offer_and_claims_nothing_more(
    title: str, value: str, offer: str, language: str, style: str, most: int
) -> None:
    brief = replace(
        LAMP, title=as_data(title), attributes=(("a", as_data(value, 60)),), offer_text=as_data(offer), style=style,
        language=language, item_language=language, max_chars=most,
    )  # fmt: skip
    facts = " ".join([brief.title, brief.brand, brief.category, *brief.values, brief.offer_text])
    for text in safe(brief, 3):
        assert 0 < len(text) <= most
        assert " ".join(brief.offer_text.split()) in text
        assert "superlative" not in invented(text, facts)
        assert "discount" not in invented(text, facts)
        assert text.isprintable() or not facts.isprintable()
    assert room_for(brief) <= most


@pytest.mark.parametrize("n", [0, 1, 5, 40])
def test_no_more_and_no_two_alike_are_made(n: int) -> None:
    texts = safe(LAMP, n)
    assert len(texts) == len(set(texts)) <= n
