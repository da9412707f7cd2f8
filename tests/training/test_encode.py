"""A text's vector is the model's own, whatever lies beside it in the batch, and however it is computed."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AutoModel, AutoTokenizer, BertModel, DistilBertConfig, DistilBertModel

from training import encode, packed
from training.encode import Encoder, Precision, batches
from training.packed import PackedBert, packable
from training.weights import ENCODER_EN, resolve

TEXTS = [
    "it fits well",
    "",
    "a bad red dress of poor cotton, and the shirt is no good either; " * 3,
    "view click search cart buy",
    "it fits well",
    "blue",
]
LEAST = {"fp32": 0.999999, "bf16": 0.999}  # cosine to float32


def _expected(folder: Path, text: str, longest: int = 128) -> np.ndarray:
    """One text alone through transformers' own model: mean of its states, unit length."""
    row = AutoTokenizer.from_pretrained(folder)(text, truncation=True, max_length=longest, return_tensors="pt")
    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        return F.normalize(model(**row).last_hidden_state.mean(1))[0].numpy()


@pytest.fixture(scope="module")
def distilled(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder of another architecture, which runs as transformers runs it."""
    folder = tmp_path_factory.mktemp("distilled")
    shutil.copytree(tiny_encoder, folder, dirs_exist_ok=True)
    vocabulary = json.loads((tiny_encoder / "config.json").read_text())["vocab_size"]
    torch.manual_seed(0)
    config = DistilBertConfig(
        vocab_size=vocabulary, dim=16, n_layers=2, n_heads=2, hidden_dim=32, initializer_range=0.2
    )
    DistilBertModel(config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("kind", ["tiny_encoder", "distilled"])
def test_each_text_gets_the_vector_that_it_gets_alone(
    kind: str, precision: Precision, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(kind)
    vectors = Encoder(folder, precision=precision).encode(TEXTS)
    assert vectors.dtype == np.float32
    for text, vector in zip(TEXTS, vectors, strict=True):
        assert vector @ _expected(folder, text) > LEAST[precision], text


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_vector_does_not_depend_on_its_batch_and_comes_the_same_again(
    tiny_encoder: Path, precision: Precision, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = Encoder(tiny_encoder, precision=precision)
    together = encoder.encode(TEXTS)
    assert np.array_equal(encoder.encode(TEXTS), together)
    alone = np.concatenate([encoder.encode([text]) for text in TEXTS])
    assert (alone * together).sum(1).min() > (0.9999 if precision == "bf16" else 0.999999)
    monkeypatch.setattr(encode, "_TEXTS", 2)  # in three portions
    assert (encoder.encode(TEXTS) * together).sum(1).min() > 0.9999


def test_no_texts_give_no_vectors(tiny_encoder: Path) -> None:
    assert Encoder(tiny_encoder).encode([]).shape == (0, 16)


def test_equal_texts_are_encoded_once(tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = Encoder(tiny_encoder)
    rows = []
    pooled = encoder._pooled
    monkeypatch.setattr(encoder, "_pooled", lambda batch: rows.extend(batch) or pooled(batch))
    vectors = encoder.encode(["blue", "red", "blue", "blue"])
    assert len(rows) == 2
    assert np.array_equal(vectors[0], vectors[2])
    assert not np.array_equal(vectors[0], vectors[1])


def test_longer_texts_are_cut_and_their_end_is_not_seen(tiny_encoder: Path) -> None:
    encoder = Encoder(tiny_encoder, max_tokens=5)
    same, cut = encoder.encode(["red blue good", "red blue good bad poor"])
    assert np.array_equal(same, cut)


def test_a_model_s_prefixes_are_put_before_its_texts(tiny_encoder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_encoder, tmp_path / "prefixed")
    prompts = {"query": "view ", "passage": "buy "}
    (folder / "config_sentence_transformers.json").write_text(json.dumps({"prompts": prompts}))
    encoder, plain = Encoder(folder, precision="fp32"), Encoder(tiny_encoder, precision="fp32")
    assert np.array_equal(encoder.encode(["blue"]), plain.encode(["view blue"]))
    assert np.array_equal(encoder.encode(["blue"], kind="passage"), plain.encode(["buy blue"]))


def test_first_states_and_any_length_can_be_asked_for(tiny_encoder: Path) -> None:
    row = AutoTokenizer.from_pretrained(tiny_encoder)("red dress", return_tensors="pt")
    with torch.inference_mode():
        first = AutoModel.from_pretrained(tiny_encoder).eval()(**row).last_hidden_state[0, 0].numpy()
    encoder = Encoder(tiny_encoder, precision="fp32", pooling="cls", normalise=False)
    np.testing.assert_allclose(encoder.encode(["red dress"])[0], first, atol=1e-5)


def test_scores_beyond_what_an_exponential_holds_are_still_a_softmax() -> None:
    torch.manual_seed(0)
    query, key, value = (torch.randn(3, 5, 4) for _ in range(3))
    for size in (1.0, 40.0, 1e4):  # sums that are fine, that overflow in part, and that overflow
        scores = torch.bmm(size * query, key.transpose(1, 2))
        torch.testing.assert_close(packed._softmax_of(size * query, key, value), torch.bmm(scores.softmax(-1), value))
    low = torch.full((1, 2, 4), -50.0)  # scores of -10,000: every exponential is nought
    torch.testing.assert_close(packed._softmax_of(low, -low, torch.ones(1, 2, 4)), torch.ones(1, 2, 4))


def test_without_onednn_a_linear_layer_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    x, weight, bias, residual = torch.randn(3, 8), torch.randn(8, 8), torch.randn(8), torch.randn(3, 8)

    def both() -> tuple[Tensor, Tensor, Tensor]:
        plain, gelu = packed.linear(weight, bias), packed.linear(weight, bias, gelu=True)
        return plain(x, None), plain(x, residual), gelu(x, None)

    fused = both()
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    for left, right in zip(fused, both(), strict=True):
        torch.testing.assert_close(left, right)


def test_packed_and_padded_models_agree_on_every_length(tiny_encoder: Path) -> None:
    model = BertModel.from_pretrained(tiny_encoder).eval()
    assert packable(model)
    rows = [[2, *range(10, 10 + n), 3] for n in (0, 1, 1, 4, 4, 4, 9, 100)]
    for pooling in ("mean", "cls"):
        with torch.inference_mode():
            packed_states = PackedBert(model, torch.float32, pooling)(rows)
            padded_states = encode._Padded(model, torch.float32, pooling, pad=0)(rows)
        torch.testing.assert_close(packed_states, padded_states, atol=1e-5, rtol=1e-4)


def test_batches_keep_to_their_budget_and_hold_every_row_once() -> None:
    lengths = [7, 3, 30, 3, 8, 1]
    found = batches(lengths, budget=16)
    assert found == [[5, 1, 3], [0, 4], [2]]  # 3 x 3, 2 x 8, and one row that is longer than a batch may be


@pytest.mark.slow
def test_paraphrases_are_closer_than_unrelated_texts_and_bf16_is_exact_enough(weights_cache: Path) -> None:
    texts = [
        "The dress is too small for me.",
        "This gown is a size too tight.",
        "The parcel arrived two weeks late.",
        "Delivery took forever.",
    ]
    folder = resolve(ENCODER_EN, weights_cache)
    exact = Encoder(folder, precision="fp32").encode(texts)
    near, far = exact @ exact.T, (exact @ exact.T)[:2, 2:]
    assert min(near[0, 1], near[2, 3]) > far.max()
    assert (Encoder(folder, precision="bf16").encode(texts) * exact).sum(1).min() > 0.999
