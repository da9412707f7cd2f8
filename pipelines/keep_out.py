"""Who was erased, and whose line a raw line is: so that a customer who was erased stays out, whatever lands again.

The ledger, <root>/<shop>/erasure/ledger.json, holds of each person two HMACs under a key of its own: of the id and of the
pseudonym. Neither can be read from it, and without the store's key nobody can even ask. Where nobody was erased there
is no ledger, and nothing here costs anything.
"""

import csv
import hmac
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from pipelines.core.errors import ConfigError, StorageError
from pipelines.core.privacy import PseudonymKey, load_key
from pipelines.core.storage import Store, write_atomic

if TYPE_CHECKING:
    import pyarrow as pa

# No id that a connector takes begins with NUL, so this is nobody's pseudonym.
_PURPOSE: Final = "\0nightmarket: ledger of erased customers"
_PSEUDONYM = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
# An id may be written beside other signs: every way to cut a text into ids is tried.
_TOKENS = tuple(re.compile(rf"[A-Za-z0-9{more}]+") for more in ("", "_", "_-", "_.-", "_.:@+/=-"))


@dataclass(frozen=True)
class Place:
    """Where a line names its customer: under a key of a JSON object, or in a column of a delimited line."""

    key: str = ""
    separator: str = ""
    column: int = 0
    n_columns: int = 0


# Connector -> where its lines name the customer, as spark_jobs/connectors/ reads them (a test holds the two together);
# None: its lines are about nobody.
PLACES: Final[dict[str, Place | None]] = {
    "jsonl": Place("user_id"),
    "reviews": Place("user_id"),
    "messages": Place("user_id"),
    "deliveries": Place("user_key"),
    "outcomes": Place("user_key"),
    "catalog": None,
    "rees46": Place(separator=",", column=7, n_columns=9),
    "retailrocket": Place(separator=",", column=1, n_columns=5),
    "taobao": Place(separator=",", column=0, n_columns=5),
    "yoochoose": Place(separator="\t", column=0, n_columns=3),
}


@dataclass(frozen=True)
class Ledger:
    """The erased customers of one shop."""

    key: PseudonymKey
    entries: frozenset[str]

    def knows(self, name: str) -> bool:
        """Whether this id or pseudonym is of an erased customer."""
        return hmac.digest(self.key.secret, name.encode(), "sha256").hex() in self.entries

    def mine(self, texts: "pa.Array", connector: str) -> np.ndarray:
        """(n,) bool: which raw lines are of an erased customer.

        A line is of the customer that it names in the place of its platform; a line that names none there, or is not of
        the form, is of everybody whose id stands in it. A pseudonym is looked for anywhere. Raises ConfigError for a
        connector that is not in PLACES.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        if connector not in PLACES:
            raise ConfigError(
                f"connector '{connector}': customers of this shop were erased, but where its lines name the customer is "
                f"not known; add it to PLACES in {Path(__file__).name}"
            )
        place = PLACES[connector]
        if place is None or not self.entries:
            return np.zeros(len(texts), dtype=bool)
        names, odd = _plain_names(texts, place)
        known = [name for name in pc.unique(names).to_pylist() if name and self.knows(name)]
        mask = pc.fill_null(pc.is_in(names, value_set=pa.array(known, pa.string())), False)
        found: np.ndarray = mask.to_numpy(zero_copy_only=False).copy()
        for at in np.flatnonzero(odd & ~found).tolist():
            found[at] = any(self.knows(name) for name in set(_odd_names(texts[at].as_py(), place)))
        return found


def ledger_key(key: PseudonymKey) -> PseudonymKey:
    """The ledger's own key: what is known of pseudonyms tells nothing about it."""
    return PseudonymKey(bytes.fromhex(key.pseudonym(_PURPOSE)))


def erasure_folder(store: Store) -> Path:
    """Ledger, requests and certificates of a shop; readable by its owner alone."""
    folder = store.folder / "erasure"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def load_ledger(store: Store) -> Ledger | None:
    """None where nobody was erased. Raises StorageError for a ledger that cannot be read: nobody may come back by that."""
    path = store.folder / "erasure" / "ledger.json"
    try:
        told = json.loads(path.read_text())
        entries, written_with = frozenset(told["entries"]), told["key"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise StorageError(
            f"{path}: the list of erased customers cannot be read; restore it: without it they would come back"
        ) from error
    key = ledger_key(load_key(store.root))
    if _fingerprint(key) != written_with:
        raise StorageError(
            f"{path}: written under another pseudonym key: erased customers would not be known; give back the key "
            f"({store.root / 'key'} or NIGHTMARKET_KEY) that this store was made with"
        )
    return Ledger(key, entries)


def _fingerprint(key: PseudonymKey) -> str:
    """Tells two keys apart, and nothing about them."""
    return key.pseudonym("\0which key")[:16]


def add_to_ledger(store: Store, ids: Iterable[str], staging: Path) -> Ledger:
    """The ledger with these customers in it, on disk before this returns."""
    key = load_key(store.root)
    own = ledger_key(key)
    names = [name for user in ids for name in (user, key.pseudonym(user))]
    before = load_ledger(store)
    entries = (before.entries if before else frozenset()) | {own.pseudonym(name) for name in names}
    path = erasure_folder(store) / "ledger.json"
    write_atomic(path, json.dumps({"key": _fingerprint(own), "entries": sorted(entries)}, indent=1) + "\n", staging)
    path.chmod(0o600)
    return Ledger(own, entries)


def _plain_names(texts: "pa.Array", place: Place) -> tuple["pa.Array", np.ndarray]:
    """(n,) the customer that each line names, null where that is not plain to see, and (n,) bool: look closer."""
    import pyarrow.compute as pc

    if place.key:
        pattern = rf'"{place.key}"\s*:\s*"(?P<name>[^"\\]*)"'
        is_odd = pc.or_(pc.not_equal(pc.count_substring(texts, f'"{place.key}"'), 1), pc.match_substring(texts, "\\u"))
    else:
        cell = rf'[^{place.separator}"]*'
        pattern = rf"^(?:{cell}{place.separator}){{{place.column}}}(?P<name>{cell})(?:{place.separator}|$)"
        is_odd = pc.or_(
            pc.not_equal(pc.count_substring(texts, place.separator), place.n_columns - 1),
            pc.match_substring(texts, '"'),
        )
    names = pc.utf8_trim_whitespace(pc.struct_field(pc.extract_regex(texts, pattern=pattern), 0))
    is_odd = pc.or_(is_odd, pc.or_(pc.is_null(names), pc.equal(pc.utf8_length(names), 0)))
    if place.key != "user_key":
        is_odd = pc.or_(is_odd, pc.match_substring_regex(texts, r"[0-9a-f]{64}"))
    return names, pc.fill_null(is_odd, True).to_numpy(zero_copy_only=False)


def _odd_names(text: str | None, place: Place) -> Iterator[str]:
    """Whom a line that is not plain may be about."""
    if not text:
        return
    yield from _PSEUDONYM.findall(text)
    named = _json_names(text, place.key) if place.key else _cell_names(text, place)
    if named:
        yield from named
        return
    for pattern in _TOKENS:
        for token in pattern.findall(text):
            yield token
            yield token.strip("_.:@+/=-")


def _json_names(text: str, key: str) -> list[str]:
    """Values of the key at the top of a JSON object, of any simple type; none where it is no such object."""
    try:
        whole = json.loads(text, object_pairs_hook=tuple)  # an object is a tuple of pairs, an array a list
    except (ValueError, RecursionError):
        return []
    pairs = whole if isinstance(whole, tuple) else ()
    return [str(value).strip() for name, value in pairs if name == key and isinstance(value, str | int) and str(value)]


def _cell_names(text: str, place: Place) -> list[str]:
    """The cell of a delimited line; none where it has not the platform's columns."""
    try:
        cells = next(csv.reader([text], delimiter=place.separator, strict=True))
    except (csv.Error, StopIteration):
        return []
    name = cells[place.column].strip() if len(cells) == place.n_columns else ""
    return [name] if name else []
