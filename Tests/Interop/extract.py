"""A live test of adapter-extract against numpy and PEFT.

    python Tests/Interop/extract.py --bin .build/release [--quick] [--seed N] [--only TEXT]

Fine-tunes tiny models by hand (a merged LoRA, noise everywhere, other norms, biases or embeddings), extracts an adapter,
and checks its errors against numpy's SVD, and base + adapter against the tuned model. Ends with 'N passed, N failed'; exit
status 1 if anything failed. If the libraries cannot be imported it says 'skipped' and exits 0.
"""

import dataclasses
import json
import shutil
import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))
from combine import VARIANTS, main  # noqa: E402


def rank_by(options):
    """The rank that the options leave of a spectrum."""
    from combine_oracle import rank_for

    given = dict(zip(options[::2], options[1::2]))
    return lambda values: rank_for(values, rank=given.get("--rank"), energy=given.get("--energy"))


def tuning(tally, tools, item, size, directory, seed):
    """One fine-tuning, from all sides."""
    import combine_checks
    import extract_cases
    import extract_checks as checks
    import reference

    label, output, report = item.name, directory / "out", directory / "report.json"
    base, tuned = extract_cases.make(item, size, directory, seed)
    if not checks.made(tally, tools, label, base, tuned, output, *item.options, "--report", report):
        return
    document = json.loads(report.read_text())
    combine_checks.directory(tally, label, output, "--per-module" in item.options)
    changed = checks.changes(base, tuned)
    merged = reference.merge(base, [(output, 1.0)])
    checks.approximates(tally, label, changed, merged.values, rank_by(item.options), 4e-7, item.whole)
    checks.untouched(tally, label, changed, merged.values)
    checks.reported(tally, label, base, changed, output, merged.values, document)
    if item.whole:
        checks.lists(tally, label, base, changed, document["saved"], item.whole)
    if not item.grown:
        checks.loads(tally, item, size, base, tuned, merged, output, directory / "merged")
    answer = tools.run("adapter-verify", base, output, "--deep")
    tally.check(answer.code == 0, f"{label}: adapter-verify", answer.text)
    checks.merges(tally, tools, item, size, base, tuned, changed, merged.values, output, directory / "scratch")
    if item.whole and document["modules"]:
        no_full(tally, tools, item, base, tuned, changed, directory)


def no_full(tally, tools, item, base, tuned, changed, directory):
    """With --no-full there are factors only, and the report lists the rest."""
    import extract_checks as checks
    from tensorfile import read_file

    label, output, report = f"{item.name} --no-full", directory / "factors", directory / "factors.json"
    if not checks.made(tally, tools, label, base, tuned, output, *item.options, "--no-full", "--report", report):
        return
    odd = [n for n in read_file(output / "adapter_model.safetensors") if ".lora_" not in n]
    tally.check(not odd, f"{label}: factors only", str(odd[:4]))
    checks.lists(tally, label, base, changed, json.loads(report.read_text())["left_out"], item.whole)


def same_bytes(tally, tools, size, directory, seed):
    """The bytes do not depend on threads, on the CPU or on shards; the same seed gives the same."""
    import combine_checks
    import extract_cases
    import extract_checks as checks

    for name, options in (("full", ["--rank", 5]), ("norms", ["--rank", 5]), ("full-bfloat16", ["--energy", 0.5])):
        item = next(t for t in extract_cases.ALL if t.name == name)
        base, tuned = extract_cases.make(item, size, directory / name, seed)
        label, output, other = f"same bytes: {name}", directory / "out", directory / "other"
        if not checks.made(tally, tools, label, base, tuned, output, *options):
            continue
        for more, cpu in [*VARIANTS, (["--seed", "0"], None)]:
            here = f"{label} {' '.join(more)}{cpu or ''}"
            if checks.made(tally, tools, here, base, tuned, other, *options, *more, cpu=cpu):
                combine_checks.same_directories(tally, here, output, other)
        again = extract_cases.make(dataclasses.replace(item, shard="30KB"), size, directory / f"{name}-sharded", seed)
        if checks.made(tally, tools, f"{label} sharded", *again, other, *options):
            tally.check(combine_checks.tensors(output) == combine_checks.tensors(other), f"{label} sharded: same tensors")


def refusals(tally, tools, size, directory, seed):
    """What must be refused, with nothing written."""
    import combine_refused
    import extract_cases
    import models

    item = next(t for t in extract_cases.ALL if t.name == "merged-lora")
    base, tuned = extract_cases.make(item, size, directory, seed)
    out, rank = ["-o", directory / "out"], ["--rank", 4]
    other, wider = directory / "gpt2", directory / "wider"
    models.save(models.randomise(models.gpt2(size), seed), other, "f32")
    models.save(models.randomise(models.llama(models.Size(**(vars(size) | {"inter": size.inter + 4}))), seed), wider, "f32")
    cut = directory / "cut"
    shutil.copytree(tuned, cut)
    (cut / "model.safetensors").write_bytes((tuned / "model.safetensors").read_bytes()[:-9])
    table = {
        "no rank": ([base, tuned, *out], (64,)), "rank 0": ([base, tuned, "--rank", 0, *out], (64,)),
        "no output": ([base, tuned, *rank], (64,)), "no tuned model": ([base, *rank, *out], (64,)),
        "energy above 1": ([base, tuned, "--energy", 2, *out], (64,)),
        "an unknown option": ([base, tuned, "--ranks", 4, *out], (64,)),
        "an unknown dtype": ([base, tuned, *rank, "--dtype", "int8", *out], (64,)),
        "nothing changed": ([base, base, *rank, *out], (1,)), "another architecture": ([base, other, *rank, *out], (1,)),
        "other shapes": ([base, wider, *rank, *out], (1,)), "a missing base": ([directory / "none", tuned, *rank, *out], (66,)),
        "a missing tuned model": ([base, directory / "none", *rank, *out], (66,)),
        "a tuned model cut short": ([base, cut, *rank, *out], (65,)),
        "an output that exists": ([base, tuned, *rank, "-o", other], (73,)),
        "an input as output": ([base, tuned, *rank, "--force", "-o", base], (64, 73)),
        "an output in no directory": ([base, tuned, *rank, "-o", directory / "no" / "out"], (73,)),
    }  # fmt: skip
    for label, (arguments, codes) in table.items():
        combine_refused.refused(tally, tools, label, directory, arguments, codes, tool="adapter-extract")


def sections(options):
    """What there is to run: a name and a function for each case."""
    import extract_cases

    table = []
    for number, item in enumerate(extract_cases.ALL):
        if options.only or not options.quick or number % 5 == options.seed % 5:
            table.append((item.name, lambda *a, item=item: tuning(a[0], a[1], item, *a[2:])))
    table += [("same bytes", same_bytes), ("refusals", refusals)]
    return [(name, function) for name, function in table if options.only in name]


if __name__ == "__main__":
    sys.exit(main(__doc__, ("adapter-extract", "adapter-merge", "adapter-verify"), sections))
