"""What a desk knows is checked when it is read: every shipped file loads, and a file that could never be answered from does not."""

from pathlib import Path
from string import Formatter
from typing import Any

import pytest
import yaml

from pipelines.core.config import PROJECT, load_knowledge, load_shop, shop_names
from pipelines.core.errors import ConfigError
from pipelines.core.servicing import Service, Wording

FILES = sorted((PROJECT / "conf" / "knowledge").glob("*.yaml"))
DEMO = yaml.safe_load((PROJECT / "conf" / "knowledge" / "demo.yaml").read_text(encoding="utf-8"))


def changed(tmp_path: Path, **changes: Any) -> Path:
    (tmp_path / "shop.yaml").write_text(yaml.safe_dump(DEMO | changes, allow_unicode=True), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_shipped_knowledge_loads_and_its_examples_are_many_in_both_languages(path: Path) -> None:
    knowledge = load_knowledge(path.stem)
    for intent in knowledge.intents:
        assert min(len(intent.examples.en), len(intent.examples.zh)) >= 10, intent.id
        assert all(any("\u4e00" <= one <= "\u9fff" for one in text) for text in intent.examples.zh), intent.id
    texts, labels = knowledge.examples
    assert len(texts) == len(labels) == len(set(texts))
    assert all(article.text.places <= set(knowledge.facts) for article in knowledge.articles)


def test_every_desk_of_a_shipped_shop_has_its_knowledge() -> None:
    named = {shop.service.knowledge for name in shop_names() if (shop := load_shop(name)).service}
    assert named
    assert named <= {path.stem for path in FILES}


def test_both_languages_of_an_answer_hold_the_same_facts() -> None:
    knowledge = load_knowledge("demo")
    wordings = [intent.answer for intent in knowledge.intents] + [article.text for article in knowledge.articles]
    for wording in wordings:
        en, zh = ({name for _, name, _, _ in Formatter().parse(text) if name} for text in (wording.en, wording.zh))
        assert en == zh, wording.en


def test_a_name_without_a_file_and_an_unknown_key_are_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no .*nobody\.yaml; known there: demo; add that file"):
        load_knowledge("nobody")
    with pytest.raises(
        ConfigError, match=r"shop\.yaml: line \d+: opening: unknown key; allowed keys: intents, articles"
    ):
        load_knowledge("shop", changed(tmp_path, opening="9"))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"ask": {}}, r"intent 'order_status' needs \['order_number'\], but `ask` has no question for it"),
        ({"facts": {}}, r"nothing fills \['reply_hours'\]"),
        ({"articles": [DEMO["articles"][0] | {"id": "cancel"}]}, r"ids are not unique: \['cancel'\]"),
        ({"articles": [DEMO["articles"][0] | {"text": {"en": "{order_number}", "zh": "好"}}]}, r"article 'shipping_countries': nothing"),
        ({"intents": DEMO["intents"][:1]}, "at least 2 items"),
        ({"intents": [DEMO["intents"][0], DEMO["intents"][0] | {"id": "twin"}]}, "is an example of both 'order_status' and 'twin'"),
        ({"facts": {name: fact for name, fact in DEMO["facts"].items() if name != "in_stock"}}, r"`facts` needs \['in_stock'"),
    ],
)  # fmt: skip
def test_a_knowledge_that_could_not_be_answered_from_is_refused(
    tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        load_knowledge("shop", changed(tmp_path, **change))


def test_a_wording_speaks_english_to_whom_it_has_no_words_for() -> None:
    wording = Wording(en="yes", zh="是")
    assert [wording.of(tongue) for tongue in ("en", "zh", "other")] == ["yes", "是", "yes"]


def test_a_desk_is_named_by_a_plain_name() -> None:
    with pytest.raises(ValueError, match="should match pattern"):
        Service(knowledge="../secrets")
