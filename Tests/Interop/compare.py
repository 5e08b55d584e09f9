"""Comparing a merged checkpoint with what it should be."""

import json

import models
import numpy as np
import torch
from safetensors import safe_open
from tensorfile import read_checkpoint, round_to


def _ordered(bits):
    """Bit patterns as integers whose difference counts representable values in between."""
    width = bits.dtype.itemsize * 8
    wide = bits.astype(np.int64) if width < 64 else bits.view(np.int64)
    sign = np.int64(1) << (width - 1) if width < 64 else None
    if sign is None:
        return wide
    return np.where(wide & sign, -(wide & (sign - 1)), wide)


def weights(tally, label, built, output):
    """Every tensor: untouched ones byte for byte, merged ones against the exact value rounded once."""
    base, merged = read_checkpoint(built.base), built.merged
    found = read_checkpoint(output)
    wanted = set(base) | set(merged.added)
    tally.check(set(found) == wanted, f"{label}: tensor names", f"differ: {sorted(set(found) ^ wanted)[:5]}")
    copied = [n for n in base if n not in merged.values and n in found and found[n].data != base[n].data]
    tally.check(not copied, f"{label}: untouched tensors are byte-identical", f"changed: {copied[:5]}")
    for name, exact in merged.values.items():
        if name not in found:
            tally.check(False, f"{label}: {name} is missing")
            continue
        stored = found[name]
        if name in base:
            tally.check(stored.dtype == base[name].dtype, f"{label}: {name} keeps its dtype", stored.dtype)
        if not tally.check(stored.shape == exact.shape, f"{label}: {name} has its shape", str(stored.shape)):
            continue
        _tensor(tally, f"{label}: {name}", stored, exact)


def _tensor(tally, label, stored, exact):
    rounded = round_to(exact, stored.dtype)
    apart = np.abs(_ordered(stored.bits) - _ordered(rounded))
    inexact = int((apart != 0).sum())
    tally.rounding(stored.dtype, exact.size, inexact)
    if stored.dtype in ("F32", "F64"):
        worst = np.abs(stored.values - exact).max() / np.abs(exact).max()
        tally.check(worst <= 1e-6, f"{label} within 1e-6 of the largest weight", f"{worst:.3g}")
        return
    allowed = 1 + exact.size * (5e-3 if stored.dtype.startswith("F8") else 5e-4)
    detail = f"{inexact} of {exact.size} elements, at most {apart.max()} units apart"
    tally.check(apart.max() <= 1 and inexact <= allowed, f"{label} rounded once", detail)


def containers(tally, label, output):
    """The reference library opens every file, and the index tells the truth."""
    files = sorted(output.glob("*.safetensors"))
    index = output / "model.safetensors.index.json"
    try:
        inside = {}
        for path in files:
            with safe_open(str(path), "pt") as opened:
                for name in opened.keys():
                    opened.get_tensor(name)
                    inside[name] = path.name
        tally.check(bool(files), f"{label}: safetensors opens the output")
    except Exception as error:  # noqa: BLE001 any refusal is a failure
        tally.check(False, f"{label}: safetensors opens the output", str(error))
        return
    if index.exists():
        document = json.loads(index.read_text())
        size = sum(len(s.data) for s in read_checkpoint(output).values())
        tally.check(document["weight_map"] == inside, f"{label}: the index maps every tensor")
        tally.check(document["metadata"]["total_size"] == size, f"{label}: total_size is the sum of all tensors")
    else:
        tally.check(len(files) == 1, f"{label}: several shards need an index")


def config(tally, label, built, output):
    """config.json is the base's with the changes that the merge needs."""
    before = json.loads((built.base / "config.json").read_text())
    after = json.loads((output / "config.json").read_text())
    wanted = before | built.merged.config
    differ = sorted(k for k in set(wanted) | set(after) if wanted.get(k) != after.get(k))
    tally.check(not differ, f"{label}: config.json", f"differs in {differ}")


def loading(tally, label, built, output, example, tolerance):
    """transformers loads the output without missing or unexpected keys, and it computes what base + adapter does."""
    if models.is_hub(example):
        auto = type(example)
        loaded, about = auto.from_pretrained(str(output), dtype="auto", output_loading_info=True)
        odd = {k: sorted(v)[:3] for k, v in about.items() if v and k != "error_msgs"}
        tally.check(not odd, f"{label}: from_pretrained has no missing or unexpected keys", str(odd))
        del loaded
    if tolerance is None:
        return
    ours = models.outputs(models.load(example, output, "f64"), built.inputs)
    worst = float((ours - built.logits).abs().mean() / built.logits.abs().mean())
    tally.check(worst <= tolerance, f"{label}: logits of base + adapter", f"mean difference {worst:.3g}")
    if not torch.isfinite(ours).all():
        tally.check(False, f"{label}: finite logits")


def same_files(tally, label, first, second):
    """Two output directories hold the same files, byte for byte."""
    names = {p.relative_to(first) for p in first.rglob("*") if p.is_file()}
    other = {p.relative_to(second) for p in second.rglob("*") if p.is_file()}
    differ = sorted(str(n) for n in names ^ other)
    differ += sorted(str(n) for n in names & other if (first / n).read_bytes() != (second / n).read_bytes())
    tally.check(not differ, f"{label}: same bytes", f"differ: {differ[:4]}")
