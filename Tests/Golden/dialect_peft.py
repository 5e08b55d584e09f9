"""PEFT's kinds other than LoRA, each written by `save_pretrained` and merged by PEFT in float64."""

import functools
import json
import shutil

import build
import peft
import torch
from dialect_cases import Case, Made, array, changes, fill
from dialect_models import BASES, MODELS, SMALL, load_model
from safetensors.torch import load_file, save_file

SIZE = SMALL
__all__ = ["BASES", "CASES", "SIZE"]
WRITTEN_BY = ("peft", "torch")
ATTENTION = ["q_proj", "v_proj"]
CONVS = ["first", "second", "third"]
CAUSAL = {"task_type": "CAUSAL_LM"}
SETS = (*build.SETS, "feedforward_modules")


def neutralise(directory):
    """What differs from run to run: local path, order of sets, model card."""
    build.neutralise(directory)
    path = directory / "adapter_config.json"
    config = json.loads(path.read_text())
    for key in SETS:
        if isinstance(config.get(key), list):
            config[key] = sorted(config[key])
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def is_adapter(wrapped):
    """The parameters that the adapter owns, also those that it does not train (VeRA's projections are buffers)."""
    return [(n, p) for n, p in wrapped.named_parameters() if p.requires_grad]


def write(kind, config, base, directory, seed, *, base_kind, spread=0.3, prepare=None, mergeable=True, why="",
          edit=None):  # fmt: skip
    """Wrap, fill, save, load in float64 and merge; the expected weights are PEFT's."""
    torch.manual_seed(seed)
    wrapped = peft.get_peft_model(load_model(base_kind, base, "f32"), config())
    if prepare:
        prepare(wrapped)
    fill(is_adapter(wrapped), seed, spread)
    adapter = directory / "adapter"
    wrapped.save_pretrained(str(adapter))
    neutralise(adapter)
    if edit:
        edit(adapter)
    if not mergeable:
        return Made("adapter", mergeable=False, why=why)
    model = peft.PeftModel.from_pretrained(load_model(base_kind, base, "f64"), str(adapter))
    for parameter in model.parameters():
        parameter.data = parameter.data.double()
    _double_buffers(model)
    merged = model.merge_and_unload()
    names = MODELS[base_kind].names(merged)
    return Made("adapter", changes(base, {n: array(v) for n, v in names.items()}), why=why)


def _double_buffers(model):
    """VeRA keeps its projections in buffers."""
    for name in ("vera_A", "vera_B"):
        if buffers := getattr(model.base_model, name, None):
            for key in list(buffers.keys()):
                buffers[key] = buffers[key].double()


def _cut_ranks(wrapped):
    """AdaLoRA after its budget was spent: a mask over the ranks of each module."""
    config = wrapped.peft_config["default"]
    masks = {}
    for number, name in enumerate(n for n, _ in wrapped.base_model.model.named_modules() if n.endswith("_proj")):
        if hasattr(wrapped.base_model.model.get_submodule(name), "lora_E"):
            masks[f"{name}.lora_E"] = [True, False, number % 2 == 0, True]
    config.rank_pattern = masks


def _case(kind, tag, config, base="llama", **options):
    settings = dict(base_kind=base, **options)
    name = f"peft-{kind}-{tag}" if tag else f"peft-{kind}"
    return Case(name, "peft", kind, base, functools.partial(write, kind, config, **settings), WRITTEN_BY)


def _lokr(**options):
    return lambda: peft.LoKrConfig(**{"r": 2, "alpha": 3, "target_modules": [*ATTENTION, "down_proj"]} | options)


def _loha(**options):
    return lambda: peft.LoHaConfig(**{"r": 2, "alpha": 3, "target_modules": ATTENTION} | options)


def _oft(**options):
    return lambda: peft.OFTConfig(**{"oft_block_size": 4, "target_modules": ATTENTION} | options)


def _boft(**options):
    return lambda: peft.BOFTConfig(**{"boft_block_size": 4, "target_modules": ATTENTION} | options)


def _vera(**options):
    return lambda: peft.VeraConfig(**{"r": 6, "target_modules": [*ATTENTION, "down_proj"]} | options)


def _ada(**options):
    settings = {"init_r": 4, "target_r": 2, "lora_alpha": 6, "total_step": 10, "target_modules": ATTENTION}
    return lambda: peft.AdaLoraConfig(**settings | options)


def _ia3(targets, forward):
    return lambda: peft.IA3Config(target_modules=targets, feedforward_modules=forward)


def butterfly(directory):
    """Give a BOFT adapter two butterfly stages, which PEFT itself makes only with its CUDA extension."""
    path = directory / "adapter_model.safetensors"
    tensors = load_file(str(path))
    generator = torch.Generator().manual_seed(len(tensors))
    for name, value in tensors.items():
        if name.endswith("boft_R"):
            second = 0.2 * torch.randn(value.shape, generator=generator)
            tensors[name] = torch.cat([value, second])
    save_file(tensors, str(path), metadata={"format": "pt"})
    config = json.loads((directory / "adapter_config.json").read_text()) | {"boft_n_butterfly_factor": 2}
    (directory / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def write_butterfly(base, directory, seed, *, base_kind):
    """BOFT with two stages: PEFT's layer, told that it has its extension, merges with stages kept dense."""
    made = write("boft", _boft(), base, directory, seed, base_kind=base_kind, mergeable=False, edit=butterfly)
    from peft.tuners.boft import layer

    class Dense:
        """PEFT's FastBlockDiag: a stack of block diagonal matrices."""

        @staticmethod
        def apply(blocks):
            return torch.stack([torch.block_diag(*stage) for stage in blocks])

    kept = layer.get_fbd_cuda, layer.FastBlockDiag
    layer.get_fbd_cuda, layer.FastBlockDiag = (lambda: True), Dense
    try:
        model = peft.PeftModel.from_pretrained(load_model(base_kind, base, "f64"), str(directory / "adapter"))
        model.double()
        merged = model.merge_and_unload()
    finally:
        layer.get_fbd_cuda, layer.FastBlockDiag = kept
    names = {n: array(v) for n, v in MODELS[base_kind].names(merged).items()}
    return Made(made.adapter, changes(base, names))


def _unmergeable(kind, tag, config, why, **options):
    return _case(kind, tag, config, mergeable=False, why=why, **options)


def _xlora(base, directory, seed):
    """X-LoRA over two LoRA adapters: its classifier chooses the mix for each token."""
    torch.manual_seed(seed)
    for name in ("one", "two"):
        inner = peft.get_peft_model(load_model("llama", base, "f32"), peft.LoraConfig(r=2, target_modules=ATTENTION))
        fill(is_adapter(inner), seed + len(name))
        inner.save_pretrained(str(directory / name))
        neutralise(directory / name)
    model = load_model("llama", base, "f32")
    adapters = {name: str(directory / name) for name in ("one", "two")}
    hidden = model.config.hidden_size
    model.config.use_cache = False
    wrapped = peft.get_peft_model(model, peft.XLoraConfig(hidden_size=hidden, adapters=adapters, **CAUSAL))
    wrapped.save_pretrained(str(directory / "adapter"))
    neutralise(directory / "adapter")
    for name in ("one", "two"):
        shutil.rmtree(directory / name)  # X-LoRA saved them again, below its own
    for inner in ("0", "1"):
        neutralise(directory / "adapter" / inner)
    path = directory / "adapter" / "adapter_config.json"
    config = json.loads(path.read_text()) | {"adapters": {"0": "one", "1": "two"}}
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    return Made("adapter", mergeable=False, why="X-LoRA mixes its adapters anew for each token")


MERGED = [
    _case("loha", "linear", _loha(), spread=1.5),
    _case("loha", "patterns", _loha(rank_pattern={"v_proj": 3}, alpha_pattern={"q_proj": 5}), spread=1.5),
    _case("loha", "conv", _loha(target_modules=CONVS), "conv2d", spread=1.5),
    _case("loha", "conv-effective", _loha(target_modules=CONVS, use_effective_conv2d=True), "conv2d", spread=1.5),
    _case("loha", "conv1d-effective", _loha(target_modules=CONVS, use_effective_conv2d=True), "conv1d", spread=1.5),
    _case("lokr", "linear", _lokr(), spread=0.8),
    _case("lokr", "conv1d", _lokr(target_modules=CONVS, r=1), "conv1d", spread=0.3),
    _case("lokr", "conv1d-full", _lokr(target_modules=CONVS, r=64), "conv1d", spread=1.5,
          why="PEFT's Kronecker product of a matrix and a full 3-D lokr_w2 pads the matrix in front: see README"),
    _case("lokr", "full", _lokr(r=64), spread=3.0),
    _case("lokr", "decompose-both", _lokr(r=1, decompose_both=True), spread=0.5),
    _case("lokr", "factor", _lokr(decompose_factor=2), spread=0.8),
    _case("lokr", "conv", _lokr(target_modules=CONVS, r=1), "conv2d", spread=0.3),
    _case("lokr", "conv-effective", _lokr(target_modules=CONVS, r=1, use_effective_conv2d=True), "conv2d", spread=0.8),
    _case("ia3", "llama", _ia3(["k_proj", "v_proj", "down_proj"], ["down_proj"])),
    _case("ia3", "bias", _ia3(["k_proj", "o_proj", "down_proj"], ["down_proj"]), "qwen2"),
    _case("ia3", "gpt2", _ia3(["c_attn", "mlp.c_proj"], ["mlp.c_proj"]), "gpt2"),
    _case("ia3", "conv", _ia3(CONVS, ["third"]), "conv2d"),
    _case("adalora", "", _ada(), spread=0.6),
    _case("adalora", "ranks", _ada(), prepare=_cut_ranks, spread=0.6),
    _case("adalora", "conv", _ada(target_modules=CONVS), "conv2d", spread=0.6),
    _case("adalora", "gpt2", _ada(target_modules=["c_attn", "c_fc"], fan_in_fan_out=True), "gpt2", spread=0.6),
    _case("vera", "", _vera(save_projection=True)),
    _case("vera", "gpt2", _vera(target_modules=["c_attn", "c_fc"], fan_in_fan_out=True, save_projection=True), "gpt2"),
    _case("oft", "", _oft()),
    _case("oft", "cayley", _oft(use_cayley_neumann=False)),
    _case("oft", "terms", _oft(num_cayley_neumann_terms=8)),
    _case("oft", "share", _oft(block_share=True)),
    _case("oft", "coft", _oft(coft=True, eps=0.5)),
    _case("oft", "coft-share", _oft(coft=True, eps=0.05, block_share=True, use_cayley_neumann=False)),
    _case("oft", "blocks", _oft(oft_block_size=0, r=2)),
    _case("oft", "embedding", _oft(target_modules=["embed_tokens", "o_proj"])),
    _case("oft", "conv", _oft(oft_block_size=3, target_modules=["first", "third"]), "conv2d"),
    _case("boft", "", _boft()),
    _case("boft", "blocks", _boft(boft_block_size=0, boft_block_num=2)),
    _case("boft", "conv", _boft(boft_block_size=3, target_modules=["first"]), "conv2d"),
    Case("peft-boft-butterfly", "peft", "boft", "llama",
         functools.partial(write_butterfly, base_kind="llama"), WRITTEN_BY),
    _case("hra", "", lambda: peft.HRAConfig(r=4, target_modules=ATTENTION), spread=1.0),
    _case("hra", "gram-schmidt", lambda: peft.HRAConfig(r=3, apply_GS=True, target_modules=ATTENTION), spread=1.0),
    _case("hra", "conv", lambda: peft.HRAConfig(r=2, target_modules=["first", "third"]), "conv2d", spread=1.0),
    _case("ln-tuning", "", lambda: peft.LNTuningConfig(target_modules=["input_layernorm", "norm"])),
    _case("ln-tuning", "gpt2", lambda: peft.LNTuningConfig(target_modules=["ln_1", "ln_f"]), "gpt2"),
    _case("trainable-tokens", "", lambda: peft.TrainableTokensConfig(target_modules=["embed_tokens"],
                                                                     token_indices=[3, 1, 7])),
]  # fmt: skip
REFUSED = [
    _unmergeable("vera", "no-projection", _vera(save_projection=False),
                 "the projections are not in the file: torch's generator would have to make them again"),
    _unmergeable("prefix-tuning", "", lambda: peft.PrefixTuningConfig(num_virtual_tokens=3, **CAUSAL),
                 "prefix tuning adds keys and values"),
    _unmergeable("prompt-tuning", "", lambda: peft.PromptTuningConfig(num_virtual_tokens=3, **CAUSAL),
                 "prompt tuning adds virtual tokens"),
    _unmergeable("alora", "", lambda: peft.LoraConfig(r=2, target_modules=ATTENTION, alora_invocation_tokens=[3, 4],
                                                      **CAUSAL),
                 "activated LoRA applies only after its invocation tokens"),
    Case("peft-xlora", "peft", "xlora", "llama", _xlora, WRITTEN_BY),
]  # fmt: skip
CASES = MERGED + REFUSED
