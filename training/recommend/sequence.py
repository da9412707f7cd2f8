"""A transformer over what was touched in turn: after each event, how likely each item is to be touched next.

SASRec (Kang and McAuley 2018) with the loss that matters more than the architecture: cross-entropy over all items where
they are few, over a sample corrected for how often an item is drawn where they are many (Klenitskiy and Vasilev 2023;
Bengio and Senecal 2008). An event is the sum of its item, the item's category, the behaviour, the time since the event
before and its place; the vectors that read items also score them. Items start where co-occurrence puts them: from
random vectors 70,000 clicks are too few (docs/LOG.md). It does not count what a customer touched before: where most of
what is touched was touched before, its scores belong beside own history, as in training/recommend/session_blend.py.

    model = fit_sequence(Sequences.of(interactions), SequenceSettings(), work)
    histories = Sequences.of(interactions)
    scores = model.scores(histories, histories.newest)  # what each customer touches next
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_model, save_model
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import eigsh
from torch import Tensor

from pipelines.core.errors import TrainingError
from training.loop import IGNORED, LoopSettings, Padding, predict, train
from training.loop_trainer import Log
from training.recommend.sequence_net import GAPS, LastState, SequenceNet, Shape
from training.recommend.session_data import Pasts, Sequences, blocks
from training.recommend.session_rules import followers

_PADDING: Final = Padding({"target": IGNORED})
_SHAPE, _NET = "sequence.json", "net_{}.safetensors"


@dataclass(frozen=True)
class SequenceSettings:
    """Chosen on the validation day of YooChoose."""

    shape: Shape = field(default_factory=Shape)
    n_nets: int = 1
    loop: LoopSettings = field(
        default_factory=lambda: LoopSettings(learning_rate=3e-3, epochs=8, batch_size=64, precision="fp32")
    )


@dataclass(frozen=True)
class SequenceModel:
    """Trained nets, of which the mean probability counts."""

    shape: Shape
    nets: tuple[SequenceNet, ...]

    def scores(self, told: Sequences, asked: np.ndarray) -> np.ndarray:
        """(q, n_items) the chance that an item comes next after each asked event (q,)."""
        rows = _asked_rows(told, asked, self.shape.longest)
        found = np.zeros((len(asked), told.n_items), dtype=np.float32)
        for net in self.nets if len(asked) else ():
            # fp32: a row's scores do not hang on which rows share its batch
            state = predict(LastState(net), rows, collate=Padding(), length=_length, batch_size=256, precision="fp32")
            with torch.inference_mode():
                vectors = net.all_vectors().T
                for part in blocks(len(asked), told.n_items):
                    chance = (torch.from_numpy(state[part]) @ vectors + net.bias).softmax(dim=1)
                    found[part] += chance.numpy() / len(self.nets)
        return found

    def save(self, folder: Path) -> None:
        """Writes shape and weights into a new folder."""
        folder.mkdir()
        first = self.nets[0]
        told = {"shape": asdict(self.shape), "n_nets": len(self.nets), "n_items": first.item.num_embeddings,
                "n_categories": first.category.num_embeddings}  # fmt: skip
        (folder / _SHAPE).write_text(json.dumps(told))
        for number, net in enumerate(self.nets):
            save_model(net, str(folder / _NET.format(number)))

    @classmethod
    def load(cls, folder: Path) -> "SequenceModel":
        """What `save` wrote. Raises TrainingError where a file is missing or damaged."""
        try:
            told = json.loads((folder / _SHAPE).read_text())
            shape, n_items = Shape(**told["shape"]), int(told["n_items"])
            category = np.full(n_items, int(told["n_categories"]) - 1)
            nets = []
            for number in range(told["n_nets"]):
                net = SequenceNet(shape, np.zeros((n_items, shape.width)), category, np.ones(n_items))
                load_model(net, str(folder / _NET.format(number)))
                nets.append(net.eval())
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            raise TrainingError(f"{folder}: no readable sequence model ({error}); train again") from error
        return cls(shape, tuple(nets))


def fit_sequence(
    told: Sequences, how: SequenceSettings, work: Path, *, category: np.ndarray | None = None,
    log: Log = lambda values, step: None,
) -> SequenceModel:  # fmt: skip
    """Trains how.n_nets nets from other seeds for a fixed number of epochs. Equal data and settings give equal weights.

    category: (n_items,) codes from 0, None without any. work: a folder of this run's own, as training/loop.py needs it.
    Raises TrainingError where no event follows another.
    """
    rows = _training_rows(told, how.shape.longest)
    events = np.bincount(told.item, minlength=told.n_items)
    codes = np.zeros(told.n_items, dtype=np.int64) if category is None else category
    vectors = together(told, how.shape.width)
    nets = []
    for number in range(how.n_nets):
        seed = how.loop.seed + number
        torch.manual_seed(seed)
        net = SequenceNet(how.shape, vectors, codes, events)
        # There is nothing to choose: one look at the end, at a few of the rows.
        loop = how.loop.model_copy(update={"seed": seed, "evaluations": 1 / how.loop.epochs})
        train(
            net, rows, rows[-256:], loop, collate=_PADDING, metric=_measured, watch="mrr", length=_length, loss=_loss,
            work=work / str(number), log=log,
        )  # fmt: skip
        nets.append(net)
    return SequenceModel(how.shape, tuple(nets))


def together(told: Sequences, width: int) -> np.ndarray:
    """(n_items, width) unit vectors, alike for items of the same sessions, 0 for items that are alone.

    Positive pointwise mutual information of items up to five events apart, by its largest eigenvectors (Levy and Goldberg
    2014, "Neural word embedding as implicit matrix factorization"); of those with a negative eigenvalue, which would put
    two items apart because they go together, none.
    """
    forward = followers(told, 5, power=1.0)
    counts = (forward + forward.T).tocoo()
    row = np.asarray(counts.sum(axis=1)).ravel()
    smoothed = row**0.75  # contexts that are rare prove little
    mutual = np.log(counts.data * smoothed.sum() / (row[counts.row] * smoothed[counts.col]))
    matrix = csr_matrix((np.maximum(mutual, 0), (counts.row, counts.col)), shape=counts.shape)
    found = np.zeros((told.n_items, width))
    rank = min(width, told.n_items - 1)
    if rank > 0 and matrix.nnz:
        sizes, vectors = eigsh((matrix + matrix.T) / 2, k=rank, which="LA", v0=np.ones(told.n_items))
        found[:, :rank] = vectors * np.sqrt(np.maximum(sizes, 0))
    length = np.linalg.norm(found, axis=1, keepdims=True)
    return np.divide(found, length, out=np.zeros_like(found), where=length > 1e-6)


def _training_rows(told: Sequences, longest: int) -> list[dict[str, np.ndarray]]:
    """Each session's events but the last, with what came after each; long histories in pieces from their end."""
    behaviour, gap = told.behaviour.astype(np.int64), _gaps(told)
    rows = []
    for start, end in zip(told.start[:-1].tolist(), told.start[1:].tolist(), strict=True):
        for last in range(end - 1, start, -longest):
            where = slice(max(start, last - longest), last)
            target = told.item[where.start + 1 : last + 1]
            rows.append(
                {"input_ids": told.item[where] + 1, "behaviour": behaviour[where], "gap": gap[where], "target": target,
                 "labels": target}
            )  # fmt: skip
    return rows


def _asked_rows(told: Sequences, asked: np.ndarray, longest: int) -> list[dict[str, np.ndarray]]:
    behaviour, gap = told.behaviour.astype(np.int64), _gaps(told)
    past = Pasts.of(told, asked, longest)
    cuts = np.cumsum(np.bincount(past.query, minlength=len(asked)))[:-1]
    return [
        {"input_ids": told.item[events] + 1, "behaviour": behaviour[events], "gap": gap[events]}
        for events in np.split(past.event, cuts)
    ]


def _gaps(told: Sequences) -> np.ndarray:
    """(n,) bucket of the seconds since the session's event before; 0 for the first."""
    seconds = np.diff(told.seconds, prepend=told.seconds[:1])
    seconds[told.start[:-1]] = 0
    return np.minimum(np.log2(1 + np.maximum(seconds, 0)), GAPS - 1).astype(np.int64)


def _length(row: Mapping[str, Any]) -> int:
    return len(row["input_ids"])


def _loss(found: Tensor, labels: Tensor) -> Tensor:
    return found[..., 0] * (labels != IGNORED)  # places behind the end, which hold no 0 once batches are joined


def _measured(found: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    return {"mrr": float(found[labels != IGNORED, 1].mean())}
