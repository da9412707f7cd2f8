"""Finds the reviews or messages whose label is worth a person's time most, and says why.

    python -m training.label_queue SPEC.json
    nightmarket label --task sentiment --shop demo --n 50

The spec is written by pipelines/label.py: `root`, `shop`, `task`, `n`, `examples` ([text, intent], what the desk's knowledge
says), `threads`, `weights`, `out`. The newest texts without a person's label are asked for; a linear model of the labels
there are (persons', stars, phrases of the knowledge) says what it is unsure of, a review's own stars held out. Vectors are
an encoder's whose weights are on disk, or else the texts' words by singular values. Nothing is written but the result.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from scipy.sparse import csr_matrix

from pipelines.core.columns import Columns as C
from pipelines.core.errors import WeightsError
from pipelines.core.labelling import NEGATIVE, POSITIVE, SENTIMENT, TEXTS, labels_of
from pipelines.core.reading import read
from pipelines.core.storage import Store
from training.job import run_job
from training.language.few_labels import Rows, fit
from training.language.transcripts import masked
from training.language.worth import doubt_of, likeness, nearest, worth_asking

MOST: Final = 2_000  # texts that are looked at, the newest
_LEARNT: Final = 2_000  # labelled texts at most
_FOLDS: Final = 5
_UNSURE: Final = 0.5  # doubt from which it is a reason
_STRANGE: Final = 0.2  # likeness to the nearest labelled text below which it is one
_ALIKE, _MANY = 0.5, 5  # likeness of texts that count as alike, and how many are many
_WIDTH: Final = 100  # of vectors from words
_SHOWN: Final = 1_000  # characters of a text


@dataclass(frozen=True)
class Told:
    """n texts: those that may be asked for, and examples that are known already."""

    ids: Sequence[str]  # "" of an example
    texts: Sequence[str]
    labels: Sequence[str]  # "" where none is known
    is_asked: np.ndarray  # (n,) bool


def run(spec: dict[str, Any]) -> dict[str, Any]:
    """`rows` to ask for, the most worth first, how many texts were `waiting`, `by` what they were read."""
    store = Store(Path(spec["root"]), spec["shop"])
    told = read_told(store, spec["task"], [(text, label) for text, label in spec["examples"]])
    if not told.is_asked.any():
        return {"rows": [], "waiting": 0, "by": "nothing"}
    rows, by = _rows(told.texts, Path(spec["weights"]), int(spec["threads"]) or 1)
    return {"rows": asked(told, rows, int(spec["n"])), "waiting": int(told.is_asked.sum()), "by": by}


def read_told(store: Store, task: str, examples: Sequence[tuple[str, str]]) -> Told:
    """The newest texts of a shop, equal ones once, with the labels that hold for them."""
    table, key = TEXTS[task]
    columns = [key, C.TEXT, C.OCCURRED_AT, C.RATING if task == SENTIMENT else C.SENDER]
    told = read(store, table, store.nights(table), *columns)
    said = labels_of(store, task)
    found = [] if told is None else told.sort_by([(C.OCCURRED_AT, "descending"), (key, "ascending")]).to_pylist()
    own = [row for row in found if (row[C.TEXT] or "").strip() and row.get(C.SENDER, "customer") == "customer"]
    labelled = {row[C.TEXT]: said[row[key]] for row in own if row[key] in said}
    waiting = {row[C.TEXT]: row for row in reversed(own) if row[C.TEXT] not in labelled}  # of equal texts the newest
    newest = list(reversed(waiting.values()))[:MOST]
    known = [*list(labelled.items())[:_LEARNT], *examples]
    return Told(
        [row[key] for row in newest] + [""] * len(known),
        [row[C.TEXT] for row in newest] + [text for text, _ in known],
        [_stars(row) for row in newest] + [label for _, label in known],
        np.arange(len(newest) + len(known)) < len(newest),
    )


def asked(told: Told, rows: Rows, n: int) -> list[dict[str, Any]]:
    """The n rows worth asking for with `why`, texts masked and shortened."""
    names = sorted(set(told.labels) - {""})
    codes = np.array([names.index(label) if label else -1 for label in told.labels])
    places = np.flatnonzero(told.is_asked)
    chances = _chances(rows, codes, told.is_asked, len(names))
    unit = rows.vectors / np.maximum(np.linalg.norm(rows.vectors, axis=1, keepdims=True), 1e-12)
    mine, labelled = unit[places], unit[~told.is_asked]
    strange = nearest(mine, labelled)
    found = []
    for at in worth_asking(chances, mine, labelled, n).tolist():
        n_alike = int((likeness(mine[at : at + 1], mine)[0] >= _ALIKE).sum()) - 1
        why = reasons(chances[at], names, told.labels[places[at]], strange[at] if len(labelled) else None, n_alike)
        best = int(chances[at].argmax()) if names else -1
        found.append(
            {
                "text_id": told.ids[places[at]],
                "text": masked(told.texts[places[at]])[:_SHOWN],
                "likely": names[best] if names else None,
                "chance": round(float(chances[at, best]), 4),
                "why": why,
            }
        )
    return found


def reasons(chance: np.ndarray, names: Sequence[str], stars: str, like: float | None, n_alike: int) -> list[str]:
    """Why a text is asked for, in words. `like`: to the nearest labelled text, None where none is labelled."""
    why = []
    order = np.argsort(-chance, kind="stable")
    if len(names) > 1 and doubt_of(chance[None])[0] >= _UNSURE:
        first, second = (f"{names[at]} ({chance[at]:.0%})" for at in order[:2])
        why.append(f"unsure between {first} and {second}")
    if stars and names[order[0]] != stars:
        why.append(f"its stars say {stars}, its words {names[order[0]]}")
    if like is not None and like < _STRANGE:
        why.append("unlike anything labelled")
    if n_alike >= _MANY:
        why.append(f"{n_alike} others are like it")
    return why or ["the nearest to what is not covered yet"]


def _stars(row: Mapping[str, Any]) -> str:
    """The label that a review's stars stand for; "" where they say neither."""
    stars = row.get(C.RATING)
    return "" if stars is None or stars == 3 else POSITIVE if stars > 3 else NEGATIVE


def _chances(rows: Rows, codes: np.ndarray, is_asked: np.ndarray, n_classes: int) -> np.ndarray:
    """(asked, classes) by models that did not learn a row's own label; all alike where there is nothing to learn from."""
    fold = np.where(is_asked & (codes >= 0), np.arange(len(codes)) % _FOLDS, -1)
    found = np.full((len(codes), max(n_classes, 1)), 1 / max(n_classes, 1))
    for left in np.unique(fold[is_asked]):
        learnt = (codes >= 0) & (fold != left) if left >= 0 else codes >= 0
        if learnt.any():
            where = np.flatnonzero(is_asked & (fold == left))
            found[where] = fit(rows.take(np.flatnonzero(learnt)), codes[learnt], n_classes).chances(rows.take(where))
    return found[is_asked]


def _rows(texts: Sequence[str], weights: Path, threads: int) -> tuple[Rows, str]:
    """Words and vectors of n texts, and what made the vectors."""
    from sklearn.decomposition import TruncatedSVD

    from training.language.intent_views import Ngrams, plain
    from training.recommend.texts import encoder_for
    from training.weights import resolve

    said = [plain(text) for text in texts]
    words: csr_matrix = Ngrams.fit(said).rows(said)
    try:
        from training.encode import Encoder

        vectors = Encoder(resolve(encoder_for(texts), weights, offline=True), threads=threads).encode(texts)
        by = "encoder"
    except WeightsError:
        width = min(_WIDTH, min(words.shape) - 1)
        vectors = TruncatedSVD(width, random_state=0).fit_transform(words) if width > 0 else words.toarray()
        by = "words"
    scale = vectors.std(axis=0) + 1e-3 * vectors.std() + 1e-9
    return Rows(words, ((vectors - vectors.mean(axis=0)) / scale).astype(np.float32)), by


if __name__ == "__main__":
    run_job(run)
