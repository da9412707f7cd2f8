"""The benchmark of generation compares what it times: a text that differs ends it, and all ways make as many tokens."""

from pathlib import Path

import pytest

import generate
from tests.training.tiny_decoder import make
from training.creatives.generate import Decoder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("decoder") / "tiny")


def test_our_greedy_text_is_transformers_own_and_another_ends_the_benchmark(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder, prompts = Decoder(folder, precision="fp32", rows=2), generate.make_prompts(2)
    generate.check_greedy(decoder, decoder.model, prompts, 6)
    monkeypatch.setattr(decoder, "generate", lambda prompts, max_new_tokens: ["something else"] * len(prompts))
    with pytest.raises(SystemExit, match="ours differs from transformers' greedy text: 'something else'"):
        generate.check_greedy(decoder, decoder.model, prompts, 6)


def test_every_way_makes_as_many_tokens(folder: Path) -> None:
    found = generate.contenders(folder, 5)
    prompts = generate.make_prompts(3)
    assert {name: way(prompts) for name, way in found.items()} == dict.fromkeys(found, 15)


def test_rates_are_compared_with_the_first_by_processor_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(generate.time, "perf_counter", lambda: 2 * now[0])
    monkeypatch.setattr(generate.time, "process_time", lambda: now[0])

    def takes(seconds_a_prompt: float) -> generate.Make:
        def make(prompts: list[str]) -> int:
            now[0] += seconds_a_prompt * len(prompts)
            return 10 * len(prompts)

        return make

    rates = generate.speeds({"one_by_one_fp32": takes(2.0), "ours": takes(0.5)}, ["a"] * 8)
    assert rates["one_by_one_fp32"] == {
        "tokens": 20, "tokens_per_second": 2.5, "tokens_per_cpu_second": 5.0, "times_first": 1.0,
    }  # fmt: skip
    assert rates["ours"] == {"tokens": 80, "tokens_per_second": 10.0, "tokens_per_cpu_second": 20.0, "times_first": 4.0}


def test_prompts_are_made_the_same_again_and_all_differ() -> None:
    assert generate.make_prompts(6) == generate.make_prompts(6)
    assert len(set(generate.make_prompts(6))) == 6
