"""The words of a night's plan: who gets which, what is held, and that a text is a function of its brief."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipelines.core.columns import Columns as C
from pipelines.core.copywriting import Write
from pipelines.core.errors import NoDataError, WrongUseError
from pipelines.core.moderating import load_moderation
from pipelines.core.storage import Store
from pipelines.strategy.judgement import Interval
from tests.training.small_copy import NIGHT, OFFER, USERS, fill, shop
from tests.training.tiny_decoder import make
from training import write_night
from training.creatives import worked
from training.creatives.writer import Writers
from training.language.moderation import Moderator
from training.tasks.copywriter import CopywriterModel

NO_MODEL = {"folder": None, "name": "small-copywriter-baseline", "version": "none"}


@pytest.fixture(autouse=True)
def rules_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Moderator, "load", classmethod(lambda cls: _rules()))


@cache
def _rules() -> Moderator:
    return Moderator(load_moderation())


def run(
    root: Path, out: Path, model: dict[str, Any] = NO_MODEL, reusable: list[Path] | None = None,
    decisions: dict[str, str] | None = None, **settings: Any,
) -> tuple[dict[str, Any], dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:  # fmt: skip
    """Result, creatives by id and plan_copy by user."""
    spec = {
        "shop": shop(**settings).model_dump(mode="json"), "root": str(root), "night": NIGHT.isoformat(), "threads": 1,
        "model": model, "reusable": [str(path) for path in reusable or []], "decisions": decisions or {}, "out": str(out),
    }  # fmt: skip
    made = write_night.run(json.loads(json.dumps(spec)))
    tables = [
        pq.ParquetFile(out / name / "part-00000.parquet").read().to_pylist() for name in ("creatives", "plan_copy")
    ]
    return made, {row[C.CREATIVE_ID]: row for row in tables[0]}, {row[C.USER_KEY]: row for row in tables[1]}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill(tmp_path_factory.mktemp("store")).root


def texts(creatives: dict[str, Any], copies: dict[str, Any]) -> list[str]:
    """Of customers 0 to 4."""
    return [creatives[copies[key][C.CREATIVE_ID]][C.TEXT] for key in USERS[:5]]


def test_who_is_sent_something_gets_words_about_it_with_the_offer_in_full(root: Path, tmp_path: Path) -> None:
    made, creatives, copies = run(root, tmp_path, variants=1)
    assert set(copies) == set(USERS[:5])
    assert texts(creatives, copies) == [
        f"Nordlys desk lamp, oak: 30 cm. {OFFER}.",
        f"Nordlys desk lamp, oak: 30 cm. {OFFER}.",
        f"Have a look in our shop. {OFFER}.",  # what the product says of itself may not be said
        "龙井茶 250 克。午夜前9折。",
        f"Have a look in our shop. {OFFER}.",
    ]
    assert made["counts"]["customers_by_source"] == {"template": 5}  # the boast's is that of no product
    assert made["counts"]["briefs"] == 4


def test_product_data_that_may_not_be_said_is_held_with_its_rule(root: Path, tmp_path: Path) -> None:
    made, creatives, _ = run(root, tmp_path, variants=1)
    (held,) = [row for row in creatives.values() if row[C.STATUS] == "held"]
    assert held[C.ITEM_ID] == "boast"
    assert held[C.RULE]
    assert held[C.DETAIL]
    assert made["counts"]["by_rule"] == {held[C.RULE]: 1}


def test_wordings_are_drawn_alike_often_with_the_chance_that_is_told(root: Path, tmp_path: Path) -> None:
    _, creatives, copies = run(root, tmp_path, variants=2)
    assert copies[USERS[0]][C.PROPENSITY] == 0.5
    store, usable = Store(root, "small"), sorted(name for name, row in creatives.items() if row[C.ITEM_ID] == "lamp")
    plan = write_night._plan(store, NIGHT, shop())
    asked = write_night.asked_for(plan, None, shop(), {})
    book = write_night.Book(Moderator.load(), {}, creatives, {brief.id: usable for brief in asked.briefs})
    drawn = [
        write_night._drawn(plan, asked, book, NIGHT, shop(seed=seed).write or Write(), {})[C.CREATIVE_ID][0].as_py()
        for seed in range(60)
    ]
    assert set(drawn) == set(usable)
    assert 11 <= drawn.count(usable[0]) <= 49  # of 60 fair tosses; five standard deviations are 19


def test_a_kind_that_is_proven_is_drawn_more_often_and_its_chance_is_told(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sure = {("en plain", worked.FIRST): Interval(0.05, 0.01, 0.09)}
    monkeypatch.setattr(worked, "gains", lambda lots: sure)
    made, creatives, copies = run(root, tmp_path, variants=2, even_percent=20)
    for key in USERS[:2]:
        text, chance = creatives[copies[key][C.CREATIVE_ID]][C.TEXT], copies[key][C.PROPENSITY]
        assert chance == pytest.approx(0.9 if text.startswith(OFFER) else 0.1)
    assert made["counts"]["gain_in_answers"] == {"en plain | offer first": sure["en plain", worked.FIRST].as_dict()}


def test_the_same_night_makes_the_same_bytes(root: Path, tmp_path: Path) -> None:
    for place in ("one", "two"):
        run(root, tmp_path / place)
    for table in ("creatives", "plan_copy"):
        one, two = ((tmp_path / place / table / "part-00000.parquet").read_bytes() for place in ("one", "two"))
        assert one == two


def test_what_a_person_approved_is_sent_and_what_was_rejected_never(root: Path, tmp_path: Path) -> None:
    _, before, _ = run(root, tmp_path / "before", variants=1)
    (held,) = [name for name, row in before.items() if row[C.STATUS] == "held"]
    (lamp,) = [name for name, row in before.items() if row[C.ITEM_ID] == "lamp"]
    said = {held: "approved", lamp: "rejected"}
    _, after, copies = run(root, tmp_path / "after", decisions=said, variants=1)
    assert (after[held][C.STATUS], after[lamp][C.STATUS]) == ("approved", "rejected")
    assert copies[USERS[2]][C.CREATIVE_ID] == held
    assert texts(after, copies)[0] == f"Have a look in our shop. {OFFER}."


@pytest.mark.parametrize(("text", "rule"), [("warm " * 1_000, "too_long"), ("=1+1 lamps", "formula")])
def test_no_approval_makes_a_text_fit_its_channel_or_a_spreadsheet(root: Path, text: str, rule: str) -> None:
    plan = write_night._plan(Store(root, "small"), NIGHT, shop())
    brief = write_night.asked_for(plan, None, shop(), {}).briefs[0]
    name = write_night.creative_id(brief, text)
    book = write_night.Book(Moderator.load(), {name: "approved"})
    book.add([(brief, brief, [text])], "template", "none")
    assert (book.rows[name][C.STATUS], book.rows[name][C.RULE]) == ("held", rule)
    assert brief.id not in book.usable


def test_where_nothing_may_be_sent_the_row_has_no_text(root: Path, tmp_path: Path) -> None:
    _, first, _ = run(root, tmp_path / "first", variants=1)
    decisions = dict.fromkeys(first, "rejected")
    _, second, _ = run(root, tmp_path / "second", decisions=decisions, variants=1)
    made, third, copies = run(root, tmp_path / "third", decisions=dict.fromkeys(second, "rejected"), variants=1)
    assert {row[C.STATUS] for row in third.values()} == {"rejected"}
    assert {(row[C.CREATIVE_ID], row[C.PROPENSITY]) for row in copies.values()} == {(None, None)}
    assert made["counts"]["customers_by_source"] == {"no text": 5}


def test_an_offer_without_chinese_words_is_not_told_in_chinese(root: Path, tmp_path: Path) -> None:
    told = shop(variants=1)
    offers = tuple(offer.model_copy(update={"text_zh": ""}) for offer in told.strategy.offers)
    said = write_night._languages(Store(root, "small"), NIGHT, told)
    assert said == {USERS[3]: "zh"}  # the newest message of the customer's own
    plan = write_night._plan(Store(root, "small"), NIGHT, told)
    silent = told.model_copy(update={"strategy": told.strategy.model_copy(update={"offers": offers})})
    asked = write_night.asked_for(plan, None, silent, said)
    assert {brief.language for brief in asked.briefs} == {"en"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    made = tmp_path_factory.mktemp("model")
    decoder = make(tmp_path_factory.mktemp("decoder") / "tiny")
    CopywriterModel(80, 0, Writers({"en": decoder})).save(made)
    return {"folder": str(made), "name": "small-copywriter", "version": "3"}


def test_what_a_model_writes_is_judged_and_a_template_stands_where_all_is_held(
    root: Path, tmp_path: Path, model: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    wrote = {"lamp": ["An oak lamp by Nordlys. 10% off until midnight.", "The best lamp for only 5 €!"]}
    monkeypatch.setattr(
        CopywriterModel,
        "write",
        lambda self, briefs, *how: [wrote.get(brief.item_id, ["The best. Buy now!!!"]) for brief in briefs],
    )
    made, creatives, copies = run(root, tmp_path, model)
    by_model = [row for row in creatives.values() if row[C.SOURCE] == "small-copywriter"]
    assert {row[C.STATUS] for row in by_model if row[C.ITEM_ID] == "lamp"} == {"clean", "held"}
    assert {row[C.MODEL_VERSION] for row in by_model} == {"3"}
    assert texts(creatives, copies)[:2] == [wrote["lamp"][0]] * 2
    assert copies[USERS[0]][C.PROPENSITY] == 1
    assert made["counts"]["generated"] == 3  # two of the lamp, one of the boast; tea is Chinese, and one has no product
    assert copies[USERS[3]][C.CREATIVE_ID] in creatives


def test_an_earlier_night_s_texts_of_the_same_briefs_are_taken_and_no_model_is_asked(
    root: Path, tmp_path: Path, model: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, creatives, copies = run(root, tmp_path / "first", model)
    assert first["counts"]["reused"] == 0
    asked: list[int] = []

    def write(self: Any, briefs: Any, *how: Any) -> list[list[str]]:
        asked.append(len(briefs))
        return [["Another text."] for _ in briefs]

    monkeypatch.setattr(CopywriterModel, "write", write)
    known = [row for row in creatives.values() if row[C.SOURCE] == "small-copywriter"]
    part = tmp_path / "first" / "creatives" / "part-00000.parquet"
    second, again, copies_again = run(root, tmp_path / "second", model, [part])
    wordless = {"lamp", "boast"} - {row[C.ITEM_ID] for row in known}
    assert asked == [len(wordless)]
    assert second["counts"]["reused"] == len(known)
    if not wordless:
        assert (again, copies_again) == (creatives, copies)


def test_a_night_without_a_plan_and_a_shop_that_writes_nothing_are_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(NoDataError, match="run the plan stage first"):
        run(Store(tmp_path, "small").root, tmp_path / "out")
    spec = {"shop": shop().model_copy(update={"write": None}).model_dump(mode="json"), "night": NIGHT.isoformat()}
    with pytest.raises(WrongUseError, match="no 'write' in its configuration"):
        write_night.run(spec)
