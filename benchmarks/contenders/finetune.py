"""One way to fine-tune, for benchmarks/finetune.py, which says what the names mean.

    python benchmarks/contenders/finetune.py NAME SPEC.json WORK

Prints one JSON object. The first steps are not counted, nor what comes after the last one.
"""

import json
import resource
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from training.loop import LoopSettings, Padding, predict, train
from training.loop_settings import is_bf16

BATCH = 32
RATE = 5e-5
WARM_STEPS = 5  # steps that are not counted; later ones are in fives
GPU_TOKENS, GPU_BATCH = 512, 64
# Dense bf16 multiply-adds per second, as the makers tell them, two operations each.
PEAK_TFLOPS = {"H100": 989, "H200": 989, "A100": 312, "L40S": 362, "L4": 121, "A10G": 70}


class Clock:
    """Counts from step WARM_STEPS to the last."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.found: dict[str, float] = {}

    def tick(self, step: int) -> None:
        if step not in (WARM_STEPS, self.steps):
            return
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        if step == WARM_STEPS:
            self.start = time.perf_counter(), time.process_time()
            return
        samples = (self.steps - WARM_STEPS) * BATCH
        self.found = {
            "samples_per_second": samples / (time.perf_counter() - self.start[0]),
            "samples_per_cpu_second": samples / (time.process_time() - self.start[1]),
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }


def classifier(spec: dict[str, Any]) -> nn.Module:
    from transformers import AutoModelForSequenceClassification

    torch.manual_seed(spec["seed"])
    return AutoModelForSequenceClassification.from_pretrained(spec["weights"], num_labels=2)


def trainer_defaults(spec: dict[str, Any], work: Path, clock: Clock) -> nn.Module:
    """As in its own tutorials: everything padded to one length; nothing set but what the comparison needs."""
    from transformers import Trainer, TrainerCallback, TrainingArguments

    class Tick(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
            clock.tick(state.global_step)

    width = spec["longest"]
    rows = [
        {
            "input_ids": row["input_ids"] + [0] * (width - len(row["input_ids"])),
            "attention_mask": [1] * len(row["input_ids"]) + [0] * (width - len(row["input_ids"])),
            "labels": row["labels"],
        }
        for row in spec["rows"]
    ]
    model = classifier(spec)
    arguments = TrainingArguments(
        str(work), max_steps=spec["steps"], per_device_train_batch_size=BATCH, learning_rate=RATE, seed=spec["seed"],
        save_strategy="no", report_to=[], disable_tqdm=True,
    )  # fmt: skip
    Trainer(model, arguments, train_dataset=rows, callbacks=[Tick()]).train()
    return model


def plain_loop(spec: dict[str, Any], work: Path, clock: Clock) -> nn.Module:
    """What somebody who knows torch writes in an hour: like lengths together, bf16, the same decay and clipping."""
    model, rows, collate = classifier(spec).train(), spec["rows"], Padding()
    chance = np.random.default_rng(spec["seed"])
    order = chance.permutation(len(rows))
    lengths = np.array([len(row["input_ids"]) for row in rows])
    chunks = [part[np.argsort(lengths[part])] for part in np.array_split(order, max(1, len(rows) // (50 * BATCH)))]
    batches = np.concatenate(chunks)[: len(rows) // BATCH * BATCH].reshape(-1, BATCH)
    batches = chance.permutation(batches)
    longest = lengths[batches].sum(axis=1).argmax()
    batches[[0, longest]] = batches[[longest, 0]]  # first, as ours does: all count the same rows
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0, spec["steps"])
    for step, batch in enumerate(batches, start=1):
        inputs = collate([rows[place] for place in batch])
        with torch.autocast("cpu", torch.bfloat16, enabled=is_bf16("auto")):
            loss = model(**inputs).loss
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        clock.tick(step)
    return model


def nightmarket(spec: dict[str, Any], work: Path, clock: Clock, compiled: bool = False) -> nn.Module:
    model = classifier(spec)
    settings = LoopSettings(
        learning_rate=RATE, max_steps=spec["steps"], batch_size=BATCH, warmup_share=0, weight_decay=0, log_steps=5,
        seed=spec["seed"], compile=compiled,
    )  # fmt: skip
    train(
        model, spec["rows"], spec["held_out"][:BATCH], settings, collate=Padding(),
        length=lambda row: len(row["input_ids"]), metric=lambda logits, labels: {"last": time.monotonic()}, watch="last",
        work=work / "run", log=lambda values, step: clock.tick(step) if "loss" in values else None,
    )  # fmt: skip
    return model


def on_gpu(name: str, spec: dict[str, Any], work: Path) -> dict[str, float]:
    """Ours at full length on random tokens. Utilisation: 6 operations per weight and token that is multiplied with it,
    and 12 x layers x width x length per token for attention, half of that where it is causal (PaLM, arXiv:2204.02311).
    """
    from transformers import AutoModelForCausalLM

    is_decoder = name == "decoder_512"
    model = AutoModelForCausalLM.from_pretrained(spec["weights"]) if is_decoder else classifier(spec)
    config = model.config
    tokens = np.random.default_rng(0).integers(1_000, config.vocab_size, (GPU_BATCH * 8, GPU_TOKENS + 1))
    rows = [{"input_ids": row[:-1], "labels": row[1:] if is_decoder else int(row[0] % 2)} for row in tokens]
    times: list[tuple[int, float]] = []

    def log(values: Mapping[str, float], step: int) -> None:
        torch.cuda.synchronize()
        times.append((step, time.perf_counter()))

    settings = LoopSettings(max_steps=spec["steps"], batch_size=GPU_BATCH, log_steps=10, compile=True)
    train(
        model, rows, rows[:2], settings, collate=Padding(), metric=lambda logits, labels: {"one": 1.0}, watch="one",
        work=work / "run", log=log,
    )  # fmt: skip
    (first, began), (last, ended) = times[1], times[-2]  # the first ten steps compile, the last entry is a validation
    rate = (last - first) * GPU_BATCH * GPU_TOKENS / (ended - began)
    tables = sum(part.weight.numel() for part in model.modules() if isinstance(part, nn.Embedding))
    weights = sum(parameter.numel() for parameter in model.parameters()) - tables
    if is_decoder and config.tie_word_embeddings:
        weights += config.vocab_size * config.hidden_size  # the table is a matrix again at the end
    attention = 12 * config.num_hidden_layers * config.hidden_size * GPU_TOKENS / (2 if is_decoder else 1)
    device = torch.cuda.get_device_name()
    peak = next((tflops for key, tflops in PEAK_TFLOPS.items() if key in device), None)
    found: dict[str, Any] = {"device": device, "batch": GPU_BATCH, "tokens_per_second": round(rate)}
    found["peak_mb"] = round(torch.cuda.max_memory_allocated() / 2**20)
    achieved = rate * (6 * weights + attention) / 1e12
    return found | {
        "tflops": round(achieved, 1),
        "utilisation": round(achieved / peak, 3) if peak else "unknown device",
    }


def main() -> None:
    name, spec, work = sys.argv[1], json.loads(Path(sys.argv[2]).read_text()), Path(sys.argv[3])
    torch.set_num_threads(spec["threads"])
    if name.endswith("_512"):
        print(json.dumps(on_gpu(name, spec, work)))
        return
    clock = Clock(spec["steps"])
    if name == "nightmarket_compiled":
        model = nightmarket(spec, work, clock, compiled=True)
    else:
        model = {"trainer_defaults": trainer_defaults, "plain_loop": plain_loop, "nightmarket": nightmarket}[name](
            spec, work, clock
        )
    held = spec["held_out"]
    logits = predict(model, held, collate=Padding(), length=lambda row: len(row["input_ids"]), precision="fp32")
    labels = torch.tensor([row["labels"] for row in held])
    loss = nn.functional.cross_entropy(torch.from_numpy(logits), labels).item()
    accuracy = float((logits.argmax(-1) == labels.numpy()).mean())
    print(json.dumps({**clock.found, "held_out_loss": loss, "held_out_accuracy": accuracy}))


if __name__ == "__main__":
    main()
