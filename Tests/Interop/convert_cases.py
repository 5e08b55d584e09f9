"""Random adapters that PEFT writes, for language models and for the parts of a pipeline."""

import random

import build
import models
import peft
import torch
from dialect_models import MODELS, load_model
from peft import LoraConfig, get_peft_model

ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
LINEAR = [*ATTENTION, "gate_proj", "up_proj", "down_proj"]
UNET = ["to_q", "to_k", "to_v", "to_out.0", "proj_in", "ff.net.0.proj", "conv1", "conv_shortcut"]
TEXT = ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"]
FEW = r"(down_blocks\.0|mid_block|down_blocks\.1\.resnets)\..*\.(%s)"  # of a UNet: what is compared is to be small
SORTS = ("plain", "patterns", "stabilised", "dora", "bias", "embedding")


def scales(choice, names, sort):
    """Rank and alpha, of all and of some."""
    found = {"r": choice.randrange(2, 5), "lora_alpha": choice.choice([1, 2, 3, 4, 8, 16])}
    found["use_rslora"] = sort == "stabilised" or (sort != "plain" and choice.random() < 0.3)
    if sort in ("patterns", "dora") or (sort != "plain" and choice.random() < 0.3):
        found["rank_pattern"] = {choice.choice(names): choice.randrange(1, 7)}
        found["alpha_pattern"] = {choice.choice(names): choice.randrange(1, 20)}
    return found


def language_settings(sort, choice):
    """The LoraConfig of one adapter; the biases of B are for q, k and v, as Qwen2 has a place for them."""
    names = ["q_proj", "k_proj", "v_proj"] if sort == "bias" else choice.sample(LINEAR, choice.randrange(2, 7))
    found = scales(choice, names, sort) | {"target_modules": list(names), "task_type": "CAUSAL_LM"}
    if sort == "dora":
        found["use_dora"] = True
    elif sort == "bias":
        found["lora_bias"] = True
    elif sort == "embedding":
        found["target_modules"] += choice.choice([["embed_tokens"], ["lm_head"], ["embed_tokens", "lm_head"]])
    if sort != "embedding" and choice.random() < 0.3:
        found["layers_to_transform"] = [0]
    return found


def language_adapter(kind, settings, base, directory, dtype, seed):
    """Wrap, fill and save."""
    torch.manual_seed(seed)
    wrapped = get_peft_model(load_model(kind, base, "f32"), LoraConfig(**settings))
    build.fill(wrapped, seed, dtype, 0.3)
    wrapped.save_pretrained(str(directory))
    return directory


def component_settings(name, sort, choice):
    """The LoraConfig for a UNet or a text encoder."""
    names = choice.sample(UNET if name == "unet" else TEXT, 4)
    if sort == "dora":
        names = [n for n in names if "conv" not in n]
    found = scales(choice, names, sort) | {"target_modules": names}
    if name == "unet":
        found["target_modules"] = FEW % "|".join(n.replace(".", r"\.") for n in names)
    if sort == "dora":
        found["use_dora"] = True
    return found


def component_adapter(module, settings, directory, dtype, seed):
    """Wrap one component as PEFT does by itself, fill and save."""
    torch.manual_seed(seed)
    wrapped = peft.get_peft_model(module, LoraConfig(**settings))
    build.fill(wrapped, seed, dtype, 0.3)
    wrapped.save_pretrained(str(directory))
    return directory


def language_base(sort, choice):
    """Which model to make: a Llama with fewer heads for k and v than for q, or a Qwen2, which has biases."""
    kind = "qwen2" if sort == "bias" else choice.choice(["llama", "llama", "qwen2"])
    assert kind in MODELS
    hidden = choice.choice([16, 32])
    return kind, models.Size(hidden, 8 * choice.randrange(3, 8), choice.choice([1, 2]), 4, 2, choice.randrange(24, 60))


def generator(seed, label):
    """A generator of random numbers for one case."""
    return random.Random(f"{seed}:{label}")
