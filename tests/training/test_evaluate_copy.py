"""The judgement of ad copy on a few lines, and its refusals."""

import json
from pathlib import Path

import pytest

from pipelines.core.errors import NoDataError
from tests.training.tiny_decoder import make
from training import evaluate_copy
from training.evaluate_copy import read_cases, run

REAL = Path("../shared/data/advertisegen")
LINES = [
    {"content": "类型#裙*材质#针织*颜色#红色", "summary": "这款红色针织裙很好看。"},
    {"content": "材质#牛仔布*颜色#白色", "summary": "白色牛仔布外套，只要99元。"},
]


def written(folder: Path) -> Path:
    text = "\n".join(json.dumps(line, ensure_ascii=False) for line in LINES)
    (folder / "dev.json").write_text(text, encoding="utf-8")
    return folder


def test_templates_are_judged_beside_a_person_and_what_is_skipped_is_said(tmp_path: Path) -> None:
    found = run(written(tmp_path), 1, tmp_path)
    assert found["metrics"]["zh_coverage"]["value"] == 1
    assert found["metrics"]["zh_invented_share"]["value"] == 0
    person = found["baselines"]["a person"]
    assert person["zh_invented_share"]["value"] == 0.5  # 99 yuan
    assert not [name for name in person if "bleu" in name or "rouge" in name]
    assert found["paired"]["a person"]["zh_invented_share"]["value"] == -0.5
    assert found["rows"] == {"zh": 2}
    assert any("no Chinese decoder" in why for why in found["skipped"].values())
    assert set(found["metrics"]) <= set(found["docs"]) | {"zh_rouge_l_characters_percent"}


def test_a_chinese_decoder_that_is_given_is_judged_and_templates_stand_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate_copy, "NEW_TOKENS", 6)
    found = run(written(tmp_path), 1, tmp_path, f"path:{make(tmp_path / 'tiny')}")
    assert "templates" in found["baselines"]
    assert 0 <= found["metrics"]["zh_bleu_4_percent"]["value"] <= 100
    assert not any("decoder" in name for name in found["skipped"])


def test_the_type_names_the_thing_and_what_has_none_goes_by_its_first_value(tmp_path: Path) -> None:
    assert [case.brief.title for case in read_cases(written(tmp_path))] == ["裙", "牛仔布"]


@pytest.mark.parametrize("text", ["", "{}", '{"content": "类型", "summary": "x"}', "no json"])
def test_another_file_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "dev.json").write_text(text)
    with pytest.raises(NoDataError, match=r"dev\.json") as refused:
        read_cases(tmp_path)
    assert "\n" not in str(refused.value)


@pytest.mark.skipif(not REAL.is_dir(), reason="../shared/data/advertisegen is not here")
def test_all_lines_of_the_real_file_are_read() -> None:
    cases = read_cases(REAL)
    assert len(cases) == 1070
    assert all(case.brief.values and case.reference for case in cases)
