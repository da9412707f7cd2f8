import csv
import json
import stat
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import suites
from pipelines.audit import AuditResult, audit, audit_many, build_docs, explain
from pipelines.core.config import PROJECT
from pipelines.core.errors import AuditError
from pipelines.suites import PandasBatch, SparkBatch, gx_context, load_suite, to_frame

KEYS = [f"{i:064x}" for i in range(5)]
GOOD = {
    "user_key": KEYS,
    "segment_id": [0, 0, 1, 1, 2],
    "segment_name": list("aabbc"),
    "distance": [0.5, 1.0, 0.0, 2.0, 3.0],
}
BAD_KEY = {
    "user_key": [KEYS[0], "zz", KEYS[2], KEYS[2], None]
}  # row 1 is no key, rows 2 and 3 are twice, row 4 is missing


def parquet(folder: Path, name: str = "part-00000.parquet", **columns: list[Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), folder / name)
    return folder / name


def judge(folder: Path, table: str = "segments", night: date | None = None, **columns: list[Any]) -> AuditResult:
    return audit(table, [parquet(folder, **columns)], docs=folder / "docs", failures=folder / "bad", night=night)


def listed(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_good_partition_passes_and_leaves_nothing_behind(tmp_path: Path) -> None:
    result = judge(tmp_path, **GOOD)
    assert (result.success, result.n_failed, result.failures, result.failed_rows, result.docs_page) == (
        True,
        0,
        [],
        None,
        None,
    )
    assert result.n_expectations == 9
    assert [path.name for path in tmp_path.iterdir()] == ["part-00000.parquet"]


def test_each_broken_rule_is_one_line_with_its_count_and_an_example(tmp_path: Path) -> None:
    result = judge(tmp_path, **{**GOOD, **BAD_KEY, "distance": [0.5, -1.0, 0.0, -2.0, 3.0]})
    assert result.failures == [
        "user_key: values_to_not_be_null: 1 of 5 rows",
        "user_key: values_to_match_regex(regex=^[0-9a-f]{64}$): 1 of 5 rows, e.g. zz",
        f"user_key: values_to_be_unique: 2 of 5 rows, e.g. {KEYS[2]}",
        "distance: values_to_be_between(min_value=0.0): 2 of 5 rows, e.g. -1.0",
    ]
    assert (result.success, result.n_failed, result.n_expectations) == (False, 4, 9)


def test_the_failing_rows_are_listed_whole_with_their_rule_and_for_the_owner_only(tmp_path: Path) -> None:
    result = judge(tmp_path, night=date(2026, 3, 1), **{**GOOD, **BAD_KEY})
    assert result.failed_rows == tmp_path / "bad" / "segments-2026-03-01.csv"
    rows = [(row["rule"].split("(")[0], row["user_key"], row["segment_name"]) for row in listed(result.failed_rows)]
    assert rows == [
        ("user_key: values_to_not_be_null", "", "c"),
        ("user_key: values_to_match_regex", "zz", "a"),
        ("user_key: values_to_be_unique", KEYS[2], "b"),
        ("user_key: values_to_be_unique", KEYS[2], "b"),
    ]
    assert stat.S_IMODE(result.failed_rows.stat().st_mode) == 0o600


def test_at_most_a_thousand_failing_rows_are_listed_per_rule(tmp_path: Path) -> None:
    n = 1_500
    many = {
        "user_key": [f"{i:064x}" for i in range(n)],
        "segment_id": [0] * n,
        "segment_name": ["a"] * n,
        "distance": [-1.0] * n,
    }
    result = judge(tmp_path, **many)
    assert result.failures == ["distance: values_to_be_between(min_value=0.0): 1500 of 1500 rows, e.g. -1.0"]
    assert len(listed(result.failed_rows)) == 1_000


def test_the_page_of_a_broken_partition_names_its_rule_and_a_second_run_replaces_it(tmp_path: Path) -> None:
    first = judge(tmp_path, night=date(2026, 3, 1), **{**GOOD, **BAD_KEY})
    second = judge(tmp_path, night=date(2026, 3, 1), **{**GOOD, **BAD_KEY})
    assert first.docs_page == second.docs_page
    assert first.docs_page.is_relative_to(tmp_path / "docs")
    page = first.docs_page.read_text()
    assert "match this regular expression" in page
    assert "zz" in page
    assert len(list((tmp_path / "docs" / "validations").rglob("*.html"))) == 1


def test_the_docs_of_a_night_have_a_page_for_each_partition_and_an_index(tmp_path: Path) -> None:
    night = date(2026, 3, 1)
    good, bad = parquet(tmp_path / "good", **GOOD), parquet(tmp_path / "bad", **{**GOOD, **BAD_KEY})
    raw = parquet(tmp_path, "raw.parquet", **raw_lines())
    results = audit_many(
        [
            ("segments", night, [good]),
            ("segments", date(2026, 3, 2), [bad]),
            ("raw_events", night, [raw]),
            ("raw_reviews", night, [raw]),
        ],
        docs=tmp_path / "docs",
        failures=tmp_path / "rows",
    )
    assert [result.success for result in results] == [True, False, True, True]
    index = build_docs(results, tmp_path / "docs")
    assert index == tmp_path / "docs" / "index.html"
    pages = sorted(page.stem for page in (tmp_path / "docs" / "validations").rglob("*.html"))
    assert pages == ["raw_events", "raw_reviews", "segments", "segments"]
    assert index.read_text().count("raw_reviews") > 0


def raw_lines(**changes: list[Any]) -> dict[str, list[Any]]:
    lines = {
        "arrival": ["2026-03-01"] * 3,
        "source_file": ["events.jsonl"] * 3,
        "line_number": [1, 2, 3],
        "raw_text": ["customer-4711 one", "customer-4711 two", "customer-4711 three"],
        "fault": [None, None, None],
    }
    return {**lines, **changes}


def test_no_value_of_the_raw_layer_reaches_a_line_or_a_page_only_the_rows_file(tmp_path: Path) -> None:
    broken = raw_lines(source_file=["customer-4711.jsonl"] * 3, line_number=[1, 1, 3])
    result = judge(tmp_path, "raw_events", **broken)
    assert result.failures == ["source_file+line_number: compound_columns_to_be_unique: 2 of 3 rows"]
    assert "customer-4711" not in result.docs_page.read_text()
    assert "customer-4711" in result.failed_rows.read_text()


def test_columns_too_many_and_too_few_are_told_by_name(tmp_path: Path) -> None:
    columns = {**GOOD, "surprise": [1, 2, 3, 4, 5]}
    del columns["distance"]
    result = judge(tmp_path, **columns)
    assert result.failures[0] == "columns: table_columns_to_match_set: missing distance; unexpected surprise"
    assert all(line.startswith("distance: ") and "could not be checked" in line for line in result.failures[1:])


def test_a_part_with_other_columns_than_its_siblings_breaks_the_schema_rule(tmp_path: Path) -> None:
    parts = [
        parquet(tmp_path, "part-00000.parquet", **GOOD),
        parquet(tmp_path, "part-00001.parquet", **{**GOOD, "extra": [1] * 5}),
    ]
    result = audit("segments", parts, docs=tmp_path / "docs", failures=tmp_path / "bad")
    assert "columns: table_columns_to_match_set: unexpected extra" in result.failures


def test_the_parts_of_a_partition_are_judged_together(tmp_path: Path) -> None:
    parts = [parquet(tmp_path, "part-00000.parquet", **GOOD), parquet(tmp_path, "part-00001.parquet", **GOOD)]
    result = audit("segments", parts, docs=tmp_path / "docs", failures=tmp_path / "bad")
    assert result.failures == [f"user_key: values_to_be_unique: 10 of 10 rows, e.g. {KEYS[0]}"]


def test_the_folder_of_a_partition_adds_no_column(tmp_path: Path) -> None:
    file = parquet(tmp_path / "segments" / "night=2026-03-01", **GOOD)
    assert audit("segments", [file], docs=tmp_path / "docs", failures=tmp_path / "bad").success


def test_only_the_columns_that_the_rules_name_are_read(tmp_path: Path) -> None:
    batch = PandasBatch([parquet(tmp_path, **raw_lines())], load_suite("raw_lines").expectations)
    assert sorted(batch.frame.columns) == ["arrival", "line_number", "source_file"]  # neither raw_text nor fault
    assert "raw_text" in batch.header.columns


def test_lists_are_judged_by_their_length_and_gaps_stay_gaps() -> None:
    table = pa.table(
        {"vector": [[1.0, 2.0], None, []], "n": pa.array([1, None, 3], pa.int32()), "text": ["a", None, "c"]}
    )
    frame = to_frame(table)
    assert frame["vector"].isna().tolist() == [False, True, False]
    assert frame["vector"].dropna().tolist() == [2, 0]
    assert (str(frame["n"].dtype), str(frame["text"].dtype)) == ("float64", "str")


def write_suite(folder: Path, *rules: dict[str, Any]) -> Path:
    (folder / "expectations").mkdir()
    (folder / "expectations" / "mine.json").write_text(json.dumps({"name": "mine", "expectations": rules}))
    return folder


@pytest.mark.parametrize(
    "rule",
    [
        {
            "type": "expect_column_values_to_be_between",
            "kwargs": {"column": "a", "min_value": 5, "max_value": 1, "mostly": 7},
        },
        {"type": "expect_column_values_to_not_be_null", "kwargs": {}},
        {"type": "expect_pigs_to_fly", "kwargs": {"column": "a"}},
        {"kwargs": {"column": "a"}},
    ],
)
def test_a_suite_with_an_invalid_rule_is_refused(rule: dict[str, Any], tmp_path: Path) -> None:
    good = {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "a"}}
    with pytest.raises(AuditError, match=r"mine\.json: rule 2 is not valid") as caught:
        load_suite("mine", write_suite(tmp_path, good, rule))
    assert "\n" not in str(caught.value)


def test_a_suite_that_loses_a_rule_on_loading_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from great_expectations.core import ExpectationSuite

    good = {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "a"}}
    real = ExpectationSuite.__init__

    def forgetful(self: Any, *args: Any, **kwargs: Any) -> None:
        real(self, *args, **{**kwargs, "expectations": kwargs["expectations"][:1]})

    monkeypatch.setattr(ExpectationSuite, "__init__", forgetful)
    with pytest.raises(AuditError, match="2 rules declared but 1 loaded"):
        load_suite("mine", write_suite(tmp_path, good, {**good, "kwargs": {"column": "b"}}))


@pytest.mark.parametrize("text", ["", "{", "[]", "{}"])
def test_a_file_that_is_no_suite_is_refused(text: str, tmp_path: Path) -> None:
    write_suite(tmp_path)
    (tmp_path / "expectations" / "mine.json").write_text(text)
    with pytest.raises(AuditError, match=r"mine\.json: not a suite"):
        load_suite("mine", tmp_path)


def test_nothing_to_audit_and_spark_without_a_session_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AuditError, match="segments: nothing to audit"):
        audit("segments", [], docs=tmp_path, failures=tmp_path)
    with pytest.raises(AuditError, match="segments: an audit on Spark needs a session"):
        audit("segments", [tmp_path], docs=tmp_path, failures=tmp_path, engine="spark")


def test_a_library_that_is_only_a_folder_counts_as_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.machinery import ModuleSpec

    gx_context.cache_clear()
    monkeypatch.setattr(suites, "find_spec", lambda name: ModuleSpec(name, None))
    try:
        with pytest.raises(AuditError, match=r"great_expectations is not installed .* run make setup"):
            gx_context()
    finally:
        gx_context.cache_clear()


def test_the_explanation_is_one_line_with_table_rule_rows_and_page(tmp_path: Path) -> None:
    good = judge(tmp_path / "good", **GOOD)
    bad = judge(tmp_path / "bad", night=date(2026, 3, 1), **{**GOOD, **BAD_KEY})
    line = explain([good, bad])
    assert line == (
        f"segments of 2026-03-01 broke user_key: values_to_not_be_null: 1 of 5 rows (and 2 more); "
        f"failing rows: {bad.failed_rows}; page: {bad.docs_page}; nothing was published"
    )
    assert explain([good]) == "every audit passed"


def test_an_audit_writes_nothing_into_the_project(tmp_path: Path) -> None:
    def state() -> list[tuple[str, int]]:
        return sorted((str(path), path.stat().st_mtime_ns) for path in suites.SUITES.rglob("*"))

    before = state()
    build_docs([judge(tmp_path, **{**GOOD, **BAD_KEY})], tmp_path / "docs")
    assert state() == before


def test_importing_the_audit_does_not_import_the_library() -> None:
    heavy = "{'great_expectations', 'pandas', 'pyarrow'}"
    code = f"import sys, pipelines.audit, pipelines.gates; print(sorted({heavy} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


@pytest.mark.slow
def test_spark_finds_the_same_as_pandas(tmp_path: Path) -> None:
    pyspark = pytest.importorskip("pyspark.sql")
    is_mine = pyspark.SparkSession.getActiveSession() is None
    try:
        spark = pyspark.SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
    except Exception as error:
        pytest.skip(f"no Spark session here, it needs Java 17: {type(error).__name__}")
    try:
        broken = {**GOOD, **BAD_KEY, "distance": [0.5, -1.0, 0.0, -2.0, 3.0]}
        files = [parquet(tmp_path, **broken)]
        places = {"docs": tmp_path / "docs", "failures": tmp_path / "bad"}
        local = audit("segments", files, **places)
        rows = listed(local.failed_rows)
        distributed = audit("segments", files, engine="spark", spark=spark, **places)
        assert [line.split(", e.g.")[0] for line in distributed.failures] == [
            line.split(", e.g.")[0] for line in local.failures
        ]
        assert sorted(map(str, listed(distributed.failed_rows))) == sorted(map(str, rows))
        good = parquet(tmp_path / "good", **GOOD)
        assert audit("segments", [good], engine="spark", spark=spark, **places).success
        assert SparkBatch([good], spark).frame.columns == list(GOOD)
    finally:
        if is_mine:
            spark.stop()
