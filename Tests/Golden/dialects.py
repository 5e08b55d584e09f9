"""Make the golden files of other dialects and kinds: `python Tests/Golden/dialects.py [--only TEXT] [--list]`.

See dialects/README.md. A group whose library is not there is left as it is.
"""

import argparse
import importlib
import json
import shutil
import sys
import tempfile
import warnings
from pathlib import Path

sys.dont_write_bytecode = True
warnings.filterwarnings("ignore")

import dialect_cases  # noqa: E402
import tensorfile  # noqa: E402

HERE = Path(__file__).resolve().parent
FOLDER = HERE / "dialects"
GROUPS = ("dialect_peft", "dialect_lycoris", "dialect_kohya", "dialect_diffusers", "dialect_mlx", "dialect_gguf",
          "dialect_hub")  # fmt: skip


def groups():
    """The modules of the groups that can be imported here, and a word for each that cannot."""
    for name in GROUPS:
        try:
            yield importlib.import_module(name)
        except ImportError as error:
            print(f"{name}: left as it is ({error})", file=sys.stderr)


def write_expected(directory, made):
    """`expected.safetensors`: the merged tensors that differ from the base, in float32."""
    tensors = {n: ("F32", v.shape, v.astype("<f4").tobytes()) for n, v in made.expected.items()}
    tensorfile.write_file(directory / "expected.safetensors", tensors)


def describe(case, made):
    """What `case.json` says."""
    return {
        "dialect": case.dialect,
        "kind": case.kind,
        "base": f"bases/{case.base}",
        "adapter": made.adapter,
        "tolerance": made.tolerance,
        "written_by": dialect_cases.versions(case.written_by),
        "mergeable": made.mergeable,
        "why": made.why,
        "changed": sorted(made.expected),
    }


def tidy(directory):
    """What the writer of safetensors leaves to chance, or to the owner only."""
    for path in directory.rglob("*.safetensors"):
        dialect_cases.settle(path)
        path.chmod(0o644)


def make(case, target):
    """Write one case beside its base, and move it into place; returns its size."""
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch) / case.name
        directory.mkdir()
        made = case.write(FOLDER / "bases" / case.base, directory, dialect_cases.seed_of(case.name))
        if made.mergeable:
            if not made.expected:
                raise ValueError(f"{case.name}: nothing is changed")
            write_expected(directory, made)
        (directory / "case.json").write_text(json.dumps(describe(case, made), indent=2) + "\n")
        tidy(directory)
        shutil.rmtree(target, ignore_errors=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(directory, target)
    return sum(f.stat().st_size for f in target.rglob("*") if f.is_file())


def make_base(module, name):
    """Write a base anew, so that it belongs to this process and to the same versions."""
    target = FOLDER / "bases" / name
    if target.exists() and getattr(module, "KEEPS_BASES", False):
        return
    shutil.rmtree(target, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    module.BASES[name](target, module.SIZE, 0)
    tidy(target)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="only cases whose name contains this")
    parser.add_argument("--list", action="store_true", help="list the cases")
    options = parser.parse_args()
    for module in groups():
        chosen = [case for case in module.CASES if options.only in case.name]
        if options.list:
            for case in chosen:
                print(f"{case.name} ({case.dialect}, {case.kind}, base {case.base})")
            continue
        for name in sorted({case.base.partition("/")[0] for case in chosen}):
            make_base(module, name)
        for case in chosen:
            print(f"{case.name}: {make(case, FOLDER / case.name)} bytes", flush=True)
    if not options.list:
        total = sum(f.stat().st_size for f in FOLDER.rglob("*") if f.is_file())
        print(f"dialects: {total} bytes")


if __name__ == "__main__":
    main()
