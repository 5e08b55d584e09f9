"""The methods that PEFT has as well: the same result where PEFT's is right, and the right one where it is not."""

import functools
import json

import combine_cases
import combine_checks as checks
import models
import numpy as np
import reference
import torch
from combine_oracle import deltas, dense, factors, outcomes, total
from peft import PeftModel

WEIGHTS = [(1.0, -0.6), (0.7, 0.4)]
SIGNS = ("total", "frequency")
# Model, and the LoraConfigs of adapters of one rank: PEFT asks for that.
SETS = {
    "llama": (models.llama, ({"target_modules": ["q_proj", "v_proj", "up_proj"], "r": 4, "lora_alpha": 8},
                             {"target_modules": ["q_proj", "up_proj", "o_proj"], "r": 4, "lora_alpha": 2})),
    "gpt2": (models.gpt2, ({"target_modules": ["c_attn", "c_proj"], "r": 3, "lora_alpha": 6, "fan_in_fan_out": True},
                           {"target_modules": ["c_attn", "c_fc"], "r": 3, "lora_alpha": 4, "fan_in_fan_out": True})),
    "conv2d": (functools.partial(models.ConvNet, dims=2),
               ({"target_modules": ["first", "second", "third"], "r": 4, "lora_alpha": 8},
                {"target_modules": ["first", "second", "head"], "r": 4, "lora_alpha": 3})),
    "embedding": (models.llama, ({"target_modules": ["embed_tokens", "q_proj"], "r": 4, "lora_alpha": 8},
                                 {"target_modules": ["embed_tokens", "q_proj"], "r": 4, "lora_alpha": 5})),
}  # fmt: skip


def prepared(make, settings, size, directory, seed):
    """A base and its adapters."""
    base = directory / "base"
    models.save(models.randomise(make(size), seed), base, "f32")
    return base, [
        combine_cases.adapter(make, s, size, base, directory / f"adapter{i}", seed + i + 1) for i, s in enumerate(settings)
    ]


def peft(make, size, base, pairs, kind, output, **options):
    """What `add_weighted_adapter` makes in float64; returns its directory."""
    wrapped = PeftModel.from_pretrained(models.load(make(size), base, "f64"), pairs[0][0], adapter_name="a0")
    for i, (path, _) in enumerate(pairs[1:], start=1):
        wrapped.load_adapter(path, adapter_name=f"a{i}")
    names, weights = [f"a{i}" for i in range(len(pairs))], [w for _, w in pairs]
    torch.manual_seed(0)
    wrapped.add_weighted_adapter(names, weights, "combined", kind, **options)
    wrapped.save_pretrained(output, selected_adapters=["combined"])
    return output / "combined"


def same_factors(tally, label, found, wanted):
    """Both directories hold the same A and B to the rounding of float32, with scale 1."""
    ours, theirs = reference.Adapter(found), reference.Adapter(wanted)
    if not tally.check(set(ours.modules) == set(theirs.modules), f"{label}: modules", str(sorted(ours.modules)[:5])):
        return
    worst = 0.0
    for module, parts in theirs.modules.items():
        scaled = ours.scale(module)
        tally.check(scaled == 1.0, f"{label}: {module} has scale 1", str(scaled))
        for mine, other in zip(factors(ours.modules[module]), factors(parts), strict=True):
            worst = max(worst, checks.apart(mine, other))
    tally.check(worst <= 1e-6, f"{label}: factors", f"differ by {worst:.3g} of the largest")


def methods():
    """PEFT's kind, its options, our method and options, and whether the factors themselves must agree."""
    yield "cat", {}, "stack", [], False
    yield "svd", {"svd_rank": 3}, "svd", ["--rank", 3], False
    yield "linear", {}, "factor-linear", [], True
    for density in (0.3, 0.75, 1.0):
        given = ["--density", density]
        yield "magnitude_prune", {"density": density}, "magnitude-prune", [*given, "--on", "factors"], True
        yield "magnitude_prune_svd", {"density": density}, "magnitude-prune", given, False
        for sign in SIGNS:
            options, more = {"density": density, "majority_sign_method": sign}, [*given, "--sign", sign]
            yield "ties", options, "ties", [*more, "--on", "factors"], True
            yield "ties_svd", options, "ties", [*more, "--on", "deltas"], False
    # With density 1 nothing is dropped at random.
    yield "dare_linear", {"density": 1.0}, "dare-linear", ["--density", 1, "--on", "factors"], True
    yield "dare_linear_svd", {"density": 1.0}, "dare-linear", ["--density", 1], False
    for sign in SIGNS:
        options, more = {"density": 1.0, "majority_sign_method": sign}, ["--density", 1, "--sign", sign]
        yield "dare_ties", options, "dare-ties", [*more, "--on", "factors"], True
        yield "dare_ties_svd", options, "dare-ties", more, False


def reproduced(tally, tools, name, size, directory, seed, quick):
    """All of PEFT's methods on one set of adapters."""
    make, settings = SETS[name]
    base, adapters = prepared(make, settings, size, directory, seed)
    for number, (kind, options, method, given, exact) in enumerate(methods()):
        for weights in WEIGHTS[number % 2 :][:1] if quick else WEIGHTS:
            label = f"PEFT: {name} {kind} {options or ''} {weights}"
            pairs = list(zip(adapters, weights, strict=True))
            theirs, report = peft(make, size, base, pairs, kind, directory / "peft", **options), directory / "report.json"
            report.unlink(missing_ok=True)
            if not checks.made(tally, tools, label, method, pairs, directory / "out", *given, "--report", report):
                continue
            if exact:
                same_factors(tally, label, directory / "out", theirs)
            elif kind == "cat":
                checks.same_deltas(tally, label, deltas(directory / "out"), deltas(theirs))
            else:
                # Where singular values are close, two good truncations can be apart: so both are held to the optimum.
                target = dense(method, pairs, options.get("density", 1.0), options.get("majority_sign_method", "total"))
                rank = options.get("svd_rank", settings[0]["r"])
                checks.optimal(tally, f"{label}, PEFT's", target, theirs, rank)
                checks.optimal(tally, label, target, directory / "out", rank)
                document = json.loads(report.read_text())
                document["modules"] = [m for m in document["modules"] if m["path"] in target]
                checks.reported(tally, label, target, directory / "out", document, loose=1e5)
            if number % 5 == 0:
                checks.loads(tally, label, make, size, base, directory / "out")


def survivors(tally, label, tensors, weights, found, method, density, sign, loose):
    """Each element is one of the values that survival of some of the tensors gives; returns who survived."""
    choices = np.stack(list(outcomes(method, tensors, weights, density, sign)))
    errors = np.abs(choices - found)
    allowed = 1e-6 * np.abs(choices).max() if loose else 2e-7 * np.abs(choices)
    best = errors.argmin(0)
    fine = np.take_along_axis(errors, best[None], 0)[0] <= (allowed if loose else np.take_along_axis(allowed, best[None], 0)[0])
    tally.check(fine.all(), f"{label}: survivors are t / density", f"{int((~fine).sum())} of {fine.size} are not")
    return best


def share(tally, label, alive, density):
    """The share of survivors lies within 5 standard deviations of the density."""
    expected, deviation = density * alive.size, np.sqrt(alive.size * density * (1 - density))
    off = abs(int(alive.sum()) - expected) / deviation
    tally.check(off <= 5, f"{label}: share of survivors", f"{int(alive.sum())} of {alive.size}, {off:.1f} deviations off")


def dare(tally, tools, size, directory, seed):
    """Random drops: survivors are rescaled exactly, as many as the density says, and the seed decides which."""
    size = models.Size(**(vars(size) | {"hidden": 64, "inter": 80, "layers": 2, "heads": 4, "kv": 2}))
    leaves = ["q_proj", "o_proj", "up_proj"]
    settings = [{"target_modules": leaves, "r": 8, "lora_alpha": 8}, {"target_modules": leaves, "r": 8, "lora_alpha": 8}]
    _, adapters = prepared(models.llama, settings, size, directory, seed)
    weights = (1.0, -0.5)
    for where, rank in (("factors", []), ("deltas", ["--rank", 80])):
        for method, sign, density in (
            ("dare-linear", "total", 0.5), ("dare-linear", "total", 0.3), ("dare-ties", "total", 0.6),
            ("dare-ties", "frequency", 0.3),
        ):  # fmt: skip
            label = f"PEFT: {method} {sign} {density} on {where}"
            options = ["--density", density, "--on", where, "--sign", sign, *rank]
            pairs = list(zip(adapters, weights, strict=True))
            output = directory / "out"
            if not checks.made(tally, tools, label, method, pairs, output, *options, "--seed", 3):
                continue
            masks = drops(tally, label, pairs, output, method, density, sign, where == "deltas")
            tally.check(len({m.tobytes() for m in masks}) == len(masks), f"{label}: each tensor has its own drops")
            for other, alike in ((3, True), (4, False)):
                if checks.made(tally, tools, label, method, pairs, directory / "other", *options, "--seed", other):
                    checks.same_directories(tally, f"{label} seed {other}", output, directory / "other", alike)


def drops(tally, label, pairs, output, method, density, sign, dense):
    """Check every tensor of a `dare` result; returns who survived in each."""
    weights, masks = np.array([w for _, w in pairs]), []
    if dense:
        parts = [deltas(path) for path, _ in pairs]
        tasks = {p: ([d[p] for d in parts], weights, found) for p, found in deltas(output).items()}
    else:
        inputs, result = [reference.Adapter(path).modules for path, _ in pairs], reference.Adapter(output).modules
        tasks = {}
        for module in result:
            for half, sides in zip("AB", zip(*[factors(m[module]) for m in (*inputs, result)], strict=True), strict=True):
                scaled = np.sqrt(np.abs(weights)) * (np.sign(weights) if half == "A" else 1)
                tasks[f"{module} {half}"] = (list(sides[:-1]), scaled, sides[-1])
    alive = []
    for name, (tensors, own, found) in tasks.items():
        masks.append(survivors(tally, f"{label}: {name}", tensors, own, found, method, density, sign, dense))
        if method == "dare-linear":  # with `dare-ties` several choices give the same value
            alive += [masks[-1].ravel() // 2, masks[-1].ravel() % 2]
    if alive:
        share(tally, label, np.concatenate(alive), density)
        agree = np.concatenate(alive[::2]) == np.concatenate(alive[1::2])
        share(tally, f"{label}: both adapters alike", agree, density**2 + (1 - density) ** 2)
    return masks


def rslora(tally, tools, size, directory, seed):
    """PEFT 0.21.2 keeps use_rslora, so what it combines is scaled by the root of the new rank."""
    settings = [{"target_modules": ["q_proj"], "r": 4, "lora_alpha": a, "use_rslora": True} for a in (8, 2)]
    base, adapters = prepared(models.llama, settings, size, directory, seed)
    pairs = [(adapters[0], 1.0), (adapters[1], -0.5)]
    for kind, method, options in (("cat", "stack", []), ("svd", "svd", ["--rank", 8])):
        theirs = deltas(peft(models.llama, size, base, pairs, kind, directory / "peft", **({"svd_rank": 8} if options else {})))
        for path, wanted in total(pairs).items():
            factor = float((theirs[path] * wanted).sum() / (wanted * wanted).sum())
            label = f"PEFT: rsLoRA {kind}: {path}"
            tally.check(abs(factor - 8**0.5) < 1e-4, f"{label}: PEFT scales it by the root of 8", f"by {factor}")
        if checks.made(tally, tools, f"PEFT: rsLoRA {method}", method, pairs, directory / "out", *options):
            checks.same_deltas(tally, f"PEFT: rsLoRA {method}", deltas(directory / "out"), total(pairs))


def cross_terms(tally, tools, size, directory, seed):
    """PEFT's `linear` adds factors, so it gives another sum; ours is exact, or the best of its rank."""
    make, settings = SETS["llama"]
    base, adapters = prepared(make, settings, size, directory, seed)
    pairs = [(adapters[0], 0.5), (adapters[1], 0.5)]
    target, output = total(pairs), directory / "out"
    theirs = deltas(peft(make, size, base, pairs, "linear", directory / "peft"))
    path = next(p for p in target if p.endswith("q_proj"))
    error = np.linalg.norm(theirs[path] - target[path]) / np.linalg.norm(target[path])
    tally.check(error > 0.1, "PEFT: its linear has cross terms", f"{error}")
    if checks.made(tally, tools, "PEFT: linear of rank 8", "linear", pairs, output, "--rank", 8):
        checks.same_deltas(tally, "PEFT: linear of rank 8", deltas(output), target)
    if checks.made(tally, tools, "PEFT: linear", "linear", pairs, output):
        checks.optimal(tally, "PEFT: linear", target, output, 4)


def bias(tally, tools, size, directory, seed):
    """PEFT 0.21.2 combines no lora_bias: the sum's biases are not there."""
    settings = [{"target_modules": ["q_proj"], "r": 4, "lora_alpha": a, "lora_bias": True} for a in (8, 2)]
    base, adapters = prepared(models.qwen2, settings, size, directory, seed)
    pairs = [(adapters[0], 1.0), (adapters[1], 0.5)]
    theirs = deltas(peft(models.qwen2, size, base, pairs, "cat", directory / "peft"))
    target = total(pairs)
    lost = [p for p in target if p.endswith(".bias") and checks.apart(theirs[p], target[p]) > 0.1]
    tally.check(len(lost) == size.layers, "PEFT: it loses lora_bias", str(lost))
    for method, options in (("stack", []), ("svd", ["--rank", 8]), ("linear", ["--rank", 8])):
        if checks.made(tally, tools, f"PEFT: lora_bias {method}", method, pairs, directory / "out", *options):
            checks.same_deltas(tally, f"PEFT: lora_bias {method}", deltas(directory / "out"), target)


def cases(quick):
    """The names and functions of this section."""
    table = [
        (f"PEFT: {name}", lambda *a, name=name: reproduced(*a[:2], name, *a[2:], quick))
        for name in (("llama", "conv2d") if quick else SETS)
    ]
    return table + [
        ("PEFT: dare", dare), ("PEFT: rsLoRA", rslora), ("PEFT: cross terms", cross_terms), ("PEFT: lora_bias", bias),
    ]  # fmt: skip
