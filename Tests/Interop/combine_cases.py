"""Sums of adapters that PEFT made: which model, which adapters, with which weights."""

from collections.abc import Callable
from dataclasses import dataclass

import build
import cases
import edits
import models

LINEAR = cases.LINEAR
WIDE = models.Size(hidden=256, inter=384, layers=1, heads=4, kv=2, vocab=64)  # enough elements to count roundings in


@dataclass(frozen=True)
class Sum:
    """One sum; `lora` holds the LoraConfig arguments of each adapter, `stored` the dtype of each file."""

    name: str
    model: Callable
    lora: tuple
    weights: tuple = (1.0, 0.5)
    method: str = "stack"
    stored: tuple = ("f32", "f32", "f32")
    base: str = "f32"
    size: models.Size | None = None
    edit: Callable | None = None
    verifiable: bool = True  # whether adapter-verify and adapter-merge take what the sum gives


def _lora(*targets, **options):
    return {"target_modules": list(targets), "r": 4, "lora_alpha": 8} | options


def _sum(name, model, *lora, **options):
    return Sum(name, model, tuple(lora), **options)


def _conv(dims):
    return lambda size: models.ConvNet(size, dims)


def _token_rows(indices):
    return {"trainable_token_indices": indices}


BASIC = [
    _sum("two", models.llama, _lora("q_proj", "v_proj"), _lora("q_proj", "v_proj", r=2, lora_alpha=3)),
    _sum("one-scaled", models.llama, _lora("q_proj", "down_proj"), weights=(-0.75,)),
    _sum("three", models.llama, _lora("q_proj", "v_proj"), _lora("q_proj", "up_proj", r=3, use_rslora=True),
         _lora("v_proj", "down_proj", r=7, lora_alpha=0.75), weights=(1.0, -1.0, 0.3)),
    _sum("difference", models.llama, _lora("q_proj", "v_proj"), _lora("q_proj", "v_proj"), method="subtract",
         weights=(1.0, 1.0)),
    _sum("difference-weighted", models.llama, _lora("q_proj"), _lora("q_proj", "k_proj", r=2), _lora(*LINEAR, r=1),
         method="subtract", weights=(0.5, 1.0, 2.0)),
    _sum("same-scale", models.llama, _lora("q_proj", lora_alpha=16), _lora("q_proj", "o_proj", lora_alpha=4, r=1),
         weights=(1.0, -1.0)),
    _sum("patterns", models.llama,
         _lora(*LINEAR, rank_pattern={"q_proj": 2, "1.self_attn.v_proj": 6}, alpha_pattern={"q_proj": 32, "up_proj": 3.5}),
         _lora("q_proj", "v_proj", use_rslora=True, rank_pattern={"v_proj": 9}), weights=(0.3, -1.5)),
    _sum("one-module-and-all", models.llama, _lora("q_proj"), _lora(*LINEAR, r=2), weights=(0.5, 0.5)),
    _sum("all-linear", models.llama, {"target_modules": "all-linear", "r": 3, "lora_alpha": 5}, _lora("v_proj", r=5)),
    _sum("regex-and-list", models.llama, _lora("q_proj", "up_proj"),
         {"target_modules": r".*layers\.0\.(self_attn\.[qk]_proj|mlp\.down_proj)", "r": 2, "lora_alpha": 4}),
    _sum("two-regexes", models.llama, {"target_modules": r".*\.1\..*q_proj", "r": 2, "lora_alpha": 4},
         {"target_modules": r".*\.0\..*(v|up)_proj", "r": 3, "lora_alpha": 3}),
    _sum("some-layers", models.llama, _lora("q_proj", "v_proj", layers_to_transform=[1], layers_pattern="layers"),
         _lora("q_proj")),
    _sum("excluded", models.llama, _lora(*LINEAR, exclude_modules=["up_proj"]), _lora("up_proj")),
    _sum("excluded-layers", models.llama, _lora("q_proj", exclude_modules=r".*\.0\..*"), _lora("v_proj")),
    _sum("full-paths", models.llama, _lora("model.layers.0.self_attn.q_proj", "1.mlp.up_proj"), _lora("q_proj")),
    _sum("bfloat16-files", models.llama, _lora("q_proj", "v_proj"), _lora("q_proj", r=2), stored=("bf16", "bf16")),
    _sum("bfloat16-files-exact", models.llama, _lora("q_proj", "v_proj"), _lora("q_proj"), stored=("bf16", "bf16"),
         weights=(1.0, -1.0)),
    _sum("float16-files", models.llama, _lora("q_proj", "v_proj"), _lora("q_proj", lora_alpha=7), stored=("f16", "f16")),
    _sum("float64-files", models.llama, _lora("q_proj", "v_proj"), _lora("q_proj", r=3), stored=("f64", "f32")),
    _sum("weight-0", models.llama, _lora("q_proj", "v_proj"), _lora("q_proj", "up_proj", r=2), weights=(1.0, 0.0)),
    _sum("mixed-files", models.llama, _lora("q_proj", "v_proj"), _lora("q_proj", r=2), _lora("v_proj", r=2),
         stored=("f32", "bf16", "f16"), weights=(1.0, 1.0, -0.3)),
    _sum("raw-names", models.llama, _lora("q_proj", "v_proj"), _lora("q_proj"), edit=edits.default_infix),
    _sum("no-prefix", models.llama, _lora("q_proj", "v_proj"), _lora("q_proj"), edit=edits.no_prefix),
    _sum("wide", models.llama, _lora(*LINEAR, r=16), _lora("q_proj", "down_proj", r=8, use_rslora=True), size=WIDE,
         base="bf16", weights=(1.0, -0.5)),
    _sum("wide-bfloat16", models.llama, _lora(*LINEAR, r=8), _lora(*LINEAR, r=8, lora_alpha=9), size=WIDE, base="bf16",
         stored=("bf16", "bf16"), method="subtract", weights=(1.0, 0.3)),
]  # fmt: skip

OTHER = [
    _sum("embedding", models.llama, _lora("embed_tokens", "q_proj"), _lora("embed_tokens", "lm_head", r=2)),
    _sum("embedding-full-path", models.llama, _lora("model.embed_tokens", "q_proj"), _lora("v_proj")),
    _sum("gpt2", models.gpt2, _lora("c_attn", "c_proj", "c_fc", fan_in_fan_out=True),
         _lora("c_attn", r=2, fan_in_fan_out=True), weights=(0.5, -1.0)),
    _sum("gpt2-embedding", models.gpt2, _lora("wte", "c_fc", fan_in_fan_out=True), _lora("wpe", r=2, fan_in_fan_out=True)),
    _sum("conv1d", _conv(1), _lora("first", "second"), _lora("first", "third", r=2)),
    _sum("conv2d", _conv(2), _lora("first", "second", "third"), _lora("first", "head", r=2), weights=(1.0, -0.3)),
    _sum("conv3d", _conv(3), _lora("first", "third", r=2), _lora("first", "second", r=3)),
    _sum("multihead-attention", models.AttentionNet, _lora("attn", "lin"), _lora("attn", r=2)),
    _sum("lora-bias", models.qwen2, _lora("q_proj", "v_proj", lora_bias=True),
         _lora("q_proj", "k_proj", r=2, lora_alpha=5, lora_bias=True), weights=(0.5, -1.0)),
    _sum("lora-bias-and-none", models.qwen2, _lora("q_proj", lora_bias=True), _lora("q_proj", "v_proj", r=2)),
    _sum("lora-bias-and-unbiased", models.qwen2, _lora("q_proj", lora_bias=True), _lora("o_proj", r=2), verifiable=False),
    _sum("saved-head", models.llama_classifier, _lora("q_proj", modules_to_save=["score"], task_type="SEQ_CLS"),
         _lora("q_proj", "v_proj", r=2)),
    _sum("saved-norms", models.llama, _lora("q_proj", modules_to_save=["model.norm", "0.input_layernorm"]),
         _lora("v_proj", r=2), weights=(1.0, -1.0)),
    _sum("bias-all", models.qwen2, _lora("q_proj", bias="all"), _lora("v_proj", r=2)),
    _sum("bias-all-second", models.qwen2, _lora("q_proj", "k_proj"), _lora("v_proj", r=2, bias="all"), weights=(-0.5, 1.0)),
    _sum("bias-lora-only", models.gpt2, _lora("c_attn", bias="lora_only", fan_in_fan_out=True),
         _lora("c_fc", r=2, fan_in_fan_out=True)),
    _sum("token-rows", models.llama, _lora("q_proj", **_token_rows([3, 17, 5])), _lora("q_proj", r=2)),
    _sum("token-rows-of-both", models.llama, _lora("q_proj", **_token_rows({"embed_tokens": [1, 9], "lm_head": [22]})),
         _lora("v_proj", r=2)),
]  # fmt: skip

EXPERTS = [
    _sum("experts-both", models.mixtral, _lora("q_proj", r=2, target_parameters=["experts.gate_up_proj", "experts.down_proj"]),
         _lora("v_proj", r=3, target_parameters=["experts.down_proj", "experts.gate_up_proj"]), weights=(1.0, -0.5)),
    _sum("experts-one-and-both", models.qwen3_moe, _lora("q_proj", r=2, target_parameters=["experts.down_proj"]),
         _lora(r=1, target_parameters=["experts.gate_up_proj", "experts.down_proj"])),
    _sum("experts-transposed", models.gpt_oss, _lora("q_proj", r=2, target_parameters=["experts.gate_up_proj"]),
         _lora("q_proj", r=1, target_parameters=["experts.gate_up_proj"])),
    _sum("experts-different", models.gpt_oss, _lora(r=2, target_parameters=["experts.gate_up_proj"]),
         _lora(r=3, target_parameters=["experts.down_proj"])),
    _sum("experts-patterns", models.qwen3_moe,
         _lora("q_proj", r=2, target_parameters=["experts.gate_up_proj"], rank_pattern={"experts.gate_up_proj": 3},
               alpha_pattern={"1.mlp.experts.gate_up_proj": 5}),
         _lora("q_proj", r=2, target_parameters=["experts.gate_up_proj"])),
    _sum("experts-and-linear", models.mixtral, _lora("q_proj", "gate", r=2, target_parameters=["experts.down_proj"]),
         _lora("q_proj", "k_proj")),
    _sum("experts-by-modules", models.mixtral, _lora("w1", "w2", "w3", "q_proj", r=2), _lora("w2", "k_proj", r=3)),
]  # fmt: skip

ALL = BASIC + OTHER + EXPERTS


def adapter(model, settings, size, base, directory, seed, dtype="f32", stored="f32"):
    """An adapter of one LoraConfig for the base on disk, filled with random numbers, as PEFT saves it."""
    case = cases.Case("combine", "", model, lora=(settings,), adapter_dtype=stored)
    build.make_adapter(case, settings, size, base, directory, dtype, seed)
    return directory


def make(item, size, directory, seed):
    """The base and the adapters of one sum; returns their paths."""
    start = build.seed_of(item.name, seed)
    base = directory / "base"
    models.save(models.randomise(item.model(size), start), base, item.base)
    adapters = [
        adapter(item.model, settings, size, base, directory / f"adapter{i}", start + i + 1, item.base, item.stored[i])
        for i, settings in enumerate(item.lora)
    ]
    if item.edit:
        item.edit(base, adapters, size)
    return base, adapters


def sized(item, size):
    """The size to build the models of one sum in."""
    return item.size or size
