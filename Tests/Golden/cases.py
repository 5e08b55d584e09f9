"""The table of merge cases: which model, which LoRA config, which dtypes, and what is done to the files by hand."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import edits
import models

LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
EMBEDDINGS = ["embed_tokens", "lm_head"]


@dataclass(frozen=True)
class Case:
    """One merge: `lora` holds the LoraConfig arguments of each adapter."""

    name: str
    about: str
    model: Callable
    lora: tuple
    dtypes: tuple = ("bf16",)
    adapter_dtype: str = "f32"
    weights: tuple = (1.0,)
    shard: str | None = None
    fused: bool = False
    check: str = "merge"  # how PEFT is used: its merged weights, or the logits of the unmerged model
    prepare: Callable | None = None  # done to the loaded base before PEFT wraps it
    edit: Callable | None = None  # done to the files after saving; returns new names of base tensors
    note: str | None = None
    ratio: float = 0.15  # size of the delta relative to the weight


def _case(name, about, model, dtypes="bf16", **options):
    settings = {k: options.pop(k) for k in list(options) if k not in Case.__dataclass_fields__}
    lora = options.pop("lora", None) or (settings,)
    for config in lora:
        config.setdefault("r", 4)
        config.setdefault("lora_alpha", 8)
    return Case(name, about, model, lora=tuple(lora), dtypes=tuple(dtypes.split()), **options)


def _tied(size):
    return models.llama(size, tied=True)


def _conv(dims):
    return lambda size: models.ConvNet(size, dims)


def _grow(model, size):
    model.resize_token_embeddings(size.vocab + 3, mean_resizing=False)


BASIC = [
    _case("linear-qv", "q_proj and v_proj of a Llama", models.llama, "f32 bf16 f16 f64",
          target_modules=["q_proj", "v_proj"]),
    _case("linear-qv-bf16-adapter", "the adapter itself stored in bfloat16", models.llama, "bf16",
          target_modules=["q_proj", "v_proj"], adapter_dtype="bf16"),
    _case("linear-qv-f16-adapter", "the adapter itself stored in float16", models.llama, "bf16",
          target_modules=["q_proj", "v_proj"], adapter_dtype="f16"),
    _case("all-linear-sharded", "every linear layer, base in several shards with an index", models.llama, "f32 bf16",
          target_modules="all-linear", shard="4KB"),
    _case("rank-1", "rank 1, alpha a fraction", models.llama, "f32", target_modules=["o_proj"], r=1, lora_alpha=0.75),
    _case("gpt2", "Conv1D: weights stored in x out", models.gpt2, "f32 bf16",
          target_modules=["c_attn", "c_proj", "c_fc"], fan_in_fan_out=True),
    _case("gpt2-no-prefix", "base keys lack the `transformer.` of the module paths, as in the original GPT-2 files;"
          " attention masks stored as tensors", models.gpt2, "f32", target_modules=["c_attn", "c_proj"],
          fan_in_fan_out=True, edit=edits.strip_transformer),
    _case("embedding", "LoRA on an untied input embedding and q_proj", models.llama, "bf16",
          target_modules=["embed_tokens", "q_proj"]),
    _case("embedding-and-head", "LoRA on untied input embedding and output head", models.llama, "bf16",
          target_modules=EMBEDDINGS),
    _case("conv1d", "Conv1d, kernels 3 and 1", _conv(1), "f32 bf16", target_modules=["first", "second", "third"]),
    _case("conv2d", "Conv2d, kernels 3x3 and 1x1", _conv(2), "f32 bf16", target_modules=["first", "second", "third"]),
    _case("conv3d", "Conv3d, kernels 3x3x3, 1x1x1 and 1x2x3", _conv(3), "f32", r=2,
          target_modules=["first", "second", "third"], check="logits",
          note="PEFT 0.21.2 cannot merge Conv3d with a kernel of 1x1x1 (RuntimeError); its forward pass is right"),
    _case("multihead-attention", "nn.MultiheadAttention: packed in_proj and out_proj", models.AttentionNet,
          "f32 bf16", target_modules=["attn", "lin"],
          note="PEFT 0.21.2 adds the delta of out_proj twice, in its forward pass as in its merge; the expected"
          " weights are of that function: out_proj + 2 * delta"),
]  # fmt: skip

VARIANTS = [
    _case("dora-linear", "DoRA on linear layers", models.llama, "f32 bf16",
          target_modules=["q_proj", "v_proj", "down_proj"], use_dora=True),
    _case("dora-conv1d", "DoRA on GPT-2 Conv1D layers", models.gpt2, "f32",
          target_modules=["c_attn", "c_fc"], use_dora=True, fan_in_fan_out=True),
    _case("dora-embedding", "DoRA on the input embedding", models.llama, "f32", target_modules=["embed_tokens"],
          use_dora=True),
    _case("dora-conv2d", "DoRA on Conv2d", _conv(2), "f32 bf16", target_modules=["first", "second", "third"],
          use_dora=True),
    _case("rslora", "alpha / sqrt(r)", models.llama, "bf16", target_modules=["q_proj", "up_proj"],
          use_rslora=True),
    _case("patterns-plain", "rank_pattern and alpha_pattern by plain names, one with a dot", models.llama, "bf16",
          target_modules=LINEAR, rank_pattern={"q_proj": 2, "1.self_attn.v_proj": 6},
          alpha_pattern={"q_proj": 32, "0.mlp.up_proj": 3.5}),
    _case("patterns-regex", "anchored patterns, alternation and wildcards", models.llama, "bf16",
          target_modules=["q_proj", "v_proj", "o_proj", "down_proj"],
          rank_pattern={"^model.layers.0.self_attn.q_proj": 2, "v_proj|o_proj": 3},
          alpha_pattern={r".*\.1\..*": 20, "(q|v)_proj": 12}),
    _case("patterns-overlap", "several patterns match: the first in the file wins", models.llama, "bf16",
          target_modules=["q_proj", "v_proj"], rank_pattern={"1.self_attn.q_proj": 2, "q_proj": 6},
          alpha_pattern={".*proj": 16, "v_proj": 2}),
    _case("rank-pattern-rslora", "rank_pattern changes the scale of rsLoRA", models.llama, "bf16",
          target_modules=["q_proj", "v_proj"], use_rslora=True, rank_pattern={"v_proj": 9}),
    _case("targets-regex", "target_modules is one regular expression", models.llama, "bf16",
          target_modules=r".*layers\.(0|1)\.(self_attn\.[qk]_proj|mlp\.down_proj)"),
    _case("layers-excluded", "layers_to_transform and exclude_modules", models.llama, "bf16",
          target_modules=["q_proj", "v_proj", "up_proj"], layers_to_transform=[1], layers_pattern="layers",
          exclude_modules=["up_proj"]),
    _case("bias-all", "bias='all': every bias of the model is replaced", models.qwen2, "bf16",
          target_modules=["q_proj", "o_proj"], bias="all"),
    _case("bias-lora-only", "bias='lora_only' on GPT-2", models.gpt2, "f32", target_modules=["c_attn"],
          bias="lora_only", fan_in_fan_out=True),
    _case("lora-bias", "lora_bias: s * lora_B.bias is added to the bias", models.qwen2, "bf16",
          target_modules=["q_proj", "v_proj"], lora_bias=True),
    _case("two-adapters", "weights 0.5 and -1.25, the second rsLoRA; they overlap on q_proj", models.llama,
          "f32 bf16", weights=(0.5, -1.25),
          lora=[dict(target_modules=["q_proj", "v_proj"]),
                dict(target_modules=["q_proj", "down_proj"], r=2, use_rslora=True)]),
    _case("default-infix", "keys of a raw state dict: `lora_A.default.weight`", models.llama, "bf16",
          target_modules=["q_proj", "v_proj"], edit=edits.default_infix),
    _case("no-prefix", "adapter keys without `base_model.model.`", models.llama, "f32",
          target_modules=["q_proj", "v_proj"], edit=edits.no_prefix),
    _case("renamed-adapter", "adapter from a vision-language class: `model.language_model.layers`, base `model.layers`",
          models.llama, "bf16", target_modules=["q_proj", "down_proj"], edit=edits.rename_adapter),
    _case("renamed-base", "the reverse: base `model.language_model.layers` beside a vision tower", models.llama, "bf16",
          target_modules=["q_proj", "down_proj"], edit=edits.rename_base),
]  # fmt: skip

REPLACED = [
    _case("classifier", "modules_to_save: the score head, which the base has", models.llama_classifier, "f32",
          target_modules=["q_proj"], task_type="SEQ_CLS", modules_to_save=["score"]),
    _case("classifier-new-head", "modules_to_save: the base on disk is a causal model without score",
          models.llama_classifier, "bf16", target_modules=["q_proj"], task_type="SEQ_CLS", modules_to_save=["score"],
          edit=edits.drop_score),
    _case("neox-head", "GPT-NeoX: lm_head in memory is embed_out on disk", models.neox, "bf16",
          target_modules=["lm_head", "dense"]),
    _case("vit", "ViT: layers that transformers 5 renames in memory, and a new head", models.vit, "f32",
          target_modules=["q_proj", "v_proj", "fc1", "fc2"], modules_to_save=["classifier"]),
    _case("saved-head", "modules_to_save: an untied lm_head", models.llama, "bf16", target_modules=["v_proj"],
          modules_to_save=["lm_head"]),
    _case("resized-vocabulary", "three tokens added: both embeddings are saved whole with the adapter", models.llama,
          "bf16", target_modules=["q_proj"], prepare=_grow),
    _case("resized-lora", "three tokens added, and LoRA on both embeddings", models.llama, "bf16",
          target_modules=EMBEDDINGS, prepare=_grow),
    _case("tokens-list", "trainable_token_indices as a list", models.llama, "bf16", target_modules=["q_proj"],
          trainable_token_indices=[3, 17, 5]),
    _case("tokens-dict", "trainable_token_indices as a table, for both embeddings", models.llama, "bf16",
          target_modules=["q_proj"], trainable_token_indices={"embed_tokens": [1, 9], "lm_head": [22]}),
]  # fmt: skip

EXPERTS = [
    _case("mixtral-modules", "target_modules w1, w2, w3 and the router, which PEFT makes target_parameters of",
          models.mixtral, "bf16", r=2, target_modules=["w1", "w2", "w3", "gate", "q_proj"], check="logits",
          note="PEFT's own merge of the router's parameter needs no comparison; its forward pass is compared"),
    _case("mixtral-both", "target_parameters: both matrices; on disk one tensor for each expert", models.mixtral,
          "f32 bf16", r=2, target_modules=["q_proj"],
          target_parameters=["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]),
    _case("qwen3-moe-one", "target_parameters: one matrix; on disk one tensor for each expert", models.qwen3_moe,
          "bf16", r=2, target_modules=["v_proj"], target_parameters=["experts.down_proj"]),
    _case("qwen3-moe-fused", "target_parameters: both, experts fused on disk (E, out, in)", models.qwen3_moe,
          "bf16", r=2, target_modules=[], target_parameters=["experts.gate_up_proj", "experts.down_proj"],
          fused=True),
    _case("qwen3-moe-fused-one", "target_parameters: gate_up only, with patterns, fused on disk", models.qwen3_moe,
          "bf16", r=2, target_modules=["q_proj"], target_parameters=["experts.gate_up_proj"], fused=True,
          rank_pattern={"experts.gate_up_proj": 3}, alpha_pattern={"1.mlp.experts.gate_up_proj": 5}),
    _case("gpt-oss-both", "target_parameters: both, experts stored (E, in, out)", models.gpt_oss, "f32 bf16", r=2,
          target_modules=["q_proj"], target_parameters=["experts.down_proj", "experts.gate_up_proj"]),
    _case("gpt-oss-one", "target_parameters: down_proj only, (E, in, out)", models.gpt_oss, "bf16", r=2,
          target_modules=[], target_parameters=["experts.down_proj"]),
]  # fmt: skip

TIED = [
    _case("tied-embedding", "LoRA on embed_tokens of a tied model: the tie must be broken", _tied, "bf16",
          target_modules=["embed_tokens"], check="logits"),
    _case("tied-head", "LoRA on lm_head of a tied model: the tie must be broken", _tied, "f32 bf16",
          target_modules=["lm_head"], check="logits"),
    _case("tied-both-same", "both with ensure_weight_tying: the delta counts once, the tie stays", _tied, "f32 bf16",
          target_modules=EMBEDDINGS, ensure_weight_tying=True, check="logits"),
    _case("tied-both-different", "both, with different deltas", _tied, "f32 bf16", target_modules=EMBEDDINGS,
          check="logits"),
    _case("tied-saved-embedding", "modules_to_save=[embed_tokens] on a tied model", _tied, "bf16",
          target_modules=["q_proj"], modules_to_save=["embed_tokens"], check="logits"),
    _case("tied-saved-same", "modules_to_save=[embed_tokens] with ensure_weight_tying", _tied, "f32",
          target_modules=["q_proj"], modules_to_save=["embed_tokens"], ensure_weight_tying=True, check="logits"),
    _case("tied-saved-different", "modules_to_save=[embed_tokens, lm_head] on a tied model", _tied, "bf16",
          target_modules=["q_proj"], modules_to_save=EMBEDDINGS, check="logits"),
    _case("tied-tokens", "trainable tokens on a tied model: rows of the shared matrix", _tied, "f32 bf16",
          target_modules=["q_proj"], trainable_token_indices=[2, 11], check="logits"),
    _case("tied-tokens-head", "trainable tokens of the head only: the tie must be broken", _tied, "bf16",
          target_modules=["q_proj"], trainable_token_indices={"lm_head": [3, 5]}, check="logits"),
    _case("tied-tokens-apart", "other trainable tokens for the head than for the embedding", _tied, "f32",
          target_modules=["q_proj"], trainable_token_indices={"embed_tokens": [1, 9], "lm_head": [22]}, check="logits"),
    _case("tied-tokens-and-head", "trainable tokens, and LoRA on the tied head: rows first, then the delta", _tied, "f32",
          target_modules=["lm_head"], trainable_token_indices=[2, 7], check="logits"),
    _case("tied-resized-embedding", "three tokens added, LoRA on the embedding: the head has the new rows too", _tied,
          "bf16", target_modules=["embed_tokens"], prepare=_grow, check="logits"),
    _case("tied-resized-head", "three tokens added, LoRA on the head", _tied, "f32", target_modules=["lm_head"],
          prepare=_grow, check="logits"),
    _case("tied-resized-tokens", "three tokens added, and only they are trained", _tied, "bf16",
          target_modules=["q_proj"], trainable_token_indices=[24, 25, 26], prepare=_grow, check="logits"),
    _case("tied-resized-saved", "three tokens added, and the embedding in modules_to_save", _tied, "f32",
          target_modules=["q_proj"], modules_to_save=["embed_tokens"], prepare=_grow, check="logits"),
    _case("bert-tied-embedding", "BERT's embedding: its head and the bias of that are stored then", models.bert, "f32",
          target_modules=["word_embeddings", "query"], check="logits"),
    _case("tied-resized", "three tokens added to a tied model", _tied, "bf16", target_modules=["q_proj"],
          prepare=_grow, check="logits"),
]  # fmt: skip

TIED = [replace(case, note="PEFT's own merge of tied weights adds every delta to the shared storage") for case in TIED]

ALL = BASIC + VARIANTS + REPLACED + EXPERTS + TIED
