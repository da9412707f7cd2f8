"""The Amazon ESCI sample (US) as a catalogue and judgements: 6,764 products, 150 queries, 6,678 judged pairs.

What a product says of the queries it was shown for (`query_id`) is left out: it is the answer.
"""

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from pipelines.core.columns import Columns as C
from pipelines.core.errors import NoDataError

PRODUCTS: Final = "esci_us_ecommerce_shrunk.ndjson.zip"
JUDGEMENTS: Final = "esci_us_judgments.json"
EXACT: Final = 100.0
_TEXTS: Final = (C.ITEM_ID, C.TITLE, C.DESCRIPTION, C.CATEGORY_PATH, C.BRAND, C.ATTRIBUTES)


@dataclass(frozen=True)
class Esci:
    """Products in the order of the file; judgements by query."""

    catalog: pa.Table  # the catalogue's columns
    queries: tuple[str, ...]
    query: np.ndarray  # (n,) place in `queries`
    product: np.ndarray  # (n,) place in `catalog`
    rating: np.ndarray  # (n,) 100 exact, 10 substitute, 1 complement, 0 irrelevant


def read_esci(folder: Path) -> Esci:
    """Raises NoDataError, in one line that names file and line, where a file is missing or is not this data set."""
    catalog = _read_products(folder / PRODUCTS)
    place = {item: at for at, item in enumerate(catalog[C.ITEM_ID].to_pylist())}
    path = folder / JUDGEMENTS
    try:
        told = json.loads(path.read_bytes())["judgmentRatings"]
        rows = [(at, str(one["docId"]), float(one["rating"])) for at, q in enumerate(told) for one in q["ratings"]]
        queries = tuple(str(query["query"]) for query in told)
    except json.JSONDecodeError as error:
        raise _wrong(path, f"line {error.lineno}: no JSON ({error.msg})") from None
    except (OSError, UnicodeDecodeError) as error:
        raise _wrong(path, str(error)) from None
    except (KeyError, TypeError, ValueError) as error:
        raise _wrong(path, f"judgmentRatings hold no query, docId or rating ({error!r})") from None
    if unknown := next((row for row in rows if row[1] not in place), None):
        raise _wrong(path, f"query '{queries[unknown[0]]}' judges {unknown[1]}, which {PRODUCTS} does not hold")
    if not rows:
        raise _wrong(path, "no judgement")
    query, product, rating = zip(*((at, place[item], rating) for at, item, rating in rows), strict=True)
    return Esci(catalog, queries, np.array(query), np.array(product), np.array(rating))


def _read_products(path: Path) -> pa.Table:
    """OpenSearch bulk lines: what to do, then the product."""
    try:
        with zipfile.ZipFile(path) as archive:
            lines = archive.read(archive.namelist()[0]).splitlines()
    except (OSError, zipfile.BadZipFile, IndexError) as error:
        raise _wrong(path, str(error)) from None
    rows = [_product(path, number, lines[number - 1]) for number in range(2, len(lines) + 1, 2)]
    if not rows or len(lines) % 2:
        raise _wrong(path, f"{len(lines)} lines; each product has two")
    columns = {name: pa.array([row[name] for row in rows], pa.string()) for name in _TEXTS}
    return pa.table({**columns, C.PRICE_CENTS: pa.array([row[C.PRICE_CENTS] for row in rows], pa.int64())})


def _product(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        told = json.loads(line)
        price, colour = told.get("price"), told.get("color")
        said = [told.get(name) or "" for name in ("bullet_points", "description")]
        return {
            C.ITEM_ID: str(told["asin"]),
            C.TITLE: str(told["title"]),
            C.DESCRIPTION: "\n".join(part for part in said if part),
            C.CATEGORY_PATH: " > ".join(told["category"]),
            C.BRAND: told.get("brand"),
            C.ATTRIBUTES: json.dumps({"color": colour}) if colour else None,
            C.PRICE_CENTS: round(100 * price) if isinstance(price, int | float) else None,
        }
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _wrong(path, f"line {number}: no product ({type(error).__name__}: {error})") from None


def _wrong(path: Path, what: str) -> NoDataError:
    return NoDataError(f"{path}: {what}; expected the ESCI sample that SOURCE.md describes")
