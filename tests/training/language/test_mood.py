import pytest

from training.language.mood import is_upset, mood_of


@pytest.mark.parametrize(
    ("text", "mood"),
    [
        ("This is unacceptable, I want to cancel.", "negative"),
        ("太过分了，我要取消订单。", "negative"),
        ("not happy with this", "negative"),
        ("不满意", "negative"),
        ("I am not disappointed at all", "positive"),
        ("Thank you, please hurry.", "positive"),
        ("好的，挺快的。", "positive"),
        ("Where is my order?", "neutral"),
        ("订单到哪了", "neutral"),
        ("", "neutral"),
    ],
)
def test_words_tell_the_mood_and_not_turns_them_round(text: str, mood: str) -> None:
    assert mood_of(text) == mood


@pytest.mark.parametrize(
    "text", ["WHERE IS MY ORDER??? answer me!!", "This is the worst shop, never again, awful", "骗子！", "😡 useless"]
)
def test_who_shouts_or_insults_is_upset(text: str) -> None:
    assert is_upset(text)
    assert mood_of(text) == "negative"


@pytest.mark.parametrize("text", ["Where is my ORDER?", "OK", "DHL and UPS", "I am disappointed", "谢谢！", "Great!!"])
def test_an_ordinary_message_is_not_upset(text: str) -> None:
    assert not is_upset(text)


def test_a_model_is_believed_only_where_it_is_sure_and_nothing_is_asked() -> None:
    text = "It came in pieces and smells of oil"
    assert [mood_of(text, p) for p in (0.01, 0.3, 0.99)] == ["negative", "neutral", "neutral"]
    assert mood_of("How do I return what came in pieces?", 0.001) == "neutral"
    assert mood_of("Thank you for the help", 0.001) == "positive"
