"""What is heard in reviews: aspects and opinions, on reviews whose cause the demo shop's own scripts tell, and on small ones."""

import numpy as np
import pytest

from pipelines.simulator.voices import _CLOSINGS, _REVIEWS
from training.language.aspects import OTHER, Ears, log_odds

CAUSES = {"late": "delivery", "defect": "quality"}
STARS = {"late": 2, "defect": 1, "meh": 3, "good": 5}


def told() -> tuple[list[str], list[str], np.ndarray]:
    """Every review that the demo shop's customers may write of a lamp: its cause and text, and its stars from -1 to 1."""
    causes, texts = [], []
    for cause, scripts in _REVIEWS.items():
        for tongue, between, item in ((0, " ", "lamp"), (1, "", "台灯")):
            for script in scripts:
                for closing in _CLOSINGS[cause]:
                    parts = [one.split("=")[tongue] for one in (script, closing)]
                    causes.append(cause)
                    texts.append(between.join(parts).format(item=item, days=3))
    return causes, texts, np.array([(STARS[cause] - 3) / 2 for cause in causes])


def test_what_went_wrong_in_the_demo_shop_is_heard_as_its_aspect_and_blamed() -> None:
    causes, texts, stars = told()
    ears = Ears.fit(texts, np.where(stars > 0, 1.0, np.where(stars < 0, 0.0, np.nan)))
    heard = ears.hear_all(texts, stars)
    for cause, aspect in CAUSES.items():
        mine = [review for review, one in zip(heard, causes, strict=True) if one == cause]
        found = [any(mention.aspect == aspect and mention.opinion < 0 for mention in review) for review in mine]
        # "does not look like the picture" is heard as what it says: looks
        assert np.mean(found) > 0.95 or (cause == "defect" and np.mean(found) > 0.6), (cause, np.mean(found))
    good = [review for review, one in zip(heard, causes, strict=True) if one == "good"]
    assert not any(mention.opinion < 0 for review in good for mention in review)


def test_one_review_praises_one_aspect_and_blames_another() -> None:
    found = {one.aspect: one.opinion for one in Ears.seeded().hear("Lovely colour, but delivery was late and slow.")}
    assert found == {"looks": 1, "delivery": -1}
    found = {one.aspect: one.opinion for one in Ears.seeded().hear("质量很好，但是物流太慢")}
    assert found == {"quality": 1, "delivery": -1}


def test_a_denial_turns_an_opinion_round() -> None:
    ears = Ears.seeded()
    assert ears.score(["good"]) > 0 > ears.score(["not:good"])


@pytest.mark.parametrize("text", ["", "!!!", "👍", "12345"])
def test_a_review_that_says_nothing_is_of_no_aspect(text: str) -> None:
    assert all(one.aspect == OTHER for one in Ears.seeded().hear(text))


def test_stars_decide_where_the_words_say_nothing() -> None:
    ears = Ears.seeded()
    assert ears.hear("The delivery", 1.0)[0].opinion == 1
    assert ears.hear("The delivery", -1.0)[0].opinion == -1
    assert ears.hear("The delivery")[0].opinion == 0


def test_a_word_that_stands_beside_an_aspect_s_words_joins_it_and_one_that_praises_does_not() -> None:
    texts = [f"the hinge quality seam part {at}. nice evening {at}" for at in range(40)]
    texts += [f"the kettle boils quickly {at}" for at in range(200)]
    ears = Ears.fit(texts, np.full(len(texts), np.nan))
    assert "hinge" in ears.aspects["quality"]
    assert "evening" not in ears.aspects["quality"]


def test_what_many_clauses_say_that_is_no_aspect_becomes_a_topic_with_its_words_as_name() -> None:
    texts = [f"the kettle whistle rattles tonight {at}" for at in range(60)]
    texts += [f"fair price, number {at} of the cheap sort" for at in range(200)]
    ears = Ears.fit(texts, np.full(len(texts), np.nan))
    assert ears.topics
    assert ears.topics[0].startswith("topic: kettle, ")
    assert {one.aspect for one in ears.hear("my kettle is new")} == {ears.topics[0]}
    assert Ears.fit(texts, np.full(len(texts), np.nan), 0).topics == ()


def test_weights_are_learnt_from_stars() -> None:
    texts = ["the zipper jams"] * 30 + ["the zipper glides"] * 30
    ears = Ears.fit(texts, np.repeat([0.0, 1.0], 30))
    assert ears.score(["jam"]) < 0 < ears.score(["glide"])
    assert abs(ears.score(["zipper"])) < 0.05


def test_a_judge_reads_every_different_clause_once() -> None:
    asked: list[str] = []

    def judge(texts: list[str]) -> np.ndarray:
        asked.extend(texts)
        return np.full(len(texts), 0.9)

    ears = Ears(Ears.seeded().aspects, {}, judge=judge)  # type: ignore[arg-type]
    heard = ears.hear_all(["bad price", "bad price", "late delivery"], np.full(3, np.nan))
    assert sorted(asked) == ["bad price", "late delivery"]
    assert {mention.opinion for review in heard for mention in review} == {1}


def test_log_odds_of_words_alike_in_both_are_nothing_and_z_grows_with_counts() -> None:
    ratio, z = log_odds(np.array([10.0, 40.0, 50.0]), np.array([10.0, 10.0, 80.0]), np.ones(3))
    assert ratio[0] == pytest.approx(0.0, abs=1e-9)
    assert ratio[1] > 0 > ratio[2]
    more = log_odds(np.array([100.0, 400.0, 500.0]), np.array([100.0, 100.0, 800.0]), np.ones(3))[1]
    assert more[1] > z[1]
