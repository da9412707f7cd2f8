"""Summaries: whose sentences they take, how the sides share them, and that nothing is said twice."""

from hypothesis import given, settings
from hypothesis import strategies as st

from training.language.summary import CON, PRO, Said, cosine, summed_up


def said(review: int, aspect: str, opinion: int, sentence: str) -> Said:
    return Said(f"r{review}", f"u{review}", aspect, opinion, sentence)


REVIEWS = [
    said(1, "looks", 1, "A lovely lamp for the hall."),
    said(2, "looks", 1, "Lovely lamp, lovely shade."),
    said(3, "looks", 1, "The lamp is lovely."),
    said(4, "price", 1, "Fair price for what it is."),
    said(5, "delivery", -1, "It came nine days late."),
]


def test_what_most_say_comes_first_with_how_many_say_it() -> None:
    picks = summed_up(REVIEWS, most=2)
    assert [(pick.side, pick.rank, pick.said.aspect, pick.n_said) for pick in picks] == [
        (PRO, 1, "looks", 3),
        (PRO, 2, "price", 1),
        (CON, 1, "delivery", 1),
    ]


def test_the_sentence_that_stands_for_others_is_nearest_to_them() -> None:
    odd = said(6, "looks", 1, "Green is what my aunt in Lisbon would have chosen.")
    pick = next(one for one in summed_up([*REVIEWS, odd], most=1) if one.side == PRO)
    assert "lamp" in pick.said.sentence


def test_the_side_that_few_take_has_one_sentence_at_least_and_never_more_than_the_other() -> None:
    praise = {"looks": "A lovely shade.", "price": "Cheap enough for me.", "use": "Works with every bulb."}
    many = [said(at, aspect, 1, sentence) for at in range(8) for aspect, sentence in praise.items()]
    picks = summed_up([*many, REVIEWS[-1], said(9, "quality", -1, "The switch broke.")], most=3)
    assert [pick.side for pick in picks].count(PRO) == 3
    assert [pick.side for pick in picks].count(CON) == 1


def test_a_sentence_about_two_aspects_is_told_once() -> None:
    both = "Fair price and a lovely shade."
    picks = summed_up([said(1, "looks", 1, both), said(1, "price", 1, both)], most=3)
    assert [pick.said.sentence for pick in picks] == [both]


def test_no_review_no_summary() -> None:
    assert summed_up([], most=3) == []


@settings(max_examples=40)
@given(
    st.lists(
        st.builds(
            said, st.integers(0, 9), st.sampled_from(["looks", "price"]), st.sampled_from([-1, 1]),
            st.text(alphabet="lamp 灯好坏x", min_size=1, max_size=30),
        ),
        max_size=12,
    )
)  # fmt: skip
def test_every_sentence_is_one_of_its_review_s_own_and_on_its_side(given_said: list[Said]) -> None:
    for pick in summed_up(given_said, most=2):
        assert pick.said in given_said
        assert (pick.side == PRO) == (pick.said.opinion > 0)
        assert 1 <= pick.n_said <= len({one.review_id for one in given_said})


def test_the_cosine_of_a_sentence_with_itself_is_one() -> None:
    vector = {"lamp": 0.6, "hall": 0.8}
    assert abs(cosine(vector, vector) - 1) < 1e-12
