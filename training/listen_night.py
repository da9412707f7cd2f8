"""Reads the reviews of the last weeks and the catalogue: who says what of which aspect, what is suddenly blamed, what stands
for many, and what items say of themselves.

    python -m training.listen_night SPEC.json

The spec is written by pipelines/listen.py: `shop`, `root`, `night`, `out`, `threads`; `model` {folder, name, version} of the
champion of task sentiment, its folder null where there is none. All nights of the window are heard with the same ears, those
of tonight, so that a count of last week and one of tonight mean the same. Rows go to <out>/TABLE/, the result {rows: {TABLE:
n}, counts} to <out>/result.json.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from pipelines.core.columns import Columns as C
from pipelines.core.errors import WrongUseError
from pipelines.core.listening import RECENT_NIGHTS, TASK, Listen
from pipelines.core.reading import read
from pipelines.core.shop import Shop
from pipelines.core.storage import Store, window
from pipelines.core.tables import TABLES
from training.job import run_job
from training.language.aspects import OTHER, Ears, Judge, Mention
from training.language.attributes import guessed
from training.language.clauses import sentences
from training.language.summary import Pick, Said, summed_up
from training.language.surge import Watch, surges, told
from training.language.tongue import tongue_of
from training.language.transcripts import masked
from training.table_files import schema_of, write

_CATALOG: Final = (C.ITEM_ID, C.TITLE, C.DESCRIPTION, C.CATEGORY_ID, C.CATEGORY_PATH, C.BRAND, C.ATTRIBUTES)
_MONTH: Final = 30.0  # nights
_NAMED_ITEMS: Final = 3  # of an alert
_EXAMPLES: Final = 3  # of an alert, in each language
_MAX_SENTENCE: Final = 300  # characters


@dataclass(frozen=True)
class Reviews:
    """n reviews of the window, each once, as it came last; the oldest first."""

    ids: list[str]
    users: list[str]
    items: list[str]
    texts: list[str]
    languages: list[str]
    rating: np.ndarray  # (n,) float, NaN where none is told
    place: np.ndarray  # (n,) nights from the window's first

    @property
    def positive(self) -> np.ndarray:
        """(n,) 1 from four stars on, 0 up to two, NaN between."""
        return np.where(self.rating >= 4, 1.0, np.where(self.rating <= 2, 0.0, np.nan))

    @property
    def stars(self) -> np.ndarray:
        """(n,) -1 worst to 1 best."""
        return (self.rating - 3) / 2


def run(spec: dict[str, Any]) -> dict[str, Any]:
    """Writes the tables of the night under spec["out"]. Raises WrongUseError where the shop does not listen."""
    shop, night = Shop.model_validate(spec["shop"]), date.fromisoformat(spec["night"])
    if shop.listen is None:
        raise WrongUseError(f"shop {shop.shop}: no 'listen' in its configuration; add it")
    store, out = Store(Path(spec["root"]), shop.shop), Path(spec["out"])
    rows, counts = _heard(shop.listen, store, night, _judge(spec))
    for name, found in rows.items():
        _write(out, name, found)
    return {"rows": {name: len(found) for name, found in rows.items()}, "counts": counts}


def _heard(
    settings: Listen, store: Store, night: date, judge: Judge | None
) -> tuple[dict[str, list[dict[str, Any]]], dict[str, Any]]:
    """Rows by table, and counts."""
    nights = window(night, settings.window_nights)
    reviews = reviews_of(store, nights)
    ears = replace(Ears.fit(reviews.texts, reviews.positive, settings.topics), judge=judge)
    heard = ears.hear_all(reviews.texts, reviews.stars)
    watch, names = watched(reviews, heard, nights, settings)
    catalog = read(store, "catalog", [night], *_CATALOG)
    titles = (
        {} if catalog is None else dict(zip(*(catalog[name].to_pylist() for name in (C.ITEM_ID, C.TITLE)), strict=True))
    )
    alerts = _alerts(watch, names, reviews, heard, nights, titles)
    rows = {
        "review_opinions": _opinions(reviews, heard, len(nights) - 1),
        "opinion_alerts": alerts,
        "review_summaries": _summaries(reviews, heard, settings) + _examples(alerts, reviews, heard, nights),
        "item_attributes": [] if catalog is None else guessed(catalog, settings.precision),
    }
    return rows, {
        "reviews": int((reviews.place == len(nights) - 1).sum()),
        "reviews_in_window": len(reviews.ids),
        "topics_found": [name.removeprefix("topic: ") for name in ears.topics],
        "aspects": _tally(reviews, heard, len(nights)),
        "threshold": watch.threshold,
        "no_alarm": watch.why,
    }


def reviews_of(store: Store, nights: Sequence[date]) -> Reviews:
    """What arrived in these nights; one that came again counts as it came last."""
    names = (C.REVIEW_ID, C.USER_KEY, C.ITEM_ID, C.TEXT, C.LANGUAGE, C.RATING)
    found: dict[str, tuple[int, dict[str, Any]]] = {}
    for place, night in enumerate(nights):
        table = read(store, "reviews", [night], *names)
        for row in [] if table is None else table.to_pylist():
            found.pop(row[C.REVIEW_ID], None)
            found[row[C.REVIEW_ID]] = (place, row)
    kept = [(place, row) for place, row in found.values() if row[C.TEXT].strip()]
    rating = np.array([np.nan if row[C.RATING] is None else row[C.RATING] for _, row in kept], dtype=float)
    ids, users, items, texts = ([row[name] for _, row in kept] for name in (C.REVIEW_ID, C.USER_KEY, C.ITEM_ID, C.TEXT))
    languages = [row[C.LANGUAGE] or tongue_of(row[C.TEXT]) for _, row in kept]
    places = np.array([place for place, _ in kept], dtype=np.int64)
    return Reviews(ids, users, items, texts, languages, rating, places)


def _judge(spec: dict[str, Any]) -> Judge | None:
    """The champion of task sentiment, as what judges clauses."""
    if not spec["model"]["folder"]:
        return None
    from training.task import task_of

    model = task_of(TASK).load(Path(spec["model"]["folder"]))

    def judge(texts: Sequence[str]) -> np.ndarray:
        return np.asarray(model.predict(pa.table({C.TEXT: pa.array(texts, pa.string())}))["positive"].to_numpy())

    return judge


def watched(
    reviews: Reviews, heard: Sequence[Sequence[Mention]], nights: Sequence[date], settings: Listen
) -> tuple[Watch, list[str]]:
    """Surges of tonight, and the aspects that they number."""
    names = sorted({mention.aspect for review in heard for mention in review if mention.aspect != OTHER})
    place = {name: at for at, name in enumerate(names)}
    negative = np.zeros((len(nights), len(names)), dtype=np.int64)
    for at, review in zip(reviews.place.tolist(), heard, strict=True):
        for aspect in _blamed(review):
            if aspect in place:
                negative[at, place[aspect]] += 1
    counted = np.bincount(reviews.place, minlength=len(nights))
    weekday = np.array([night.weekday() for night in nights])
    budget = settings.false_alarms_per_month / _MONTH
    if not names:
        return Watch((), 0.0, "no review tells of any aspect"), names
    return surges(negative, counted, weekday, budget=budget, seed=settings.seed), names


def _blamed(review: Sequence[Mention]) -> set[str]:
    return {aspect for aspect, found in _by_aspect(review).items() if _opinion(found) < 0}


def _by_aspect(review: Sequence[Mention]) -> dict[str, list[Mention]]:
    found: dict[str, list[Mention]] = defaultdict(list)
    for mention in review:
        found[mention.aspect].append(mention)
    return found


def _opinion(mentions: Sequence[Mention]) -> int:
    return replace(mentions[0], score=_score(mentions)).opinion


def _score(mentions: Sequence[Mention]) -> float:
    return float(np.mean([mention.score for mention in mentions]))


def _opinions(reviews: Reviews, heard: Sequence[Sequence[Mention]], tonight: int) -> list[dict[str, Any]]:
    made = []
    for at in np.flatnonzero(reviews.place == tonight).tolist():
        n_clauses = len({mention.clause for mention in heard[at]})
        for aspect, found in _by_aspect(heard[at]).items():
            most = max(found, key=lambda mention: abs(mention.score))
            made.append(
                {
                    C.REVIEW_ID: reviews.ids[at],
                    C.USER_KEY: reviews.users[at],
                    C.ITEM_ID: reviews.items[at],
                    C.ASPECT: aspect,
                    C.OPINION: _opinion(found),
                    C.SCORE: round(_score(found), 6),
                    C.SHARE: round(len({mention.clause for mention in found}) / n_clauses, 6),
                    C.FIRST_CHARACTER: most.clause.start,
                    C.END_CHARACTER: most.clause.end,
                    C.LANGUAGE: reviews.languages[at],
                }
            )
    return made


def _tally(reviews: Reviews, heard: Sequence[Sequence[Mention]], n_nights: int) -> dict[str, dict[str, int]]:
    """Per aspect reviews that praise and blame it: of the newest nights, and of those before."""
    made: dict[str, Counter[str]] = defaultdict(Counter)
    recent = reviews.place >= n_nights - RECENT_NIGHTS
    for is_recent, review in zip(recent.tolist(), heard, strict=True):
        for aspect, found in _by_aspect(review).items():
            side = {1: "praised", 0: "neither", -1: "blamed"}[_opinion(found)]
            made[aspect][side if is_recent else f"{side}_before"] += 1
    for counted in made.values():
        counted["reviews"], counted["reviews_before"] = int(recent.sum()), int((~recent).sum())
    return {aspect: dict(sorted(counted.items())) for aspect, counted in sorted(made.items())}


def _alerts(
    watch: Watch, names: Sequence[str], reviews: Reviews, heard: Sequence[Sequence[Mention]], nights: Sequence[date],
    titles: dict[str, str],
) -> list[dict[str, Any]]:  # fmt: skip
    made = []
    for surge in watch.surges:
        topic, first = names[surge.topic], len(nights) - surge.nights
        blamed = Counter(
            reviews.items[at] for at in np.flatnonzero(reviews.place >= first).tolist() if topic in _blamed(heard[at])
        )
        items = [item for item, _ in sorted(blamed.items(), key=lambda one: (-one[1], one[0]))[:_NAMED_ITEMS]]
        since = nights[first].isoformat()
        said = told(surge, topic, [titles.get(item) or item for item in items], first_night=since)
        made.append(
            {
                C.ASPECT: topic, C.FIRST_NIGHT: since, C.N_NEGATIVE: surge.n_negative,
                C.N_EXPECTED: round(surge.n_expected, 4), C.N_REVIEWS: surge.n_reviews, C.P_VALUE: surge.p_value,
                C.ITEM_IDS: ";".join(items), C.WHY: said,
            }
        )  # fmt: skip
    return sorted(made, key=lambda row: row[C.ASPECT])


def _said(reviews: Reviews, at: int, heard: Sequence[Mention]) -> list[Said]:
    """What a review says of each aspect that it praises or blames, in the sentence that says it most."""
    made, text = [], reviews.texts[at]
    stretches = sentences(text)
    for aspect, found in _by_aspect(heard).items():
        opinion = _opinion(found)
        if not opinion:
            continue
        most = max(found, key=lambda mention: opinion * mention.score)
        whole = next((one for one in stretches if one.start <= most.clause.start < one.end), most.clause)
        sentence = whole.text if len(whole.text) <= _MAX_SENTENCE else most.clause.text
        made.append(Said(reviews.ids[at], reviews.users[at], aspect, opinion, sentence))
    return made


def _summaries(reviews: Reviews, heard: Sequence[Sequence[Mention]], settings: Listen) -> list[dict[str, Any]]:
    """Of every item with enough reviews in a language."""
    of: dict[tuple[str, str], list[int]] = defaultdict(list)
    for at, key in enumerate(zip(reviews.items, reviews.languages, strict=True)):
        of[key].append(at)
    made = []
    for (item, language), places in sorted(of.items()):
        if len(places) >= settings.least_reviews:
            said = [one for at in places for one in _said(reviews, at, heard[at])]
            picks = summed_up(said, settings.sentences)
            made += [_sentence("item", item, language, pick, len(places)) for pick in picks]
    return made


def _examples(
    alerts: Sequence[dict[str, Any]], reviews: Reviews, heard: Sequence[Sequence[Mention]], nights: Sequence[date]
) -> list[dict[str, Any]]:
    """Sentences of the reviews that an alert counts, no two alike."""
    made = []
    item_of = dict(zip(reviews.ids, reviews.items, strict=True))
    for alert in alerts:
        first = nights.index(date.fromisoformat(alert[C.FIRST_NIGHT]))
        of: dict[str, list[Said]] = defaultdict(list)
        for at in np.flatnonzero(reviews.place >= first).tolist():
            for one in _said(reviews, at, heard[at]):
                if one.aspect == alert[C.ASPECT] and one.opinion < 0:  # each a topic of its own: as many as are wanted
                    of[reviews.languages[at]].append(replace(one, aspect=f"{len(of[reviews.languages[at]]):06d}"))
        for language, said in sorted(of.items()):
            for pick in summed_up(said, _EXAMPLES):
                whole = Pick(pick.side, pick.rank, replace(pick.said, aspect=alert[C.ASPECT]), len(said))
                item = item_of[pick.said.review_id]
                made.append(_sentence("alert", item, language, whole, alert[C.N_NEGATIVE]))
    return made


def _sentence(scope: str, item: str, language: str, pick: Pick, n_reviews: int) -> dict[str, Any]:
    return {
        C.SCOPE: scope, C.ITEM_ID: item, C.LANGUAGE: language, C.SIDE: pick.side, C.RANK: pick.rank,
        C.ASPECT: pick.said.aspect, C.SENTENCE: masked(pick.said.sentence), C.N_SAID: pick.n_said,
        C.N_REVIEWS: n_reviews, C.REVIEW_ID: pick.said.review_id, C.USER_KEY: pick.said.user_key,
    }  # fmt: skip


def _write(out: Path, name: str, rows: Sequence[dict[str, Any]]) -> None:
    """In the declared columns, order and types."""
    made = pa.Table.from_pylist(list(rows), schema=schema_of(name))
    write(out, name, made.sort_by([(column, "ascending") for column in TABLES[name].sort_by]))


if __name__ == "__main__":
    run_job(run)
