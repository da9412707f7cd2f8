"""The command `nightmarket review` on a small table of creatives and a catalogue of one night."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from pipelines.cli import app
from pipelines.core.columns import Columns as C
from pipelines.core.config import load_shop
from pipelines.core.errors import NoDataError, WrongUseError
from pipelines.core.storage import Store
from pipelines.core.tables import TABLES
from pipelines.review import decide, queue, side_by_side
from pipelines.review_ledger import decisions, history

NIGHT = date(2026, 3, 15)
HELD, OTHER, CLEAN = "aaaa1111", "bbbb2222", "cccc3333"
RUN = CliRunner()


def creative(
    name: str, status: str, text: str, rule: str = "", brief: str = "b1", night: date = NIGHT
) -> dict[str, Any]:
    return {
        C.CREATIVE_ID: name, C.BRIEF_ID: brief, C.ITEM_ID: "i1", C.OFFER_ID: "save20", C.CHANNEL: "email",
        C.CREATIVE_STYLE: "plain", C.LANGUAGE: "en", C.TEXT: text, C.SOURCE: "template", C.STATUS: status, C.RULE: rule,
        C.DETAIL: "says 30%; known: 20%" if rule else "",
    }  # fmt: skip


ROWS = [
    creative(HELD, "held", "30% off [red]the lamp[/red].", "claim.discount"),
    creative(OTHER, "held", "The best lamp.", "phrase.superlative", brief="b2"),
    creative(CLEAN, "clean", "20% off the lamp."),
]


def publish(store: Store, table: str, rows: list[dict[str, Any]], night: date = NIGHT) -> None:
    kinds = {"string": pa.string(), "bigint": pa.int64(), "double": pa.float64(), "boolean": pa.bool_()}
    columns = {
        n: pa.array([row.get(n) for row in rows], kinds[k]) for n, k in TABLES[table].columns.items() if k in kinds
    }
    with store.staging() as staging:
        folder = staging / table
        folder.mkdir()
        pq.write_table(pa.table(columns), folder / "part-00000.parquet")
        store.publish(table, night, folder, rows=len(rows), inputs={}, config_hash="x")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("NIGHTMARKET_ROOT", str(tmp_path))
    store = Store(tmp_path, "demo")
    publish(store, "creatives", ROWS)
    item = {C.ITEM_ID: "i1", C.TITLE: "Oak lamp", C.PRICE_CENTS: 4999, C.ATTRIBUTES: '{"material": "oak"}'}
    publish(store, "catalog", [item])
    return store


def told(*arguments: str) -> dict[str, Any]:
    done = RUN.invoke(app, ["review", *arguments, "--json"])
    assert done.exit_code == 0, done.output
    return dict(json.loads(done.stdout))


def test_the_list_holds_what_waits_by_rule_until_it_is_decided(store: Store) -> None:
    listed = told("list")
    assert (listed["night"], listed["waiting"]) == ("2026-03-15", 2)
    assert listed["by_rule"] == {"claim.discount": 1, "phrase.superlative": 1}
    assert [row[C.CREATIVE_ID] for row in listed["creatives"]] == [HELD, OTHER]
    told("approve", HELD, "--as", "mia")
    assert [row[C.CREATIVE_ID] for row in told("list")["creatives"]] == [OTHER]
    assert {row[C.CREATIVE_ID]: row["decision"] for row in told("list", "--all")["creatives"]} == {
        HELD: "approved",
        OTHER: None,
        CLEAN: None,
    }


def test_show_puts_what_is_said_beside_what_is_known_and_what_could_be_sent_instead(store: Store) -> None:
    shown = told("show", HELD)
    assert shown["creative"][C.DETAIL] == "says 30%; known: 20%"
    known = shown["known"]
    assert (known["discount_percent"], known[C.TITLE], known[C.PRICE_CENTS]) == (20, "Oak lamp", 4999)
    assert known[C.ATTRIBUTES] == {"material": "oak"}
    assert [one[C.TEXT] for one in shown["instead"]] == ["20% off the lamp."]
    assert shown["decision"] is None


def test_pages_for_people_show_texts_as_they_are_and_run_none_of_them(store: Store) -> None:
    listed = RUN.invoke(app, ["review", "list"], env={"COLUMNS": "200"})
    assert "[red]the lamp[/red]" in listed.stdout
    assert f"nightmarket review show {HELD} --shop demo" in listed.stdout
    shown = RUN.invoke(app, ["review", "show", HELD], env={"COLUMNS": "200"})
    for words in (
        "[red]the lamp[/red]",
        "says 30%; known: 20%",
        "discount_percent: 20",
        "instead (template)",
        "not yet",
    ):
        assert words in shown.stdout


def test_a_decision_has_who_and_when_and_a_changed_one_wins(store: Store) -> None:
    first = told("approve", HELD, "--as", "mia")
    assert (first["new"], first["who"], first["decision"]) == (True, "mia", "approved")
    assert told("approve", HELD, "--as", "mia")["new"] is False
    told("reject", HELD, "--as", "leo", "--note", "it is 20%")
    assert decisions(store) == {HELD: "rejected"}
    assert [(one.who, one.decision) for one in history(store)] == [("mia", "approved"), ("leo", "rejected")]
    assert [one["who"] for one in told("show", HELD)["history"]] == ["mia", "leo"]


def test_without_a_name_the_account_s_user_decides(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "night-shift")
    assert told("approve", HELD)["who"] == "night-shift"


def test_a_clean_creative_can_be_rejected(store: Store) -> None:
    told("reject", CLEAN, "--as", "mia", "--note", "we never shout")
    assert decisions(store) == {CLEAN: "rejected"}


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("dddd4444", "approved", "mia"), "no creative dddd4444; `nightmarket review list --shop demo`"),
        (("../../etc", "approved", "mia"), "no creative's id"),
        ((HELD, "rejected", "mia"), "a rejection needs a reason"),
        ((HELD, "approved", ""), "--as: expected the reviewer's name"),
        ((HELD, "approved", "mia\nleo"), "--as: expected the reviewer's name"),
        ((HELD, "approved", "mia", "x" * 501), "--note: expected one line"),
    ],
)
def test_a_wrong_call_is_one_line_and_decides_nothing(store: Store, arguments: tuple[Any, ...], why: str) -> None:
    with pytest.raises(WrongUseError, match=why) as error:
        decide(store, *arguments)
    assert error.value.exit_code == 2
    assert decisions(store) == {}


def test_an_older_night_is_asked_for_by_its_date_and_the_newest_of_a_creative_is_shown(store: Store) -> None:
    before = date(2026, 3, 14)
    publish(store, "creatives", [creative(HELD, "held", "35% off the lamp.", "claim.discount")], before)
    assert queue(store, before)["waiting"] == 1
    assert side_by_side(store, load_shop("demo"), HELD)["night"] == "2026-03-15"
    with pytest.raises(NoDataError, match="no creatives of 2026-03-13; the newest nights that have some: 2026-03-14"):
        queue(store, date(2026, 3, 13))


def test_a_shop_without_creatives_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NoDataError, match="no creatives yet; configure 'write' in its file and run a night"):
        queue(Store(tmp_path, "empty"))
