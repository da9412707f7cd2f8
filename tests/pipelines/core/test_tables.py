import pytest

from pipelines.core.columns import Columns
from pipelines.core.config import PROJECT
from pipelines.core.tables import ARTEFACTS, FEEDS, TABLES, Table

NAMES = {value for name, value in vars(Columns).items() if not name.startswith("_")}
EVERY = [pytest.param(table, id=name) for name, table in TABLES.items()]


def test_column_names_are_unique() -> None:
    assert len(NAMES) == len([name for name in vars(Columns) if not name.startswith("_")])


@pytest.mark.parametrize("table", EVERY)
def test_a_table_is_declared_whole(table: Table) -> None:
    assert table.grain.startswith("one row per "), "the grain comes first"
    assert set(table.columns) <= NAMES, "columns come from pipelines.core.columns"
    assert set(table.sort_by) <= set(table.columns)
    assert table.sort_by, "without an order of rows the bytes are chance"
    assert table.layer in ("raw", "clean", "features", "decisions")
    assert table.owner


@pytest.mark.parametrize("table", EVERY)
def test_a_table_has_its_suite(table: Table) -> None:
    assert (PROJECT / "great_expectations" / "expectations" / f"{table.suite}.json").is_file()


def test_user_ids_stay_in_the_raw_layer() -> None:
    holders = {name for name, table in TABLES.items() if {Columns.USER_ID, Columns.RAW_TEXT} & set(table.columns)}
    assert holders == {name for name, table in TABLES.items() if table.layer == "raw"}


def test_every_feed_lands_in_a_raw_table_of_its_own() -> None:
    assert [name for name in TABLES if name.startswith("raw_")] == [f"raw_{feed}" for feed in FEEDS]


def test_tables_and_artefacts_share_no_name() -> None:
    assert not set(TABLES) & set(ARTEFACTS)
    assert set(ARTEFACTS) == {"plan_export", "nightly_report"}
