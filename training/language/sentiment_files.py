"""A sentiment model as files: model.json, numbers.safetensors, and a Hugging Face folder for each encoder.

save(model, folder)
model = load(folder, threads=2)
"""

import json
from pathlib import Path
from typing import Any, Final

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from pipelines.core.errors import TrainingError, WeightsError
from training.language.sentiment import Blend, EncoderPart, Linear, SentimentModel
from training.language.sentiment_words import Counter, WordModel

TASK_NAME: Final = "sentiment"
_FILE, _NUMBERS, _TOP = "model.json", "numbers.safetensors", "tuned.safetensors"


def save(model: SentimentModel, folder: Path) -> None:
    """Into an existing, empty folder."""
    arrays = {
        "words.weights": model.words.weights,
        "words.bias": model.words.bias,
        "blend": np.append(model.blend.weights, model.blend.bias),
        "far": np.append(model.far.weights, model.far.bias),
    }
    for number, counter in enumerate(model.words.counters):
        arrays[f"rarity.{number}"] = counter.rarity
    told_parts = []
    for number, part in enumerate(model.parts):
        arrays |= {f"part.{number}.{name}": getattr(part.linear, name) for name in ("mean", "scale", "weights")}
        into = folder / f"encoder_{number}"
        into.mkdir()
        part.reader.save(into)
        if part.top:
            from safetensors.torch import save_file as save_tensors

            tensors = {name: tensor.contiguous() for name, tensor in part.top.state_dict().items()}
            save_tensors(tensors, into / _TOP)
        n_outputs = part.top.head.out_features if part.top else 0
        told_parts.append({"bias": part.linear.bias, "tuned_layers": part.below, "outputs": n_outputs,
                           "precision": part.reader.precision})  # fmt: skip
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, folder / _NUMBERS)
    told = {
        "task": TASK_NAME,
        "kind": model.kind,
        "usual": model.usual,
        "tongues": list(model.tongues),
        "threshold": model.threshold,
        "notes": list(model.notes),
        "counters": [
            {"analyzer": one.analyzer, "shortest": one.shortest, "longest": one.longest, "terms": list(one.terms)}
            for one in model.words.counters
        ],
        "parts": told_parts,
    }
    (folder / _FILE).write_text(json.dumps(told, ensure_ascii=False, sort_keys=True), encoding="utf-8")


def load(folder: Path, threads: int = 2) -> SentimentModel:
    """What `save` wrote. Raises TrainingError where a file is missing, damaged or another task's."""
    try:
        told = json.loads((folder / _FILE).read_text(encoding="utf-8"))
        if told["task"] != TASK_NAME:
            raise ValueError("a model of another task")
        arrays = load_file(folder / _NUMBERS)
        counters = tuple(
            Counter(one["analyzer"], one["shortest"], one["longest"], tuple(one["terms"]), arrays[f"rarity.{number}"])
            for number, one in enumerate(told["counters"])
        )
        return SentimentModel(
            usual=float(told["usual"]),
            tongues=tuple(told["tongues"]),
            words=WordModel(counters, arrays["words.weights"], arrays["words.bias"]),
            parts=tuple(_part(folder, number, one, arrays, threads) for number, one in enumerate(told["parts"])),
            blend=Blend(arrays["blend"][:-1], float(arrays["blend"][-1])),
            far=Blend(arrays["far"][:-1], float(arrays["far"][-1])),
            threshold=float(told["threshold"]),
            notes=tuple(told["notes"]),
        )
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError, WeightsError) as error:
        raise TrainingError(
            f"{folder}: no readable sentiment model ({type(error).__name__}: {error}); train it again"
        ) from None


def _part(folder: Path, number: int, told: dict[str, Any], arrays: dict[str, np.ndarray], threads: int) -> EncoderPart:
    from training.language.sentiment_encoder import Reader, new_top

    reader = Reader(folder / f"encoder_{number}", threads=threads, precision=told["precision"])
    mean, scale, weights = (arrays[f"part.{number}.{name}"] for name in ("mean", "scale", "weights"))
    top = None
    if told["tuned_layers"]:
        from safetensors.torch import load_model

        empty = np.zeros((told["outputs"], reader.width)), np.zeros(told["outputs"])
        top = new_top(reader, told["tuned_layers"], mean, scale, empty)
        load_model(top.eval(), folder / f"encoder_{number}" / _TOP)
    return EncoderPart(reader, Linear(mean, scale, weights, float(told["bias"])), top)
