"""A live test of adapter-combine against PEFT and numpy.

    python Tests/Interop/combine.py --bin .build/release [--quick] [--seed N] [--only TEXT]

Sums of adapters that PEFT made are compared with the float64 sum of their deltas, and by what PEFT computes with the
result; truncations with numpy's SVD; the methods that PEFT has too with PEFT's. Then come refusals and determinism.
`--only` takes the cases whose section and name, as in 'sums: gpt2', contain the text. Ends with 'N passed, N failed';
exit status 1 if anything failed. If the libraries cannot be imported it says 'skipped' and exits 0.
"""

import os
import sys
import tempfile
from pathlib import Path

from tools import command_line

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "Golden")]
sys.dont_write_bytecode = True
os.environ["HF_HUB_OFFLINE"] = "1"
VARIANTS = [
    (["--threads", "1"], None), (["--threads", "2"], None), (["--threads", "5"], None),
    ([], "baseline"), ([], "v3"), ([], "v4"),
]  # fmt: skip


def sum_case(tally, tools, item, size, directory, seed):
    """One exact sum, from all sides."""
    import combine_cases
    import combine_checks as checks
    import reference
    from combine_oracle import deltas, total, weighted

    size, label, output = combine_cases.sized(item, size), f"sums: {item.name}", directory / "out"
    base, adapters = combine_cases.make(item, size, directory, seed)
    given = list(zip(adapters, item.weights, strict=True))
    pairs = list(zip(adapters, weighted(item.method, item.weights), strict=True))
    if not checks.made(tally, tools, label, item.method, given, output):
        return
    checks.directory(tally, label, output)
    checks.same_deltas(tally, label, deltas(output), total(pairs))
    checks.carries(tally, label, adapters, output)
    merged = checks.written(base, reference.merge(base, pairs), directory / "merged")
    checks.loads(tally, label, item.model, size, base, output, merged)
    if item.verifiable:
        checks.verifies(tally, tools, label, base, output)
        checks.merges(tally, tools, label, base, pairs, output, directory)


def same_bytes(tally, tools, size, directory, seed):
    """The bytes do not depend on threads, on the CPU, or on how the inputs are named."""
    import combine_cases
    import combine_checks as checks

    item = next(c for c in combine_cases.ALL if c.name == "wide")
    _, adapters = combine_cases.make(item, combine_cases.sized(item, size), directory, seed)
    pairs = list(zip(adapters, item.weights, strict=True))
    runs = {
        "stack": [], "svd": ["--rank", "5"], "ties": ["--density", "0.4", "--rank", "4"],
        "dare-ties": ["--density", "0.4", "--rank", "4", "--seed", "7"],
        "dare-linear": ["--density", "0.4", "--on", "factors", "--seed", "7"],
    }  # fmt: skip
    for method, options in runs.items():
        label = f"same bytes: {method}"
        given = pairs[:1] if "factors" in options else pairs
        if not checks.made(tally, tools, label, method, given, directory / "out", *options):
            continue
        files = [(path / "adapter_model.safetensors", weight) for path, weight in given]
        if checks.made(tally, tools, f"{label}, by file", method, files, directory / "other", *options):
            one, two = (checks.tensors(directory / name) for name in ("out", "other"))
            tally.check(one == two, f"{label}, by file: same tensors")
        for more, cpu in VARIANTS:
            here = f"{label} {' '.join(more)}{cpu or ''}"
            if checks.made(tally, tools, here, method, given, directory / "other", *options, *more, cpu=cpu):
                checks.same_directories(tally, here, directory / "out", directory / "other")


def sections(options):
    """What there is to run: a name and a function for each case."""
    import combine_cases
    import combine_peft
    import combine_refused
    import combine_spectra

    table = []
    for number, item in enumerate(combine_cases.ALL):
        if options.only or not options.quick or number % 5 == options.seed % 5:
            table.append((f"sums: {item.name}", lambda *a, item=item: sum_case(a[0], a[1], item, *a[2:])))
    table += combine_spectra.cases(options.quick) + combine_peft.cases(options.quick)
    table += combine_refused.cases() + [("same bytes", same_bytes)]
    return [(name, function) for name, function in table if options.only in name]


def run(options, needed, table):
    """Everything; returns the exit status. `table` gives the cases of a run: a name and a function each."""
    import build
    import torch
    from run import sizes
    from tools import Tally, Tools

    build.quiet()
    torch.set_num_threads(1)
    tools = Tools(options.bin)
    if missing := [n for n in needed if not os.access(tools.directory / n, os.X_OK)]:
        print(f"not built: {', '.join(missing)} in {options.bin}", file=sys.stderr)
        return 1
    size, tally = sizes(options.seed), Tally(verbose=options.verbose)
    print(f"seed {options.seed}, {size}", flush=True)
    for name, function in table(options):
        print(name, flush=True)
        with tempfile.TemporaryDirectory() as scratch:
            try:
                function(tally, tools, size, Path(scratch), options.seed)
            except Exception as error:  # noqa: BLE001 one broken case must not hide the others
                tally.check(False, name, f"{type(error).__name__}: {error}")
    return tally.report()


def main(about, needed, table):
    """Read the command line and run; returns the exit status."""
    options = command_line(about, "a third of the models, fewer spectra and methods", "only cases whose name contains this")
    if options is None:
        return 0
    return run(options, needed, table)


if __name__ == "__main__":
    sys.exit(main(__doc__, ("adapter-combine", "adapter-merge", "adapter-verify"), sections))
