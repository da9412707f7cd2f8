"""A catalogue that can be searched: built once, saved as safetensors and JSON, asked often.

    index = Index.build(catalog, encoders)          # encoders: {TITLE: Encoder, ...}; none at all leaves BM25 alone
    hits = index.search("red shoes", k=10, filters=parse(["price<50"]))
    index.save(folder); Index.load(folder, encoders)

What no query asks for gives no hit: no word, symbols alone, an empty catalogue. A query in a language that neither the
words nor the encoders know comes to items by its vector alone; without vectors it finds nothing.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from pipelines.core.columns import Columns as C
from pipelines.core.errors import TrainingError
from training.recommend.texts import items_of
from training.search.bm25 import Bm25
from training.search.features import features
from training.search.filters import Filter, allowed
from training.search.goods import ALL, LONG, Goods, Sight
from training.search.ranker import Ranker
from training.search.typos import Speller
from training.search.words import Query, read

CATALOG: Final = (
    C.ITEM_ID, C.TITLE, C.DESCRIPTION, C.CATEGORY_PATH, C.BRAND, C.ATTRIBUTES, C.PRICE_CENTS, C.STOCK,
)  # fmt: skip
_KINDS: Final = {C.PRICE_CENTS: pa.int64(), C.STOCK: pa.float64()}
_SCHEMA: Final = pa.schema([(name, _KINDS.get(name, pa.string())) for name in CATALOG])
_PARTS: Final = ("start", "text", "score")


class Encodes(Protocol):
    """training.encode.Encoder, as far as a search needs it."""

    def encode(self, texts: Sequence[str]) -> np.ndarray: ...


@dataclass(frozen=True)
class Hits:
    """What was found, the best first."""

    query: Query  # as it was understood
    mended: bool  # whether slips in it were
    items: list[str]
    titles: list[str]
    scores: list[float]


@dataclass(frozen=True)
class Index:
    """n items. Without a ranker the candidates' own order holds."""

    catalog: pa.Table  # CATALOG
    goods: Goods
    encoders: Mapping[str, Encodes] = field(default_factory=dict)  # by view
    ranker: Ranker | None = None

    @classmethod
    def build(
        cls, catalog: pa.Table, vectors: Mapping[str, np.ndarray], encoders: Mapping[str, Encodes] | None = None,
        ranker: Ranker | None = None,
    ) -> "Index":  # fmt: skip
        """`catalog`: any table with some of CATALOG's columns; `vectors`: (n, width) of its items by view."""
        told = {name: catalog[name] if name in catalog.schema.names else pa.nulls(len(catalog)) for name in CATALOG}
        table = pa.table({name: pc.cast(column, _SCHEMA.field(name).type) for name, column in told.items()})
        return cls(table, Goods.of(items_of(table), vectors), encoders or {}, ranker)

    @cached_property
    def speller(self) -> Speller:
        return Speller.of([self.goods.fields[ALL], self.goods.fields[LONG]], self.goods.in_a_row)

    @cached_property
    def _stock(self) -> np.ndarray:
        return self.catalog[C.STOCK].to_numpy()

    def sight(self, text: str) -> tuple[Sight, bool]:
        """The candidates of what a customer typed, and whether slips in it were mended."""
        asked = read(text)
        query = self.speller.mended(asked)
        vectors = {}
        if query.words:
            vectors = {
                view: one.encode([query.text])[0] for view, one in self.encoders.items() if view in self.goods.vectors
            }
        return self.goods.sight(query, vectors), query.text != asked.text

    def scores(self, sight: Sight) -> np.ndarray:
        """(c,) of the candidates. A ranker that learnt from vectors is not asked where there are none."""
        if self.ranker is None or not len(sight.places) or set(sight.cosines) != set(self.ranker.views):
            return sight.first.astype(np.float64)
        return self.ranker.scores(features(self.goods, sight))

    def search(self, text: str, k: int = 10, filters: Sequence[Filter] = ()) -> Hits:
        sight, mended = self.sight(text)
        scores, places = self.scores(sight), sight.places
        if filters:
            kept = allowed(filters, self.goods.items, self._stock)[places]
            scores, places = scores[kept], places[kept]
        if not sight.query.words:
            places = places[:0]
        order = np.argsort(-scores[: len(places)], kind="stable")[:k]
        at = places[order].tolist()
        items, titles = self.goods.items.ids[at].tolist() if at else [], [self.goods.items.titles[one] for one in at]
        return Hits(sight.query, mended, items, titles, [round(float(one), 6) for one in scores[order]])

    def save(self, folder: Path) -> None:
        """Into an existing, empty folder. The encoders are not saved: they lie where the weights are."""
        tensors = {f"vectors.{view}": np.ascontiguousarray(rows) for view, rows in self.goods.vectors.items()}
        tensors["title_words"] = self.goods.title_words
        for name, one in self.goods.fields.items():
            tensors |= {f"fields.{name}.{part}": getattr(one, part) for part in _PARTS}
        save_file(tensors, folder / "index.safetensors")
        words = {name: list(one.words) for name, one in self.goods.fields.items()}
        told = {"words": words, "catalog": self.catalog.to_pydict()}
        (folder / "index.json").write_text(json.dumps(told, ensure_ascii=False), encoding="utf-8")
        if self.ranker:
            self.ranker.save(folder)

    @classmethod
    def load(cls, folder: Path, encoders: Mapping[str, Encodes] | None = None) -> "Index":
        """Raises TrainingError for a folder that holds no index."""
        try:
            told: dict[str, Any] = json.loads((folder / "index.json").read_text(encoding="utf-8"))
            tensors = load_file(folder / "index.safetensors")
            catalog = pa.table(told["catalog"], schema=_SCHEMA)
            n = len(catalog)
            fields = {
                name: Bm25(n, tuple(words), *(tensors[f"fields.{name}.{part}"] for part in _PARTS))
                for name, words in told["words"].items()
            }
            vectors = {key.removeprefix("vectors."): one for key, one in tensors.items() if key.startswith("vectors.")}
            goods = Goods(items_of(catalog), fields, tensors["title_words"], vectors)
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise TrainingError(f"{folder}: no readable search index ({type(error).__name__}: {error})") from None
        ranker = Ranker.load(folder) if Ranker.is_in(folder) else None
        return cls(catalog, goods, encoders or {}, ranker)

    def with_ranker(self, ranker: Ranker | None) -> "Index":
        return replace(self, ranker=ranker)
