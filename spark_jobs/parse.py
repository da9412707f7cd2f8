"""From a raw line to typed columns and a reason: what all connectors share.

A connector names its columns (or JSON keys) and says which of ours each one is; here lines are split, values are cast
and the first broken rule becomes the reason. Casts are written so that DuckDB and Spark agree on every string.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

from pipelines.core.columns import Columns as C
from spark_jobs.json_text import MARK
from spark_jobs.session import Column, DataFrame, F, engine

OCCURRED_US = "occurred_us"  # microseconds since 1970, UTC; becomes occurred_at when written
IS_HEADER = "is_header"
_FIELDS = "fields"
_IS_EMPTY = "is_empty"
_HAS_ODD = "has_odd"  # a quote in a delimited line, an escaped NUL in JSON
_MAX_BIGINT = "9223372036854775807"
_MAX_AMOUNT = 1e12
_MAX_OPEN_BRACKETS = 1000

Cells = dict[str, Column]
Rule = tuple[str, Column]


@dataclass(frozen=True)
class Format:
    """How one platform writes a line.

    `names`: columns of a delimited file in order, or keys of a JSON object. `columns` maps the named cells (text) to
    our columns. `rules` are the platform's own reasons, checked before the common ones; the first that is true counts.
    """

    names: tuple[str, ...]
    columns: Callable[[Cells], Cells]
    separator: str | None = None  # None: JSON lines
    has_header: bool = False
    event_types: dict[str, str] = field(default_factory=dict)
    price: str | None = None  # the cell that holds an amount of money
    objects: tuple[str, ...] = ()  # keys whose value is kept as JSON text
    rules: Callable[[Cells], Sequence[Rule]] = lambda cells: ()


def split(lines: DataFrame, form: Format) -> tuple[DataFrame, Cells, list[Rule]]:
    """Splits raw lines once; returns the frame, the named cells (text, null if empty) and the reasons of lines that are
    not of the form."""
    text = F.col(C.RAW_TEXT)
    rules = [("empty_line", F.col(_IS_EMPTY))]
    if form.separator is None:
        fields = engine().parse_json(F.when(~_is_crowded(text), text), form.names)
        has_odd = F.contains(text, F.lit("\\u0000"))  # a NUL written as an escape is a NUL: no text of ours holds one
        rules += [("nul_byte", F.col(_HAS_ODD)), ("bad_json", F.col(_FIELDS).isNull())]
        values = [engine().parsed_text(F.col(_FIELDS), at, name) for at, name in enumerate(form.names)]
        cells = [_unmarked(value, name in form.objects) for name, value in zip(form.names, values, strict=True)]
    else:
        fields = _delimited(text, form.separator)
        has_odd = F.contains(text, F.lit('"'))
        rules.append(("unbalanced_quote", F.col(_FIELDS).isNull()))
        rules.append(("wrong_column_count", F.size(F.col(_FIELDS)) != len(form.names)))
        cells = [_unquoted(F.try_element_at(F.col(_FIELDS), F.lit(at + 1))) for at, _ in enumerate(form.names)]
    place = [
        C.ARRIVAL,
        C.SOURCE_FILE,
        C.LINE_NUMBER,
        C.FAULT,
        header(form).alias(IS_HEADER),
        (text == "").alias(_IS_EMPTY),
    ]
    frame = lines.select(*place, has_odd.alias(_HAS_ODD), fields.alias(_FIELDS))
    # Cells become columns before anything is asked of them, so that each is computed once.
    kept = [C.ARRIVAL, C.SOURCE_FILE, C.LINE_NUMBER, C.FAULT, IS_HEADER, _IS_EMPTY, _HAS_ODD, _FIELDS]
    named = [F.when(cell != "", cell).alias(f"cell_{name}") for name, cell in zip(form.names, cells, strict=True)]
    return frame.select(*kept, *named), {name: F.col(f"cell_{name}") for name in form.names}, rules


def _is_crowded(text: Column) -> Column:
    """True for a line of so many opening brackets that an engine may refuse its depth: no JSON on any engine then."""
    others = F.replace(F.replace(text, F.lit("["), F.lit("")), F.lit("{"), F.lit(""))
    n_open = F.when(F.length(text) > _MAX_OPEN_BRACKETS, F.length(text) - F.length(others))
    return F.coalesce(n_open > _MAX_OPEN_BRACKETS, F.lit(False))


def header(form: Format) -> Column:
    """True for the first line of a file if it is the platform's header."""
    if not form.has_header or form.separator is None:
        return F.lit(False)
    return (F.col(C.LINE_NUMBER) == 1) & (F.col(C.RAW_TEXT) == form.separator.join(form.names))


def first_reason(rules: Sequence[Rule]) -> Column:
    """The name of the first true rule; null where none is. Unknown (null) counts as not true."""
    reason = F.lit(None).cast("string")
    for name, broken in reversed(rules):
        reason = F.when(broken, F.lit(name)).otherwise(reason)
    return reason


def text_id(cell: Column, name: str) -> list[Rule]:
    """Reasons for a free-form id: 1 to 128 of the letters, digits and `_ . : @ + / = -`."""
    return [(f"bad_{name}", ~cell.rlike(r"^[A-Za-z0-9_.:@+/=-]{1,128}\z"))]


def missing(cells: Cells, *names: str) -> Rule:
    """Reason for a line without one of the keys that it needs."""
    return "missing_key", reduce(lambda left, right: left | right, [cells[name].isNull() for name in names])


def one_of(cell: Column, name: str, *allowed: str) -> Rule:
    return f"bad_{name}", ~F.coalesce(cell.isin(*allowed), F.lit(False))


def pseudonym(cell: Column) -> Rule:
    return "bad_user_key", ~cell.rlike(r"^[0-9a-f]{64}\z")


def whole_id(cell: Column, name: str) -> list[Rule]:
    """Reasons for an id that is a whole number from 0 of at most 63 bits; 19 digits survive, more overflow."""
    is_good = F.coalesce(_whole(cell) >= 0, F.lit(False))
    overflows = cell.rlike(r"^[0-9]{19,}\z") & ((F.length(cell) > 19) | (cell > _MAX_BIGINT))
    return [(f"{name}_overflow", F.when(~is_good, overflows)), (f"bad_{name}", cell.isNotNull() & ~is_good)]


def _whole(cell: Column) -> Column:
    """A whole number written as such; null if it is none. A cast alone takes 1_0, 1e3 or 1.5 on some engine."""
    number = F.try_cast(cell, "bigint")
    return F.when(number.cast("string") == cell, number)


def micros_of_seconds(cell: Column) -> Column:
    """Unix seconds as text, with or without decimals, to microseconds; null if it is no such number."""
    whole = F.try_cast(F.when(cell.rlike(r"^[0-9]{1,11}(\.[0-9]*)?\z"), F.split(cell, r"\.")[0]), "bigint")
    fraction = F.rpad(F.substring(F.regexp_extract(cell, r"\.([0-9]+)\z", 1), 1, 6), 6, "0")
    return whole * 1_000_000 + F.coalesce(F.try_cast(fraction, "bigint"), F.lit(0).cast("bigint"))


def micros_of_whole_seconds(cell: Column) -> Column:
    """Unix seconds without decimals; the quick path."""
    return _whole(F.when(F.length(cell) <= 11, cell)) * 1_000_000


def micros_of_millis(cell: Column) -> Column:
    return _whole(F.when(F.length(cell) <= 14, cell)) * 1_000


def micros_of_iso(cell: Column) -> Column:
    """ISO 8601 with a zone (Z or +hh:mm), years 1970 to 2099, to microseconds; null if it is no such time."""
    shaped = cell.rlike(
        r"^(?:19[7-9]|20[0-9])[0-9]-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}"
        r"(\.[0-9]{1,9})?(Z|[+-][0-2][0-9]:?[0-5][0-9])\z"
    )
    good = F.when(shaped, cell)
    wall = F.concat(F.substring(good, 1, 10), F.lit(" "), F.substring(good, 12, 8))
    base = F.micros_of_timestamp(F.try_to_timestamp(wall, F.lit("yyyy-MM-dd HH:mm:ss")))
    fraction = F.rpad(F.substring(F.regexp_extract(good, r"\.([0-9]+)", 1), 1, 6), 6, "0")
    sign = F.when(F.regexp_extract(good, r"([+-])[0-9]{2}:?[0-9]{2}\z", 1) == "-", F.lit(-1)).otherwise(F.lit(1))
    hours = F.try_cast(F.regexp_extract(good, r"[+-]([0-9]{2}):?[0-9]{2}\z", 1), "bigint")
    minutes = F.try_cast(F.regexp_extract(good, r"[+-][0-9]{2}:?([0-9]{2})\z", 1), "bigint")
    offset = F.coalesce(sign * (hours * 3600 + minutes * 60) * 1_000_000, F.lit(0).cast("bigint"))
    return base + F.coalesce(F.try_cast(fraction, "bigint"), F.lit(0).cast("bigint")) - offset


def cents(cell: Column) -> Column:
    """Money as text to cents, half a cent up; null if it is no number below a million million."""
    number = _amount(cell)
    return F.when(F.abs(number) < _MAX_AMOUNT, F.floor(number * 100 + 0.5).cast("bigint"))


def _amount(cell: Column) -> Column:
    """A number as JSON writes it, of at most 30 digits before the point."""
    return F.try_cast(F.when(cell.rlike(r"^-?[0-9]{1,30}(\.[0-9]*)?([eE][+-]?[0-9]{1,2})?\z"), cell), "double")


def money(value: Column, cell: Column, max_amount: float, name: str = "price") -> list[Rule]:
    """Reasons for an amount of money, `value` in cents of the text `cell`: absurdly high, below zero, no number."""
    lost = F.when(value.isNull(), _amount(cell))  # looked at again only where it made no cents
    return [
        (f"absurd_{name}", (value > int(max_amount * 100)) | (lost >= _MAX_AMOUNT)),
        (f"negative_{name}", (value < 0) | (lost <= -_MAX_AMOUNT)),
        (f"bad_{name}", value.isNull() & cell.isNotNull()),
    ]


def whole_number(cell: Column) -> Column:
    """A whole number from 0 to 999,999,999; null if it is none."""
    return F.try_cast(F.when(cell.rlike(r"^[0-9]{1,9}\z"), cell), "bigint")


def mapped(cell: Column, names: dict[str, str]) -> Column:
    """The platform's name to ours; null if unknown."""
    result: Any = F.lit(None).cast("string")
    for theirs, ours in names.items():
        result = F.when(cell == theirs, F.lit(ours)).otherwise(result)
    return result


def _delimited(text: Column, separator: str) -> Column:
    """Fields of one line. A quoted field may hold the separator, a quote inside it is doubled (RFC 4180)."""
    pattern = f'{separator}("(?:[^"]|"")*{engine().possessive}"|[^{separator}"]*)'
    led = F.concat(F.lit(separator), text)
    fields = F.regexp_extract_all(led, F.lit(pattern), F.lit(1))
    is_whole = F.concat(F.lit(separator), F.array_join(fields, separator)) == led
    return F.when(F.contains(text, F.lit('"')), F.when(is_whole, fields)).otherwise(F.split_on(text, separator))


def _unmarked(cell: Column, is_object: bool) -> Column:
    """The text of a JSON value with its decimal numbers as they were written."""
    if is_object:
        cell = engine().nested_text(cell)
        return F.replace(F.replace(cell, F.lit(f'"{MARK}'), F.lit("")), F.lit(f'{MARK}"'), F.lit(""))
    return F.replace(cell, F.lit(MARK), F.lit(""))


def _unquoted(cell: Column) -> Column:
    inner = F.replace(F.substring(cell, F.lit(2), F.length(cell) - 2), F.lit('""'), F.lit('"'))
    is_whole = cell.startswith('"') & cell.endswith('"') & (F.length(cell) >= 2)
    return F.when(~F.col(_HAS_ODD), cell).when(is_whole, inner).otherwise(cell)
