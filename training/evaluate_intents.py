"""Judges intents on a set of labelled messages, beside TF-IDF and frozen encoders with one linear model each.

    python -m training.evaluate_intents SPEC.json     # {"data": folder, "out": folder, "threads": 2, "weights": folder}
    nightmarket evaluate intents --data ../shared/data/bitext-intents

Any folder of CSV files with columns text (or utterance) and intent (or label) will do: training/language/intent_sets.py says
how. Train and test are as given; nothing is chosen on test, and no setting depends on the set. Beside all rows: 10 and 50
examples an intent (three draws), typos and changed case in 10% of the letters of the judged messages, each way of phrasing
left out in turn (where `tags` tell it), and a fifth of the intents left out of training, to be recognised as out of scope
(three draws). Messages that the set itself says are out of scope are judged apart. Intervals are over judged messages.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from pipelines.strategy.judgement import Metric, ece, macro_f1, resampled, roc_auc
from training.evaluate_categories import intervals
from training.job import run_job
from training.language.intent_model import Encode, IntentModel, Intents, encoders
from training.language.intent_peers import Guesses, Peer, over_characters, over_encoder
from training.language.intent_sets import OUT, IntentSet, Messages, read_intents
from training.language.noise import case_noise, typos
from training.language.tongue import tongue_of
from training.weights import ENCODER_EN

OURS: Final = "fusion"
FEW: Final = (10, 50)
DRAWS: Final = 3
LEAST_BORNE: Final = 0.05  # share of judged messages that bear a tag, from which it is left out
RATE: Final = 0.1
WANTED_RECALL: Final = 0.90  # that a peer's threshold is given, on the judged rows
SEED: Final = 20260301
DOCS: Final = {
    "accuracy": "share of messages in scope whose intent was told right, all examples; higher is better",
    "macro_f1": "mean F1 over intents, all examples; higher is better",
    "ece": "gap between confidence and being right, messages in scope; lower is better (peers tell none)",
    "accuracy_10": "accuracy with 10 examples an intent, mean of three draws; higher is better",
    "accuracy_50": "accuracy with 50 examples an intent, mean of three draws; higher is better",
    "accuracy_typos": "accuracy where 10% of the letters have typos; higher is better",
    "accuracy_case": "accuracy where 10% of the letters change their case; higher is better",
    "accuracy_unseen_phrasing": "accuracy on messages with a tag, by models that learnt none with it; higher is better",
    "oos_recall": "share of messages of intents left out that were rejected; higher is better. A peer's threshold is set "
    "on the judged rows so that this is 0.90, in its favour; ours comes from training alone",
    "oos_precision": "share of rejected messages that were of intents left out; higher is better",
    "oos_in_scope_accuracy": "share of the others that were told right and not rejected; higher is better",
    "oos_auroc": "ranking of messages of intents left out before the others by doubt; higher is better",
    "oos_precision_at_90": "oos_precision at a recall of 0.90 set on the judged rows for all alike; higher is better",
    "oos_in_scope_accuracy_at_90": "oos_in_scope_accuracy at that threshold; higher is better",
    "told_oos_recall": "oos_recall for messages that the set itself says are out of scope, all intents learnt",
    "told_oos_precision": "oos_precision for those",
    "told_in_scope_accuracy": "oos_in_scope_accuracy beside those",
    "told_oos_auroc": "oos_auroc for those",
}


class Vectors:
    """Vectors by text, each computed once."""

    def __init__(self, encode: Encode) -> None:
        self.encode = encode
        self.known: dict[str, np.ndarray] = {}

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        new = [text for text in dict.fromkeys(texts) if text not in self.known]
        if new:
            self.known.update(zip(new, self.encode(new), strict=True))
        return np.stack([self.known[text] for text in texts])


def run(data: Path, threads: int, weights: Path) -> dict[str, Any]:
    """The judgement as DESIGN.md shapes it, and `rows` that were judged."""
    began = time.perf_counter()
    told = read_intents(data)
    tongues = sorted({tongue_of(text) for text in told.train.texts})
    readers = {name: Vectors(one) for name, one in encoders(tongues, weights, threads).items()}
    found = judge(told, models(readers, threads))
    kinds = {"intents": len(np.unique(told.train.intents)), "train": len(told.train), "encoders": len(readers)}
    return {
        "name": "intents",
        "data": told.files,
        **found,
        "rows": kinds | found["rows"],
        "seconds": time.perf_counter() - began,
    }


Judge = Callable[[Messages, Sequence[str], bool], Guesses | Intents]  # learnt, asked, whether what is rejected counts


def models(readers: Mapping[str, Encode], threads: int) -> dict[str, Judge]:
    """Ours and its peers, by name."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import LinearSVC

    def ours(train: Messages, asked: Sequence[str], rejects: bool) -> Intents:
        model = IntentModel.fit(
            train.texts, train.intents.tolist(), threads=threads, seed=SEED, encode=readers, rejects=rejects
        )
        return model.predict(asked)

    def as_judge(peer: Peer) -> Judge:
        return lambda train, asked, rejects: peer(train.texts, train.intents, asked)

    found: dict[str, Judge] = {OURS: ours}
    found["tf-idf characters, support vectors"] = as_judge(over_characters(LinearSVC(C=3.0, random_state=SEED)))
    found["tf-idf characters, logistic regression"] = as_judge(
        over_characters(LogisticRegression(C=30.0, max_iter=300, tol=1e-3))
    )
    for address, encode in readers.items():
        name, strength = ("MiniLM", 0.3) if address == ENCODER_EN else ("e5", 0.01)
        head = LogisticRegression(C=strength, max_iter=300, tol=1e-3)
        found[f"frozen {name}, logistic regression"] = as_judge(over_encoder(encode, head))
    return found


def judge(told: IntentSet, judges: Mapping[str, Judge]) -> dict[str, Any]:
    """`metrics`, `baselines`, `paired`, `docs` and `rows`."""
    in_scope = told.test.take(told.test.intents != OUT)
    parts = (_whole, _few, _unseen, _left_out)
    drawn: dict[str, dict[str, np.ndarray]] = {}
    rows = {"test": len(in_scope), "told_out_of_scope": len(told.test) - len(in_scope)}
    for who, one in judges.items():
        metrics: dict[str, Metric] = {}
        for part in parts:
            metrics |= part(told.train, in_scope, one)
        drawn[who] = resampled(metrics, np.arange(len(in_scope)))
        if len(in_scope) < len(told.test):
            drawn[who] |= resampled(_told(told.train, told.test, one), np.arange(len(told.test)))
    names = {name for one in drawn.values() for name in one}
    shared = {who: {name: one for name, one in values.items() if name != "ece"} for who, values in drawn.items()}
    found = intervals(shared, OURS)
    found["metrics"] |= intervals({OURS: {"ece": drawn[OURS]["ece"]}}, OURS)["metrics"]
    return found | {"docs": {name: text for name, text in DOCS.items() if name in names}, "rows": rows}


def _whole(train: Messages, test: Messages, one: Judge) -> dict[str, Metric]:
    """All examples, and noise in what is judged; one fit serves all three."""
    rng = np.random.default_rng(SEED)
    noisy = [typos(text, RATE, rng) for text in test.texts] + [case_noise(text, RATE, rng) for text in test.texts]
    found = one(train, [*test.texts, *noisy], True)
    clean, typed, cased = np.split(found.label, 3)
    names = np.unique(train.intents)
    target, guess = (np.searchsorted(names, told) for told in (test.intents, clean))
    metrics: dict[str, Metric] = {
        "accuracy": _mean_of(clean == test.intents),
        "macro_f1": lambda weight: macro_f1(target, guess, len(names), weight),
        "accuracy_typos": _mean_of(typed == test.intents),
        "accuracy_case": _mean_of(cased == test.intents),
    }
    if isinstance(found, Intents):
        sure = found.confidence[: len(test)]
        metrics["ece"] = lambda weight: ece(clean == test.intents, sure, weight)
    return metrics


def _few(train: Messages, test: Messages, one: Judge) -> dict[str, Metric]:
    """Sets in which an intent has fewer examples give all of them."""
    metrics = {}
    for count in FEW:
        right = []
        for draw in range(DRAWS):
            some = few_of(train, count, np.random.default_rng([SEED, count, draw]))
            right.append(one(some, test.texts, False).label == test.intents)
        metrics[f"accuracy_{count}"] = _mean_of(np.mean(right, axis=0))
    return metrics


def few_of(train: Messages, count: int, rng: np.random.Generator) -> Messages:
    """`count` examples of each intent by lot."""
    places = [rng.permutation(np.flatnonzero(train.intents == name))[:count] for name in np.unique(train.intents)]
    return train.take(np.sort(np.concatenate(places)))


def _unseen(train: Messages, test: Messages, one: Judge) -> dict[str, Metric]:
    """Each tag that some messages bear and others do not, over all pairs of a tag and a message that bears it."""
    n_pairs, n_right = np.zeros(len(test)), np.zeros(len(test))
    for tag in sorted(set("".join(test.tags))):
        has, bears = (np.array([tag in tags for tags in part.tags], dtype=bool) for part in (train, test))
        rest = train.take(~has)
        bears &= np.isin(test.intents, rest.intents)
        if not has.any() or bears.mean() < LEAST_BORNE or len(np.unique(rest.intents)) < 2:
            continue
        asked = test.take(bears)
        n_pairs[bears] += 1
        n_right[bears] += one(rest, asked.texts, False).label == asked.intents
    return {"accuracy_unseen_phrasing": _ratio_of(n_right, n_pairs)} if n_pairs.any() else {}


def _left_out(train: Messages, test: Messages, one: Judge) -> dict[str, Metric]:
    names = np.unique(train.intents)
    if len(names) < 3:
        return {}
    judged = []
    for draw in range(DRAWS):
        rng = np.random.default_rng([SEED, draw])
        out = rng.choice(names, max(1, round(len(names) / 5)), replace=False)
        found = one(train.take(~np.isin(train.intents, out)), test.texts, True)
        judged.append((np.isin(test.intents, out), found))
    own = _rejection(judged, [rejected_by(found, is_out) for is_out, found in judged], test.intents)
    even = _rejection(
        judged, [found.doubt >= _at_recall(found.doubt, is_out) for is_out, found in judged], test.intents
    )
    auroc = [(is_out, found.doubt) for is_out, found in judged]
    return {
        **own,
        "oos_precision_at_90": even["oos_precision"],
        "oos_in_scope_accuracy_at_90": even["oos_in_scope_accuracy"],
        "oos_auroc": lambda weight: np.mean([roc_auc(is_out, doubt, weight) for is_out, doubt in auroc], axis=0),
    }


def _told(train: Messages, test: Messages, one: Judge) -> dict[str, Metric]:
    """What the set itself says is out of scope."""
    found, is_out = one(train, test.texts, True), test.intents == OUT
    judged = _rejection([(is_out, found)], [rejected_by(found, is_out)], test.intents)
    told = {name.replace("oos_in_scope", "in_scope"): metric for name, metric in judged.items()}
    told["oos_auroc"] = lambda weight: roc_auc(is_out, found.doubt, weight)
    return {f"told_{name}": metric for name, metric in told.items()}


def rejected_by(found: Guesses | Intents, is_out: np.ndarray) -> np.ndarray:
    """(n,) bool: by its own rule, or for a peer, which has none, by the threshold that suits these rows."""
    return found.is_out_of_scope if isinstance(found, Intents) else found.doubt >= _at_recall(found.doubt, is_out)


def _at_recall(doubt: np.ndarray, is_out: np.ndarray) -> float:
    """The highest threshold at which WANTED_RECALL of what is out of scope is rejected."""
    return float(np.quantile(doubt[is_out], 1 - WANTED_RECALL, method="lower"))


def _rejection(
    judged: Sequence[tuple[np.ndarray, Guesses | Intents]], rejected: Sequence[np.ndarray], intents: np.ndarray
) -> dict[str, Metric]:
    """Recall, precision and accuracy in scope over all draws; a message weighs alike in each."""
    out = np.stack([is_out for is_out, _ in judged])
    held = np.stack(rejected)
    kept = np.stack([found.label == intents for _, found in judged]) & ~held & ~out
    caught = (out & held).sum(axis=0)
    return {
        "oos_recall": _ratio_of(caught, out.sum(axis=0)),
        "oos_precision": _ratio_of(caught, held.sum(axis=0)),
        "oos_in_scope_accuracy": _ratio_of(kept.sum(axis=0), (~out).sum(axis=0)),
    }


def _mean_of(values: np.ndarray) -> Metric:
    return _ratio_of(values, np.ones(len(values)))


def _ratio_of(above: np.ndarray, below: np.ndarray) -> Metric:
    """Of sums over rows (n,)."""
    top, bottom = above.astype(np.float64), below.astype(np.float64)
    return lambda weight: (weight @ top) / np.maximum(weight @ bottom, 1e-12)


def _job(spec: dict[str, Any]) -> dict[str, Any]:
    return run(Path(spec["data"]), int(spec["threads"]) or os.cpu_count() or 1, Path(spec["weights"]))


if __name__ == "__main__":
    run_job(_job)
