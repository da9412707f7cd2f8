"""What a model says is known or plain, word by word."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.core.moderating import load_moderation
from tests.training.language.test_moderation import LAMP, TEA
from tests.training.small_copywriter import row
from training.creatives import templates
from training.language.moderation import CLEAN, HELD, Creative, Moderator
from training.language.moderation_grounds import Grounds
from training.language.moderation_known import known_of
from training.language.moderation_views import normal
from training.tasks.copywriter import page_brief

GROUNDS = Grounds(load_moderation().plain.words)


def unsaid(text: str, facts: dict[str, Any]) -> list[str]:
    return GROUNDS.unsaid(normal(text), known_of(facts))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Have a look at this oak desk lamp from Nordlys.", []),
        (
            "Lamps with a switch: it's oaken, and you'll love it twice.",
            ["oaken", "twice"],
        ),  # lamp and switches are known
        ("Perfect for a hot day, a healthy lamp", ["perfect", "hot", "healthy"]),
        ("A waterproof lamp", ["waterproof"]),  # the catalogue says that it is not
        ("A lamp, lamp, LAMP by Philips, by PHILIPS", ["philips"]),
        ("20% off until midnight!", []),  # the offer's words
        ("", []),
    ],
)
def test_every_word_is_known_by_its_stem_or_plain(text: str, found: list[str]) -> None:
    assert unsaid(text, LAMP) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("看看这款山间有机绿茶，八折优惠。", []),
        ("山间绿茶，清热降火。", ["清热降火"]),
        ("欢迎来看看这款红茶", ["红茶"]),  # green is known, red is not
        ("为您留意到：有机绿茶250克。今晚24点截止", []),
    ],
)
def test_chinese_is_read_without_spaces(text: str, found: list[str]) -> None:
    assert unsaid(text, TEA) == found


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("style", ["plain", "warm"])
@pytest.mark.parametrize("about", ["product", "nothing"])
def test_templates_say_nothing_that_a_model_may_not(language: str, style: str, about: str) -> None:
    brief = replace(
        page_brief(row(2), 300), language=language, style=style, offer_text="10% off" if language == "en" else "九折"
    )
    brief = brief if about == "product" else brief.without_product()
    found = templates.safe(brief, 3)
    assert found
    assert [unsaid(text, brief.facts) for text in found] == [[]] * len(found)


def test_only_a_models_text_is_held_for_a_word_that_nobody_said() -> None:
    moderator = Moderator.load()
    text = "A cheerful lamp for long evenings."

    def judged(by_model: bool) -> tuple[str, str]:
        (told,) = moderator.judge([Creative("c", "i", text, "en", "email", facts=LAMP, by_model=by_model)])
        return told.status, told.rule

    assert judged(by_model=False) == (CLEAN, "")
    assert judged(by_model=True) == (HELD, "claim.unsaid")


@given(st.text(max_size=80))
def test_what_is_known_may_always_be_said_again_and_no_text_fails(text: str) -> None:
    assert unsaid(text, {"title": text}) == []
    unsaid(text, {})
