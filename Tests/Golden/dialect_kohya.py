"""kohya's files, laid out as sd-scripts writes them; expected by numpy, and compared with diffusers' own loader."""

import functools
import math
from dataclasses import dataclass

import dialect_originals as originals
import dialect_pipelines as pipelines
import numpy as np
from dialect_cases import Case, Made, changes, noise, read_base, save_tensors
from dialect_models import SMALL
from dialect_witness import fused

SIZE = SMALL
BASES = {kind: pipelines.writer(kind) for kind in pipelines.INDEX} | {
    "sdxl-single": originals.single("sdxl"), "flux-single": originals.single("flux"),
}  # fmt: skip
WRITTEN_BY = ("layout of sd-scripts", "diffusers", "numpy")


@dataclass(frozen=True)
class Layer:
    """One module of the file: `parts` are (base tensor, first row, rows or None for all) that its rows belong to."""

    name: str
    parts: tuple
    rank: int = 3
    alpha: float | None = 2.0
    square: bool = False  # factors of a linear layer with two more dimensions of 1
    sparse: bool = False  # split_qkv: one block of ranks for each part


def whole(name, *tensors, **options):
    """A layer whose rows are these whole tensors, one after the other."""
    return Layer(name, tuple((t, 0, None) for t in tensors), **options)


def flat(folder, module, prefix="lora_unet_", **options):
    """A layer named after its module in diffusers or transformers."""
    return whole(prefix + module.replace(".", "_"), f"{folder}/{module}.weight", **options)


def layer_tensors(layer, base, rng):
    """The tensors of one layer, and its delta for each part."""
    sizes = [rows or len(base[name]) for name, _, rows in layer.parts]
    shape = base[layer.parts[0][0]].shape[1:]
    rank = layer.rank * (len(sizes) if layer.sparse else 1)
    width = math.prod(shape)
    down = noise(rng, rank, width) / np.float32(math.sqrt(width))
    up = noise(rng, sum(sizes), rank) * np.float32(0.3 / math.sqrt(layer.rank))
    if layer.sparse:
        mask = [np.full((n, layer.rank), i) for i, n in enumerate(sizes)]
        keep = np.concatenate([np.arange(rank)[None] // layer.rank == m[:, :1] for m in mask])
        up = up * keep.astype(np.float32)
    scale = 1.0 if layer.alpha is None else layer.alpha / rank
    delta = scale * (up.astype(np.float64) @ down.astype(np.float64))
    extra = tuple(1 for _ in shape[1:]) or ((1, 1) if layer.square else ())
    down_shape = (rank, *shape) if len(shape) > 1 else (rank, *shape, *extra)
    found = {f"{layer.name}.lora_down.weight": down.reshape(down_shape).astype(np.float32),
             f"{layer.name}.lora_up.weight": up.reshape(*up.shape, *extra).astype(np.float32)}  # fmt: skip
    if layer.alpha is not None:
        found[f"{layer.name}.alpha"] = np.array(layer.alpha, np.float32)
    starts = np.cumsum([0, *sizes])
    return found, [delta[a:b] for a, b in zip(starts, starts[1:], strict=False)]


def metadata(kind, module):
    """A few of the keys that sd-scripts writes."""
    version = {"sd1": "sd_v1", "sdxl": "sdxl_base_v1-0", "flux": "flux1", "sd3": "sd3"}[kind]
    return {"ss_network_module": module, "ss_network_dim": "3", "ss_network_alpha": "2.0", "ss_base_model_version":
            version, "ss_v2": "False", "ss_network_args": "{}", "ss_sd_model_name": "base.safetensors"}  # fmt: skip


def write(kind, plan, base, directory, seed, *, witness=True, module="networks.lora", why=""):
    """Write the file, merge it in float64, and let diffusers load and fuse it."""
    before = read_base(base)
    rng = np.random.default_rng(seed)
    tensors, after = {}, {}
    for layer in plan(before):
        found, deltas = layer_tensors(layer, before, rng)
        tensors |= found
        for (name, start, _), delta in zip(layer.parts, deltas, strict=True):
            merged = after.setdefault(name, before[name].copy())
            merged[start : start + len(delta)] += delta.reshape(-1, *merged.shape[1:])
    path = directory / "adapter.safetensors"
    save_tensors(path, tensors, metadata(kind, module))
    expected = changes(base, after)
    if witness:
        fused(kind, base, path, expected)
    return Made(path.name, expected, why=why)


ATTENTION = "down_blocks.0.attentions.0.transformer_blocks.0."
TEXT = "text_model.encoder.layers.0."


def sd1(base):
    """Attention, feed forward and convolutions of the UNet; one linear layer with 4-D factors; the text encoder."""
    unet = functools.partial(flat, "unet")
    text = functools.partial(flat, "text_encoder", prefix="lora_te_")
    return [
        unet(ATTENTION + "attn1.to_q"), unet(ATTENTION + "attn1.to_out.0"),
        unet(ATTENTION + "attn2.to_k"), unet(ATTENTION + "attn2.to_v"),
        unet(ATTENTION + "ff.net.0.proj"), unet(ATTENTION + "ff.net.2"), unet("down_blocks.0.attentions.0.proj_in"),
        unet("up_blocks.1.attentions.0.proj_out"), unet("mid_block.attentions.0.transformer_blocks.0.attn1.to_k"),
        text(TEXT + "self_attn.q_proj"), text(TEXT + "self_attn.out_proj"), text(TEXT + "mlp.fc1"),
    ]  # fmt: skip


def sd1_square(base):
    """Older files: linear layers with factors of four dimensions, which diffusers does not load."""
    names = ("attn1.to_q", "attn2.to_v", "ff.net.0.proj")
    return [flat("unet", ATTENTION + n, square=True) for n in names]


def sd1_no_alpha(base):
    """No alpha at all: the scale is 1."""
    text = functools.partial(flat, "text_encoder", prefix="lora_te_")
    names = ("attn1.to_q", "attn2.to_v", "ff.net.0.proj")
    return [flat("unet", ATTENTION + n, alpha=None) for n in names] + [text(TEXT + "mlp.fc2", alpha=None)]


def sd1_some_alpha(base):
    """Alpha for some only, and not the same. sd-scripts takes the rank for the others; diffusers the usual alpha."""
    alphas = {"attn1.to_q": 2.0, "attn1.to_out.0": 8.0, "attn2.to_v": None, "ff.net.0.proj": 2.0, "ff.net.2": 1.0}
    return [flat("unet", ATTENTION + n, alpha=alpha) for n, alpha in alphas.items()]


def sd1_convolutions(base):
    """As sd-scripts writes it with conv_dim."""
    unet = functools.partial(flat, "unet")
    return [
        unet("down_blocks.0.resnets.0.conv1"), unet("down_blocks.0.downsamplers.0.conv", rank=2, alpha=1.0),
        unet("down_blocks.1.resnets.0.conv_shortcut"), unet("up_blocks.0.upsamplers.0.conv", alpha=0.25),
        unet("mid_block.resnets.0.time_emb_proj"),
    ]  # fmt: skip


SDXL = ("down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q",
        "down_blocks.2.attentions.1.transformer_blocks.0.attn2.to_v", "down_blocks.1.attentions.0.proj_in",
        "mid_block.attentions.0.transformer_blocks.0.ff.net.0.proj",
        "up_blocks.0.attentions.2.transformer_blocks.0.attn1.to_out.0",
        "up_blocks.1.attentions.1.transformer_blocks.0.ff.net.2")  # fmt: skip
SDXL_CONVS = ("down_blocks.0.resnets.0.conv1", "down_blocks.0.downsamplers.0.conv", "mid_block.resnets.1.conv2",
              "up_blocks.1.resnets.0.conv_shortcut", "up_blocks.0.upsamplers.0.conv",
              "down_blocks.1.resnets.0.time_emb_proj")  # fmt: skip


SDXL_TEXT = {"1": ("self_attn.q_proj", "self_attn.out_proj", "mlp.fc2"),
             "2": ("self_attn.v_proj", "self_attn.out_proj", "mlp.fc1")}  # fmt: skip


def sdxl(base, modules=SDXL, text=True, sgm=True):
    """The UNet by the names of the original blocks, and both text encoders."""
    single = any(n.startswith(originals.UNET) for n in base)
    found = []
    for module in modules:
        theirs = originals.unet_name(module)
        tensor = f"{originals.UNET}{theirs}.weight" if single else f"unet/{module}.weight"
        found.append(whole("lora_unet_" + (theirs if sgm else module).replace(".", "_"), tensor))
    if not text:
        return found
    for index, projections in SDXL_TEXT.items():
        for projection in projections:
            part = (_single_text if single else _text)(base, index, projection)
            found.append(Layer(f"lora_te{index}_{(TEXT + projection).replace('.', '_')}", (part,)))
    return found


def _text(base, index, projection):
    return f"text_encoder{'' if index == '1' else '_2'}/{TEXT}{projection}.weight", 0, None


def _single_text(base, index, projection):
    """Where a projection of a text encoder is in the original file: OpenCLIP has q, k and v in one matrix."""
    if index == "1":
        return f"{originals.FIRST}{TEXT}{projection}.weight", 0, None
    head = originals.SECOND + "transformer.resblocks.0."
    if projection[10:] in ("q_proj", "k_proj", "v_proj"):
        name = head + "attn.in_proj_weight"
        width = len(base[name]) // 3
        return name, "qkv".index(projection[10]) * width, width
    return f"{head}{originals.OPEN_CLIP[projection]}.weight", 0, None


FLUX = ("double_blocks.0.img_attn.qkv", "double_blocks.0.txt_attn.qkv", "double_blocks.0.img_attn.proj",
        "double_blocks.0.txt_mlp.0", "double_blocks.0.img_mod.lin", "single_blocks.0.linear2",
        "single_blocks.0.modulation.lin")  # fmt: skip


def flux(base, modules=FLUX, sparse=False, text=False):
    """The transformer by the original names, q, k and v in one."""
    single = any(n.startswith("double_blocks") for n in base)
    found = []
    for theirs in modules:
        ours = originals.flux_modules()[theirs]
        tensors = [f"{theirs}.weight"] if single else [f"transformer/{o}.weight" for o in ours]
        parts = [(t, 0, None) for t in tensors]
        if sparse and single and len(ours) > 1:
            parts = _split(base, f"{theirs}.weight", len(ours))
        found.append(Layer("lora_unet_" + theirs.replace(".", "_"), tuple(parts), sparse=sparse and len(ours) > 1))
    if text:
        for projection in ("self_attn.k_proj", "self_attn.out_proj", "mlp.fc1"):
            name = f"lora_te1_{(TEXT + projection).replace('.', '_')}"
            found.append(Layer(name, ((f"text_encoder/{TEXT}{projection}.weight", 0, None),)))
    return found


def _split(base, name, count):
    """The rows of q, k and v (and of the first layer of a single block's MLP) in a fused matrix."""
    rows, width = base[name].shape
    sizes = [width] * 3 + [rows - 3 * width] * (count == 4)
    starts = np.cumsum([0, *sizes[:-1]])
    return [(name, int(start), size) for start, size in zip(starts, sizes, strict=True)]


SD3 = {"context_block.attn.qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
       "x_block.attn.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"), "x_block.attn.proj": ("attn.to_out.0",),
       "context_block.mlp.fc1": ("ff_context.net.0.proj",), "x_block.mlp.fc2": ("ff.net.2",),
       "x_block.adaLN_modulation.1": ("norm1.linear",)}  # fmt: skip


def sd3(base):
    """The first joint block by the original names of SD3."""
    return [
        whole(f"lora_unet_joint_blocks_0_{theirs.replace('.', '_')}",
              *(f"transformer/transformer_blocks.0.{o}.weight" for o in ours))
        for theirs, ours in SD3.items()
    ]  # fmt: skip


def _case(tag, kind, plan, base=None, **options):
    work = functools.partial(write, kind, plan, **options)
    return Case(f"kohya-{tag}", "kohya", "lora", base or kind, work, WRITTEN_BY)


SPLIT = "split_qkv: one block of ranks for q, k and v each; alpha is that of one block, the scale alpha / all ranks"
FLUX_ALL = (*FLUX, "single_blocks.0.linear1")
CASES = [
    _case("sd1", "sd1", sd1),
    _case("sd1-square", "sd1", sd1_square, witness=False),
    _case("sd1-no-alpha", "sd1", sd1_no_alpha),
    _case("sd1-some-alpha", "sd1", sd1_some_alpha, witness=False),
    _case("sd1-convolutions", "sd1", sd1_convolutions),
    _case("sdxl", "sdxl", sdxl),
    _case("sdxl-diffusers-names", "sdxl", functools.partial(sdxl, sgm=False)),
    _case("sdxl-convolutions", "sdxl", functools.partial(sdxl, modules=SDXL_CONVS, text=False)),
    _case("sdxl-single", "sdxl", functools.partial(sdxl, text=False), "sdxl-single/sdxl.safetensors", witness=False),
    _case("sdxl-single-text", "sdxl", sdxl, "sdxl-single/sdxl.safetensors", witness=False),
    _case("sdxl-single-convolutions", "sdxl", functools.partial(sdxl, modules=SDXL_CONVS, text=False),
          "sdxl-single/sdxl.safetensors", witness=False),
    _case("flux", "flux", functools.partial(flux, text=True), module="networks.lora_flux"),
    _case("flux-linear1", "flux", functools.partial(flux, modules=FLUX_ALL), module="networks.lora_flux",
          witness=False),
    _case("flux-split", "flux", functools.partial(flux, sparse=True), module="networks.lora_flux", why=SPLIT),
    _case("flux-single", "flux", functools.partial(flux, modules=FLUX_ALL), "flux-single/flux.safetensors",
          module="networks.lora_flux", witness=False),
    _case("flux-single-split", "flux", functools.partial(flux, modules=FLUX_ALL, sparse=True),
          "flux-single/flux.safetensors", module="networks.lora_flux", witness=False, why=SPLIT),
    _case("sd3", "sd3", sd3, module="networks.lora_sd3", witness=False),
]  # fmt: skip
