"""Looking at what adapter-extract made from all sides."""

import json
import re
import shutil

import combine_checks as checks
import models
import numpy as np
import reference
from combine_oracle import dropped, spectrum
from tensorfile import read_checkpoint

# An adapter has one pair of factors for what PEFT joins in memory, so these are approximated together.
JOINED = re.compile(r"(?<=\.experts\.)(\d+\.)(w1|w3|gate_proj|up_proj)\.weight$")
EMBEDDINGS = ("embed_tokens", "embed_in", "_embeddings.", "shared.", "wte.", "wpe.", "relative_attention_bias")


def extract(tools, base, tuned, output, *options, cpu=None):
    """`adapter-extract`."""
    return tools.run("adapter-extract", base, tuned, "-o", output, *options, cpu=cpu)


def made(tally, tools, label, base, tuned, output, *options, cpu=None):
    """Run `adapter-extract` over what may be there; whether it succeeded."""
    shutil.rmtree(output, ignore_errors=True)
    answer = extract(tools, base, tuned, output, *options, cpu=cpu)
    fine = answer.code == 0 and (output / "adapter_model.safetensors").exists()
    return tally.check(fine, f"{label}: adapter-extract", f"exit {answer.code}: {answer.text}")


def changes(base, tuned):
    """The tensors that differ, as {name: (before, after)}."""
    before, after = read_checkpoint(base), read_checkpoint(tuned)
    return {n: (before[n].values, s.values) for n, s in after.items() if n in before and s.data != before[n].data}


def matrices(name, delta):
    """What is approximated by one product of factors each: the experts of a fused tensor, or all of it as a matrix."""
    return list(delta) if delta.ndim == 3 and ".experts." in name else [delta.reshape(len(delta), -1)]


def approximates(tally, label, changed, merged, rank, bits, whole):
    """Each changed tensor is as near to the tuned one as the best matrix of its rank; saved ones are it exactly.

    `rank` gives each matrix its rank by its spectrum; `bits` is the rounding of the factors.
    """
    groups = {}
    for name, (before, after) in changed.items():
        found = merged.get(name, before)
        if after.ndim == 1 or any(w in name for w in EMBEDDINGS) or any(w in name for w in whole):
            tally.check(np.array_equal(found, after), f"{label}: {name} is saved whole")
            continue
        groups.setdefault(JOINED.sub(r"\1w", name), []).append((after - before, found - before))
    for name, parts in groups.items():
        target, result = (np.concatenate([p[i] for p in parts]) for i in (0, 1))
        least = np.sqrt(sum(dropped(s, rank(s)) ** 2 for s in map(spectrum, matrices(name, target))))
        error, norm = np.linalg.norm(target - result), np.linalg.norm(target)
        allowed = 1.01 * least + bits * norm
        tally.check(error <= allowed, f"{label}: {name}", f"{error / norm:.6g} of the norm, the optimum is {least / norm:.6g}")


def untouched(tally, label, changed, merged):
    """What did not change is no part of the adapter."""
    tied = ("lm_head.", "cls.predictions.decoder.", "encoder.embed_tokens.", "decoder.embed_tokens.")  # have it by name only
    odd = sorted(n for n in merged if n not in changed and not n.startswith(tied))
    tally.check(not odd, f"{label}: unchanged modules are left out", str(odd[:4]))


def reported(tally, label, base, changed, output, merged, document):
    """The report's norms and errors are numpy's, of the factors as stored."""
    about = reference.Base(base)
    told = {"schema": document.get("schema"), "version": document.get("version")}
    tally.check(told == {"schema": "adapterkit.extract", "version": 1}, f"{label}: schema", str(told))
    modules = reference.Adapter(output).modules
    plain = [m for m in document["modules"] if m["path"] in modules and ".experts" not in m["path"]]
    tally.check(bool(document["modules"]) == bool(modules), f"{label}: reports modules")
    for told in plain:
        name = about.resolve(told["path"] + ".weight")
        if name not in changed:
            tally.check(False, f"{label}: reports {told['path']}, which did not change")
            continue
        before, after = changed[name]
        target, result = (x - before for x in (after, merged[name]))
        values, norm = spectrum(target.reshape(len(target), -1)), np.linalg.norm(target)
        error, kept = np.linalg.norm(target - result) / norm, told["rank"]
        energy = (values[:kept] ** 2).sum() / (values**2).sum()
        largest = values[kept] if kept < len(values) else 0.0
        wanted = {
            "norm": (norm, 1e-6 * norm),
            "relative_error": (error, 1e-3 * error + 1e-9),
            "retained_energy": (energy, 1e-2 * (1 - energy) + 1e-6),
            "largest_error": (largest, 0.1 * largest + 1e-6 * values[0]),
        }
        wrong = [f"{k}: {told[k]!r}, not {v!r}" for k, (v, e) in wanted.items() if not abs(told[k] - v) <= e]
        tally.check(not wrong, f"{label}: {told['path']}: report", "; ".join(wrong))


def lists(tally, label, base, changed, listed, words):
    """The report names what was saved whole, or left out, by its name in the checkpoint or in memory."""
    text = json.dumps(listed)
    for pattern, stored in reference.STORED_AS.get(reference.Base(base).kind, []):
        text += re.sub(pattern.replace("^", '"'), '"' + stored if "^" in pattern else stored, text)
    due = [n for n in changed if any(w in n for w in words)]
    absent = [n for n in due if n.rpartition(".")[0] not in text and n not in text]
    tally.check(due and not absent, f"{label}: lists them", f"absent: {absent[:4]} in {text[:300]}")


def merges(tally, tools, item, size, base, tuned, changed, merged, output, scratch):
    """adapter-merge BASE OUT is as near to the tuned model as the factors are; where these are exact, in its logits too."""
    label = item.name
    answer = tools.merge(base, [(output, 1.0)], scratch)
    if not tally.check(answer.code == 0, f"{label}: adapter-merge", f"exit {answer.code}: {answer.text}"):
        return
    found = read_checkpoint(scratch)
    for name, (before, after) in changed.items():
        error = np.linalg.norm(found[name].values - after)
        unit = {"F32": 2**-24, "F64": 2**-53, "BF16": 2**-9, "F16": 2**-12}[found[name].dtype]
        allowed = 1.001 * np.linalg.norm(merged.get(name, before) - after) + 2 * unit * np.linalg.norm(after)
        tally.check(error <= allowed, f"{label}: merged {name}", f"is {error:.6g} away, may be {allowed:.6g}")
    if item.exact:
        inputs = models.example_inputs(item.model(size), size)
        ours, theirs = (models.outputs(models.load(item.model(size), d, "f64"), inputs) for d in (scratch, tuned))
        worst = float((ours - theirs).abs().max() / theirs.abs().max())
        tally.check(worst <= 1e-4, f"{label}: logits of the merged model", f"differ by {worst:.3g}")
    shutil.rmtree(scratch, ignore_errors=True)


def loads(tally, item, size, base, tuned, merged, output, scratch):
    """PEFT loads it, and base + adapter answers as the tuned model (or as the merge of what is stored, where that loses)."""
    wanted = tuned if item.exact else checks.written(base, merged, scratch)
    checks.loads(tally, item.name, item.model, size, base, output, wanted, tolerance=1e-4 if item.exact else 1e-5)
