"""Vectors of 1,000 reviews by the English encoder on one core; ours beside six other ways to run the same weights.

    python benchmarks/embed.py [--texts 1000] [--repeat 3] [--reviews FILE.csv.gz] [--weights DIR] [--json]

All contenders keep to the first core and one thread, cut at 256 tokens and take turns; the first round warms up and gives the
vectors, which are compared with sentence-transformers' (float32): exact ways must agree to 0.9999 in cosine and ours to
0.999 for every text, or the benchmark stops. Prints one JSON object with medians; `texts_per_cpu_second` is the figure to
compare on a busy machine. Without --reviews (a column "Review Text") texts of about 80 tokens are made.
"""

import argparse
import csv
import gzip
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from transformers import AutoModel, AutoTokenizer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pipelines.core.storage import default_root
from training.encode import Encoder
from training.weights import ENCODER_EN, resolve

LONGEST = 256  # tokens; what sentence-transformers cuts this model's texts at
BATCH = 32  # texts; sentence-transformers' default
REVIEWS = Path("../shared/data/reviews-en/Womens-Clothing-E-Commerce-Reviews_10528rows.csv.gz")
EXACT = ("sentence_transformers", "padded_to_128", "sorted_fp32", "onnx_fp32", "ours_fp32")
Encode = Callable[[list[str]], np.ndarray]


def read_reviews(path: Path, count: int) -> list[str]:
    """The first `count` reviews that are not empty."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        texts = [row["Review Text"] for row in csv.DictReader(file) if row["Review Text"]]
    if len(texts) < count:
        raise SystemExit(f"{path}: {len(texts)} reviews where {count} are wanted; give a smaller --texts")
    return texts[:count]


def make_texts(count: int) -> list[str]:
    """Sentences of everyday words, of about 80 tokens."""
    words = (
        "the dress is",
        "a",
        "very nice",
        "and fits me",
        "but the color was not as in the picture",
        "love",
        "small",
    )
    luck = random.Random(7)
    return [" ".join(luck.choices(words, k=round(luck.triangular(3, 40, 30)))) for _ in range(count)]


class Plain:
    """transformers' own model and mean pooling, as most people write it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()

    def states(self, tokens: np.ndarray, mask: np.ndarray) -> torch.Tensor:
        with torch.inference_mode():
            return self.model(
                input_ids=torch.from_numpy(tokens), attention_mask=torch.from_numpy(mask)
            ).last_hidden_state

    def padded(self, texts: list[str]) -> np.ndarray:
        """In the order they come, padded to 128 tokens; the few longer ones are not cut there, to be compared."""
        rows = self.tokenizer(texts, truncation=True, max_length=LONGEST)["input_ids"]
        return self._run(rows, [list(range(i, min(i + BATCH, len(rows)))) for i in range(0, len(rows), BATCH)], 128)

    def sorted(self, texts: list[str]) -> np.ndarray:
        """Like lengths together."""
        rows = self.tokenizer(texts, truncation=True, max_length=LONGEST)["input_ids"]
        order = np.argsort([len(row) for row in rows], kind="stable").tolist()
        return self._run(rows, [order[i : i + BATCH] for i in range(0, len(rows), BATCH)], 1)

    def autocast(self, texts: list[str]) -> np.ndarray:
        with torch.autocast("cpu", torch.bfloat16):
            return self.sorted(texts)

    def _run(self, rows: list[list[int]], groups: list[list[int]], shortest: int) -> np.ndarray:
        out = np.empty((len(rows), self.model.config.hidden_size), np.float32)
        for group in groups:
            width = max(shortest, *(len(rows[place]) for place in group))
            tokens = np.array([rows[place] + [0] * (width - len(rows[place])) for place in group])
            mask = (np.arange(width) < np.array([[len(rows[place])] for place in group])).astype(np.int64)
            kept = torch.from_numpy(mask)[..., None]
            pooled = (self.states(tokens, mask).float() * kept).sum(1) / kept.sum(1)
            out[group] = F.normalize(pooled).numpy()
        return out


class Onnx(Plain):
    """The same, run by ONNX Runtime with its own fusions for BERT; sorted, so that the runtime alone differs."""

    def __init__(self, folder: Path, eight_bits: bool) -> None:
        super().__init__(folder)
        import onnx
        import onnxruntime
        from onnxruntime.quantization import QuantType, quantize_dynamic
        from onnxruntime.transformers.optimizer import optimize_model

        model = self.model

        class States(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.model = model

            def forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
                kinds = torch.zeros_like(tokens)
                return self.model(input_ids=tokens, attention_mask=mask, token_type_ids=kinds).last_hidden_state

        axes = {"tokens": {0: "n", 1: "length"}, "mask": {0: "n", 1: "length"}}
        example = torch.ones(2, 8, dtype=torch.int64)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        with tempfile.TemporaryDirectory() as made:
            exported, fused = f"{made}/exported.onnx", f"{made}/fused.onnx"
            torch.onnx.export(
                States().eval(), (example, example), exported, input_names=["tokens", "mask"],
                output_names=["states"], dynamic_axes=axes, dynamo=False, opset_version=18,
            )  # fmt: skip
            config: Any = model.config
            optimize_model(
                exported, "bert", num_heads=config.num_attention_heads, hidden_size=config.hidden_size
            ).save_model_to_file(fused)
            if eight_bits:
                kind = {"DefaultTensorType": onnx.TensorProto.FLOAT}  # of what the fused operators make
                quantize_dynamic(fused, exported, weight_type=QuantType.QInt8, per_channel=True, extra_options=kind)
            self.session = onnxruntime.InferenceSession(
                exported if eight_bits else fused, options, providers=["CPUExecutionProvider"]
            )

    def states(self, tokens: np.ndarray, mask: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(self.session.run(None, {"tokens": tokens, "mask": mask})[0])


def contenders(folder: Path) -> tuple[dict[str, Encode], list[str]]:
    """Those that can run here, the exact reference first, and the names of packages that are missing."""
    plain = Plain(folder)
    found: dict[str, Encode] = {}
    missing = [name for name in ("sentence_transformers", "onnxruntime") if find_spec(name) is None]
    if "sentence_transformers" not in missing:
        from sentence_transformers import SentenceTransformer

        reference = SentenceTransformer(str(folder), device="cpu")
        found["sentence_transformers"] = lambda texts: reference.encode(texts, show_progress_bar=False)
    found["sorted_fp32"] = plain.sorted
    found["padded_to_128"] = plain.padded
    found["sorted_bf16_autocast"] = plain.autocast
    if "onnxruntime" not in missing:
        found["onnx_fp32"] = Onnx(folder, eight_bits=False).sorted
        found["onnx_int8"] = Onnx(folder, eight_bits=True).sorted
    found["ours_fp32"] = Encoder(folder, precision="fp32", threads=1, max_tokens=LONGEST).encode
    found["ours"] = Encoder(folder, threads=1, max_tokens=LONGEST).encode
    return found, missing


def deviations(found: dict[str, Encode], texts: list[str]) -> dict[str, dict[str, float]]:
    """Cosine to the first contender's vectors, per text. Ends the program where a way is less exact than it claims."""
    vectors = {name: encode(texts) for name, encode in found.items()}
    reference = F.normalize(torch.from_numpy(np.array(next(iter(vectors.values()))))).numpy()
    cosines = {
        name: (F.normalize(torch.from_numpy(np.array(v))).numpy() * reference).sum(1) for name, v in vectors.items()
    }
    for name, cosine in cosines.items():
        least = 0.9999 if name in EXACT else 0.999 if name == "ours" else 0.0
        if cosine.min() < least:
            raise SystemExit(f"{name} differs: cosine {cosine.min():.5f} where {least} is the least")
    return {
        name: {"cosine_min": round(float(c.min()), 6), "cosine_mean": round(float(c.mean()), 6)}
        for name, c in cosines.items()
    }


def speeds(found: dict[str, Encode], texts: list[str], repeat: int) -> dict[str, dict[str, float]]:
    """Medians over `repeat` rounds in which all take turns."""
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in found}
    for _ in range(repeat):
        for name, encode in found.items():
            wall, cpu = time.perf_counter(), time.process_time()
            encode(texts)
            seconds[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    rates = {}
    first = statistics.median(cpu for _, cpu in next(iter(seconds.values())))
    for name, runs in seconds.items():
        wall, cpu = (statistics.median(values) for values in zip(*runs, strict=True))
        rates[name] = {
            "texts_per_second": round(len(texts) / wall, 1),
            "texts_per_cpu_second": round(len(texts) / cpu, 1),
            "times_first": round(first / cpu, 2),
        }
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--texts", type=int, default=1_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--reviews", type=Path, default=REVIEWS if REVIEWS.exists() else None)
    parser.add_argument("--weights", type=Path, default=default_root() / "weights", help="cache of pretrained weights")
    parser.add_argument("--json", action="store_true", help="accepted for all benchmarks: the output is JSON anyway")
    options = parser.parse_args()
    texts = read_reviews(options.reviews, options.texts) if options.reviews else make_texts(options.texts)
    folder = resolve(ENCODER_EN, options.weights)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    found, missing = contenders(folder)
    lengths = [len(row) for row in AutoTokenizer.from_pretrained(folder)(texts)["input_ids"]]
    exact = deviations(found, texts)
    rates = speeds(found, texts, options.repeat)
    report = {
        "benchmark": "embed",
        "texts": len(texts),
        "source": options.reviews.name if options.reviews else "made",
        "tokens_mean": round(statistics.mean(lengths), 1),
        "tokens_max": max(lengths),
        "threads": 1,
        "repeat": options.repeat,
        "missing": missing,
        "contenders": {name: rates[name] | exact[name] for name in found},
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
