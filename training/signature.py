"""What MLflow has to know about the rows of a model: the signature, and examples that JSON can carry."""

from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    from mlflow.models import ModelSignature


def plain(rows: pa.Table) -> pa.Table:
    """Without dictionaries and schema metadata: what JSON can carry."""
    fields = [
        pa.field(field.name, field.type.value_type if pa.types.is_dictionary(field.type) else field.type)
        for field in rows.schema
    ]
    return rows.cast(pa.schema(fields))


def signature(rows: pa.Table, predicted: pa.Table) -> "ModelSignature":
    """MLflow's signature of a model; whole numbers that may be missing are doubles there."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    def schema(table: pa.Table) -> Schema:
        return Schema(
            [ColSpec(_type(field.type, table[field.name].null_count > 0), field.name) for field in table.schema]
        )

    return ModelSignature(schema(rows), schema(predicted))


def _type(kind: pa.DataType, may_miss: bool) -> Any:
    from mlflow.types import DataType
    from mlflow.types.schema import AnyType, Array

    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return Array(_type(kind.value_type, False))
    for fits, found in (
        (pa.types.is_boolean, DataType.boolean),
        (pa.types.is_floating, DataType.double),
        (pa.types.is_integer, DataType.double if may_miss else DataType.long),
        (pa.types.is_string, DataType.string),
        (pa.types.is_timestamp, DataType.datetime),
        (pa.types.is_date, DataType.datetime),
    ):
        if fits(kind):
            return found
    return AnyType()


def lists(rows: pa.Table) -> dict[str, list[Any]]:
    """Columns of lists as Python lists: pandas makes arrays of them, which MLflow does not write."""
    return {field.name: rows[field.name].to_pylist() for field in rows.schema if pa.types.is_nested(field.type)}
