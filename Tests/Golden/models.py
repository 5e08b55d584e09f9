"""Tiny and small models with random weights, built from configs: nothing is downloaded."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import nn

TORCH_DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16, "f64": torch.float64}


@dataclass(frozen=True)
class Size:
    """How large to build a model."""

    hidden: int = 16
    inter: int = 20
    layers: int = 2
    heads: int = 2
    kv: int = 1
    vocab: int = 24
    experts: int = 3


TINY = Size()


def _decoder(size, **extra):
    return dict(
        hidden_size=size.hidden, intermediate_size=size.inter, num_hidden_layers=size.layers,
        num_attention_heads=size.heads, num_key_value_heads=size.kv, vocab_size=size.vocab,
        max_position_embeddings=64, bos_token_id=1, eos_token_id=2, pad_token_id=0, **extra,
    )  # fmt: skip


def _experts(size):
    return _decoder(size) | {"intermediate_size": size.inter // 2}


def llama(size, tied=False):
    """A Llama causal language model."""
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**_decoder(size, tie_word_embeddings=tied)))


def llama_classifier(size):
    """A Llama with a `score` head, which has no bias."""
    return transformers.LlamaForSequenceClassification(transformers.LlamaConfig(**_decoder(size), num_labels=3))


def qwen2(size):
    """Qwen2: q, k and v have biases, o has none."""
    return transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**_decoder(size, tie_word_embeddings=False)))


def neox(size):
    """GPT-NeoX: the head is `lm_head` in memory and `embed_out` on disk."""
    return transformers.GPTNeoXForCausalLM(
        transformers.GPTNeoXConfig(
            hidden_size=size.hidden, intermediate_size=size.inter, num_hidden_layers=size.layers,
            num_attention_heads=size.heads, vocab_size=size.vocab, max_position_embeddings=64,
            bos_token_id=1, eos_token_id=2, tie_word_embeddings=False,
        )  # fmt: skip
    )


def bert(size):
    """BERT for masked words: the tied head is `cls.predictions.decoder`, with a bias that is tied to another."""
    return transformers.BertForMaskedLM(
        transformers.BertConfig(
            hidden_size=size.hidden, intermediate_size=size.inter, num_hidden_layers=size.layers,
            num_attention_heads=size.heads, vocab_size=size.vocab, max_position_embeddings=64, type_vocab_size=2,
        )  # fmt: skip
    )


def vit(size):
    """ViT: transformers 5 renames its layers in memory."""
    return transformers.ViTForImageClassification(
        transformers.ViTConfig(
            hidden_size=size.hidden, intermediate_size=size.inter, num_hidden_layers=size.layers,
            num_attention_heads=size.heads, image_size=8, patch_size=4, num_labels=3,
        )  # fmt: skip
    )


def gpt2(size):
    """GPT-2: Conv1D layers (weights stored in x out) and tied embeddings."""
    config = transformers.GPT2Config(
        n_embd=size.hidden, n_layer=size.layers, n_head=size.heads, n_inner=size.inter, vocab_size=size.vocab,
        n_positions=16, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    return transformers.GPT2LMHeadModel(config)


def mixtral(size):
    """Mixtral: experts fused in memory, one tensor for each expert and matrix on disk."""
    return transformers.MixtralForCausalLM(
        transformers.MixtralConfig(**_experts(size), num_local_experts=size.experts, num_experts_per_tok=2)
    )


def qwen3_moe(size):
    """Qwen3-MoE: like Mixtral, with gate_proj/up_proj/down_proj on disk."""
    return transformers.Qwen3MoeForCausalLM(
        transformers.Qwen3MoeConfig(
            **_experts(size), head_dim=size.hidden // size.heads, num_experts=size.experts, num_experts_per_tok=2,
            moe_intermediate_size=size.inter // 2, tie_word_embeddings=False,
        )  # fmt: skip
    )


def gpt_oss(size):
    """gpt-oss: experts fused on disk too, each stored in x out (`is_transposed`), with biases."""
    extra = dict(num_local_experts=size.experts, num_experts_per_tok=2, head_dim=size.hidden // size.heads)
    rope = {"rope_type": "default", "rope_theta": 10000.0}
    return transformers.GptOssForCausalLM(
        transformers.GptOssConfig(**_experts(size), **extra, rope_parameters=rope, tie_word_embeddings=False)
    )


class ConvNet(nn.Module):
    """Convolutions in one, two or three dimensions; the second kernel is 1 wide."""

    input_kind = "conv"

    def __init__(self, size, dims=2):
        super().__init__()
        conv = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[dims]
        width = size.hidden // 2 if dims == 3 else size.hidden
        self.dims = dims
        self.first = conv(3, width, 3, padding=1)
        self.second = conv(width, width + 4, 1)
        self.third = conv(width + 4, 5, 3 if dims < 3 else (1, 2, 3), bias=False)
        self.head = nn.Linear(5, 4)

    def forward(self, x):
        x = torch.tanh(self.second(torch.tanh(self.first(x))))
        return self.head(self.third(x).flatten(2).mean(-1))


class AttentionNet(nn.Module):
    """nn.MultiheadAttention with its packed in_proj, then a linear layer."""

    input_kind = "sequence"

    def __init__(self, size):
        super().__init__()
        self.width = size.hidden
        self.attn = nn.MultiheadAttention(size.hidden, size.heads, batch_first=True)
        self.lin = nn.Linear(size.hidden, size.hidden + 4)

    def forward(self, x):
        return self.lin(self.attn(x, x, x, need_weights=False)[0])


def noise_for(model, seed, wanted=lambda name, parameter: True):
    """Each wanted parameter by its name with random numbers of its shape; those that share storage come once."""
    generator = torch.Generator().manual_seed(seed)
    seen = set()
    for name, parameter in sorted(model.named_parameters()):
        if parameter.data_ptr() in seen or not wanted(name, parameter):
            continue
        seen.add(parameter.data_ptr())
        yield name, parameter, torch.randn(parameter.shape, generator=generator)


def is_trained(name, parameter):
    """Whether the parameter belongs to the adapter."""
    return parameter.requires_grad or "lora_" in name


def randomise(model, seed):
    """Give every parameter random values of a usual scale, biases and norms too."""
    for name, parameter, noise in noise_for(model, seed):
        if parameter.ndim == 1:
            value = 0.1 * noise + (1.0 if "norm" in name or "ln_" in name else 0.0) * name.endswith("weight")
        else:
            fan_in = parameter.shape[-1] if "expert" in name else math.prod(parameter.shape[1:])
            value = noise / math.sqrt(fan_in)
        parameter.data.copy_(value)
    return model


def is_hub(model):
    """Whether this model is one of transformers'."""
    return isinstance(model, transformers.PreTrainedModel)


def save(model, directory, dtype, max_shard_size=None, fused=False):
    """Write a checkpoint in `dtype` with the library that real checkpoints come from."""
    model = model.to(TORCH_DTYPES[dtype])
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    if is_hub(model):
        options = {"max_shard_size": max_shard_size} if max_shard_size else {}
        if fused:
            options["save_original_format"] = False
        model.save_pretrained(directory, **options)
        (directory / "generation_config.json").unlink(missing_ok=True)
    else:
        tensors = {k: v.contiguous() for k, v in model.state_dict().items()}
        save_file(tensors, str(directory / "model.safetensors"), metadata={"format": "pt"})
        config = {"architectures": [type(model).__name__], "model_type": "custom"}
        (directory / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def load(example, directory, dtype):
    """Load a checkpoint that `save` wrote (or that a tool made from it) as the class of `example`."""
    if not is_hub(example):
        model = example.to(TORCH_DTYPES[dtype])
        model.load_state_dict(load_file(str(Path(directory) / "model.safetensors")))
        return model.eval()
    options = {"experts_implementation": "eager"} if hasattr(example.config, "num_experts_per_tok") else {}
    return (
        type(example)
        .from_pretrained(str(directory), dtype=TORCH_DTYPES[dtype], attn_implementation="eager", **options)
        .eval()
    )


def example_inputs(model, size, seed=1):
    """Fixed inputs for `forward`, by model kind."""
    generator = torch.Generator().manual_seed(seed)
    if is_hub(model) and model.main_input_name == "pixel_values":
        return {"pixel_values": torch.randn((2, 3, 8, 8), generator=generator)}
    if is_hub(model):
        return {"input_ids": torch.randint(3, size.vocab, (2, 8), generator=generator)}
    if model.input_kind == "conv":
        return {"x": torch.randn((2, 3) + (6,) * model.dims, generator=generator)}
    return {"x": torch.randn((2, 5, model.width), generator=generator)}


def outputs(model, inputs):
    """Logits (or the plain output) in float32."""
    dtype = next(p.dtype for p in model.parameters() if p.is_floating_point())
    inputs = {k: v.to(dtype) if v.is_floating_point() else v for k, v in inputs.items()}
    with torch.no_grad():
        result = model(**inputs)
    return (result if torch.is_tensor(result) else result.logits).float().contiguous()
