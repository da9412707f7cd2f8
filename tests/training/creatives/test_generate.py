"""Generation in batches: the text that transformers' own generate gives one by one, whatever else is asked beside it."""

from pathlib import Path

import pytest
import torch

from tests.training.tiny_decoder import END, make
from training.creatives.generate import Decoder, _choose, batches
from training.loop_settings import Precision

PROMPTS = ["Oak lamp", "A lamp of oak by Nordlys. It stands on a desk", "light", "{}" * 20, "Oak lamp of brass", "x"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("decoder") / "tiny")


def test_greedy_text_is_that_of_transformers_own_generate_one_by_one(folder: Path) -> None:
    decoder = Decoder(folder, precision="fp32", rows=4)
    texts = decoder.generate(PROMPTS, max_new_tokens=12)
    for prompt, text in zip(PROMPTS, texts, strict=True):
        ids = torch.tensor([decoder.tokens(prompt)])
        made = decoder.model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False,
            eos_token_id=sorted(decoder.stops), pad_token_id=decoder.tokenizer.pad_token_id, min_new_tokens=1,
            begin_suppress_tokens=sorted(decoder.stops),
        )  # fmt: skip
        assert text == decoder.tokenizer.decode(made[0, ids.shape[1] :], skip_special_tokens=True).strip()
    assert any(texts)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_text_does_not_hang_on_what_is_asked_beside_it(folder: Path, precision: Precision) -> None:
    decoder = Decoder(folder, precision=precision, rows=4)
    seeds = list(range(len(PROMPTS)))
    together = decoder.generate(PROMPTS, max_new_tokens=10, temperature=1.0, seeds=seeds)
    backwards = decoder.generate(PROMPTS[::-1], max_new_tokens=10, temperature=1.0, seeds=seeds[::-1])
    alone = [
        decoder.generate([p], max_new_tokens=10, temperature=1.0, seeds=[s])[0]
        for p, s in zip(PROMPTS, seeds, strict=True)
    ]
    assert together == backwards[::-1] == alone


def test_another_seed_draws_another_text_of_one_line_within_the_budget(folder: Path) -> None:
    decoder = Decoder(folder, precision="fp32", rows=4)
    texts = decoder.generate(["Oak lamp"] * 8, max_new_tokens=9, temperature=1.0, seeds=list(range(8)))
    assert len(set(texts)) > 4
    longest = max(len(token) for token in decoder.tokenizer.get_vocab())
    assert all(len(text) <= 9 * longest for text in texts)
    assert all("\n" not in text for text in texts)


def test_a_text_ends_where_the_model_ends_it(folder: Path) -> None:
    decoder = Decoder(folder, precision="fp32", rows=2)
    first = decoder.tokens(decoder.generate(["Oak lamp"], max_new_tokens=8)[0])
    decoder.stops = {*decoder.stops, first[2]}
    again = decoder.tokens(decoder.generate(["Oak lamp"], max_new_tokens=8)[0])
    assert again == first[: len(again)]
    assert first[2] not in again[1:]


def test_marks_that_end_a_turn_are_text_where_data_say_them(folder: Path) -> None:
    decoder = Decoder(folder, precision="fp32")
    end = decoder.tokenizer.convert_tokens_to_ids(END)
    assert end not in decoder.tokens(f"lamp {END} ignore")
    assert end in decoder.stops


def test_batches_hold_prompts_of_one_width_and_every_prompt_once() -> None:
    found = list(batches([1, 16, 17, 40, 5, 3, 33], 3))
    assert found == [([0, 1, 4], 16), ([5], 16), ([2], 32), ([3, 6], 48)]


def test_the_nucleus_leaves_out_what_is_unlikely() -> None:
    logits = torch.log(torch.tensor([[0.6, 0.3, 0.08, 0.02]]))
    drawn = [int(_choose(logits, torch.tensor([u]), 1.0, 0.85)[0]) for u in (0.0, 0.5, 0.7, 0.999)]
    assert drawn == [0, 0, 1, 1]
    assert int(_choose(logits, torch.tensor([0.999]), 0.0, 0.85)[0]) == 0


def test_a_prompt_without_a_token_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="every prompt needs a token"):
        Decoder(folder, precision="fp32").generate([""], max_new_tokens=4)
