"""What a customer wants: the likeliest of known intents, how sure that is, and whether it is none of them.

    model = IntentModel.fit(texts, labels, weights=cache)         # from 5 examples an intent; weights None: words alone
    found = model.predict(["where is my parcel?", "what is the capital of Peru?"])
    found.label, found.confidence, found.is_out_of_scope

Nothing here knows a set of labels. What a message out of scope looks like is learnt by leaving intents out in turn: models
of the others score them, and a logistic regression with weights of one sign (a surer signal never speaks against a message)
tells them from messages of the known intents that were left out as well. Temperature and threshold come from the same rows;
the threshold is the doubt that a set share of messages in scope has, whatever intents were left out.
"""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from scipy.optimize import minimize, minimize_scalar

from pipelines.core.errors import TrainingError, WeightsError
from training.language.intent_views import WORDS, Heads, Ngrams, Rows, plain, score
from training.language.noise import typos
from training.language.tongue import tongue_of
from training.weights import ENCODER_EN, ENCODER_MULTILINGUAL, resolve

_LOG: Final = logging.getLogger(__name__)
# Of messages in scope, so many are rejected. What a message out of scope would score depends on which intents happen to be
# unknown and cannot be told from the known ones; what one in scope scores can.
REJECTED: Final = 0.06
_FOLDS: Final = 5  # of intents
_PARTS: Final = 10  # of the examples of the others: fewer left out, because a model of all rejects fewer
_FEW_ROWS, _REPEATS = 1_000, 3  # so few rows are left out in several ways
_MOST_ROWS: Final = 20_000  # drawn by lot for leaving out
_TYPOS: Final = 0.1  # of the letters of a noisy copy
_TOKENS: Final = 64
_TENSORS: Final = ("middle", "scale", "weight", "bias")

Encode = Callable[[Sequence[str]], np.ndarray]


@dataclass(frozen=True)
class Intents:
    """Of n messages."""

    label: np.ndarray  # (n,) str: the likeliest intent, also where it is out of scope
    confidence: np.ndarray  # (n,) float64: probability that the label is right, given that it is one of the known
    doubt: np.ndarray  # (n,) float64: probability that it is none of them, were as many in scope as out of it
    is_out_of_scope: np.ndarray  # (n,) bool


@dataclass(frozen=True)
class IntentModel:
    """Heads by view, and the rule that rejects."""

    labels: tuple[str, ...]  # sorted
    tongues: tuple[str, ...]  # that examples were written in: a message in another one is out of scope
    ngrams: Ngrams
    heads: Mapping[str, Heads]
    temperature: float
    doubt: np.ndarray  # (1 + signals,): bias and weights, none above 0
    threshold: float  # of doubt, from which a message is out of scope
    encode: Mapping[str, Encode] = field(default_factory=dict, compare=False)  # by address

    @property
    def kind(self) -> str:
        return "encoders" if len(self.heads) > 1 else "tf_idf"

    @classmethod
    def fit(
        cls,
        texts: Sequence[str],
        labels: Sequence[str],
        *,
        threads: int = 2,
        weights: Path | None = None,
        seed: int = 20260301,
        encode: Mapping[str, Encode] | None = None,
        noisy_copies: int = 1,
        rejects: bool = True,
    ) -> "IntentModel":
        """n texts and their intents. `weights`: where pretrained weights are cached, None: TF-IDF alone, also where they
        cannot be had (told in the log). `encode`: encoders by address instead. `noisy_copies` of each text with typos.
        `rejects` False: nothing is left out, which takes a sixth of the time; then only what says nothing is rejected and
        confidence is not calibrated.

        Raises TrainingError: as many labels as texts are needed, a text that says something, two intents.
        """
        if len(texts) != len(labels):
            raise TrainingError(f"{len(texts)} texts and {len(labels)} labels: expected one label for each text")
        told = [(text, str(label)) for text, label in zip(map(plain, texts), labels, strict=True) if text]
        known = tuple(sorted({label for _, label in told}))
        if len(known) < 2:
            raise TrainingError(
                f"{len(known)} intents in {len(told)} examples ({', '.join(known)}): at least 2 are needed to tell apart"
            )
        said, codes = [text for text, _ in told], np.array([known.index(label) for _, label in told])
        tongues = tuple(sorted({tongue_of(text) for text in said}))
        readers = encoders(tongues, weights, threads) if encode is None else encode
        read = said + [noisy(text, seed + copy) for copy in range(noisy_copies) for text in said]
        ngrams = Ngrams.fit(read)
        rows: dict[str, Rows] = {WORDS: ngrams.rows(read)} | {name: one(read) for name, one in readers.items()}
        repeats = (_REPEATS if len(said) < _FEW_ROWS else 1) if rejects else 0
        signals, is_out, logits, right = _left_out(rows, codes, noisy_copies, seed, repeats)
        doubt = _rule(signals, is_out)
        heads = {name: Heads.fit(one, codes, seed) for name, one in rows.items()}
        threshold = _threshold(_doubted(doubt, signals), is_out)
        return cls(known, tongues, ngrams, heads, _temperature(logits, right), doubt, threshold, readers)

    def predict(self, texts: Sequence[str]) -> Intents:
        """An empty text, and one in a language without examples, is out of scope."""
        if not len(texts):
            return Intents(np.zeros(0, str), np.zeros(0), np.zeros(0), np.zeros(0, bool))
        said = [plain(text) for text in texts]
        rows = {name: self.ngrams.rows(said) if name == WORDS else self.encode[name](said) for name in self.heads}
        scored = score(self.heads, rows)
        chance = _softmax(scored.logits / self.temperature)
        is_strange = np.array([not text or tongue_of(text) not in self.tongues for text in said])
        doubt = np.where(is_strange, 1.0, _doubted(self.doubt, scored.signals))
        label = np.array(self.labels)[chance.argmax(axis=1)]
        return Intents(label, chance.max(axis=1), doubt, doubt >= self.threshold)

    def save(self, folder: Path) -> None:
        """intent.json and intent.safetensors; of encoders the address, which fixes their bytes."""
        told = {
            "kind": self.kind,
            "labels": self.labels,
            "tongues": self.tongues,
            "known": self.ngrams.known,
            "views": list(self.heads),
            "temperature": self.temperature,
            "threshold": self.threshold,
        }
        tensors = {"rarity": self.ngrams.rarity, "doubt": self.doubt}
        for at, head in enumerate(self.heads.values()):
            tensors |= {f"{at}.{name}": np.ascontiguousarray(getattr(head, name)) for name in _TENSORS}
        save_file(tensors, folder / "intent.safetensors")
        text = json.dumps(told, ensure_ascii=False, sort_keys=True)
        (folder / "intent.json").write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(
        cls, folder: Path, *, weights: Path | None = None, threads: int = 2, encode: Mapping[str, Encode] | None = None
    ) -> "IntentModel":
        """Raises TrainingError for a folder that holds none; WeightsError where its encoders' weights cannot be had."""
        try:
            told: dict[str, Any] = json.loads((folder / "intent.json").read_text(encoding="utf-8"))
            found = load_file(folder / "intent.safetensors")
            parts = ([found[f"{at}.{name}"] for name in _TENSORS] for at in range(len(told["views"])))
            heads = {name: Heads(*one) for name, one in zip(told["views"], parts, strict=True)}
            ngrams = Ngrams(tuple(told["known"]), found["rarity"])
            rule = float(told["temperature"]), found["doubt"], float(told["threshold"])
            labels, tongues = tuple(told["labels"]), tuple(told["tongues"])
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise TrainingError(
                f"{folder}: no readable intent model ({type(error).__name__}: {error}); train it again"
            ) from None
        addresses = [name for name in heads if name != WORDS]
        if addresses and encode is None:
            if weights is None:
                raise WeightsError(f"{folder}: reads by {', '.join(addresses)}; say where weights are cached")
            encode = {name: _encoder(name, weights, threads) for name in addresses}
        return cls(labels, tongues, ngrams, heads, *rule, encode or {})


def noisy(text: str, seed: int) -> str:
    """The text with typos, always the same by text and seed, so that its vector need not be computed again."""
    return typos(text, _TYPOS, np.random.default_rng([seed, *text.encode()]))


def encoders(tongues: Sequence[str], weights: Path | None, threads: int) -> dict[str, Encode]:
    """The encoders that read texts in these languages, by address; none without weights."""
    if weights is None:
        return {}
    try:
        wanted = (ENCODER_EN, ENCODER_MULTILINGUAL) if set(tongues) == {"en"} else (ENCODER_MULTILINGUAL,)
        return {address: _encoder(address, weights, threads) for address in wanted}
    except WeightsError as error:
        _LOG.warning("intents are told by words alone: %s", error)
        return {}


def _encoder(address: str, weights: Path, threads: int) -> Encode:
    from training.encode import Encoder

    return Encoder(resolve(address, weights), max_tokens=_TOKENS, threads=threads).encode


def _left_out(
    rows: Mapping[str, Rows], codes: np.ndarray, copies: int, seed: int, repeats: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """How messages look to models that did not learn them: a fifth of the intents and a tenth of the rest in turn.

    Signals (m, k) of left out rows, whether their intent was left out (m,); logits (r, classes) of those in scope, minus
    infinity for intents left out, and their codes (r,). Where fewer than three intents are known none can be left out.
    """
    n, rng = len(codes), np.random.default_rng(seed)
    some = np.sort(rng.permutation(n)[:_MOST_ROWS])
    n_classes = int(codes.max()) + 1
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]] = []
    for _ in range(repeats):
        group = rng.permutation(n_classes) % min(_FOLDS, n_classes) if n_classes > 2 else np.full(2, -1)
        part = _stratified(codes, rng)
        for fold in range(_FOLDS):
            taught = some[(group[codes[some]] != fold) & (part[some] != fold)]
            kept, inner = np.unique(codes[taught], return_inverse=True)
            if len(kept) < 2:
                continue
            asked = some[(group[codes[some]] == fold) | (part[some] == fold)]
            if not len(asked):
                continue
            places = np.concatenate([taught + copy * n for copy in range(1 + copies)])
            heads = {name: Heads.fit(one[places], inner, seed) for name, one in rows.items()}
            scored = score(heads, {name: one[asked] for name, one in rows.items()})
            is_out = ~np.isin(codes[asked], kept)
            logits = np.full((len(asked), n_classes), -np.inf)
            logits[:, kept] = scored.logits
            found.append((scored.signals, is_out, logits[~is_out], codes[asked][~is_out]))
    if not found:  # not wanted, or one example of each of two intents
        width = 3 * len(rows)
        return np.zeros((0, width)), np.zeros(0, bool), np.zeros((0, n_classes)), np.zeros(0, np.int64)
    signals, is_out, logits, right = (np.concatenate(one) for one in zip(*found, strict=True))
    return signals, is_out, logits, right


def _stratified(codes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(n,) folds; rows of one intent are spread evenly, beginning anywhere."""
    fold = np.empty(len(codes), np.int64)
    for code in np.unique(codes):
        where = rng.permutation(np.flatnonzero(codes == code))
        fold[where] = (np.arange(len(where)) + rng.integers(_PARTS)) % _PARTS
    return fold


def _rule(signals: np.ndarray, is_out: np.ndarray) -> np.ndarray:
    """Bias and weights (1 + k,) of a logistic regression, both sides weighing alike, weights at most 0. Where nothing was
    out of scope every signal weighs alike."""
    width = signals.shape[1]
    if not len(signals) or is_out.all() or not is_out.any():
        spread = signals.std(axis=0) + 1e-9 if len(signals) else np.ones(width)
        even = -1 / spread / width
        return np.concatenate([[-float((signals @ even).mean()) if len(signals) else 0.0], even])
    middle, spread = signals.mean(axis=0), signals.std(axis=0) + 1e-9
    x = (signals - middle) / spread
    weight = np.where(is_out, 0.5 / is_out.mean(), 0.5 / (1 - is_out.mean())) / len(x)

    def loss(v: np.ndarray) -> tuple[float, np.ndarray]:
        z = v[0] + x @ v[1:]
        slope = weight * (_sigmoid(z) - is_out)
        value = weight @ (np.logaddexp(0, z) - is_out * z) + 5e-4 * (v[1:] @ v[1:])
        return float(value), np.concatenate([[slope.sum()], x.T @ slope + 1e-3 * v[1:]])

    bounds = [(None, None)] + [(None, 0.0)] * width
    v = minimize(loss, np.zeros(1 + width), jac=True, method="L-BFGS-B", bounds=bounds).x
    return np.concatenate([[v[0] - middle / spread @ v[1:]], v[1:] / spread])


def _threshold(doubt: np.ndarray, is_out: np.ndarray) -> float:
    """The lowest doubt that at most REJECTED of what is in scope has, or more; never below all that is out of scope."""
    known = np.sort(doubt[~is_out])
    if not len(known):
        return 1.0
    cap = float(np.nextafter(known[len(known) - 1 - int(REJECTED * len(known))], 2.0))
    return max(cap, float(doubt[is_out].min())) if is_out.any() else cap


def _temperature(logits: np.ndarray, right: np.ndarray) -> float:
    """By which logits (n, classes) are divided so that what was right (n,) is likeliest (Guo et al. 2017)."""
    if not len(right):
        return 1.0

    def loss(log_temperature: float) -> float:
        z = logits / np.exp(log_temperature)
        top = z.max(axis=1)
        total = top + np.log(np.exp(z - top[:, None]).sum(axis=1))
        return float((total - z[np.arange(len(right)), right]).mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-4, 4), method="bounded").x))


def _doubted(rule: np.ndarray, signals: np.ndarray) -> np.ndarray:
    return _sigmoid(rule[0] + signals @ rule[1:])


def _sigmoid(z: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-np.clip(z, -50, 50))))


def _softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))
