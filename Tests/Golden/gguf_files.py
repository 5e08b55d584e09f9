"""Make the golden GGUF files and the table of names of Sources/GGUF with gguf-py.

    python Tests/Golden/gguf_files.py

needs gguf 0.19 and numpy; no network. Writes, into `gguf/`,

- sample.gguf: metadata of all types and tensors of all types that we write; numbers.gguf: the same numbers as F32, F16, BF16, Q8_0;
- aligned.gguf: another alignment; adapter.gguf: a LoRA as llama.cpp's converter lays it out;
- types.txt: number, name, elements and bytes of a block for each type of ggml;
- names.txt: architecture, Hugging Face's name, GGUF's name; rows.txt: how conversion reorders rows;

and Sources/GGUF/GGUFNames+Table.swift.
"""

from pathlib import Path

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType as Type, GGUFValueType as Value, GGUFWriter, quants
from gguf.constants import MODEL_ARCH_NAMES, MODEL_TENSORS, TENSOR_NAMES
from gguf.tensor_mapping import TensorNameMap, get_tensor_name_map

HERE = Path(__file__).resolve().parent
OUT = HERE / "gguf"
TABLE = HERE.parent.parent / "Sources" / "GGUF" / "GGUFNames+Table.swift"
ARCHITECTURES = ("llama qwen2 qwen2moe qwen3 qwen3moe gemma gemma2 gemma3 phi2 phi3 gpt2 falcon gptneox starcoder2 "
                 "command-r olmo olmo2 stablelm bert").split()
BY_NAME = {name: arch for arch, name in MODEL_ARCH_NAMES.items()}


def write(name, metadata, tensors, alignment=None):
    """Tensors are (name, array, type): an array of bytes for quantized types."""
    writer = GGUFWriter(None, "llama")
    if alignment:
        writer.add_custom_alignment(alignment)
    for key, value, kind, element in metadata:
        writer.add_key_value(key, value, kind, element)
    for tensor, array, kind in tensors:
        writer.add_tensor(tensor, array, raw_dtype=kind)
    writer.write_header_to_file(OUT / name)
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def quantized(values, kind):
    return quants.quantize(values, kind)


def edge_numbers():
    """1,024 float32 numbers: of all sizes, ties of each rounding, subnormals, and blocks of zeros; no NaN or infinity."""
    random = np.random.default_rng(9)
    bits = random.integers(0, 2**32, 256, dtype=np.uint32)
    bits[(bits >> 23) & 255 == 255] = 0x3F800000
    ties = (random.integers(0, 2**16, 96, dtype=np.uint32) << 16 | 0x8000) & 0x9FFFFFFF | 0x20000000
    halves = random.integers(0, 2**10, 96, dtype=np.uint32) << 13 | 0x1000 | 0x3F000000
    small = np.float32(2.0**-24) * random.integers(0, 64, 64).astype(np.float32) / 4
    whole = (random.integers(-254, 255, 256) / 2).astype(np.float32)
    whole[::32] = 127
    spread = (random.standard_normal(192) * np.repeat(10.0 ** np.arange(-3, 3), 32)).astype(np.float32)
    zeros = np.zeros(32, dtype=np.float32)
    zeros[::2] = -0.0
    return np.concatenate([spread, whole, zeros, small[:32], small[32:], halves.view(np.float32), ties.view(np.float32),
                           bits.view(np.float32), zeros])[:1024]


def sample():
    metadata = [
        ("a.u8", 200, Value.UINT8, None), ("a.i8", -100, Value.INT8, None), ("a.u16", 60000, Value.UINT16, None),
        ("a.i16", -30000, Value.INT16, None), ("a.u32", 4000000000, Value.UINT32, None),
        ("a.i32", -2000000000, Value.INT32, None), ("a.f32", 0.1, Value.FLOAT32, None), ("a.bool", True, Value.BOOL, None),
        ("a.string", "é \U0001F600 text", Value.STRING, None), ("a.u64", 2**64 - 1, Value.UINT64, None),
        ("a.i64", -2**63, Value.INT64, None), ("a.f64", 0.1, Value.FLOAT64, None),
        ("l.u8", [1, 255], Value.ARRAY, Value.UINT8), ("l.i8", [-1, 127], Value.ARRAY, Value.INT8),
        ("l.u16", [1, 65535], Value.ARRAY, Value.UINT16), ("l.i16", [-1], Value.ARRAY, Value.INT16),
        ("l.u32", [7, 8, 9], Value.ARRAY, Value.UINT32), ("l.i32", [-7], Value.ARRAY, Value.INT32),
        ("l.f32", [0.5, -2.0], Value.ARRAY, Value.FLOAT32), ("l.bool", [True, False], Value.ARRAY, Value.BOOL),
        ("l.string", ["one", "zwei"], Value.ARRAY, Value.STRING), ("l.u64", [2**63], Value.ARRAY, Value.UINT64),
        ("l.i64", [-1], Value.ARRAY, Value.INT64), ("l.f64", [1e300], Value.ARRAY, Value.FLOAT64),
    ]
    row = np.arange(-6, 6, dtype=np.float32).reshape(3, 4) / 4
    block = np.arange(-32, 32, dtype=np.float32).reshape(2, 32)
    tensors = [
        ("f32", row, None), ("f16", row.astype(np.float16), None), ("bf16", quantized(row, Type.BF16), Type.BF16),
        ("f64", row.astype(np.float64), None), ("q8", quantized(block, Type.Q8_0), Type.Q8_0),
        ("cube", np.arange(24, dtype=np.float32).reshape(2, 3, 4), None), ("i32", np.arange(5, dtype=np.int32), None),
        ("q4", quantized(block, Type.Q4_0), Type.Q4_0),
    ]
    write("sample.gguf", metadata, tensors)
    write("aligned.gguf", [], tensors[:3], alignment=64)
    numbers = edge_numbers().reshape(-1, 64)
    write("numbers.gguf", [], [("f32", numbers, None), ("f16", quantized(numbers, Type.F16), None),
                               ("bf16", quantized(numbers, Type.BF16), Type.BF16),
                               ("q8", quantized(numbers, Type.Q8_0), Type.Q8_0)])


def adapter():
    random = np.random.default_rng(4)
    metadata = [("general.type", "adapter", Value.STRING, None), ("adapter.type", "lora", Value.STRING, None),
                ("adapter.lora.alpha", 8.0, Value.FLOAT32, None)]
    tensors = []
    for module, rows in [("attn_q", 16), ("attn_v", 8)]:
        name = f"blk.0.{module}.weight"
        tensors += [(name + ".lora_a", random.standard_normal((4, 16)).astype(np.float32), None),
                    (name + ".lora_b", random.standard_normal((rows, 4)).astype(np.float32), None)]
    write("adapter.gguf", metadata, tensors)


# Names of parameters in models of transformers; {b} is a block.
MODEL = "model.embed_tokens.weight model.norm.weight lm_head.weight model.layers.{b}.input_layernorm.weight "
SPLIT = "".join(f"model.layers.{{b}}.self_attn.{x}_proj.weight " for x in "qkvo")
GATED = "".join(f"model.layers.{{b}}.mlp.{x}_proj.weight " for x in ("gate", "up", "down"))
NORM = "model.layers.{b}.post_attention_layernorm.weight "
QK = "model.layers.{b}.self_attn.q_norm.weight model.layers.{b}.self_attn.k_norm.weight "
SANDWICH = "model.layers.{b}.pre_feedforward_layernorm.weight model.layers.{b}.post_feedforward_layernorm.weight "
DENSE = "".join(f"model.layers.{{b}}.{x}.weight " for x in ("self_attn.dense", "mlp.fc1", "mlp.fc2"))
EXPERTS = ("model.layers.{b}.mlp.gate.weight " + "".join(
    f"model.layers.{{b}}.mlp.experts.{x}_proj.weight " for x in ("gate", "up", "down")))
SHARED = "model.layers.{b}.mlp.shared_expert_gate.weight " + "".join(
    f"model.layers.{{b}}.mlp.shared_expert.{x}_proj.weight " for x in ("gate", "up", "down"))
BIASES = "".join(f"model.layers.{{b}}.self_attn.{x}_proj.bias " for x in "qkv")
PARAMETERS = {
    "llama": MODEL + SPLIT + GATED + NORM + BIASES + "model.layers.{b}.block_sparse_moe.gate.weight "
    + "".join(f"model.layers.{{b}}.block_sparse_moe.experts.w{x}.weight " for x in "123"),
    "qwen2": MODEL + SPLIT + GATED + NORM + BIASES,
    "qwen2moe": MODEL + SPLIT + NORM + BIASES + EXPERTS + SHARED,
    "qwen3": MODEL + SPLIT + GATED + NORM + QK,
    "qwen3moe": MODEL + SPLIT + NORM + QK + EXPERTS,
    "gemma": MODEL + SPLIT + GATED + NORM,
    "gemma2": MODEL + SPLIT + GATED + NORM + SANDWICH,
    "gemma3": MODEL + SPLIT + GATED + NORM + SANDWICH + QK,
    "phi2": "model.embed_tokens.weight model.final_layernorm.weight lm_head.bias model.layers.{b}.input_layernorm.bias "
    + SPLIT + DENSE,
    "phi3": MODEL + NORM + "".join(f"model.layers.{{b}}.{x}_proj.weight " for x in (
        "self_attn.qkv", "self_attn.o", "mlp.gate_up", "mlp.down")),
    "gpt2": "transformer.wte.weight transformer.wpe.weight transformer.ln_f.bias lm_head.weight " + "".join(
        f"transformer.h.{{b}}.{x}.weight " for x in ("ln_1", "ln_2", "attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")),
    "falcon": "transformer.word_embeddings.weight transformer.ln_f.weight lm_head.weight " + "".join(
        f"transformer.h.{{b}}.{x}.weight " for x in (
            "input_layernorm", "ln_attn", "ln_mlp", "self_attention.query_key_value", "self_attention.dense",
            "mlp.dense_h_to_4h", "mlp.dense_4h_to_h")),
    "gptneox": "gpt_neox.embed_in.weight gpt_neox.final_layer_norm.bias embed_out.weight " + "".join(
        f"gpt_neox.layers.{{b}}.{x}.weight " for x in (
            "input_layernorm", "post_attention_layernorm", "attention.query_key_value", "attention.dense",
            "mlp.dense_h_to_4h", "mlp.dense_4h_to_h")),
    "starcoder2": MODEL + SPLIT + NORM + BIASES + "model.layers.{b}.mlp.c_fc.weight model.layers.{b}.mlp.c_proj.weight ",
    "command-r": MODEL + SPLIT + GATED + QK,
    "olmo": SPLIT + GATED + "model.embed_tokens.weight lm_head.weight ",
    "olmo2": MODEL.replace("model.layers.{b}.input_layernorm.weight", "") + SPLIT + GATED + NORM + QK
    + "model.layers.{b}.post_feedforward_layernorm.weight ",
    "stablelm": MODEL + SPLIT + GATED + NORM,
    "bert": "embeddings.word_embeddings.weight embeddings.position_embeddings.weight embeddings.token_type_embeddings.weight "
    "embeddings.LayerNorm.bias " + "".join(f"encoder.layer.{{b}}.{x}.weight " for x in (
        "attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense",
        "attention.output.LayerNorm", "intermediate.dense", "output.dense", "output.LayerNorm")),
}


def names():
    lines = []
    for arch in ARCHITECTURES:
        table = get_tensor_name_map(BY_NAME[arch], 13)
        for at, name in enumerate(PARAMETERS[arch].split() + ["model.layers.{b}.nothing.weight"]):
            name = name.replace("{b}", "0" if at % 2 else "12")
            lines.append(f"{arch} {name} {table.get_name(name, try_suffixes=('.weight', '.bias'))}")
    (OUT / "names.txt").write_text("\n".join(lines) + "\n")


def wrap(words, indent, width=118):
    lines, line = [], indent
    for word in words:
        if len(line) + len(word) + 1 > width:
            lines.append(line)
            line = indent
        line += word if line == indent else " " + word
    return lines + [line]


def table():
    """One entry for each tensor of ggml: its name with `=`, and Hugging Face's names, both in gguf-py's order."""
    wanted = {t for arch in ARCHITECTURES for t in MODEL_TENSORS[BY_NAME[arch]]}
    order, lines = [], []
    for mapping in (TensorNameMap.mappings_cfg, TensorNameMap.block_mappings_cfg):
        for tensor, keys in mapping.items():
            if tensor not in wanted:
                continue
            order.append(tensor)
            words = [TENSOR_NAMES[tensor] + "="] + list(dict.fromkeys(keys))
            lines += wrap([w.replace("{bid}", "#") for w in words], "        ")
    uses = []
    for arch in ARCHITECTURES:
        has = sorted(at for at, tensor in enumerate(order) if tensor in MODEL_TENSORS[BY_NAME[arch]])
        uses += wrap([arch + "="] + [str(at) for at in has], "        ")
    TABLE.write_text("\n".join([
        "// Made by Tests/Golden/gguf_files.py; not to be edited by hand.", "", "extension GGUFNames {",
        "    /// Each tensor's name, ending with `=`, and the names of its module in models of all kinds; `#` is the block.",
        '    static let tensorText = """', *lines, '        """', "",
        "    /// The tensors of each architecture, by their places in `tensorText`.",
        '    static let architectureText = """', *uses, '        """', "}", ""]))


def rows():
    """The old row for each new one: what llama.cpp's converters do, written with numpy."""
    lines = []
    for heads, size in [(4, 6), (2, 4), (1, 2), (3, 8)]:
        order = np.arange(heads * size).reshape(heads, 2, size // 2).swapaxes(1, 2).ravel()
        lines.append(f"halves {heads} 0 " + " ".join(map(str, order)))
    for heads, groups, size in [(4, 1, 2), (4, 2, 3), (3, 3, 2), (6, 2, 1)]:
        qkv = np.arange((heads + 2 * groups) * size).reshape(groups, heads // groups + 2, size)
        order = np.concatenate([qkv[:, :-2].ravel(), qkv[:, -2].ravel(), qkv[:, -1].ravel()])
        lines.append(f"fused {heads} {groups} " + " ".join(map(str, order)))
    (OUT / "rows.txt").write_text("\n".join(lines) + "\n")


def types():
    lines = [f"{int(kind)} {kind.name} {n} {size}" for kind, (n, size) in GGML_QUANT_SIZES.items()]
    (OUT / "types.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    OUT.mkdir(exist_ok=True)
    for make in (sample, adapter, names, rows, types, table):
        make()
