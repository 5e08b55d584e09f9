"""A live test of adapters in other dialects and of other kinds, written and merged by their own libraries.

    python Tests/Interop/dialects.py --bin .build/release [--quick] [--seed N] [--only TEXT]

Makes fresh bases and adapters by the table of Tests/Golden/dialects.py with new numbers and sizes, and compares what
adapter-merge writes with what the library computes. Kinds that cannot be merged must be refused with exit status 1
and leave nothing behind. Groups whose library is not there are skipped; `adapters` needs an environment of its own.
Ends with 'N passed, N failed'; exit status 1 if anything failed.
"""

import importlib.util
import json
import os
import random
import shutil
import sys
import tempfile
import warnings
from pathlib import Path

from tools import Tally, Tools, command_line

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "Golden")]
sys.dont_write_bytecode = True
os.environ["HF_HUB_OFFLINE"] = "1"
warnings.filterwarnings("ignore")
QUICK = 6  # cases of each group in a quick run


def sizes(seed):
    """A size that every group can build: rotations and groups of norms want powers of two."""
    from models import Size

    choice = random.Random(seed)
    hidden = choice.choice([16, 32])
    inter = 8 * choice.randrange(3, 9)
    return Size(hidden, inter, choice.choice([1, 2]), 4, 2, choice.randrange(24, 60), choice.choice([2, 3, 4]))


def golden_table():
    """Tests/Golden/dialects.py, which has the name of this file."""
    path = HERE.parent / "Golden" / "dialects.py"
    spec = importlib.util.spec_from_file_location("golden_dialects", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def stored(path):
    """The tensors of a directory or a file as they are stored; those of a component behind its folder."""
    from tensorfile import read_file

    path = Path(path)
    if path.is_file():
        return read_file(path)
    found = {}
    for file in sorted(path.rglob("*.safetensors")):
        folder = file.parent.relative_to(path).as_posix()
        found |= {("" if folder == "." else folder + "/") + n: s for n, s in read_file(file).items()}
    return found


def weights(tally, label, base, output, made):
    """Names are the base's, untouched tensors its bytes, merged ones within the tolerance of the largest weight."""
    import numpy as np

    before, after = stored(base), stored(output)
    tally.check(set(after) == set(before), f"{label}: tensor names", f"{sorted(set(after) ^ set(before))[:5]}")
    rest = [n for n in before if n not in made.expected and n in after and after[n].data != before[n].data]
    tally.check(not rest, f"{label}: untouched tensors are byte-identical", f"changed: {rest[:5]}")
    for name, wanted in made.expected.items():
        if name not in after:
            continue
        found = after[name]
        fine = tally.check(
            found.dtype == before[name].dtype and found.shape == wanted.shape,
            f"{label}: {name} keeps dtype and shape", f"{found.dtype} {found.shape}",
        )  # fmt: skip
        if fine:
            worst = np.abs(found.values - wanted).max() / np.abs(wanted).max()
            tally.check(worst <= made.tolerance, f"{label}: {name}", f"{worst:.3g} of the largest weight")


def layout(tally, label, base, output):
    """A directory keeps its files: components, their configs, model_index.json."""
    if Path(base).is_file():
        return
    names = [{p.relative_to(d) for p in Path(d).rglob("*") if p.is_file()} for d in (base, output)]
    missing = sorted(map(str, names[0] - names[1]))
    tally.check(not missing, f"{label}: the output has the base's files", f"missing: {missing[:5]}")


def inspected(tally, label, tools, adapter, mergeable):
    """adapter-inspect --json prints one document, also of an adapter that cannot be merged."""
    answer = tools.run("adapter-inspect", adapter, "--json")
    tally.check(answer.code == 0 or not mergeable, f"{label}: adapter-inspect --json", answer.text)
    try:
        json.loads(answer.out)
    except ValueError as error:
        tally.check(False, f"{label}: adapter-inspect prints JSON", str(error))


def refused(tally, label, tools, base, adapter, output):
    """Exit status 1, a reason, and nothing written."""
    beside = set(output.parent.iterdir())
    answer = tools.merge(base, [(adapter, 1.0)], output)
    tally.check(answer.code == 1, f"{label}: refused", f"exit {answer.code}: {answer.text}")
    tally.check(answer.err.strip(), f"{label}: says why")
    tally.check(set(output.parent.iterdir()) == beside, f"{label}: nothing is written")


def check(tally, tools, case, base, directory, seed):
    """Write one case with the library, and give it to the tools."""
    import dialect_cases

    label = case.name
    directory.mkdir()
    made = case.write(base, directory, dialect_cases.seed_of(case.name, seed))
    adapter = directory / made.adapter
    inspected(tally, label, tools, adapter, made.mergeable)
    output = directory / ("out.safetensors" if Path(base).is_file() else "out")
    if not made.mergeable:
        refused(tally, label, tools, base, adapter, output)
        return
    answer = tools.run("adapter-verify", base, adapter)
    tally.check(answer.code == 0, f"{label}: adapter-verify", answer.text)
    answer = tools.merge(base, [(adapter, 1.0)], output)
    if tally.check(answer.code == 0, f"{label}: adapter-merge", f"exit {answer.code}: {answer.text}"):
        weights(tally, label, base, output, made)
        layout(tally, label, base, output)


def group(tally, tools, module, cases, size, directory, seed):
    """The cases of one group on bases that are made once."""
    for name in sorted({case.base.partition("/")[0] for case in cases}):
        module.BASES[name](directory / "bases" / name, size, seed)
    for case in cases:
        print(case.name, flush=True)
        work = directory / case.name
        try:
            check(tally, tools, case, directory / "bases" / case.base, work, seed)
        except Exception as error:
            tally.check(False, f"{case.name}: the library's half", f"{type(error).__name__}: {error}")
        shutil.rmtree(work, ignore_errors=True)


def run(options):
    """Everything; returns the exit status."""
    tools = Tools(options.bin)
    if missing := tools.missing():
        print(f"not built: {', '.join(missing)} in {options.bin}", file=sys.stderr)
        return 1
    golden = golden_table()
    size, tally, choice = sizes(options.seed), Tally(verbose=options.verbose), random.Random(options.seed)
    print(f"seed {options.seed}, {size}", flush=True)
    for module in golden.groups():
        cases = [case for case in module.CASES if options.only in case.name]
        if options.quick:
            cases = sorted(choice.sample(cases, min(QUICK, len(cases))), key=lambda case: case.name)
        if cases:
            with tempfile.TemporaryDirectory() as scratch:
                group(tally, tools, module, cases, size, Path(scratch), options.seed)
    return tally.report()


def main():
    options = command_line(__doc__, f"{QUICK} cases of each group", "only cases whose name contains this")
    if options is None:
        return 0
    import build

    build.quiet()
    return run(options)


if __name__ == "__main__":
    sys.exit(main())
