"""What diffusers itself makes of an adapter: load_lora_weights, fuse_lora."""

from pathlib import Path

import dialect_pipelines as pipelines
import diffusers
import numpy as np
from dialect_cases import array


def pipeline(kind, base):
    """A pipeline of the components on disk, in float32, without tokenizers and VAE."""
    parts = pipelines.load(base, kind)
    name = pipelines.INDEX[kind][0]
    scheduler = diffusers.DDIMScheduler() if kind in ("sd1", "sdxl") else diffusers.FlowMatchEulerDiscreteScheduler()
    empty = {"vae": None, "tokenizer": None, "scheduler": scheduler}
    if kind == "sd1":
        empty |= {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    if kind in ("sdxl", "flux"):
        empty |= {"tokenizer_2": None}
    if kind == "flux":
        empty |= {"text_encoder_2": None}
    if kind == "sd3":
        empty |= {"text_encoder_2": None, "tokenizer_2": None, "text_encoder_3": None, "tokenizer_3": None}
    return getattr(diffusers, name)(**empty, **parts)


def fused(kind, base, path, expected, tolerance=2e-6):
    """Fail unless diffusers loads the adapter and fuses it to these weights."""
    found = merged(kind, base, path)
    for name, value in expected.items():
        worst = np.abs(found[name] - value).max() / np.abs(value).max()
        if worst > tolerance:
            raise ValueError(f"diffusers fuses {name} {worst:.2g} apart")


def merged(kind, base, path):
    """All tensors after load_lora_weights and fuse_lora, by their names in the base."""
    pipe = pipeline(kind, base)
    pipe.load_lora_weights(str(Path(path).parent), weight_name=Path(path).name)
    folders = list(pipelines.INDEX[kind][1])
    fusible = [f for f in folders if f in pipe._lora_loadable_modules and _has_lora(getattr(pipe, f))]
    pipe.fuse_lora(components=fusible)
    found = {}
    for folder in folders:
        for name, value in getattr(pipe, folder).state_dict().items():
            if ".lora_" in name:
                continue
            name = name.replace(".base_layer.", ".")
            if pipelines.INDEX[kind][1][folder] == "CLIPTextModel" and not name.startswith("text_model."):
                name = "text_model." + name
            found[f"{folder}/{name}"] = array(value)
    return found


def _has_lora(module):
    return any("lora_" in n for n, _ in module.named_parameters())
