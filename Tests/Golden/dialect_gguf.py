"""LoRA in GGUF, by the `gguf` package and the layout of llama.cpp's convert_lora_to_gguf.py; expected by numpy."""

import functools
import json
from pathlib import Path

import gguf
import models
import numpy as np
from dialect_cases import Case, Made, changes, factors, read_base
from dialect_models import SMALL, make_model

SIZE = SMALL
WRITTEN_BY = ("gguf", "numpy")
WIDE = models.Size(hidden=32, inter=64, layers=1, heads=4, kv=2, vocab=24)
TYPES = {
    "f32": gguf.GGMLQuantizationType.F32,
    "f16": gguf.GGMLQuantizationType.F16,
    "bf16": gguf.GGMLQuantizationType.BF16,
    "q8_0": gguf.GGMLQuantizationType.Q8_0,
}
ARCHITECTURES = {"llama": gguf.MODEL_ARCH.LLAMA, "qwen2": gguf.MODEL_ARCH.QWEN2}
LAYER = "model.layers.0."
ALL = {LAYER + "self_attn.q_proj": 3, LAYER + "self_attn.k_proj": 3, LAYER + "self_attn.v_proj": 3,
       LAYER + "self_attn.o_proj": 3, LAYER + "mlp.gate_proj": 3, LAYER + "mlp.down_proj": 3}  # fmt: skip
RANKS = {LAYER + "self_attn.q_proj": 2, LAYER + "self_attn.k_proj": 4, LAYER + "mlp.up_proj": 1}
ENDS = {"model.embed_tokens": 3, "lm_head": 2, LAYER + "self_attn.q_proj": 3}
BLOCKS = {LAYER + "self_attn.q_proj": 32, LAYER + "mlp.down_proj": 32, LAYER + "mlp.up_proj": 4}


def _wide(directory, size, seed):
    make_model("llama", directory, WIDE if size is SMALL else size, seed)


BASES = {
    "llama": functools.partial(make_model, "llama"),
    "qwen2": functools.partial(make_model, "qwen2"),
    "llama-wide": _wide,
}


def permuted(rows, heads):
    """llama.cpp keeps the rows of q and k in pairs that rotate together: (heads, 2, half) becomes (heads, half, 2)."""
    halves = rows.reshape(heads, 2, len(rows) // heads // 2, *rows.shape[1:])
    return halves.swapaxes(1, 2).reshape(rows.shape)


def stored(writer, name, values, kind):
    """Add a tensor as the converter does: quantized if its rows can be, otherwise F16; returns what a reader sees."""
    qtype = TYPES[kind]
    if kind == "q8_0" and values.shape[-1] % 32:
        qtype = TYPES["f16"]
    data = gguf.quants.quantize(values, qtype)
    writer.add_tensor(name, data, raw_dtype=qtype)
    return gguf.quants.dequantize(data, qtype).astype(np.float64).reshape(values.shape)


def write(arch, kind, alpha, ranks, base, directory, seed):
    """One adapter; a module's own rank divides the one alpha of the file, and alpha 0 means a scale of 1."""
    before = read_base(base)
    config = json.loads((Path(base) / "config.json").read_text())
    names = gguf.get_tensor_name_map(ARCHITECTURES[arch], config["num_hidden_layers"])
    path = directory / "adapter.gguf"
    writer = gguf.GGUFWriter(str(path), arch)
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, alpha)
    writer.add_string("general.name", "golden")
    rng, after = np.random.default_rng(seed), {}
    for module, rank in ranks.items():
        tensor = f"{module}.weight"
        out, width = before[tensor].shape
        embedding = module.endswith("embed_tokens")
        scale = alpha / rank if alpha else 1.0
        up, down = factors(rng, *((width, out) if embedding else (out, width)), rank, scale=scale)
        heads = None
        if arch == "llama" and module.endswith(("q_proj", "k_proj")):
            heads = config["num_attention_heads" if module.endswith("q_proj") else "num_key_value_heads"]
        theirs = names.get_name(tensor, try_suffixes=(".weight",))
        a = stored(writer, theirs + ".lora_a", np.ascontiguousarray(down.T) if embedding else down, kind)
        b = stored(writer, theirs + ".lora_b", permuted(up, heads) if heads else up, kind)
        delta = a @ b.T if embedding else b @ a
        if heads:
            delta = delta.reshape(heads, out // heads // 2, 2, width).swapaxes(1, 2).reshape(out, width)
        after[tensor] = before[tensor] + scale * delta
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return Made(path.name, changes(base, after))


def _case(tag, ranks=None, arch="llama", kind="f32", alpha=6.0, base=None):
    work = functools.partial(write, arch, kind, alpha, ranks or ALL)
    return Case(f"gguf-{tag}", "gguf", "lora", base or arch, work, WRITTEN_BY)


CASES = [
    _case("llama-f32"),
    _case("llama-f16", kind="f16"),
    _case("llama-bf16", kind="bf16"),
    _case("llama-q8_0", BLOCKS, kind="q8_0", alpha=16.0, base="llama-wide"),
    _case("llama-ranks", RANKS),
    _case("llama-alpha-0", alpha=0.0),
    _case("llama-embeddings", ENDS, kind="f16"),
    _case("qwen2", arch="qwen2", kind="f16"),
]
