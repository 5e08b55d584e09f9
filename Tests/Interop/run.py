"""A live test of the built tools against the real libraries.

    python Tests/Interop/run.py --bin .build/release [--quick] [--seed N] [--only TEXT]

Makes fresh models and adapters with torch, transformers and PEFT, merges them with the tools, and compares with
an exact merge in float64. Ends with 'N passed, N failed'; exit status 1 if anything failed. If the libraries
cannot be imported it says 'skipped' and exits 0.
"""

import json
import os
import random
import shutil
import sys
import tempfile
from pathlib import Path

from tools import command_line

HERE = Path(__file__).resolve().parent
GOLDEN = HERE.parent / "Golden"
sys.path[:0] = [str(HERE), str(GOLDEN)]
sys.dont_write_bytecode = True
os.environ["HF_HUB_OFFLINE"] = "1"
VARIANTS = [
    ("--threads 1", ["--threads", "1"], None),
    ("--threads 2", ["--threads", "2"], None),
    ("--threads 5", ["--threads", "5"], None),
    ("ADAPTERKIT_CPU=baseline", [], "baseline"),
    ("ADAPTERKIT_CPU=v3", [], "v3"),
    ("ADAPTERKIT_CPU=v4", [], "v4"),
]
# Mean relative difference of logits that rounding the weights may cause (a mixture of experts can choose others).
TOLERANCE = {"f32": 1e-4, "f64": 1e-4, "bf16": 0.05, "f16": 0.01}
NOT_LOADABLE = {"renamed-base"}  # its tensor names are those of another class


def sizes(seed):
    """A model size for this run, different from the golden ones."""
    from models import Size

    choice = random.Random(seed)
    heads = choice.choice([4, 6, 8])
    hidden = heads * choice.choice([16, 24, 32])
    inter = 2 * choice.randrange(40, 160)
    return Size(hidden, inter, choice.choice([2, 3]), heads, 2, choice.randrange(90, 300), 4)


def parameters(tally, label, tools, built):
    """adapter-inspect --json counts what PEFT counts."""
    for path, lora in zip(built.adapters, built.parameters, strict=True):
        answer = tools.run("adapter-inspect", path, "--json")
        if not tally.check(answer.code == 0, f"{label}: adapter-inspect --json", answer.text):
            continue
        total = sum(_elements(path))
        try:
            found = set(_numbers(json.loads(answer.out)))
        except ValueError as error:
            tally.check(False, f"{label}: adapter-inspect prints JSON", str(error))
            continue
        fine = {lora, total} & found
        detail = f"{lora} (or {total} with whole tensors) not in {found}"
        tally.check(fine, f"{label}: parameters as PEFT counts them", detail)


def _elements(adapter):
    from math import prod

    from tensorfile import read_file

    return [prod(s.shape) for s in read_file(adapter / "adapter_model.safetensors").values()]


def _numbers(document):
    """The values of all keys that speak of parameters."""
    if isinstance(document, dict):
        for key, value in document.items():
            if "parameters" in key.lower() and isinstance(value, int):
                yield value
            yield from _numbers(value)
    elif isinstance(document, list):
        for item in document:
            yield from _numbers(item)


def merge_case(tally, tools, case, dtype, size, directory, seed, variants):
    """Build one case, verify it, merge it, and look at the result from all sides."""
    import build
    import compare

    label = f"{case.name} {dtype}"
    built = build.build(case, dtype, size, directory / "made", directory / "scratch", seed)
    pairs = list(zip(built.adapters, case.weights, strict=True))
    answer = tools.run("adapter-verify", built.base, *built.adapters)
    tally.check(answer.code == 0, f"{label}: adapter-verify", answer.text)
    parameters(tally, label, tools, built)
    output = directory / "out"
    answer = tools.merge(built.base, pairs, output)
    if not tally.check(answer.code == 0, f"{label}: adapter-merge", f"exit {answer.code}: {answer.text}"):
        return
    compare.containers(tally, label, output)
    compare.weights(tally, label, built, output)
    compare.config(tally, label, built, output)
    if case.name not in NOT_LOADABLE:
        example = case.model(size)
        if case.prepare:
            case.prepare(example, size)
        if not built.merged.tied and hasattr(example, "config"):
            example.config.tie_word_embeddings = False
        experts = hasattr(getattr(example, "config", None), "num_experts_per_tok")
        tolerance = None if experts and dtype in ("bf16", "f16") else TOLERANCE[dtype]
        compare.loading(tally, label, built, output, example, tolerance)
    for name, options, cpu in variants:
        other = directory / "other"
        answer = tools.merge(built.base, pairs, other, *options, cpu=cpu)
        if tally.check(answer.code == 0, f"{label}: {name}", answer.text):
            compare.same_files(tally, f"{label}: {name}", output, other)
        shutil.rmtree(other, ignore_errors=True)


def eight_bit(tally, tools, directory):
    """Bases in 8-bit floats."""
    from types import SimpleNamespace

    import compare
    import fp8
    import reference

    for name in fp8.KINDS:
        made = directory / name
        fp8.make(name, made)
        merged = reference.merge(made / "base", [(made / "adapter", 1.0)])
        built = SimpleNamespace(base=made / "base", merged=merged)
        answer = tools.merge(made / "base", [(made / "adapter", 1.0)], made / "out")
        if tally.check(answer.code == 0, f"{name}: adapter-merge", f"exit {answer.code}: {answer.text}"):
            compare.containers(tally, name, made / "out")
            compare.weights(tally, name, built, made / "out")
            compare.config(tally, name, built, made / "out")


def run(options):
    """Everything; returns the exit status."""
    import build
    import cases
    import damage
    from tools import Tally, Tools

    build.quiet()
    tools = Tools(options.bin)
    if missing := tools.missing():
        print(f"not built: {', '.join(missing)} in {options.bin}", file=sys.stderr)
        return 1
    size, tally = sizes(options.seed), Tally(verbose=options.verbose)
    print(f"seed {options.seed}, {size}", flush=True)
    for number, case in enumerate(cases.ALL):
        if options.only not in case.name:
            continue
        dtypes = ["f32", "bf16", "f16"]
        if options.quick:
            dtypes = [dtypes[(number + options.seed) % 3]]
        for dtype in dtypes:
            variants = VARIANTS if not options.quick or number % 6 == 0 else VARIANTS[2:4]
            print(f"{case.name} {dtype}", flush=True)
            with tempfile.TemporaryDirectory() as scratch:
                try:
                    merge_case(tally, tools, case, dtype, size, Path(scratch), options.seed, variants)
                except Exception as error:  # noqa: BLE001 one broken case must not hide the others
                    tally.check(False, f"{case.name} {dtype}", f"{type(error).__name__}: {error}")
    if not options.only:
        with tempfile.TemporaryDirectory() as scratch:
            print("8-bit floats, damage, refusals", flush=True)
            eight_bit(tally, tools, Path(scratch) / "fp8")
            (Path(scratch) / "damage").mkdir()
            damage.run(tally, tools, size, Path(scratch) / "damage", options.seed)
            damage.refused(tally, tools, GOLDEN / "refused", Path(scratch))
    return tally.report()


def main():
    options = command_line(__doc__, "one dtype for each case", "only merge cases whose name contains this")
    if options is None:
        return 0
    return run(options)


if __name__ == "__main__":
    sys.exit(main())
