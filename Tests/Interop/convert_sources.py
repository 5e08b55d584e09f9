"""Files of the other dialects, written by their own libraries: PEFT loads what they become, and back they do the same."""

import functools
import importlib
import json
import random

import convert_loaders as loaders
import dialect_cases

GROUPS = ("dialect_mlx", "dialect_gguf", "dialect_kohya", "dialect_diffusers", "dialect_lycoris")
KINDS = {"lora", "dora", "loha", "lokr"}
QUICK = 2  # of each group
# Magnitudes along the other axis than PEFT's, or of other kinds than LoRA; names of the original repositories.
REFUSED = ("mlx-dora-embedding", "dora-input", "loha-dora", "lokr-dora", "-single")
# transformers 5 fuses experts, and PEFT wants both matrices of a pair then.
SKIPPED = ("mlx-experts",)
# diffusers reads no text encoder's file without an attention layer.
UNREAD = ("kohya-sd1-no-alpha",)
BACK = {"mlx": "out", "gguf": "out.gguf", "diffusers": "out.safetensors", "kohya": "out.safetensors"}


def jobs(options):
    """Names of checks and what does them."""
    found, choice = [], random.Random(options.seed)
    for group in GROUPS:
        module = importlib.import_module(group)
        cases = [case for case in module.CASES if case.kind in KINDS and not case.name.startswith(SKIPPED)]
        if options.quick:
            cases = sorted(choice.sample(cases, QUICK), key=lambda case: case.name)
        found += [(case.name, functools.partial(check, module=module, case=case, seed=options.seed)) for case in cases]
    return found


def check(bench, module, case, seed):
    """One file: to PEFT, for each component; to diffusers, if it is a pipeline's; and back to its own dialect."""
    root, _, rest = case.base.partition("/")
    module.BASES[root](bench.work / root, module.SIZE, seed)
    base = bench.work / root / rest if rest else bench.work / root
    made = case.write(base, bench.work, dialect_cases.seed_of(case.name, seed))
    adapter = bench.work / made.adapter
    if any(part in case.name for part in REFUSED):
        bench.refused(case.name, adapter, "peft", bench.work / "peft", "--base", base)
        return
    folders = sorted({name.partition("/")[0] for name in made.expected if "/" in name})
    if folders:
        pipeline(bench, case, base, adapter, made, folders)
    else:
        model(bench, case, base, adapter, made)


def model(bench, case, base, adapter, made):
    """A language model's: PEFT merges the same weights; back, the same, and the same bytes where nothing is folded."""
    kind = json.loads((base / "config.json").read_text())["model_type"]
    peft, again = bench.work / "peft", bench.work / BACK[case.dialect]
    if not bench.convert(adapter, "peft", peft, "--base", base):
        return
    bench.near(f"{case.name}: PEFT's", loaders.merged_language(kind, base, peft), made.expected, made.tolerance)
    if document := bench.convert(peft, case.dialect, again, "--base", base):
        bench.merged(f"{case.name}: there and back", base, again, made.expected, made.tolerance)
        if case.dialect == "mlx" and not document["folded"]:
            from convert import same

            same(bench, f"{case.name}: there and back", adapter, again)


def pipeline(bench, case, base, adapter, made, folders):
    """A pipeline's: PEFT merges the same weights into each component; diffusers into all; back, the same."""
    kind = case.base
    for folder in folders:
        peft = bench.work / f"peft-{folder}"
        if bench.convert(adapter, "peft", peft, "--base", base, "--component", folder):
            wanted = {n: v for n, v in made.expected.items() if n.startswith(folder + "/")}
            found = loaders.merged_component(kind, base, folder, peft)
            bench.near(f"{case.name}: PEFT's {folder}", found, wanted, made.tolerance)
    theirs = bench.work / "theirs.safetensors"
    whole = ["--component", folders[0]] if "bare" in case.name else []
    if bench.convert(adapter, "diffusers", theirs, "--base", base, *whole) and case.name not in UNREAD:
        bench.near(f"{case.name}: diffusers'", loaders.merged_diffusers(kind, base, theirs), made.expected, 3e-6)
        if case.dialect != "diffusers":
            again = bench.work / "again.safetensors"
            if bench.convert(theirs, "kohya", again, "--base", base):
                bench.merged(f"{case.name}: there and back", base, again, made.expected, made.tolerance)
