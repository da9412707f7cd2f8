import shutil
from pathlib import Path

import pytest

from pipelines.core.config import PROJECT
from pipelines.core.errors import ConfigError
from pipelines.core.moderating import Family, load_moderation, moderation_folder

SHIPPED = PROJECT / "conf" / "moderation"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SHIPPED, tmp_path / "moderation"))


def test_the_shipped_rules_are_read_and_speak_english_and_chinese() -> None:
    rules = load_moderation(SHIPPED)
    assert [one.language for one in rules.languages] == ["en", "zh"]
    assert all(family.phrases or family.patterns for _, family in rules.families())
    assert {"sms", "push", "email"} <= set(rules.channels.limits)


def test_a_shop_without_rules_of_its_own_has_the_projects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTMARKET_CONF", str(tmp_path))
    assert moderation_folder() == SHIPPED
    (tmp_path / "moderation").mkdir()
    assert moderation_folder() == tmp_path / "moderation"


def test_a_folder_without_a_language_is_refused_because_all_would_pass(folder: Path) -> None:
    for name in ("en.yaml", "zh.yaml"):
        (folder / name).unlink()
    with pytest.raises(ConfigError, match=r"no LANGUAGE\.yaml with banned phrases"):
        load_moderation(folder)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("language: xx\nfamilies:\n  a: {why: because, patterns: ['(']}\n", r"no regular expression"),
        ("language: xx\nfamilies:\n  a: {why: because, patterns: ['x*']}\n", r"would hold every creative"),
        ("language: xx\nfamilies:\n  a: {why: because, words: [b]}\n", r"unknown key; allowed keys: why, market"),
        ("language: xx\nfamilies: {}\n", r"families"),
    ],
)
def test_a_mistake_in_a_language_is_one_line_with_file_and_key(folder: Path, text: str, told: str) -> None:
    (folder / "xx.yaml").write_text(text)
    with pytest.raises(ConfigError, match=told) as error:
        load_moderation(folder)
    assert "xx.yaml: line" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_concept_is_implied_only_by_one_that_is_there(folder: Path) -> None:
    text = "kinds:\n  material:\n    wood: {words: [wood], implied_by: [oak]}\n"
    (folder / "claims.yaml").write_text(text)
    with pytest.raises(ConfigError, match="wood is implied by 'oak', which is no material"):
        load_moderation(folder)


def test_families_of_another_market_are_left_out() -> None:
    rules = load_moderation(SHIPPED)
    law = {"law": Family(why="a law", market="cn", phrases=("x",)), "all": Family(why="anywhere", phrases=("y",))}
    one = rules.languages[0].model_copy(update={"families": law})
    rules = rules.model_copy(update={"languages": (one,)})
    assert [name for name, _ in rules.families("nl")] == ["all"]
    assert [name for name, _ in rules.families("cn")] == ["law", "all"]
    assert [name for name, _ in rules.families()] == ["law", "all"]
