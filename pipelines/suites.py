"""Suites: the rules of every table, run by Great Expectations on pandas or on Spark; `pipelines.audit` calls this.

The library is imported on first use. What makes it fast enough is in this file and measured by benchmarks/validate.py.
"""

import json
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from pipelines.core.config import PROJECT
from pipelines.core.errors import AuditError

SUITES = PROJECT / "great_expectations"
MAX_FAILING_ROWS = 1_000  # told per rule; on Spark the library itself stops at 200
DETAIL: dict[str, Any] = {  # for broken rules only: it costs several passes more than yes or no
    "result_format": "SUMMARY",
    "partial_unexpected_count": MAX_FAILING_ROWS,
    "return_unexpected_index_query": False,
}
_SCHEMA_RULE = "expect_table_columns_to_match_set"  # the one rule about the schema: it needs no row


def is_installed() -> bool:
    """Whether the library is there: without it our folder of the same name still imports, as an empty namespace."""
    found = find_spec("great_expectations")
    return found is not None and found.origin is not None


@cache
def gx_context() -> Any:
    """The Great Expectations project of this repository. Raises AuditError where the library cannot be used."""
    if not is_installed():
        raise AuditError("great_expectations is not installed (only the project's folder of that name): run make setup")
    try:
        library = import_module("great_expectations")
    except SystemExit:  # pyspark, which it imports, ends a process whose main module has no file
        raise AuditError("great_expectations cannot run under `python -c` or from stdin: use a file or -m") from None
    return library.get_context(mode="file", context_root_dir=SUITES)


@cache
def load_suite(name: str, folder: Path = SUITES) -> Any:
    """The suite `name`, every rule of it: the library drops a rule that it cannot read with only a log line.

    Raises AuditError naming the file and the rule at fault.
    """
    context = gx_context()
    from great_expectations.core import ExpectationSuite
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    path = folder / "expectations" / f"{name}.json"
    try:
        declared = json.loads(path.read_text(encoding="utf-8"))
        rules = declared["expectations"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AuditError(f"{path}: not a suite: {error}; expected a JSON object with name and expectations") from error
    for place, rule in enumerate(rules, start=1):
        try:
            ExpectationConfiguration(**rule).to_domain_obj()
        except Exception as error:  # whatever the library raises, the rule cannot be checked
            raise AuditError(f"{path}: rule {place} is not valid: {rule}: {one_line(error)}; correct it") from error
    suite = context.suites.get(name) if folder == SUITES else ExpectationSuite(**declared)
    if len(suite.expectations) != len(rules):
        raise AuditError(f"{path}: {len(rules)} rules declared but {len(suite.expectations)} loaded; correct the file")
    return suite


def one_line(error: object) -> str:
    """A library's message, which may have many lines, cut to one of at most 300 characters."""
    return f"{' '.join(str(error).split()):.300}"


def columns_of(kwargs: dict[str, Any]) -> list[str]:
    """The columns whose values a rule judges, in its order; none for a rule about the schema."""
    return [kwargs[key] for key in ("column", "column_A", "column_B") if key in kwargs] + kwargs.get("column_list", [])


def condition_of(kwargs: dict[str, Any]) -> dict[str, Any]:
    """The comparison {column, operator, parameter} that limits a rule to some rows; empty for a rule about all."""
    condition = kwargs.get("row_condition")
    if condition is None:
        return {}
    found: dict[str, Any] = condition if isinstance(condition, dict) else condition.dict()
    return {**found, "column": found["column"]["name"]}


def named_columns(expectations: list[Any]) -> set[str]:
    """The columns that must be read to judge these rules."""
    names: set[str] = set()
    for rule in expectations:
        kwargs = rule.configuration.kwargs
        names.update(columns_of(kwargs))
        names.update([condition_of(kwargs)["column"]] if condition_of(kwargs) else [])
    return names


class Batch(Protocol):
    """One partition's rows, ready to be judged."""

    detail: dict[str, Any]  # what `check` must be told so that `rows` can answer

    def check(self, expectations: list[Any], result_format: dict[str, Any]) -> list[Any]:
        """One result per expectation, in their order."""

    def rows(self, result: Any) -> list[dict[str, Any]]:
        """The whole rows that broke a rule, at most MAX_FAILING_ROWS."""


class PandasBatch:
    """Local files in pandas, of which only the columns that the rules name are read."""

    def __init__(self, files: list[Path], expectations: list[Any]) -> None:
        import pandas as pd
        import pyarrow.parquet as pq

        self.detail: dict[str, Any] = {}
        self.files = files
        schemas = [pq.read_schema(file) for file in files]
        odd = next((schema for schema in schemas if schema.names != schemas[0].names), schemas[0])
        wanted = named_columns(expectations)
        common = [name for name in schemas[0].names if name in wanted and name in odd.names]
        self.header = pd.DataFrame(columns=odd.names)
        self.frame = to_frame(pq.read_table(files, columns=common, partitioning=None))

    def check(self, expectations: list[Any], result_format: dict[str, Any]) -> list[Any]:
        import pandas as pd

        about_schema = [rule for rule in expectations if rule.expectation_type == _SCHEMA_RULE]
        about_rows = [rule for rule in expectations if rule.expectation_type != _SCHEMA_RULE]
        with pd.option_context("future.infer_string", True):  # the library's astype(str) then stays in Arrow
            found = _validate(_columnwise_engine()(), self.header, about_schema, result_format)
            found |= _validate(_columnwise_engine()(), self.frame, about_rows, result_format)
        return [found[_key(rule.configuration)] for rule in expectations]

    def rows(self, result: Any) -> list[dict[str, Any]]:
        import pyarrow.parquet as pq

        places = (result.result.get("partial_unexpected_index_list") or [])[:MAX_FAILING_ROWS]
        return pq.read_table(self.files, partitioning=None).take(places).to_pylist() if places else []


class SparkBatch:
    """Files where Spark reads them; Spark itself reads only the columns that a rule needs."""

    def __init__(self, files: list[Path], spark: Any) -> None:
        self.detail: dict[str, Any] = {"include_unexpected_rows": True}
        frame = spark.read.parquet(*map(str, files))
        self.spark = spark
        self.frame = frame.selectExpr(  # as in to_frame: a list stands for its length
            *(f"size(`{name}`) AS `{name}`" if kind.startswith("array") else f"`{name}`" for name, kind in frame.dtypes)
        )

    def check(self, expectations: list[Any], result_format: dict[str, Any]) -> list[Any]:
        from great_expectations.execution_engine import SparkDFExecutionEngine

        engine = SparkDFExecutionEngine(spark=self.spark, persist=False)
        found = _validate(engine, self.frame, expectations, result_format)
        return [found[_key(rule.configuration)] for rule in expectations]

    def rows(self, result: Any) -> list[dict[str, Any]]:
        return list(result.result.get("unexpected_rows") or [])[:MAX_FAILING_ROWS]


def to_frame(table: Any) -> Any:
    """pandas frame of an Arrow table, in the types that the library judges fast.

    Text stays in Arrow, where regex, sets and duplicates cost no Python per row; whole numbers become int64, or float64
    where there are gaps; times carry UTC (other times are compared one by one); a list stands for its length.
    """
    import numpy as np
    import pandas as pd
    import pyarrow as pa
    import pyarrow.compute as pc

    def simple(column: Any) -> Any:
        kind = column.type
        if pa.types.is_nested(kind):
            return pc.list_value_length(column).cast(pa.int64())
        if pa.types.is_timestamp(kind):
            return column.cast(pa.timestamp("us", "UTC"), safe=False)
        if pa.types.is_dictionary(kind):
            return column.cast(kind.value_type)
        return column.cast(pa.int64()) if pa.types.is_integer(kind) else column

    text = pd.StringDtype("pyarrow", na_value=np.nan)
    types = {pa.string(): text, pa.large_string(): text}
    simplified = pa.table([simple(column) for column in table.columns], names=table.column_names)
    return simplified.to_pandas(types_mapper=types.get, split_blocks=True)


@cache
def _columnwise_engine() -> Any:
    """The library's pandas engine copies every column to drop a rule's gaps; this one copies that rule's columns."""
    import pandas as pd
    from great_expectations.execution_engine import PandasExecutionEngine

    def narrow(data: Any, columns: list[str]) -> Any:
        known = bool(columns) and set(columns) <= set(data.columns)
        return data[pd.Index(columns, dtype=object)] if known else data  # unknown: the rule itself says so

    class ColumnwiseEngine(PandasExecutionEngine):
        def get_domain_records(self, domain_kwargs: dict[str, Any]) -> Any:
            return narrow(super().get_domain_records(domain_kwargs), columns_of(domain_kwargs))

        def _apply_row_condition_filter(self, data: Any, row_condition: Any, domain_kwargs: dict[str, Any]) -> Any:
            if columns := columns_of(domain_kwargs):  # none: a question about the whole table, such as its columns
                data = narrow(data, sorted({*columns, condition_of(domain_kwargs)["column"]}))
            return super()._apply_row_condition_filter(data, row_condition, domain_kwargs)

    return ColumnwiseEngine


def _validate(engine: Any, frame: Any, expectations: list[Any], result_format: dict[str, Any]) -> dict[str, Any]:
    """Results by rule. Straight to the library's validator: its data sources would hash the whole frame first."""
    from great_expectations.validator.validator import Validator

    if not expectations:
        return {}
    engine.load_batch_data("partition", frame)
    results = Validator(execution_engine=engine, data_context=gx_context()).graph_validate(
        configurations=[rule.configuration for rule in expectations],
        runtime_configuration={"catch_exceptions": True, "result_format": result_format},
    )
    return {_key(result.expectation_config): result for result in results}


def _key(configuration: Any) -> str:
    kwargs = {name: value for name, value in configuration.kwargs.items() if name != "batch_id"}
    return json.dumps([configuration.type, kwargs], sort_keys=True, default=str)
