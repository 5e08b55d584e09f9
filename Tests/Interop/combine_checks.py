"""Looking at what adapter-combine made from all sides."""

import json
import shutil
from types import SimpleNamespace

import build
import compare
import models
import numpy as np
import reference
from combine_oracle import PREFIX, carried, deltas, dropped, parameter_of, spectrum
from peft import PeftModel, get_peft_model_state_dict
from safetensors import safe_open
from tensorfile import read_checkpoint, read_file

FLOAT32 = 2e-7  # what rounding the factors to float32 may add, relative to the delta
FLOAT64 = 1e-12


def combine(tools, method, pairs, output, *options, cpu=None):
    """`adapter-combine`, with weights where they are not 1."""
    named = [str(path) if weight == 1.0 else f"{path}:{weight!r}" for path, weight in pairs]
    return tools.run("adapter-combine", method, *named, "-o", output, *options, cpu=cpu)


def made(tally, tools, label, method, pairs, output, *options, cpu=None):
    """Run `adapter-combine` over what may be there; whether it succeeded."""
    shutil.rmtree(output, ignore_errors=True)
    answer = combine(tools, method, pairs, output, *options, cpu=cpu)
    fine = answer.code == 0 and (output / "adapter_model.safetensors").exists()
    return tally.check(fine, f"{label}: adapter-combine", f"exit {answer.code}: {answer.text}")


def same_deltas(tally, label, found, wanted, tolerance=1e-6):
    """Each delta within `tolerance` of its largest element; a module may lack only where nothing is due."""
    absent = [p for p in wanted if p not in found and np.abs(wanted[p]).max() > 0]
    tally.check(not absent, f"{label}: all modules are there", f"absent: {absent[:4]}")
    odd = [p for p in found if p not in wanted and np.abs(found[p]).max() > 0]
    tally.check(not odd, f"{label}: no other modules", f"there: {odd[:4]}")
    errors = {p: apart(found[p], wanted[p]) for p in wanted if p in found}
    worst = max(errors, key=errors.get, default=None)
    fine = worst is None or errors[worst] <= tolerance
    return tally.check(fine, f"{label}: deltas", f"{worst} differs by {errors.get(worst, 0):.3g} of the largest value")


def apart(found, wanted):
    """The largest difference, relative to the largest wanted value."""
    if found.shape != wanted.shape:
        return np.inf
    worst = np.abs(found - wanted).max()
    return float(worst / np.abs(wanted).max()) if worst > 0 else 0.0


def directory(tally, label, output, per_module=False):
    """The files of an adapter, a config that PEFT takes, and factors of the rank that the config gives."""
    names = sorted(p.name for p in output.iterdir())
    tally.check(names == ["adapter_config.json", "adapter_model.safetensors"], f"{label}: files", str(names))
    with safe_open(str(output / "adapter_model.safetensors"), "np") as opened:
        tally.check((opened.metadata() or {}).get("format") == "pt", f"{label}: metadata", str(opened.metadata()))
    adapter = reference.Adapter(output)
    config = adapter.config
    plain = config.get("peft_type") == "LORA" and not config.get("use_rslora") and not config.get("use_dora")
    tally.check(plain, f"{label}: a plain LoRA config", json.dumps(config)[:400])
    if not per_module:
        patterns = [k for k in ("rank_pattern", "alpha_pattern") if config.get(k)]
        tally.check(not patterns, f"{label}: no patterns", str(patterns))
    wrong = [m for m, parts in adapter.modules.items() if not _fits(adapter, m, parts)]
    tally.check(not wrong, f"{label}: factors have the rank of the config", str(wrong[:4]))


def _fits(adapter, module, parts):
    if not {"lora_A", "lora_embedding_A"} & set(parts):
        return True
    a, b = (parts.get(k, parts.get(k.replace("lora_", "lora_embedding_"))) for k in ("lora_A", "lora_B"))
    path, experts = module.replace(".base_layer", ""), 1
    if adapter.config.get("target_parameters") and ".experts" in module:
        path = parameter_of(adapter, module)
        experts = a.shape[0] // adapter.rank(path)
    return a.shape[0] == b.shape[1] == experts * adapter.rank(path) > 0


def carries(tally, label, adapters, output):
    """Saved modules, biases and rows of tokens come along as stored; copies of the base's embeddings may."""
    wanted = {}
    for path in adapters:
        wanted |= carried(path)
    found = carried(output)
    wrong = [n for n in found if wanted.get(n) != found[n]]
    absent = [n for n in wanted if n not in found and ".base_layer.weight" not in n]
    tally.check(not wrong and not absent, f"{label}: other tensors come along", f"wrong {wrong[:3]}, absent {absent[:3]}")


def written(base, merged, scratch):
    """The model that `merged` describes, as a float64 checkpoint."""
    shutil.rmtree(scratch, ignore_errors=True)
    build.write_output(SimpleNamespace(base=base, merged=merged), scratch, "f64")
    return scratch


def loads(tally, label, make, size, base, output, wanted=None, tolerance=1e-5):
    """PEFT loads the adapter with no missing or unexpected key, and base + adapter answers as the `wanted` checkpoint."""
    example = make(size)
    model = models.load(example, base, "f64")
    wrapped = PeftModel.from_pretrained(model, output).eval()
    answer = wrapped.load_adapter(output, "default")  # says what from_pretrained keeps to itself
    odd = f"missing {answer.missing_keys[:3]}, unexpected {answer.unexpected_keys[:3]}"
    tally.check(not answer.missing_keys and not answer.unexpected_keys, f"{label}: PEFT's keys", odd)
    there = set(read_file(output / "adapter_model.safetensors"))
    needed = set(get_peft_model_state_dict(wrapped, save_embedding_layers=False))
    # The base's own embeddings and biases are no part of the adapter, and may be there or not.
    absent = sorted(k for k in needed - there if ".lora_" in k or not k.endswith(".bias"))
    odd = sorted(k for k in there - needed if not k.endswith(".base_layer.weight"))
    detail = f"absent {absent[:3]}, odd {odd[:3]}"
    tally.check(not absent and not odd, f"{label}: the file has what PEFT would save", detail)
    if wanted is None:
        return
    inputs = models.example_inputs(example, size)
    ours, theirs = models.outputs(wrapped, inputs), models.outputs(models.load(make(size), wanted, "f64"), inputs)
    plain = models.outputs(models.load(make(size), base, "f64"), inputs)
    tally.check(not bool((plain == theirs).all()), f"{label}: the adapter does something")
    worst = float((ours - theirs).abs().max() / theirs.abs().max())
    tally.check(worst <= tolerance, f"{label}: logits of the base with the summed deltas", f"differ by {worst:.3g}")


def merges(tally, tools, label, base, pairs, output, scratch):
    """BASE with the result merged is BASE with the adapters merged."""
    answers = [tools.merge(base, [(output, 1.0)], scratch / "one"), tools.merge(base, pairs, scratch / "all")]
    failed = [f"exit {a.code}: {a.text}" for a in answers if a.code]
    if tally.check(not failed, f"{label}: adapter-merge", "; ".join(failed)):
        same_weights(tally, label, *(read_checkpoint(scratch / n) for n in ("one", "all")))
    for name in ("one", "all"):
        shutil.rmtree(scratch / name, ignore_errors=True)


def same_weights(tally, label, found, wanted):
    """Two checkpoints: float32 to 1e-6 of the largest weight, shorter floats bit by bit in 99.99 % of all elements."""
    if not tally.check(set(found) == set(wanted), f"{label}: merged names", str(sorted(set(found) ^ set(wanted))[:4])):
        return
    elements, differ, worst = 0, 0, 0.0
    for name, stored in wanted.items():
        if stored.dtype in ("F32", "F64"):
            worst = max(worst, apart(found[name].values, stored.values))
        else:
            elements += stored.bits.size
            differ += int((found[name].bits != stored.bits).sum())
    tally.check(worst <= 1e-6, f"{label}: merged weights", f"differ by {worst:.3g} of the largest")
    tally.check(differ <= 1e-4 * elements, f"{label}: merged weights, bit by bit", f"{differ} of {elements} differ")


def verifies(tally, tools, label, base, output):
    """adapter-verify accepts the result, and takes it for no other."""
    answer = tools.run("adapter-verify", base, output, "--deep")
    tally.check(answer.code == 0, f"{label}: adapter-verify", f"exit {answer.code}: {answer.text}")


def optimal(tally, label, target, output, rank, rounding=FLOAT32):
    """No module is further from its target than the best matrix of this rank, but for the rounding of the factors.

    `rank` is one number, or a rank for each path.
    """
    found = deltas(output)
    for path, matrix in target.items():
        here = f"{label}: {path}"
        own = rank if isinstance(rank, int) else rank[path]
        norm = np.linalg.norm(matrix)
        result = found.get(path, np.zeros_like(matrix))
        error, least = np.linalg.norm(matrix - result), dropped(spectrum(matrix), own)
        allowed = least * (1 + 1e-5) + rounding * norm
        more = (error - least) / norm if norm else error
        tally.check(error <= allowed, f"{here} at rank {own}", f"{more:.3g} of the norm above the optimum {least:.6g}")


def reported(tally, label, target, output, document, loose=1.0):
    """The report's numbers are those of numpy, taken from the stored factors.

    `loose` stretches what is allowed for numbers that an iteration gives; errors are measured, so these must be right.
    """
    found = deltas(output)
    modules = {m["path"]: m for m in document["modules"]}
    tally.check(set(modules) == set(target), f"{label}: reported modules", str(sorted(set(modules) ^ set(target))[:4]))
    for path in sorted(set(modules) & set(target)):
        told, matrix = modules[path], target[path]
        values, norm = spectrum(matrix), np.linalg.norm(matrix)
        if norm == 0:
            tally.check(told["norm"] == 0 and told["relative_error"] == 0, f"{label}: {path}: nothing", str(told))
            continue
        rank, result = told["rank"], found.get(path, np.zeros_like(matrix))
        error = np.linalg.norm(matrix - result) / norm
        energy = (values[:rank] ** 2).sum() / (values**2).sum()
        largest = values[rank] if rank < len(values) else 0.0
        wanted = {
            "norm": (norm, 1e-7 * norm),
            "relative_error": (error, 1e-4 * error + 1e-12),
            "retained_energy": (energy, 1e-9 * loose),
            "largest_error": (largest, 1e-5 * largest * loose**0.5 + 1e-7 * values[0]),
        }
        wrong = [f"{k}: {told[k]!r}, not {v!r}" for k, (v, e) in wanted.items() if not abs(told[k] - v) <= e]
        tally.check(not wrong, f"{label}: {path}: report", "; ".join(wrong))


def same_directories(tally, label, first, second, alike=True):
    """Two results are byte by byte the same (or, if not `alike`, differ in their tensors)."""
    if alike:
        compare.same_files(tally, label, first, second)
        return
    one, two = ((d / "adapter_model.safetensors").read_bytes() for d in (first, second))
    tally.check(one != two, f"{label}: other bytes")


def tensors(output):
    """What the adapter stores, without the metadata, which names the inputs."""
    stored = read_file(output / "adapter_model.safetensors")
    return {name: (s.dtype, s.shape, s.data) for name, s in stored.items()}


def key(path, half):
    """The name of a linear module's factor in the file."""
    return f"{PREFIX}{path}.lora_{half}.weight"
