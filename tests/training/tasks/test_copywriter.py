"""The copywriter's examples, measures and refusals; what every task promises is in tests/training/test_task_contract.py."""

import json
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipelines.core.columns import Columns as C
from pipelines.core.errors import NoDataError, TrainingError, WeightsError
from pipelines.core.shop import Models, Shop, Source
from pipelines.core.storage import Store
from tests.pipelines.test_report import publish
from tests.training.small_copywriter import examples, row, settings
from training.task import Fitting
from training.tasks.copywriter import FACTS, PAGE, TASK, VALUES, own_text, page_brief

NIGHT = date(2026, 3, 20)
MODELS = Models(tasks=("copywriter",), train_nights=4, valid_nights=1, judged_nights=1)
SHOP = Shop(shop="small", landing={"events": Source(connector="jsonl", pattern="{night}/*")}, models=MODELS)
NIGHTS = tuple(NIGHT - timedelta(days=back) for back in range(5, -1, -1))


def filled(root: Path) -> Store:
    store = Store(root, "small")
    publish(store, "catalog", NIGHT, [*(row(number) for number in range(60)), {**row(60), C.DESCRIPTION: None}])
    return store


def test_every_product_with_a_text_belongs_to_one_night_of_a_training(tmp_path: Path) -> None:
    store = filled(tmp_path)
    found = TASK.examples(SHOP, store, NIGHTS)
    assert sorted(found.customer) == [f"i{number:03d}" for number in range(60)]  # 60 tells no text
    parts = [TASK.examples(SHOP, store, part) for part in (NIGHTS[:4], NIGHTS[4:5], NIGHTS[5:])]
    assert sum(map(len, parts)) == 60
    assert set.intersection(*(set(part.customer) for part in parts)) == set()
    assert set(parts[2].night) == {np.datetime64(NIGHT)}
    again = TASK.examples(SHOP, store, NIGHTS[5:])
    assert again.rows.equals(parts[2].rows)


def test_at_most_so_many_products_of_a_night_are_taken(tmp_path: Path) -> None:
    models = MODELS.model_copy(update={"settings": {"copywriter": {"max_per_night": 2}}})
    found = TASK.examples(SHOP.model_copy(update={"models": models}), filled(tmp_path), NIGHTS)
    assert np.unique(found.night, return_counts=True)[1].tolist() == [2] * 6


def test_without_a_catalogue_there_is_nothing_to_learn_from(tmp_path: Path) -> None:
    with pytest.raises(NoDataError, match="no product text of nights 2026-03-15 to 2026-03-20"):
        TASK.examples(SHOP, Store(tmp_path, "small"), NIGHTS)


def test_a_text_is_judged_by_the_shop_s_own_and_counts_nothing_where_it_invents() -> None:
    own, facts = "An oak lamp by Nordlys.", "Oak lamp | Nordlys"
    target = pa.table({C.TEXT: [own] * 3, FACTS: [facts] * 3, VALUES: [["oak"]] * 3})
    predicted = pa.table({C.TEXT: [own, "A brass lamp by Nordlys.", ""]})

    def of(name: str) -> float:
        return float(TASK.measures[name].of(target, predicted, np.array([1.0, 1.0, 2.0])))

    assert of("rouge_l_true") == pytest.approx(1 / 4)
    assert of("rouge_l") == pytest.approx((1 + 3 / 5) / 4)
    assert of("coverage") == pytest.approx(1 / 4)
    assert of("invented_share") == pytest.approx(1 / 4)


def test_the_baseline_says_the_data_in_the_product_s_language() -> None:
    train, valid = examples()
    said = TASK.baseline(train, Fitting()).predict(valid.rows)[C.TEXT].to_pylist()
    assert said[0] == "Nordlys lamp 24: oak."
    assert page_brief(valid.rows.to_pylist()[1], 80).channel == PAGE


def test_the_shop_s_text_is_cut_to_whole_sentences() -> None:
    assert own_text("One sentence. Another one.", 20) == "One sentence."
    assert own_text("A sentence too long to keep", 10) == ""
    assert own_text(None, 10) == ""


def test_weights_that_are_not_there_and_a_shop_without_texts_are_told_in_one_line(tmp_path: Path) -> None:
    train, valid = examples()
    how = Fitting(settings={"decoder": f"path:{tmp_path}"}, weights=tmp_path, work=tmp_path / "work")
    with pytest.raises(WeightsError, match=r"no config\.json"):
        TASK.fit(train, valid, how)
    nobody = replace(how, settings={"decoder": ""})
    with pytest.raises(TrainingError, match=r"no language has a decoder and 8 product texts \(en 19, zh 5\)"):
        TASK.fit(train, valid, nobody)


def test_a_decoder_writes_its_own_language_about_products_alone(tmp_path: Path) -> None:
    train, valid = examples()
    how = Fitting(threads=1, settings=settings(tmp_path)["decoder"], work=tmp_path / "work")
    model = TASK.fit(train, valid, how)
    english, chinese = page_brief(row(1), 80), page_brief(row(5), 80)
    assert (model.can_write(english), model.can_write(chinese), model.can_write(english.without_product())) == (
        True,
        False,
        False,
    )
    made = model.write([english], 2, 0, 1)
    assert model.write([english], 2, 0, 1) == made
    assert all(len(text) <= 80 for texts in made for text in texts)
    (tmp_path / "model").mkdir()
    model.save(tmp_path / "model")
    assert json.loads((tmp_path / "model" / "model.json").read_text())["languages"] == ["en"]
