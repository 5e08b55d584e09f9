"""Build one case with the real libraries: save a base and its adapters, and work out the expected merge twice."""

import hashlib
import json
import os
import warnings
from dataclasses import dataclass, field
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import models  # noqa: E402
import numpy as np  # noqa: E402
import reference  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from peft import LoraConfig, PeftModel, get_peft_model  # noqa: E402
from peft.tuners.lora import LoraLayer  # noqa: E402
from tensorfile import read_checkpoint, write_file  # noqa: E402

SETS = ("target_modules", "target_parameters", "exclude_modules", "modules_to_save")


def quiet():
    """No progress bars, notices or advice from the libraries; two threads."""
    torch.set_num_threads(2)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    warnings.filterwarnings("ignore")


@dataclass
class Built:
    """What `build` made, and what it found out."""

    base: Path
    adapters: list
    merged: reference.Merged
    logits: torch.Tensor
    inputs: dict
    parameters: list = field(default_factory=list)
    example: object = None
    rename: object = None


def seed_of(text, seed=0):
    """A seed that depends on a name only (and not on the process's hash seed)."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{text}".encode()).digest()[:4], "little")


def fill(model, seed, dtype, ratio):
    """Random values for everything the adapter trains, such that deltas are about `ratio` of the weights."""
    modules = dict(model.named_modules())
    for name, parameter, noise in models.noise_for(model, seed, models.is_trained):
        head, _, tail = name.rpartition(".lora_")
        if not head:
            spread = 0.3 / parameter.shape[-1] ** 0.5 if parameter.ndim > 1 else 0.05
            parameter.data += (spread * noise).to(parameter.dtype)
            continue
        if tail.startswith("magnitude"):
            value = parameter.data * (1 + 0.1 * noise)
        elif tail.endswith("bias"):
            value = 0.1 * noise
        elif tail.startswith(("A", "embedding_A")):
            layer = modules[head]
            width = layer.get_base_layer().weight.shape[1] if "embedding" in tail else parameter[0].numel()
            value = noise / width**0.5
        else:
            rank, scale = modules[head].r["default"], modules[head].scaling["default"]
            value = noise * ratio / (scale * rank**0.5)
        parameter.data.copy_(value)  # in place: tied factors share storage
    for name, parameter in model.named_parameters():
        if "lora_" in name and dtype != "f32":
            parameter.data = parameter.data.to(models.TORCH_DTYPES[dtype])


def tie_factors(wrapped):
    """Give the head the embedding's factors: with a bfloat16 base PEFT 0.21.2 ties them at first only."""
    modules = dict(wrapped.named_modules())
    embedding = modules["base_model.model.model.embed_tokens"]
    head = modules["base_model.model.lm_head"]
    head.lora_A["default"].weight.data.copy_(embedding.lora_embedding_B["default"].data.T.clone())
    head.lora_B["default"].weight.data.copy_(embedding.lora_embedding_A["default"].data.T.clone())


def neutralise(directory):
    """Make what PEFT saved reproducible: no local path, sets in order, no model card."""
    (directory / "README.md").unlink(missing_ok=True)
    path = directory / "adapter_config.json"
    config = json.loads(path.read_text())
    config["base_model_name_or_path"] = "base"
    for key in SETS:
        if isinstance(config.get(key), list):
            config[key] = sorted(config[key])
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def make_adapter(case, settings, size, base, directory, dtype, seed):
    """Wrap the base on disk, fill the adapter with random values and save it; returns its parameter count."""
    example = case.model(size)
    model = models.load(example, base, dtype)
    if case.prepare:
        case.prepare(model, size)
    torch.manual_seed(seed)
    wrapped = get_peft_model(model, LoraConfig(**json.loads(json.dumps(settings))))
    fill(wrapped, seed, case.adapter_dtype, case.ratio)
    if settings.get("ensure_weight_tying") and not settings.get("modules_to_save"):
        tie_factors(wrapped)
    wrapped.save_pretrained(directory)
    neutralise(directory)
    return sum(p.numel() for n, p in wrapped.named_parameters() if ".lora_" in n and "default" in n)


def peft_model(case, example, size, base, adapters):
    """The base with all adapters at their weights, in float64, unmerged."""
    model = models.load(example, base, "f64")
    if case.prepare:
        case.prepare(model, size)
    wrapped = PeftModel.from_pretrained(model, adapters[0], adapter_name="a0")
    for i, directory in enumerate(adapters[1:], start=1):
        wrapped.load_adapter(directory, adapter_name=f"a{i}")
    wrapped.base_model.set_adapter([f"a{i}" for i in range(len(adapters))])
    for module in wrapped.modules():
        for i, weight in enumerate(case.weights):
            if isinstance(module, LoraLayer) and f"a{i}" in module.scaling:
                module.scaling[f"a{i}"] *= weight
    wrong = [n for n, p in wrapped.named_parameters() if p.is_floating_point() and p.dtype != torch.float64]
    assert not wrong, f"not float64: {wrong}"
    return wrapped.eval()


def compare_with_peft(case, merged, wrapped, base, scratch):
    """PEFT's merged weights against the formula's, to 1e-12 of the largest value."""
    models.save(wrapped.merge_and_unload(), scratch, "f64", fused=case.fused)
    theirs = read_checkpoint(scratch)
    before = read_checkpoint(base)
    assert set(merged.values) <= set(theirs), set(merged.values) - set(theirs)
    for name, stored in theirs.items():
        ours = merged.values.get(name)
        if ours is None:
            assert np.array_equal(stored.values, before[name].values), f"{case.name}: PEFT changed {name}"
            continue
        worst = np.abs(stored.values - ours).max() / np.abs(ours).max()
        assert stored.shape == ours.shape and worst <= 1e-12, f"{case.name}: {name} differs by {worst}"


def write_output(built, directory, dtype):
    """The expected output model, each changed tensor in `dtype`, as one checkpoint."""
    directory.mkdir(parents=True, exist_ok=True)
    tensors = {n: (s.dtype, s.shape, s.data) for n, s in read_checkpoint(built.base).items()}
    for name, value in built.merged.values.items():
        wanted = {"f64": ("F64", "<f8"), "f32": ("F32", "<f4")}[dtype]
        tensors[name] = (wanted[0], value.shape, value.astype(wanted[1]).tobytes())
    write_file(directory / "model.safetensors", tensors, {"format": "pt"})
    config = json.loads((built.base / "config.json").read_text())
    config.update(built.merged.config)
    (directory / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def compare_logits(case, built, size, scratch):
    """The function of the expected weights against the unmerged PEFT model's."""
    write_output(built, scratch, "f64")
    example = case.model(size)
    if case.prepare:
        case.prepare(example, size)
    if not built.merged.tied and hasattr(example, "config"):
        example.config.tie_word_embeddings = False
    ours = models.outputs(models.load(example, scratch, "f64"), built.inputs)
    worst = (ours - built.logits).abs().max() / built.logits.abs().max()
    assert worst < 1e-5, f"{case.name}: logits differ by {worst}"


def build(case, dtype, size, directory, scratch, seed=0):
    """Make base and adapters of one case below `directory`; assert that formula and PEFT agree."""
    start = seed_of(case.name, seed)
    example = models.randomise(case.model(size), start)
    base = directory / "base"
    models.save(example, base, dtype, case.shard, case.fused)
    adapters, parameters = [], []
    for i, settings in enumerate(case.lora):
        adapters.append(directory / ("adapter" if i == 0 else f"adapter{i + 1}"))
        parameters.append(make_adapter(case, settings, size, base, adapters[-1], dtype, start + i + 1))
    pairs = list(zip(adapters, case.weights, strict=True))
    merged = reference.merge(base, pairs)
    inputs = models.example_inputs(example, size)
    wrapped = peft_model(case, case.model(size), size, base, adapters)
    built = Built(base, adapters, merged, models.outputs(wrapped, inputs), inputs, parameters, example)
    if case.check == "merge":
        compare_with_peft(case, merged, wrapped, base, scratch / "peft")
    compare_logits(case, built, size, scratch / "expected")
    if case.edit:
        built.rename = case.edit(base, adapters, size)
        again = reference.merge(base, pairs)
        for name, value in merged.values.items():
            assert np.array_equal(again.values[built.rename(name)], value), f"{case.name}: {name} after renaming"
        built.merged = again
    return built
