"""diffusers: files by `save_lora_weights`, and the same with the names of older versions; merged by fuse_lora."""

import functools

import dialect_pipelines as pipelines
import diffusers
import numpy as np
import peft
import torch
from dialect_cases import Case, Made, changes, fill, read_base
from dialect_models import SMALL
from dialect_witness import merged
from peft import get_peft_model_state_dict
from safetensors import safe_open
from safetensors.torch import save_file

SIZE = SMALL
BASES = {kind: pipelines.writer(kind) for kind in ("sd1", "sdxl", "flux", "sd3")}
WRITTEN_BY = ("diffusers", "peft", "torch")
ATTENTION = ["to_q", "to_k", "to_v", "to_out.0"]
TEXT = ["q_proj", "v_proj", "out_proj", "fc1"]


def wrapped(kind, base, targets, seed, options):
    """The components with LoRA in those that have targets, filled with random numbers."""
    torch.manual_seed(seed)
    parts = pipelines.load(base, kind)
    found = {}
    for folder, modules in targets.items():
        module = parts[folder]
        if pipelines.INDEX[kind][1][folder] == "CLIPTextModel":
            module = pipelines.Published(module)
        config = peft.LoraConfig(**{"r": 3, "lora_alpha": 5, "target_modules": modules} | options)
        peft.inject_adapter_in_model(config, module)
        module.peft_config = {"default": config}
        fill([(n, p) for n, p in module.named_parameters() if ".lora_" in n], seed, 0.8)
        found[folder] = module
    return found


def save(kind, found, path, with_metadata):
    """What a training script calls at its end."""
    arguments = {}
    for folder, module in found.items():
        arguments[f"{folder}_lora_layers"] = get_peft_model_state_dict(module)
        if with_metadata:
            config = module.peft_config["default"].to_dict()
            for key, value in config.items():
                config[key] = sorted(value) if isinstance(value, set) else value
            arguments[f"{folder}_lora_adapter_metadata"] = config
    cls = getattr(diffusers, pipelines.INDEX[kind][0])
    cls.save_lora_weights(str(path.parent), weight_name=path.name, **arguments)


def by_formula(base, found):
    """W + s B A, or DoRA, in float64 from the modules of PEFT."""
    before, after = read_base(base), {}
    for folder, module in found.items():
        for name, layer in module.named_modules():
            if not isinstance(layer, peft.tuners.lora.LoraLayer):
                continue
            layer.double()
            layer.merge()
            weight = layer.get_base_layer().weight
            after[f"{folder}/{name}.weight"] = weight.detach().numpy().reshape(before[f"{folder}/{name}.weight"].shape)
    return changes(base, after)


def rename(path, change, alphas=None):
    """Rewrite the file with other names, without metadata, and with alpha tensors if they are given."""
    with safe_open(str(path), "pt") as opened:
        tensors = {change(n): opened.get_tensor(n) for n in opened.keys()}
    if alphas is not None:
        stems = {n.rpartition(".lora")[0] for n in tensors if ".lora" in n}
        tensors |= {f"{stem}.alpha": torch.tensor(alphas) for stem in stems}
    save_file(tensors, str(path), metadata={"format": "pt"})


def write(kind, targets, base, directory, seed, *, options=None, metadata=True, change=None, alphas=None, scale=None,
          witness=True):  # fmt: skip
    """Save, perhaps rename, let diffusers fuse it, and compare with PEFT's merge in float64."""
    options = dict(options or {})
    if scale is None and not metadata:
        options["lora_alpha"] = options.get("r", 3)  # nothing in the file says another alpha
    path = directory / "pytorch_lora_weights.safetensors"
    found = wrapped(kind, base, targets, seed, options)
    save(kind, found, path, metadata)
    if change:
        rename(path, change, alphas)
    expected = by_formula(base, found)
    if witness:
        agree(kind, base, path, expected)
    return Made(path.name, expected)


def agree(kind, base, path, expected, tolerance=2e-6):
    """diffusers' fused weights are those of the formula, except where it silently loads nothing."""
    fused = merged(kind, base, path)
    for name, value in expected.items():
        worst = np.abs(fused[name] - value).max() / np.abs(value).max()
        if worst > tolerance:
            raise ValueError(f"diffusers fuses {name} {worst:.2g} apart")


def down_up(name):
    """`.lora.down.weight`, and `.lora_linear_layer.down` in text encoders: diffusers 0.17 to 0.21."""
    between = "lora_linear_layer" if name.startswith("text_encoder") else "lora"
    return name.replace("lora_A.", f"{between}.down.").replace("lora_B.", f"{between}.up.")


def processor(name):
    """`attn1.processor.to_q_lora.down.weight`: the attention processors of the first versions."""
    if name.startswith("text_encoder"):
        for old, new in (("q_proj", "to_q_lora"), ("k_proj", "to_k_lora"), ("v_proj", "to_v_lora"),
                         ("out_proj", "to_out_lora")):  # fmt: skip
            name = name.replace(f".{old}.lora_A.", f".{new}.down.").replace(f".{old}.lora_B.", f".{new}.up.")
        return name
    for module in ATTENTION:
        new = f"processor.{module.removesuffix('.0')}_lora"
        name = name.replace(f".{module}.lora_A.", f".{new}.down.").replace(f".{module}.lora_B.", f".{new}.up.")
    return name


def bare(name):
    """A UNet alone, its names without a component: what `unet.save_attn_procs` wrote."""
    return processor(name).removeprefix("unet.")


def _some(modules):
    """These modules of a few blocks only, as a regular expression: the expected tensors are to be small."""
    names = "|".join(modules).replace(".", r"\.")
    return rf"(down_blocks\.0|mid_block|down_blocks\.1\.attentions\.0).*\.({names})"


def _case(tag, kind, targets, **options):
    if "unet" in targets:
        targets = targets | {"unet": _some(targets["unet"])}
    work = functools.partial(write, kind, targets, **options)
    sort = "dora" if (options.get("options") or {}).get("use_dora") else "lora"
    return Case(f"diffusers-{tag}", "diffusers", sort, kind, work, WRITTEN_BY)


UNET = [*ATTENTION, "proj_in", "ff.net.0.proj", "conv1"]
PATTERN = {"rank_pattern": {"to_k": 2}, "alpha_pattern": {"to_v": 9}}
SD1 = {"unet": UNET, "text_encoder": TEXT}
CASES = [
    _case("sd1", "sd1", SD1),
    _case("sd1-no-metadata", "sd1", {"unet": ATTENTION, "text_encoder": TEXT}, metadata=False),
    _case("sd1-patterns", "sd1", {"unet": ATTENTION}, options=PATTERN),
    _case("sd1-rank-stabilised", "sd1", {"unet": ATTENTION}, options={"use_rslora": True}),
    _case("sd1-dora", "sd1", {"unet": [*ATTENTION, "conv1"]}, options={"use_dora": True}),
    _case("sd1-down-up", "sd1", {"unet": ATTENTION, "text_encoder": TEXT}, metadata=False, change=down_up),
    _case("sd1-processor", "sd1", {"unet": ATTENTION, "text_encoder": TEXT[:3]}, metadata=False, change=processor),
    _case("sd1-bare-unet", "sd1", {"unet": ATTENTION}, metadata=False, change=bare, witness=False),
    _case("sd1-alpha", "sd1", {"unet": ATTENTION}, metadata=False, change=down_up, alphas=5.0, scale=True,
          witness=False),  # diffusers wants `lora` in every name
    _case("sdxl", "sdxl", {"unet": ATTENTION, "text_encoder": TEXT, "text_encoder_2": TEXT}),
    _case("flux", "flux", {"transformer": [*ATTENTION, "add_q_proj", "proj_mlp", "norm1.linear"],
                           "text_encoder": TEXT[:1]}),
    _case("flux-no-metadata", "flux", {"transformer": ATTENTION}, metadata=False),
    _case("sd3", "sd3", {"transformer": [*ATTENTION, "add_k_proj"], "text_encoder": TEXT[:2]}),
]  # fmt: skip
