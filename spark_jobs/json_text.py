"""JSON lines on both engines alike: one object a line, RFC 8259 and nothing beside it, numbers as they are written.

DuckDB and Spark differ in what they take for JSON and in how they write decimals; here is what makes them agree. `f` is
the engine's function namespace (spark_jobs/session.py).
"""

from collections.abc import Sequence
from typing import Any

# Engines write decimals in their own ways (1e5, 1.0E5), so a key's decimal becomes a string, between two marks, before
# it is parsed. A letter before the closing quote: what opens a string never follows one, so no string is touched.
MARK = "\ufdd0"
_DECIMAL = r'([A-Za-z0-9_]"\s*:\s*)(-?(?:0|[1-9][0-9]*)(?:\.[0-9]+(?:[eE][+-]?[0-9]+)?|[eE][+-]?[0-9]+))'
_ANY = "16777216"  # longer than any line


def parse_on_duckdb(f: Any, text: Any, keys: Sequence[str]) -> Any:
    """List of the keys' values as text; null if the text is no JSON object."""
    paths = f.array(*[f.lit(f"$.{key}") for key in keys])
    # DuckDB takes a comma before a bracket, NaN and Infinity, which are no JSON: looked for outside strings.
    loose = r",\s*[}\]]|[nN][aA][nN]|[iI][nN][fF]"
    bare = f.call_function("regexp_replace", text, f.lit(r'"(?:[^"\\]|\\.)*"'), f.lit('""'), f.lit("g"))
    is_strict = f.when(text.rlike(loose), ~bare.rlike(loose)).otherwise(f.lit(True))
    is_object = f.call_function("json_valid", text) & text.rlike(r"^\s*\{") & is_strict
    marked = f.call_function("regexp_replace", text, f.lit(_DECIMAL), f.lit(f'\\1"{MARK}\\2{MARK}"'), f.lit("g"))
    return f.when(is_object, f.call_function("json_extract_string", f.when(is_object, marked), paths))


def parse_on_spark(f: Any, text: Any) -> Any:
    """Map of key to value as text; null if the text is no JSON object."""
    marked = f.regexp_replace(text, _DECIMAL, f'$1"{MARK}$2{MARK}"')
    # Spark's parser stops at the end of the first value: an object put behind it shows that nothing else was there.
    seal = f.xxhash64(text).cast("string")
    wrapped = f.concat(f.lit("["), marked, f.lit(',{"seal":"'), seal, f.lit('"}]'))
    strict = {
        "allowSingleQuotes": "false",
        "allowNonNumericNumbers": "false",
        "maxNestingDepth": _ANY,
        "maxNumLen": _ANY,
    }
    parsed = f.from_json(wrapped, "array<map<string,string>>", strict)
    is_one = (f.size(parsed) == 2) & (f.get(parsed, f.lit(1)).getItem("seal") == seal) & text.rlike(r"^\s*\{")
    # Half a surrogate pair is no text. Escaped backslashes and whole pairs are taken out, then none may be left.
    pairs = r"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    halves = f.regexp_replace(text, pairs, " ").rlike(r"\\u[dD][89a-fA-F]")
    return f.when(
        is_one & ~f.when(f.contains(text, f.lit("\\u")), halves).otherwise(f.lit(False)), f.get(parsed, f.lit(0))
    )


def nested_on_spark(f: Any, cell: Any) -> Any:
    """The text of a nested value with every character as itself."""
    # Spark writes what is beyond 16 bits as two escapes. Read as a JSON string in which all but those is escaped.
    quoted = f.replace(f.replace(cell, f.lit("\\"), f.lit("\\\\")), f.lit('"'), f.lit('\\"'))
    pair = r"(?<!\\)\\\\(u[dD][89abAB][0-9a-fA-F]{2})\\\\(u[dD][c-fC-F][0-9a-fA-F]{2})"
    text = f.concat(f.lit('{"text":"'), f.regexp_replace(quoted, pair, r"\\$1\\$2"), f.lit('"}'))
    return f.when(cell.contains("\\uD"), f.from_json(text, "text string").getItem("text")).otherwise(cell)
