"""Words the messages of a night's plan: variants of each, every one moderated, and one by lot for each customer.

    python -m training.write_night SPEC.json

The spec is written by pipelines/write.py: `shop`, `root`, `night`, `out`, `threads`; `model` {folder, name, version} of the
champion, its folder null where templates word everything; `reusable`, files of creatives that the same model made before;
`decisions` {creative_id: approved or rejected}. Rows go to <out>/TABLE/ (creatives, plan_copy), the result {rows, counts} to
<out>/result.json.

A text is a function of its brief, the model and the settings alone, so what an earlier night made is taken from there. Which
of its brief's texts a customer gets is drawn by lot, with more chances for a kind of wording that was answered more often.
Where nothing of a brief may be sent a template does, then one that names no product; where not even the offer's words may
be sent, none, and the plan's row has no text.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.core.columns import Columns as C
from pipelines.core.copywriting import LANGUAGES, SAFE, TEMPLATE, USABLE, Language, Write
from pipelines.core.errors import NoDataError, WrongUseError
from pipelines.core.reading import read
from pipelines.core.shop import Shop
from pipelines.core.storage import Store, window
from pipelines.strategy.candidates import NOTHING
from pipelines.strategy.holdout import hashed
from training.creatives import templates, worked
from training.creatives.briefs import GOODS, Asked, asked_for
from training.creatives.prompts import Brief
from training.job import run_job
from training.language.moderation import Creative, Moderator
from training.table_files import schema_of, write

_NO_VERSION = "none"
_FORMULA = "=+-@"  # a spreadsheet runs what begins so


@dataclass
class Book:
    """Tonight's creatives by id, and which of them each brief may use."""

    moderator: Moderator
    decisions: Mapping[str, str]
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    usable: dict[str, list[str]] = field(
        default_factory=dict
    )  # brief -> creatives, in the order that they were written

    def add(self, written: Sequence[tuple[Brief, Brief, list[str]]], source: str, version: str) -> None:
        """Judges texts; each comes with the brief that it is used for and the one that it was written for."""
        new: dict[str, Creative] = {}
        for _, brief, texts in written:
            for text in texts:
                name = creative_id(brief, text)
                if name not in self.rows and name not in new:
                    new[name] = Creative(
                        name,
                        brief.item_id,
                        text,
                        brief.language,
                        brief.channel,
                        brief.offer_id,
                        brief.style,
                        brief.facts,
                        by_model=source not in (TEMPLATE, SAFE),
                    )
        verdicts = dict(zip(new, self.moderator.judge(list(new.values())), strict=True))
        for used_for, brief, texts in written:
            for text in texts:
                name = creative_id(brief, text)
                if name in verdicts and name not in self.rows:
                    verdict = verdicts[name]
                    status, rule, detail = self.decisions.get(name, verdict.status), verdict.rule, verdict.detail
                    if len(text) > brief.max_chars:  # no person can make a channel longer, or a spreadsheet safe
                        status, rule, detail = "held", "too_long", f"{len(text)} characters, at most {brief.max_chars}"
                    elif text[0] in _FORMULA:
                        status, rule, detail = "held", "formula", "begins as a spreadsheet's formula"
                    self.rows[name] = _row(name, brief, text, source, version) | {
                        C.STATUS: status, C.RULE: rule, C.DETAIL: detail,
                    }  # fmt: skip
                if self.rows[name][C.STATUS] in USABLE:
                    mine = self.usable.setdefault(used_for.id, [])
                    mine += [name] if name not in mine else []


def run(spec: dict[str, Any]) -> dict[str, Any]:
    """Writes the tables of the night under spec["out"]. Raises NoDataError without a plan."""
    shop, night = Shop.model_validate(spec["shop"]), date.fromisoformat(spec["night"])
    if shop.write is None:
        raise WrongUseError(f"shop {shop.shop}: no 'write' in its configuration; add it")
    store = Store(Path(spec["root"]), shop.shop)
    plan = _plan(store, night, shop)
    asked = asked_for(plan, read(store, "catalog", [night], *GOODS), shop, _languages(store, night, shop))
    book = Book(Moderator.load(), spec["decisions"])
    generated, reused = _by_model(book, asked, spec, shop.write)
    n = shop.write.variants
    missing = [brief for brief in asked.briefs if brief.id not in book.usable]
    book.add([(brief, brief, templates.safe(brief, n)) for brief in missing], TEMPLATE, _NO_VERSION)
    missing = [brief for brief in missing if brief.id not in book.usable]
    general = [(brief, brief.without_product()) for brief in missing]
    book.add([(brief, plain, templates.safe(plain, n)) for brief, plain in general], SAFE, _NO_VERSION)
    found = worked.gains(worked.read_lots(night, shop, store))
    copies = _drawn(plan, asked, book, night, shop.write, worked.proven(found))
    rows = [book.rows[name] for name in sorted(book.rows)]
    write(Path(spec["out"]), "creatives", pa.Table.from_pylist(rows, schema_of("creatives")))
    write(Path(spec["out"]), "plan_copy", copies)
    return {
        "rows": {"creatives": len(rows), "plan_copy": len(copies)},
        "counts": {
            "briefs": len(asked.briefs),
            "by_status": dict(sorted(Counter(row[C.STATUS] for row in rows).items())),
            "by_rule": dict(sorted(Counter(row[C.RULE] for row in rows if row[C.RULE]).items())),
            "by_language": dict(sorted(Counter(row[C.LANGUAGE] for row in rows).items())),
            "generated": generated,
            "reused": reused,
            "gain_in_answers": {" | ".join(which): one.as_dict() for which, one in sorted(found.items())},
            **_read_by(copies, book),
        },
    }


def creative_id(brief: Brief, text: str) -> str:
    """Hash of a text and of all that it was asked to say."""
    return hashlib.sha256(f"{brief.id} {text}".encode()).hexdigest()[:16]


def _row(name: str, brief: Brief, text: str, source: str, version: str) -> dict[str, Any]:
    return {
        C.CREATIVE_ID: name, C.BRIEF_ID: brief.id, C.ITEM_ID: brief.item_id or None, C.OFFER_ID: brief.offer_id,
        C.CHANNEL: brief.channel, C.CREATIVE_STYLE: brief.style, C.SEGMENT_NAME: brief.segment or None,
        C.LANGUAGE: brief.language, C.TEXT: text, C.SOURCE: source, C.MODEL_VERSION: version,
    }  # fmt: skip


def _plan(store: Store, night: date, shop: Shop) -> pa.Table:
    """Rows of the plan that send something, by customer, with the segment's name."""
    names = (C.USER_KEY, C.STRATEGY_ID, C.OFFER, C.CHANNEL, C.CREATIVE_STYLE, C.ITEM_ID)
    plan = read(store, "campaign_plan", [night], *names)
    segments = read(store, "segments", [night], C.USER_KEY, C.SEGMENT_NAME)
    if plan is None or segments is None:
        raise NoDataError(f"shop {shop.shop}, night {night}: no plan to write for; run the plan stage first")
    plan = plan.filter(pc.not_equal(plan[C.STRATEGY_ID], NOTHING)).sort_by(C.USER_KEY)
    where = pc.index_in(plan[C.USER_KEY], value_set=segments[C.USER_KEY])
    return plan.append_column(C.SEGMENT_NAME, segments[C.SEGMENT_NAME].take(where))


def _languages(store: Store, night: date, shop: Shop) -> dict[str, Language]:
    """The language of each customer's newest review or message that tells one."""
    nights = window(night, shop.features.window_nights)
    reviews = read(store, "reviews", nights, C.USER_KEY, C.LANGUAGE, C.OCCURRED_AT)
    messages = read(store, "messages", nights, C.USER_KEY, C.LANGUAGE, C.OCCURRED_AT, C.SENDER)
    if messages is not None:
        messages = messages.filter(pc.equal(messages[C.SENDER], "customer")).drop_columns(C.SENDER)
    parts = [part for part in (reviews, messages) if part is not None]
    if not parts:
        return {}
    told = pa.concat_tables(parts)
    told = told.filter(pc.is_in(told[C.LANGUAGE], value_set=pa.array(LANGUAGES)))
    told = told.sort_by([(C.OCCURRED_AT, "ascending"), (C.LANGUAGE, "ascending")])  # the last of each counts
    return dict(zip(told[C.USER_KEY].to_pylist(), told[C.LANGUAGE].to_pylist(), strict=True))


def _by_model(book: Book, asked: Asked, spec: Mapping[str, Any], settings: Write) -> tuple[int, int]:
    """Adds what the champion writes of the first briefs; how many texts are new, and how many an earlier night made."""
    if not spec["model"]["folder"]:
        return 0, 0
    from training.tasks.copywriter import TASK  # torch, only where a model writes

    model = TASK.load(Path(spec["model"]["folder"]))
    mine = [brief for brief in asked.briefs if model.can_write(brief)][: settings.max_generated]
    known: dict[str, list[str]] = {}
    for path in reversed(spec["reusable"]):
        told = pq.ParquetFile(path).read(columns=[C.BRIEF_ID, C.TEXT, C.SOURCE, C.CREATIVE_ID])
        told = told.filter(pc.equal(told[C.SOURCE], spec["model"]["name"]))
        found: dict[str, list[str]] = {}
        for brief_id, text in zip(told[C.BRIEF_ID].to_pylist(), told[C.TEXT].to_pylist(), strict=True):
            found.setdefault(brief_id, []).append(text)
        known |= found
    new = [brief for brief in mine if brief.id not in known]
    made = dict(
        zip(
            [brief.id for brief in new],
            model.write(new, settings.variants, settings.seed, spec["threads"]),
            strict=True,
        )
    )
    texts = made | {brief.id: known[brief.id] for brief in mine if brief.id in known}
    name, version = spec["model"]["name"], spec["model"]["version"]
    book.add([(brief, brief, sorted(texts[brief.id])) for brief in mine], name, version)
    return sum(map(len, made.values())), sum(len(known[brief.id]) for brief in mine if brief.id in known)


def _drawn(
    plan: pa.Table, asked: Asked, book: Book, night: date, settings: Write, sure: Mapping[tuple[str, str], float]
) -> pa.Table:
    """plan_copy: one of the creatives that a row's brief may use, by a hash of customer and night; each as likely, or more
    often of the kind that is `sure` to be answered more (training/creatives/worked.py)."""
    keys = plan[C.USER_KEY].to_pylist()
    lot = hashed([f"copy:{settings.seed}:{night.isoformat()}:{key}" for key in keys])
    choices = [book.usable.get(brief.id, []) for brief in asked.briefs]
    chance = [
        _chances(brief, [book.rows[name][C.TEXT] for name in names], settings, sure)
        for brief, names in zip(asked.briefs, choices, strict=True)
    ]
    upto = [np.cumsum(one) for one in chance]
    drawn: list[str | None] = []
    propensity: list[float | None] = []
    for brief, draw in zip(asked.row.tolist(), lot, strict=True):
        names = choices[brief]
        at = min(int(np.searchsorted(upto[brief], draw, side="right")), len(names) - 1)
        drawn.append(names[at] if names else None)
        propensity.append(float(chance[brief][at]) if names else None)
    columns = [keys, plan[C.STRATEGY_ID].to_pylist(), drawn, propensity]
    schema = schema_of("plan_copy")
    return pa.table([pa.array(values, kind.type) for values, kind in zip(columns, schema, strict=True)], schema=schema)


def _chances(brief: Brief, texts: Sequence[str], settings: Write, sure: Mapping[tuple[str, str], float]) -> np.ndarray:
    if not texts:
        return np.zeros(0)
    who = worked.audience(brief.language, brief.style)
    mine = {kind: gain for (audience, kind), gain in sure.items() if audience == who}
    kinds = [worked.kind_of(text, brief.offer_text) for text in texts]
    return worked.chances(kinds, mine, settings.even_percent)


def _read_by(copies: pa.Table, book: Book) -> dict[str, Any]:
    """How many customers read what the model, a template or the safe one wrote, and how many have no text."""
    source = Counter(
        "no text" if name is None else book.rows[name][C.SOURCE] for name in copies[C.CREATIVE_ID].to_pylist()
    )
    return {"customers": len(copies), "customers_by_source": dict(sorted(source.items()))}


if __name__ == "__main__":
    run_job(run)
