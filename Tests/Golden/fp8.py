"""Golden cases with 8-bit float bases: plain, with one scale for each tensor, with a scale for each block."""

import json
import shutil
from pathlib import Path

import build
import cases
import models
import numpy as np
import reference
import tensorfile
import torch

SIZE = models.Size(hidden=24, inter=20, layers=1, heads=2, kv=1, vocab=16)
TARGETS = ["q_proj", "v_proj", "down_proj"]
BLOCK = 16
KINDS = {
    "fp8-block": ("F8_E4M3", "block", "F8_E4M3 with `weight_scale_inv` for blocks of 16x16, the last ones partial"),
    "fp8-tensor": ("F8_E4M3", "tensor", "F8_E4M3 with one `weight_scale` for each tensor"),
    "fp8-e4m3": ("F8_E4M3", None, "F8_E4M3 without scales"),
    "fp8-e5m2": ("F8_E5M2", None, "F8_E5M2 without scales"),
}


def _scales(values, kind):
    """The factor for each element, and the tensor of scales to store."""
    if kind == "tensor":
        scale = np.float32(np.abs(values).max() / 448)
        return np.full(values.shape, float(scale)), np.array(scale, "<f4")
    rows, columns = (-(-n // BLOCK) for n in values.shape)
    stored = np.empty((rows, columns), "<f4")
    for i in range(rows):
        for j in range(columns):
            block = values[i * BLOCK : (i + 1) * BLOCK, j * BLOCK : (j + 1) * BLOCK]
            stored[i, j] = np.abs(block).max() / 448
    factor = np.repeat(np.repeat(stored.astype(np.float64), BLOCK, 0), BLOCK, 1)
    return factor[: values.shape[0], : values.shape[1]], stored


def quantise(base, dtype, kind):
    """Turn the linear weights of a bfloat16 checkpoint into 8-bit floats, in place."""
    tensors = {}
    for name, stored in tensorfile.read_checkpoint(base).items():
        if not name.endswith("_proj.weight"):
            tensors[name] = (stored.dtype, stored.shape, stored.data)
            continue
        values = stored.values
        if kind:
            factor, scales = _scales(values, kind)
            values = values / factor
            suffix = "_scale_inv" if kind == "block" else "_scale"
            tensors[name + suffix] = ("F32", scales.shape, scales.tobytes())
        tensors[name] = (dtype, stored.shape, tensorfile.round_to(values, dtype).tobytes())
    tensorfile.write_file(base / "model.safetensors", tensors, {"format": "pt"})
    if kind:
        path = base / "config.json"
        config = json.loads(path.read_text())
        quantisation = {"activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8"}
        if kind == "block":
            quantisation["weight_block_size"] = [BLOCK, BLOCK]
        config["quantization_config"] = quantisation
        path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def check_rounding(values, codes, dtype):
    """Our 8-bit rounding against torch's."""
    kind = torch.float8_e4m3fn if dtype == "F8_E4M3" else torch.float8_e5m2
    limit = torch.finfo(kind).max
    theirs = torch.from_numpy(values.astype(np.float32)).clamp(-limit, limit).to(kind).view(torch.uint8).numpy()
    assert np.array_equal(theirs, codes), "float8 rounding differs from torch's"


def make(name, directory):
    """Write one case into `directory`; returns what `case.json` says."""
    dtype, kind, about = KINDS[name]
    case = cases.Case(name, about, models.llama, lora=({"r": 4, "lora_alpha": 8, "target_modules": TARGETS},))
    seed = build.seed_of(name)
    base, adapter = directory / "base", directory / "adapter"
    models.save(models.randomise(models.llama(SIZE), seed), base, "bf16")
    count = build.make_adapter(case, case.lora[0], SIZE, base, adapter, "bf16", seed + 1)
    quantise(base, dtype, kind)
    merged = reference.merge(base, [(adapter, 1.0)])
    rounded = {}
    for tensor, values in merged.values.items():
        codes = tensorfile.round_to(values, dtype)
        check_rounding(values, codes, dtype)
        rounded[tensor] = (dtype, values.shape, codes.tobytes())
    exact = {n: ("F64", v.shape, v.astype("<f8").tobytes()) for n, v in merged.values.items()}
    tensorfile.write_file(directory / "expected.safetensors", exact)
    tensorfile.write_file(directory / "expected-rounded.safetensors", rounded)
    return {
        "name": name,
        "description": about,
        "model": "LlamaForCausalLM",
        "base_dtype": dtype.lower(),
        "adapter_dtype": "f32",
        "adapters": [{"path": "adapter", "weight": 1.0, "lora_parameters": count}],
        "tied": False,
        "tied_after": False,
        "changed": sorted(merged.values),
        "added": [],
        "config_changes": {},
        "checked_against": "rounding by torch; PEFT cannot merge into 8-bit floats",
        "note": "expected.safetensors holds (base * scale + delta) / scale with the base's own scale, before rounding;"
        " expected-rounded.safetensors the same to nearest even, saturating at the largest finite value",
        "experts_on_disk": None,
    }


def make_all(target, scratch, versions, only=""):
    """All the 8-bit cases; yields (name, directory)."""
    for name in KINDS:
        if only not in name:
            continue
        made = Path(scratch) / name
        description = make(name, made) | {"versions": versions}
        (made / "case.json").write_text(json.dumps(description, indent=2) + "\n")
        for path in made.rglob("*.safetensors"):
            path.chmod(0o644)
        shutil.rmtree(target / name, ignore_errors=True)
        target.mkdir(parents=True, exist_ok=True)
        shutil.move(made, target / name)
        yield name, target / name
