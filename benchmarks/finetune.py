"""Fine-tuning the English encoder on reviews (recommended or not), batches of 32; ours beside two others.

    python benchmarks/finetune.py [--steps 40] [--repeat 1] [--threads 2] [--reviews FILE.csv.gz] [--weights DIR] [--json]

Contenders (benchmarks/contenders/finetune.py), each in a process of its own, in turn, on the same rows from the same
weights with the same rates: Trainer with its defaults (padding to 128, fp32), a plain torch loop (length groups, bf16
where the processor has it), ours, and ours with torch.compile where --compile is given. Stops if the loss on held-out
reviews after the last step differs by more than seeds make it differ. Prints one JSON object: medians over the rounds,
without the first steps; `samples_per_cpu_second` is the figure to compare on a busy machine.
Where there is a GPU: tokens/s and model FLOP utilisation of ours at 512 tokens in bf16, encoder and decoder.
Without --reviews (columns "Title", "Review Text", "Recommended IND") reviews of about 80 tokens are made.
"""

import argparse
import csv
import gzip
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(_ROOT))

import torch  # noqa: E402

from pipelines.core.storage import default_root  # noqa: E402
from training.weights import DECODER, ENCODER_EN, resolve  # noqa: E402

LONGEST = 128  # tokens
HELD_OUT = 500
LOSS_NOISE = 0.05  # beyond this the contenders do not learn alike
CONTENDERS = ("trainer_defaults", "plain_loop", "nightmarket")
ON_GPU = {"encoder_512": ENCODER_EN, "decoder_512": DECODER}
REVIEWS = Path("../shared/data/reviews-en/Womens-Clothing-E-Commerce-Reviews_10528rows.csv.gz")
_CONTENDER = _ROOT / "benchmarks" / "contenders" / "finetune.py"


def read_reviews(path: Path) -> list[tuple[str, int]]:
    """Title and text of each review that has one, and whether the item is recommended; in an order of no meaning."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["Review Text"]]
    random.Random(7).shuffle(rows)
    return [(f"{row['Title']} {row['Review Text']}".strip(), int(row["Recommended IND"])) for row in rows]


def make_reviews(count: int = 5_000) -> list[tuple[str, int]]:
    """Sentences of everyday words, of about 80 tokens; "small" and "not" speak against the item."""
    luck, made = random.Random(7), []
    words = ("the dress is", "a", "very nice", "and fits me", "the color was as in the picture", "love", "small", "not")
    for _ in range(count):
        chosen = luck.choices(words, weights=[4, 4, 4, 4, 4, 4, 1, 1], k=round(luck.triangular(5, 50, 35)))
        made.append((" ".join(chosen), int(chosen.count("small") + chosen.count("not") < 4)))
    return made


def prepare(reviews: list[tuple[str, int]], weights: Path, steps: int) -> dict[str, Any]:
    """What all contenders are given: token numbers and labels, no more than are needed, and the weights."""
    from transformers import AutoTokenizer

    wanted = HELD_OUT + steps * 32  # each row once: all contenders do the same work
    tokenizer = AutoTokenizer.from_pretrained(weights)
    chosen = reviews[:wanted]
    ids = tokenizer([text for text, _ in chosen], truncation=True, max_length=LONGEST)["input_ids"]
    rows = [{"input_ids": row, "labels": label} for row, (_, label) in zip(ids, chosen, strict=True)]
    if len(rows) < HELD_OUT + 32:
        raise SystemExit(f"{len(rows)} reviews are too few: at least {HELD_OUT + 32} are needed")
    return {"rows": rows[HELD_OUT:], "held_out": rows[:HELD_OUT], "weights": str(weights), "longest": LONGEST}


def run(name: str, spec: dict[str, Any], folder: Path) -> dict[str, float]:
    """One contender in a process of its own."""
    file = folder / "spec.json"
    file.write_text(json.dumps(spec))
    env = {
        **os.environ,
        "PYTHONPATH": str(_ROOT),
        "OMP_NUM_THREADS": str(spec["threads"]),
        "TOKENIZERS_PARALLELISM": "false",
    }
    if name not in ON_GPU:
        env["CUDA_VISIBLE_DEVICES"] = ""
    with tempfile.TemporaryDirectory(dir=folder) as work:
        command = [sys.executable, str(_CONTENDER), name, str(file), work]
        ended = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise SystemExit(f"{name} ended with {ended.returncode}: {ended.stderr[-2000:]}")
    result: dict[str, float] = json.loads(ended.stdout.splitlines()[-1])
    return result


def compare(names: list[str], spec: dict[str, Any], folder: Path, repeat: int) -> dict[str, Any]:
    """`repeat` rounds, each with a seed of its own, in which all take turns; ends the program where losses differ."""
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for seed in range(repeat):
        for name in names:
            runs[name].append(run(name, {**spec, "seed": seed}, folder))
    found = {
        name: {key: round(statistics.median(one[key] for one in measured), 4) for key in measured[0]}
        for name, measured in runs.items()
    }
    usual = found[CONTENDERS[0]]["held_out_loss"]
    for name, medians in found.items():
        if abs(medians["held_out_loss"] - usual) > LOSS_NOISE:
            raise SystemExit(f"{name} comes to a loss of {medians['held_out_loss']}, {CONTENDERS[0]} to {usual}")
    ours = found["nightmarket"]
    gains = {
        name: {
            key: round(ours[key] / other[key], 2) for key in ("samples_per_second", "samples_per_cpu_second", "peak_mb")
        }
        for name, other in found.items()
        if name != "nightmarket"
    }
    return {"contenders": found, "nightmarket_to": gains}


def on_gpu(cache: Path, folder: Path, steps: int, threads: int) -> dict[str, Any] | str:
    """Tokens a second and the share of the device's peak that the model's own arithmetic takes."""
    if not torch.cuda.is_available():
        return "skipped: no GPU"
    spec = {"steps": steps, "threads": threads, "seed": 0}
    return {
        name: run(name, {**spec, "weights": str(resolve(address, cache))}, folder) for name, address in ON_GPU.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--compile", action="store_true", help="ours with torch.compile, too: needs a C++ compiler")
    parser.add_argument("--reviews", type=Path, help=f"by default {REVIEWS} if it is there")
    parser.add_argument("--weights", type=Path, default=default_root() / "weights", help="where weights are cached")
    parser.add_argument("--json", action="store_true", help="accepted for all benchmarks: the output is JSON anyway")
    options = parser.parse_args()
    path = options.reviews or _ROOT / REVIEWS
    if options.reviews and not path.exists():
        raise SystemExit(f"{path}: no such file")
    steps = max(10, options.steps // 5 * 5)
    spec = prepare(read_reviews(path) if path.exists() else make_reviews(), resolve(ENCODER_EN, options.weights), steps)
    names = [*CONTENDERS, *(["nightmarket_compiled"] if options.compile else [])]
    report: dict[str, Any] = {"benchmark": "finetune", "reviews": path.name if path.exists() else "made"}
    report |= {"steps": steps, "repeat": options.repeat, "threads": options.threads, "batch": 32, "held_out": HELD_OUT}
    with tempfile.TemporaryDirectory() as folder:
        report |= compare(names, {**spec, "steps": steps, "threads": options.threads}, Path(folder), options.repeat)
        report["gpu"] = on_gpu(options.weights, Path(folder), max(steps, 40), options.threads)
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
