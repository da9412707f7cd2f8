"""Pictures of how good probabilities are: who is taken for whom, and whether 30% means 30%.

They fit every task by a convention of names: the target column `x` of 0/1 (NaN: not known) goes with the prediction
`p_x`, or with the one that `_PREDICTED` names; a target of texts goes with one prediction `p_VALUE` per value.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    Figures = Mapping[str, "Figure"]
else:
    Figures = Mapping

_N_BINS = 10
_PREDICTED = {"click": "clicked", "conversion": "bought", "complaint": "complained"}


def probabilities(target: pa.Table, predicted: pa.Table) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Per predicted event: whether it came true (k,) bool, and its probability (k,), of the k rows where that is known."""
    found = {}
    for name in predicted.schema.names:
        event = name.removeprefix("p_")
        truth = _truth(target, event) if event != name else None
        if truth is not None and not np.isnan(truth).all():
            known = ~np.isnan(truth)
            found[event] = (truth[known] > 0, predicted[name].to_numpy()[known])
    return found


def classes(target: pa.Table, predicted: pa.Table) -> tuple[list[str], np.ndarray] | None:
    """Names of classes and how often (row: truth, column: guess) each was taken for each, where the target is a class."""
    column = next((target[name] for name in target.schema.names if pa.types.is_string(target[name].type)), None)
    names = [name.removeprefix("p_") for name in predicted.schema.names if name.startswith("p_")]
    if column is None or len(names) < 2:
        return None
    truth = pc.fill_null(pc.index_in(column, value_set=pa.array(names)), -1).to_numpy()
    guess = np.column_stack([predicted[f"p_{name}"].to_numpy() for name in names]).argmax(axis=1)
    counts = np.zeros((len(names), len(names)), dtype=np.int64)
    np.add.at(counts, (truth[truth >= 0], guess[truth >= 0]), 1)
    return (names, counts) if counts.sum() else None


def figures(target: pa.Table, predicted: pa.Table) -> Figures:
    """plots/calibration.png where something is a probability, plots/confusion.png where it is one of some classes."""
    found: dict[str, Figure] = {}
    if events := probabilities(target, predicted):
        found["plots/calibration.png"] = _calibration(events)
    if (told := classes(target, predicted)) is not None:
        found["plots/confusion.png"] = _confusion(*told)
    return found


def _truth(target: pa.Table, event: str) -> np.ndarray | None:
    """(n,) float64: 1 it came true, 0 it did not, NaN not known; None where the target tells nothing of it."""
    name = event if event in target.schema.names else _PREDICTED.get(event, "")
    if name in target.schema.names:
        return pc.fill_null(pc.cast(target[name], pa.float64()), np.nan).to_numpy()
    for name in target.schema.names:
        if pa.types.is_string(target[name].type):
            return pc.cast(pc.equal(target[name], event), pa.float64()).to_numpy()
    return None


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _calibration(events: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> "Figure":
    """One panel per event, because some events are a hundred times rarer than others."""
    figure = _figure(3.2 * len(events), 3.4)
    for axes, (name, (truth, probability)) in zip(
        np.atleast_1d(figure.subplots(1, len(events))), events.items(), strict=True
    ):
        edges = np.unique(np.quantile(probability, np.linspace(0, 1, _N_BINS + 1)[1:-1]))
        bins = np.searchsorted(edges, probability, side="right")
        counts = np.bincount(bins)
        used = counts > 0
        said = np.bincount(bins, probability)[used] / counts[used]
        came = np.bincount(bins, truth)[used] / counts[used]
        error = 1.96 * np.sqrt(came * (1 - came) / counts[used])
        top = 1.05 * max(said.max(), (came + error).max(), 1e-6)
        axes.plot([0, top], [0, top], color="0.7", linewidth=1)
        axes.errorbar(said, came, error, fmt="o", markersize=4, capsize=2)
        axes.set(title=f"{name} ({truth.mean():.2%} of {len(truth):,})", xlim=(0, top), ylim=(0, top), xlabel="said")
    figure.axes[0].set_ylabel("came true, 95%")
    return figure


def _confusion(names: list[str], counts: np.ndarray) -> "Figure":
    figure = _figure(1.6 + 0.8 * len(names), 1.2 + 0.7 * len(names))
    axes = figure.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(counts.shape):
        axes.text(
            column, row, f"{shares[row, column]:.0%}\n{counts[row, column]:,}", ha="center", va="center", fontsize=8,
            color="white" if shares[row, column] > 0.6 else "black",
        )  # fmt: skip
    axes.set_xticks(range(len(names)), names, rotation=30)
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="guessed", ylabel="was")
    return figure
