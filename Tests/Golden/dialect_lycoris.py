"""LyCORIS: each algorithm on a tiny UNet and text encoder, names as for kohya; expected is what the modules compute.

The expected weights come from each module's `forward`, by which it is trained: `merge_to` of LyCORIS 4.1.3 multiplies
LoHa and LoKr by alpha / rank twice.
"""

import contextlib
import functools

import dialect_pipelines as pipelines
import lycoris
import torch
from dialect_cases import Case, Made, array, changes, fill
from dialect_models import SMALL
from lycoris.kohya import LycorisNetworkKohya
from safetensors.torch import load_file

lycoris.logger.setLevel("ERROR")
SIZE = SMALL
BASES = {"sd1": pipelines.writer("sd1")}
WRITTEN_BY = ("lycoris-lora", "torch")
BLOCK = r"down_blocks\.0\.attentions\.0\.transformer_blocks\.0"
LINEARS = [rf"{BLOCK}\.attn1\.to_q$", rf"{BLOCK}\.attn2\.to_k$", rf"{BLOCK}\.ff\.net\.0\.proj$"]
CONVS = [r"down_blocks\.0\.resnets\.0\.conv1$", r"down_blocks\.1\.resnets\.0\.conv_shortcut$", "conv_in$"]
NORMS = [r"down_blocks\.0\.resnets\.0\.norm1$", rf"{BLOCK}\.norm1$"]
TEXT = [r"text_model\.encoder\.layers\.0\.self_attn\.q_proj$", r"text_model\.encoder\.layers\.0\.mlp\.fc1$"]


def network(parts, algorithm, names, text, options):
    """A LyCORIS network over the modules whose paths match."""
    LycorisNetworkKohya.apply_preset(
        {"enable_conv": True, "unet_target_module": [], "unet_target_name": names, "text_encoder_target_module": [],
         "text_encoder_target_name": text}
    )  # fmt: skip
    settings = {"lora_dim": 2, "conv_lora_dim": 2, "alpha": 1.5, "conv_alpha": 1.0, "warn_on_unmatched": False}
    made = LycorisNetworkKohya(parts["text_encoder"], parts["unet"], network_module=algorithm, **settings | options)
    made.modules_by_name = {lora.lora_name: lora for lora in made.unet_loras + made.text_encoder_loras}
    for name, lora in made.modules_by_name.items():
        made.add_module(name, lora)
    return made


@contextlib.contextmanager
def doubles():
    """LyCORIS inverts in `.float()`; here that shall not lose digits."""
    kept = torch.Tensor.float
    torch.Tensor.float = torch.Tensor.double
    try:
        yield
    finally:
        torch.Tensor.float = kept


def trained(lora):
    """The weight and bias that the module's forward pass computes with."""
    seen = {}

    def catch(x, weight=None, bias=None, **_):
        seen.update(weight=weight, bias=bias)
        return torch.zeros(())

    module = lora.org_module[0]
    lora.op, lora.org_forward = catch, lambda x, *_, **__: torch.zeros(())
    with torch.no_grad():
        lora(torch.zeros(()))
    found = {"weight": module.weight + seen["weight"].reshape(module.weight.shape)}
    if seen["bias"] is not None:
        found["bias"] = module.bias + seen["bias"]
    return found


def parts_of(base, dtype, published=True):
    """UNet and text encoder of the pipeline."""
    parts = pipelines.load(base, "sd1", dtype)
    if published:
        parts["text_encoder"] = pipelines.Published(parts["text_encoder"])
    return parts


def paths(parts):
    """The name in the base of every module: `unet/PATH`."""
    found = {}
    for folder, root in parts.items():
        for name, module in root.named_modules():
            prefix = "text_model." if folder == "text_encoder" and not name.startswith("text_model") else ""
            found[id(module)] = f"{folder}/{prefix}{name}"
    return found


def write(algorithm, options, base, directory, seed, *, names, text, spread, published=True, drop=()):
    """Fill a network, save it as LyCORIS does, load the file in float64, and ask each module for its weight."""
    made = network(parts_of(base, "f32", published), algorithm, names, text, options)
    fill([(n, p) for n, p in made.named_parameters() if ".org_" not in n], seed, spread)
    path = directory / "adapter.safetensors"
    metadata = {"ss_network_module": "lycoris.kohya", "ss_network_dim": "2", "ss_network_alpha": "1.5",
                "ss_network_args": f'{{"algo": "{algorithm}"}}'}  # fmt: skip
    made.save_weights(str(path), torch.float32, metadata)
    exact = not options.get("weight_decompose")  # its epsilon is that of the dtype
    parts = parts_of(base, "f64" if exact else "f32", published)
    again = network(parts, algorithm, names, text, options)
    found, unexpected = again.load_state_dict(load_file(str(path)), strict=False)
    if unexpected or any("scalar" not in n for n in found):
        raise ValueError(f"LyCORIS loads with {found} missing and {unexpected} unexpected")
    where, after = paths(parts), {}
    with doubles() if exact else contextlib.nullcontext():
        for lora in again.modules_by_name.values():
            if exact:
                lora.double()
            for key, value in trained(lora).items():
                after[f"{where[id(lora.org_module[0])]}.{key}"] = array(value)
    return Made(path.name, changes(base, after))


def _case(algorithm, tag, names=None, text=(), spread=0.8, published=True, **options):
    names = LINEARS + CONVS if names is None else names
    work = functools.partial(
        write, algorithm, options, names=names, text=list(text), spread=spread, published=published
    )
    kind = {"diag-oft": "oft", "full": "diff"}.get(algorithm, algorithm)
    return Case(f"lycoris-{algorithm}-{tag}", "lycoris", kind, "sd1", work, WRITTEN_BY)


DORA = {"weight_decompose": True}
INPUT = {"weight_decompose": True, "wd_on_out": False}
CASES = [
    _case("locon", "plain", text=TEXT),
    _case("locon", "tucker", use_tucker=True),
    _case("locon", "scalar", use_scalar=True),
    _case("locon", "rank-stabilised", rs_lora=True),
    _case("locon", "dora", **DORA),
    _case("locon", "dora-input", **INPUT),
    _case("locon", "flat-text-names", LINEARS[:1], [t.removeprefix(r"text_model\.") for t in TEXT], published=False),
    _case("loha", "plain", text=TEXT, spread=1.5),
    _case("loha", "tucker", use_tucker=True, spread=1.5),
    _case("loha", "scalar", use_scalar=True, spread=1.5),
    _case("loha", "dora", spread=1.5, **DORA),
    _case("loha", "dora-input", spread=1.5, **INPUT),
    _case("lokr", "plain", text=TEXT, lora_dim=1, conv_lora_dim=1),
    _case("lokr", "full", full_matrix=True, spread=0.5),
    _case("lokr", "both", lora_dim=1, conv_lora_dim=1, decompose_both=True, factor=4),
    _case("lokr", "factor", factor=2, lora_dim=1, conv_lora_dim=1),
    _case("lokr", "tucker", use_tucker=True, lora_dim=1, conv_lora_dim=1, names=CONVS),
    _case("lokr", "scalar", use_scalar=True, lora_dim=1, conv_lora_dim=1),
    _case("lokr", "dora", lora_dim=1, conv_lora_dim=1, **DORA),
    _case("lokr", "dora-input", lora_dim=1, conv_lora_dim=1, **INPUT),
    _case("full", "plain", LINEARS[1:2] + CONVS[:1], TEXT, spread=0.3),
    _case("locon", "norms", LINEARS[:1] + NORMS, train_norm=True, spread=0.3),
    _case("ia3", "output", spread=0.3),
    _case("ia3", "input", spread=0.3, train_on_input=True),
    _case("diag-oft", "plain", text=TEXT, lora_dim=4, conv_lora_dim=4, spread=0.3),
    _case("diag-oft", "constraint", lora_dim=4, conv_lora_dim=4, constraint=0.01, spread=0.3),
    _case("diag-oft", "rescaled", lora_dim=4, conv_lora_dim=4, rescaled=True, spread=0.3),
    _case("boft", "plain", lora_dim=4, conv_lora_dim=4, spread=0.3),
    _case("boft", "constraint", lora_dim=2, conv_lora_dim=2, constraint=0.02, spread=0.3),
    _case("boft", "rescaled", lora_dim=4, conv_lora_dim=4, rescaled=True, spread=0.3),
    _case("glora", "plain", LINEARS),
]
