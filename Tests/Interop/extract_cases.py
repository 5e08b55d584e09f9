"""Checkpoints and what became of them in a fine-tuning, for adapter-extract."""

from collections.abc import Callable
from dataclasses import dataclass

import build
import models
import reference
import torch
import transformers

reference.HEADS["t5"] = ("lm_head.weight", {}, "shared.weight")


class T5ForConditionalGeneration(transformers.T5ForConditionalGeneration):
    """T5 that takes its input, turned round, for the decoder's, so that it is called as the others are."""

    def forward(self, input_ids=None, decoder_input_ids=None, **options):
        given = input_ids.flip(1) if decoder_input_ids is None else decoder_input_ids
        return super().forward(input_ids=input_ids, decoder_input_ids=given, **options)


def t5(size):
    """T5: embeddings of encoder, decoder and head are one tensor, and relative positions are embeddings too."""
    config = transformers.T5Config(
        d_model=size.hidden, d_kv=size.hidden // size.heads, d_ff=size.inter, num_layers=size.layers,
        num_decoder_layers=size.layers, num_heads=size.heads, vocab_size=size.vocab, decoder_start_token_id=1,
    )  # fmt: skip
    return T5ForConditionalGeneration(config)


class LlamaModel(transformers.LlamaModel):
    """A Llama without head: its `norm` has a name that other names end with, which is how PEFT finds saved modules."""

    def forward(self, input_ids=None, **options):
        return super().forward(input_ids=input_ids, **options).last_hidden_state


def headless(size):
    """The decoder alone."""
    return LlamaModel(models.llama(size).config)


@dataclass(frozen=True)
class Tuning:
    """One fine-tuning; `change` edits the model in place, `exact` says that the options lose nothing."""

    name: str
    model: Callable
    change: Callable
    options: tuple = ("--rank", 4)
    exact: bool = True
    dtype: str = "f32"
    whole: tuple = ()  # parts of names of tensors that must be saved whole
    shard: str | None = None
    fused: bool = False
    grown: bool = False  # whether the vocabulary grew, so that PEFT's model must be prepared for the adapter


def weights(model, *words):
    """The weights of layers whose name contains one of the words, and whether each is of fused experts."""
    kinds = (torch.nn.Linear, torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d, transformers.pytorch_utils.Conv1D)
    for path, module in sorted(model.named_modules()):
        for name, parameter in sorted(module.named_parameters(path, recurse=False)):
            layer, fused = isinstance(module, kinds) and name.endswith(".weight"), parameter.ndim == 3 and ".experts." in name
            if (layer or fused) and any(w in name for w in words or [""]):
                yield parameter, fused


def low_rank(*words, rank=4):
    """A merged LoRA."""

    def change(model, generator):
        for parameter, fused in weights(model, *words):
            rows = parameter.shape[:-1] if fused else parameter.shape[:1]
            flat = parameter.data.reshape(*rows, -1)
            b = torch.randn(*flat.shape[:-1], rank, generator=generator)
            a = torch.randn(*flat.shape[:-2], rank, flat.shape[-1], generator=generator)
            parameter.data += (b @ a * (0.15 / (rank * flat.shape[-1]) ** 0.5)).reshape(parameter.shape)

    return change


def noise(*words, spread=0.02):
    """A full fine-tuning: every element moves."""

    def change(model, generator):
        for parameter, _ in weights(model, *words):
            parameter.data += spread * torch.randn(parameter.shape, generator=generator)

    return change


def others(*words):
    """Norms, biases, embeddings: parameters by their name."""

    def change(model, generator):
        for name, parameter in sorted(model.named_parameters()):
            if any(w in "." + name for w in words):
                parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)

    return change


def grow(model, generator):
    """Three more words; the old rows are kept."""
    model.resize_token_embeddings(model.config.vocab_size + 3, mean_resizing=False)


def both(*changes):
    """One after the other."""

    def change(model, generator):
        for part in changes:
            part(model, generator)

    return change


def _tied(size):
    return models.llama(size, tied=True)


def _conv(dims):
    return lambda size: models.ConvNet(size, dims)


FULL = ("--rank", 4096)
PROJECTIONS = low_rank("_proj")

ALL = [
    Tuning("merged-lora", models.llama, PROJECTIONS),
    Tuning("full", models.llama, noise("_proj"), ("--rank", 8), exact=False),
    Tuning("full-all-ranks", models.llama, noise("_proj"), FULL),
    Tuning("full-bfloat16", models.llama, noise("_proj"), ("--rank", 6), exact=False, dtype="bf16"),
    Tuning("full-float16", models.llama, noise("_proj"), ("--rank", 6), exact=False, dtype="f16"),
    Tuning("energy", models.llama, both(noise("_proj", spread=0.003), PROJECTIONS), ("--energy", 0.9), exact=False),
    Tuning("per-module", models.llama, both(noise("_proj", spread=0.003), low_rank("q_proj", "up_proj", rank=6)),
           ("--energy", 0.8, "--per-module"), exact=False),
    Tuning("merged-ranks", models.llama, both(low_rank("q_proj", rank=2), low_rank("up_proj", rank=7)),
           ("--energy", 0.999999999, "--per-module")),
    Tuning("some-layers", models.llama, low_rank("1.self_attn.q_proj", "0.mlp.down_proj")),
    Tuning("sharded", models.llama, PROJECTIONS, dtype="bf16", shard="40KB", exact=False),
    Tuning("norms", models.llama, both(low_rank("q_proj"), others("norm")), whole=("norm",)),
    Tuning("one-norm", models.llama, both(low_rank("v_proj"), others("model.norm", "1.input_layernorm")),
           whole=("model.norm", "1.input_layernorm")),
    Tuning("only-norms", models.llama, others("norm"), whole=("norm",)),
    Tuning("headless", headless, both(low_rank("q_proj"), others(".norm.")), whole=("norm.",)),
    Tuning("half-a-norm", models.gpt2, both(low_rank("c_fc"), others("ln_f.bias")), whole=("ln_f.bias",)),
    Tuning("grown", models.llama, both(low_rank("q_proj"), grow), whole=("embed_tokens", "lm_head"), grown=True),
    Tuning("biases", models.qwen2, both(low_rank("q_proj", "o_proj"), others(".bias")), whole=(".bias",)),
    Tuning("one-bias", models.qwen2, both(low_rank("q_proj"), others("1.self_attn.k_proj.bias")), whole=("k_proj.bias",)),
    Tuning("bias-of-a-target", models.qwen2, both(low_rank("q_proj"), others("q_proj.bias")), whole=("q_proj.bias",)),
    Tuning("norms-and-biases", models.gpt2, both(low_rank("c_attn"), others(".bias", "ln_")), whole=(".bias", "ln_")),
    Tuning("embedding", models.llama, both(low_rank("q_proj"), others("embed_tokens")), whole=("embed_tokens",)),
    Tuning("head", models.llama, low_rank("q_proj", "lm_head")),
    Tuning("embedding-tied", _tied, both(low_rank("q_proj"), others("embed_tokens")), whole=("embed_tokens",)),
    Tuning("gpt2", models.gpt2, low_rank("c_attn", "c_proj", "c_fc")),
    Tuning("gpt2-full", models.gpt2, noise("c_attn", "c_fc"), ("--rank", 6), exact=False),
    Tuning("gpt2-embeddings", models.gpt2, both(low_rank("c_fc"), others("wte", "wpe")), whole=("wte", "wpe")),
    Tuning("bert", models.bert, both(low_rank("query", "dense"), others("LayerNorm")), whole=("LayerNorm",)),
    Tuning("bert-embeddings", models.bert, both(low_rank("query"), others("embeddings.")), whole=("_embeddings",)),
    Tuning("bert-head", models.bert, both(low_rank("query"), others("predictions.bias")), whole=("predictions",)),
    Tuning("t5", t5, both(low_rank("SelfAttention", "wi"), others("relative_attention_bias", "layer_norm")),
           whole=("relative_attention_bias", "layer_norm")),
    Tuning("t5-embedding", t5, both(low_rank("SelfAttention.q"), others("shared")), whole=("shared",)),
    Tuning("vit", models.vit, both(low_rank("q_proj", "fc1"), others("classifier", "norm")), whole=("norm",)),
    Tuning("neox", models.neox, low_rank("dense", "lm_head")),
    Tuning("classifier", models.llama_classifier, both(low_rank("v_proj"), others("score")), ("--rank", 4)),
    Tuning("conv1d", _conv(1), low_rank(), ("--rank", 16)),
    Tuning("conv2d", _conv(2), low_rank(), ("--rank", 16)),
    Tuning("conv2d-full", _conv(2), noise("first", "second"), ("--rank", 5), exact=False),
    Tuning("conv3d", _conv(3), low_rank(), ("--rank", 16)),
    Tuning("mixtral", models.mixtral, low_rank("experts", "q_proj")),
    Tuning("mixtral-full", models.mixtral, noise("experts"), ("--rank", 3), exact=False),
    Tuning("mixtral-router", models.mixtral, low_rank("gate.weight", "v_proj")),
    Tuning("qwen3-moe", models.qwen3_moe, low_rank("experts.down_proj", "q_proj")),
    Tuning("qwen3-moe-fused", models.qwen3_moe, low_rank("experts"), fused=True),
    Tuning("gpt-oss", models.gpt_oss, low_rank("experts", "q_proj")),
]  # fmt: skip


def make(item, size, directory, seed):
    """Base and tuned checkpoint of one fine-tuning; returns their paths."""
    start = build.seed_of(item.name, seed)
    base, tuned = directory / "base", directory / "tuned"
    model = models.randomise(item.model(size), start)
    models.save(model, base, item.dtype, item.shard, item.fused)
    model = models.load(item.model(size), base, "f32")
    with torch.no_grad():
        item.change(model, torch.Generator().manual_seed(start + 1))
    # Other files than the base's, as a fine-tuning has them.
    models.save(model, tuned, item.dtype, "90KB" if item.shard else None, item.fused)
    return base, tuned
