import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.language.augment import Thesaurus, pieces, with_gaps, with_likes, with_swaps

ALIKE = Thesaurus({"parcel": ("package",)}, frozenset({"快递"}))


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60))
def test_pieces_joined_are_the_text(text: str) -> None:
    assert "".join(pieces(text, ALIKE.pairs)) == text


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60), st.integers(0, 99))
def test_swaps_keep_every_letter_and_gaps_add_none(text: str, seed: int) -> None:
    assert sorted(with_swaps(text, 0.5, np.random.default_rng(seed))) == sorted(text)
    assert len(with_gaps(text, 0.5, np.random.default_rng(seed))) <= len(text)


@pytest.mark.parametrize("text", ["", "ok", "!!!", "好"])
def test_a_text_of_which_nothing_would_be_left_stays(text: str) -> None:
    assert with_gaps(text, 1.0, np.random.default_rng(0)) == text


def test_known_words_alone_are_replaced() -> None:
    assert with_likes("The parcel, late!", ALIKE, 1.0, np.random.default_rng(0)) == "The package, late!"
    assert list(pieces("我的快递呢", ALIKE.pairs)) == ["我", "的", "快递", "呢"]


def test_words_that_stand_among_the_same_words_are_alike_and_others_are_not() -> None:
    rng = np.random.default_rng(3)
    filler = [f"w{chr(97 + at)}{chr(97 + other)}" for at in range(8) for other in range(8)]
    said = []
    for _ in range(400):
        thing, deed = rng.choice(["parcel", "package"]), rng.choice(["arrived", "shipped"])
        said.append(" ".join([*rng.choice(filler, 3), "blue", str(thing), str(deed), *rng.choice(filler, 3)]))
    common = " ".join(
        f"c{chr(97 + at // 26)}{chr(97 + at % 26)}" for at in range(60)
    )  # more frequent than all of those
    likes = Thesaurus.learn([*said, *[common] * 500]).likes
    assert "package" in likes["parcel"]
    assert "arrived" not in likes["parcel"]


def test_a_few_texts_teach_no_likeness() -> None:
    assert Thesaurus.learn(["the parcel", "the package"]).likes == {}
