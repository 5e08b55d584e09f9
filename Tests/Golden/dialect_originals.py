"""Original layouts: how Stability's and Black Forest Labs' checkpoints name what diffusers names otherwise."""

from pathlib import Path

import dialect_pipelines as pipelines
import numpy as np
import tensorfile
from dialect_cases import save_tensors

RESNET = {"norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
          "conv2": "out_layers.3", "conv_shortcut": "skip_connection"}  # fmt: skip
OUTSIDE = {"conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2",
           "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
           "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2"}  # fmt: skip
RESNETS_DOWN, RESNETS_UP = 2, 3  # in each block of SDXL


def _resnet(rest):
    head, _, tail = rest.partition(".")
    return RESNET[head] + ("." + tail if tail else "")


def unet_name(name):
    """The name in the original UNet of SDXL of a module or tensor that diffusers names `name`."""
    for ours, theirs in OUTSIDE.items():
        if name == ours or name.startswith(ours + "."):
            return theirs + name.removeprefix(ours)
    where, *parts = name.split(".")
    if where == "mid_block":
        kind, index, rest = parts[0], int(parts[1]), ".".join(parts[2:])
        return f"middle_block.1.{rest}" if kind == "attentions" else f"middle_block.{2 * index}.{_resnet(rest)}"
    block, kind, index, rest = int(parts[0]), parts[1], int(parts[2]), ".".join(parts[3:])
    if where == "down_blocks":
        if kind == "downsamplers":
            return f"input_blocks.{(RESNETS_DOWN + 1) * (block + 1)}.0.{rest.replace('conv', 'op', 1)}"
        head = f"input_blocks.{1 + (RESNETS_DOWN + 1) * block + index}"
    else:
        if kind == "upsamplers":
            inner = 2 if block < 2 else 1
            return f"output_blocks.{RESNETS_UP * block + RESNETS_UP - 1}.{inner}.{rest}"
        head = f"output_blocks.{RESNETS_UP * block + index}"
    return f"{head}.0.{_resnet(rest)}" if kind == "resnets" else f"{head}.1.{rest}"


DOUBLE = {
    "{side}_mod.lin": ["norm1{c}.linear"],
    "{side}_mlp.0": ["ff{c}.net.0.proj"],
    "{side}_mlp.2": ["ff{c}.net.2"],
}
ATTENTION = {
    "img": {"qkv": ["attn.to_q", "attn.to_k", "attn.to_v"], "proj": ["attn.to_out.0"],
            "norm.query_norm": ["attn.norm_q"], "norm.key_norm": ["attn.norm_k"]},
    "txt": {"qkv": ["attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"], "proj": ["attn.to_add_out"],
            "norm.query_norm": ["attn.norm_added_q"], "norm.key_norm": ["attn.norm_added_k"]},
}  # fmt: skip
SINGLE = {
    "linear1": ["attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"], "linear2": ["proj_out"],
    "modulation.lin": ["norm.linear"], "norm.query_norm": ["attn.norm_q"], "norm.key_norm": ["attn.norm_k"],
}  # fmt: skip
FLUX_OUTSIDE = {
    "img_in": ["x_embedder"], "txt_in": ["context_embedder"], "final_layer.linear": ["proj_out"],
    "final_layer.adaLN_modulation.1": ["norm_out.linear"],
    "time_in.in_layer": ["time_text_embed.timestep_embedder.linear_1"],
    "time_in.out_layer": ["time_text_embed.timestep_embedder.linear_2"],
    "vector_in.in_layer": ["time_text_embed.text_embedder.linear_1"],
    "vector_in.out_layer": ["time_text_embed.text_embedder.linear_2"],
    "guidance_in.in_layer": ["time_text_embed.guidance_embedder.linear_1"],
    "guidance_in.out_layer": ["time_text_embed.guidance_embedder.linear_2"],
}  # fmt: skip
SWAPPED = "final_layer.adaLN_modulation.1"  # shift and scale change places


def flux_modules(doubles=1, singles=1):
    """For each module of the original FLUX the diffusers modules whose rows it stacks."""
    found = dict(FLUX_OUTSIDE)
    for i in range(doubles):
        for side, context in (("img", ""), ("txt", "_context")):
            for theirs, ours in DOUBLE.items():
                found[f"double_blocks.{i}.{theirs.format(side=side)}"] = [
                    f"transformer_blocks.{i}.{o.format(c=context)}" for o in ours
                ]
            for theirs, ours in ATTENTION[side].items():
                found[f"double_blocks.{i}.{side}_attn.{theirs}"] = [f"transformer_blocks.{i}.{o}" for o in ours]
    for i in range(singles):
        for theirs, ours in SINGLE.items():
            found[f"single_blocks.{i}.{theirs}"] = [f"single_transformer_blocks.{i}.{o}" for o in ours]
    return found


def flux_original(tensors):
    """The tensors of a diffusers FLUX transformer in the original layout."""
    found = {}
    for theirs, ours in flux_modules().items():
        for key in ("weight", "bias"):
            parts = [tensors[f"{o}.{key}"] for o in ours if f"{o}.{key}" in tensors]
            if not parts:
                continue
            value = np.concatenate(parts)
            if theirs == SWAPPED:
                value = np.concatenate(np.split(value, 2)[::-1])
            found[f"{theirs}.{'scale' if '_norm' in theirs else key}"] = value
    return found


OPEN_CLIP = {"self_attn.out_proj": "attn.out_proj", "layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc",
             "mlp.fc2": "mlp.c_proj"}  # fmt: skip


def open_clip(tensors):
    """The second text encoder of SDXL as OpenCLIP names it, with q, k and v in one matrix."""
    head, found = "text_model.", {}
    found["positional_embedding"] = tensors[head + "embeddings.position_embedding.weight"]
    found["token_embedding.weight"] = tensors[head + "embeddings.token_embedding.weight"]
    found["text_projection"] = tensors["text_projection.weight"].T
    for key in ("weight", "bias"):
        found[f"ln_final.{key}"] = tensors[f"{head}final_layer_norm.{key}"]
        layer = head + "encoder.layers.0."
        qkv = [tensors[f"{layer}self_attn.{n}_proj.{key}"] for n in "qkv"]
        found[f"transformer.resblocks.0.attn.in_proj_{key}"] = np.concatenate(qkv)
        for ours, theirs in OPEN_CLIP.items():
            found[f"transformer.resblocks.0.{theirs}.{key}"] = tensors[f"{layer}{ours}.{key}"]
    return found


def _component(directory, folder):
    (path,) = (Path(directory) / folder).glob("*.safetensors")
    return {n: s.values.astype(np.float32) for n, s in tensorfile.read_file(path).items()}


FIRST, SECOND, UNET = "conditioner.embedders.0.transformer.", "conditioner.embedders.1.model.", "model.diffusion_model."


def sdxl_original(directory):
    """All tensors of an SDXL pipeline by their names in one original file."""
    found = {UNET + unet_name(n): v for n, v in _component(directory, "unet").items()}
    found |= {FIRST + n: v for n, v in _component(directory, "text_encoder").items()}
    return found | {SECOND + n: v for n, v in open_clip(_component(directory, "text_encoder_2")).items()}


def check(kind, tensors, directory):
    """diffusers' own conversion of the file gives the pipeline's tensors back."""
    import torch
    from diffusers.loaders import single_file_utils

    given = {n: torch.from_numpy(np.ascontiguousarray(v)) for n, v in tensors.items()}
    if kind == "sdxl":
        import json

        config = json.loads((Path(directory) / "unet" / "config.json").read_text())
        back, wanted = single_file_utils.convert_ldm_unet_checkpoint(given, config), _component(directory, "unet")
    else:
        wanted = _component(directory, "transformer")
        rows = len(wanted["x_embedder.bias"])
        given = {n: v for n, v in given.items() if ".linear1." not in n} | {
            n: torch.zeros((3072 * 7, *v.shape[1:])) for n, v in given.items() if ".linear1." in n
        }  # the conversion knows the real size only
        back = single_file_utils.convert_flux_transformer_checkpoint_to_diffusers(given)
        skipped = ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp")
        single = {n for n in wanted if n.startswith("single_") and any(s in n for s in skipped)}
        wanted = {n: v for n, v in wanted.items() if n not in single}
        back = {n: v for n, v in back.items() if n not in single}
        if not rows:
            raise ValueError("an empty base")
    wrong = set(back) ^ set(wanted) or [n for n, v in wanted.items() if not np.array_equal(back[n].numpy(), v)]
    if wrong:
        raise ValueError(f"{kind}: the original layout is not what diffusers reads: {sorted(wrong)[:4]}")


def write_single(kind, path, size, seed):
    """Write a base as one file in its original layout: `path` is a directory that gets `model.safetensors`."""
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        pipelines.make(kind, scratch, size, seed)
        tensors = sdxl_original(scratch) if kind == "sdxl" else flux_original(_component(scratch, "transformer"))
        check(kind, tensors, scratch)
    metadata = {"modelspec.architecture": "stable-diffusion-xl-v1-base" if kind == "sdxl" else "flux-1-dev"}
    save_tensors(Path(path) / f"{kind}.safetensors", tensors, metadata)


def single(kind):
    """How to write this base."""
    return lambda path, size, seed: write_single(kind, path, size, seed)
