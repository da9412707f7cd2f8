"""Which of several generated texts a message is made of; writing itself is in tests/training/tasks/test_copywriter.py."""

from tests.training.small_copywriter import row
from training.creatives.writer import best, ended
from training.tasks.copywriter import page_brief

LAMP = page_brief(row(2), 80)  # Nordlys lamp 2, linen
NOTHING_TOLD = page_brief({**row(2), "attributes": None}, 80)


def test_the_text_that_says_most_of_the_attributes_comes_first_and_of_equals_the_likeliest() -> None:
    assert best(["A lamp.", "A linen lamp.", "Lamp of linen."], LAMP) == ["A linen lamp.", "Lamp of linen.", "A lamp."]


def test_what_claims_more_than_the_brief_tells_is_left_out_however_much_it_covers() -> None:
    assert best(["A linen lamp, 20 hours of light.", "A brass lamp of linen.", "A lamp."], LAMP) == ["A lamp."]
    assert best(["The best linen lamp.", "Linen for 9 euros."], LAMP) == []


def test_without_attributes_the_likeliest_stays_first() -> None:
    assert best(["A lamp.", "A linen lamp."], NOTHING_TOLD) == ["A lamp."]  # nobody told that it is linen
    assert best(["A lamp.", "Lamp by Nordlys."], NOTHING_TOLD) == ["A lamp.", "Lamp by Nordlys."]


def test_a_word_that_nobody_said_is_no_word_of_a_message() -> None:
    assert best(["A lamp for your desk.", "A healthy lamp.", "Have a look at this lamp."], LAMP) == [
        "Have a look at this lamp."
    ]


def test_a_text_is_kept_up_to_its_last_whole_sentence() -> None:
    assert best(["A linen lamp. It stands on", "It never"], LAMP) == ["A linen lamp."]
    assert ended("It never") == ""


def test_a_number_that_is_told_of_one_thing_is_no_ground_to_say_it_of_another() -> None:
    tea = page_brief({**row(2), "title": "Chamomile infusion, 20 bags"}, 80)
    texts = ["Chamomile infusion, 20 bags, linen, brewed in 20 minutes.", "Chamomile infusion, 20 bags."]
    assert best(texts, tea) == texts[1:]
