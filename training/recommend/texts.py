"""What an item says about itself: one text, its parts as arrays, and its vector by a pretrained encoder.

    items = items_of(catalog)                                  # any table with some of the catalogue's columns
    vectors = embed(items.texts, resolve(encoder_for(items.texts), cache), kept=folder / "items.safetensors")

A vector is kept under the hash of its text and of the encoder's weights, so a night encodes new and changed items only.
"""

import hashlib
import json
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import pyarrow as pa

from pipelines.core import pictures
from pipelines.core.columns import Columns as C
from pipelines.core.storage import file_hash
from training.recommend.kept import keep, kept_vectors
from training.weights import ENCODER_EN, ENCODER_MULTILINGUAL

MAX_CHARACTERS: Final = 2_000  # of an item's text; an encoder reads fewer
COLOURS: Final = ("color", "colour", "颜色")  # names of the attribute
_NOT_SAID: Final = frozenset({"list_price", pictures.ATTRIBUTE})  # attributes that say nothing about what an item is
_SEPARATORS: Final = (">", "/", ".")  # of the levels of a category path; the first that occurs in it
_OTHER_SCRIPTS: Final = 0.02  # share of texts that are not in Latin letters from which an English encoder will not do


@dataclass(frozen=True)
class Items:
    """n items. What a catalogue does not tell is "", () or NaN."""

    ids: np.ndarray  # (n,) str
    titles: tuple[str, ...]
    texts: tuple[str, ...]  # title, brand, attributes and description, at most MAX_CHARACTERS
    brands: np.ndarray  # (n,) str, lower case
    paths: tuple[tuple[str, ...], ...]  # levels of the category, the widest first
    colours: np.ndarray  # (n,) str, lower case
    prices: np.ndarray  # (n,) float64 cents

    def __len__(self) -> int:
        return len(self.titles)

    def take(self, where: np.ndarray) -> "Items":
        """The items where a mask (n,) is true."""
        at = np.flatnonzero(where).tolist()
        titles, texts = (tuple(told[place] for place in at) for told in (self.titles, self.texts))
        paths = tuple(self.paths[place] for place in at)
        return Items(self.ids[at], titles, texts, self.brands[at], paths, self.colours[at], self.prices[at])


def items_of(table: pa.Table) -> Items:
    """Rows of a catalogue. Columns that are missing and cells that are null tell nothing; no row is left out."""
    told = {name: _column(table, name) for name in (C.ITEM_ID, C.TITLE, C.DESCRIPTION, C.CATEGORY_PATH, C.BRAND)}
    attributes = [_attributes(text) for text in _column(table, C.ATTRIBUTES)]
    paths = tuple(levels(path) for path in told[C.CATEGORY_PATH])
    titles = tuple(map(clean, told[C.TITLE]))
    rows = zip(titles, told[C.BRAND], attributes, told[C.DESCRIPTION], strict=True)
    cents = table[C.PRICE_CENTS].to_pylist() if C.PRICE_CENTS in table.schema.names else [None] * table.num_rows
    return Items(
        np.array(told[C.ITEM_ID], dtype=str),
        titles,
        tuple(item_text(*row) for row in rows),
        np.array([clean(brand).lower() for brand in told[C.BRAND]], dtype=str),
        paths,
        np.array([next((a[name].lower() for name in COLOURS if name in a), "") for a in attributes], dtype=str),
        np.array([np.nan if price is None or price <= 0 else float(price) for price in cents], dtype=np.float64),
    )


def item_text(title: str, brand: str, attributes: dict[str, str], description: str) -> str:
    """What an encoder reads: the title first, because long texts are cut; "" where nothing is told. Without the category,
    which is also predicted from it."""
    told = [title, brand, " ".join(attributes.values()), description]
    return clean(". ".join(part for part in told if part))[:MAX_CHARACTERS]


def levels(path: str) -> tuple[str, ...]:
    """The levels of a category path as shops write it: "a > b", "a/b" or "a.b"."""
    separator = next((one for one in _SEPARATORS if one in path), ">")
    return tuple(part for part in (clean(level) for level in path.split(separator)) if part)


def clean(text: str) -> str:
    """One line, in the composed form of Unicode."""
    return re.sub(r"\s+", " ", unicodedata.normalize("NFKC", text)).strip()


def encoder_for(texts: Sequence[str]) -> str:
    """The address of the encoder that reads these texts: the English one, unless some are in other scripts."""
    other = sum(bool(re.search(r"[\u0400-\u1fff\u3040-\uffef]", text)) for text in texts)
    return ENCODER_MULTILINGUAL if other > _OTHER_SCRIPTS * len(texts) else ENCODER_EN


def embed(
    texts: Sequence[str],
    folder: Path,
    *,
    max_tokens: int = 64,
    threads: int | None = None,
    kept: Path | None = None,
    kind: Literal["query", "passage"] = "query",
) -> np.ndarray:
    """n texts -> (n, width) float32 of unit length, zeros for a text that says nothing.

    `folder`: an encoder's (training/weights.py), which takes `kind`.
    `kept`: a file of vectors; what it holds is not encoded again, and it is
    left with the vectors of these texts. A file of another encoder or a damaged one counts as empty.
    """
    from training.encode import Encoder

    weights = sorted(file_hash(path) for path in folder.glob("*.safetensors"))
    made_by = hashlib.sha256(
        " ".join([*weights, str(max_tokens), *([kind] if kind != "query" else [])]).encode()
    ).hexdigest()
    known = kept_vectors(kept, made_by) if kept else {}
    keys = [hashlib.sha256(text.encode()).hexdigest()[:32] for text in texts]
    new = list({key: text for key, text in zip(keys, texts, strict=True) if text and key not in known}.items())
    width: int = json.loads((folder / "config.json").read_text())["hidden_size"]
    if new:
        made = Encoder(folder, max_tokens=max_tokens, threads=threads).encode([text for _, text in new], kind)
        known |= {key: vector for (key, _), vector in zip(new, made, strict=True)}
    nothing = np.zeros(width, np.float32)
    vectors = np.stack([known.get(key, nothing) for key in keys]) if keys else np.zeros((0, width), np.float32)
    if kept and new:
        keep(kept, made_by, {key: known[key] for key in keys if key in known})
    return vectors


def _column(table: pa.Table, name: str) -> list[str]:
    if name not in table.schema.names:
        return [""] * table.num_rows
    return ["" if cell is None else str(cell) for cell in table[name].to_pylist()]


def _attributes(text: str) -> dict[str, str]:
    """Attributes by name, as words; what is no JSON object is one nameless attribute."""
    try:
        told: Any = json.loads(text) if text else {}
    except ValueError:
        told = text
    if not isinstance(told, dict):
        return {"": clean(str(told))}
    return {
        str(name).lower(): clean(str(value))
        for name, value in told.items()
        if isinstance(value, str | int | float) and str(name).lower() not in _NOT_SAID
    }
