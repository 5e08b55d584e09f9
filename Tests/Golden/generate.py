"""Make the golden cases: `python Tests/Golden/generate.py [--only TEXT] [--list]`. See README.md."""

import argparse
import json
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path

import build
import cases
import containers
import fp8
import models
import refused
import tensorfile
from safetensors.torch import save_file

HERE = Path(__file__).resolve().parent
VERSIONS = {name: version(name) for name in ("torch", "peft", "transformers", "safetensors", "numpy")}


def write_expected(built, directory):
    """`expected.safetensors`: float64, only tensors that differ from the base."""
    tensors = {n: ("F64", v.shape, v.astype("<f8").tobytes()) for n, v in built.merged.values.items()}
    tensorfile.write_file(directory / "expected.safetensors", tensors)


def describe(case, dtype, built):
    """What `case.json` says."""
    stored = tensorfile.read_checkpoint(built.base)
    merged = built.merged
    return {
        "name": f"{case.name}-{dtype}",
        "description": case.about,
        "model": type(built.example).__name__,
        "base_dtype": dtype,
        "adapter_dtype": case.adapter_dtype,
        "adapters": [
            {"path": path.name, "weight": weight, "lora_parameters": count}
            for path, weight, count in zip(built.adapters, case.weights, built.parameters, strict=True)
        ],
        "tied": bool(json.loads((built.base / "config.json").read_text()).get("tie_word_embeddings", False)),
        "tied_after": merged.tied,
        "changed": sorted(n for n in merged.values if n in stored),
        "added": sorted(merged.added),
        "config_changes": merged.config,
        "checked_against": "weights merged by PEFT in float64"
        if case.check == "merge"
        else "logits of the unmerged PEFT model",
        "note": case.note,
        "experts_on_disk": experts(stored),
        "versions": VERSIONS,
    }


def experts(stored):
    """How a mixture of experts is stored, if there is one."""
    names = [n for n in stored if ".experts." in n]
    if not names:
        return None
    return "fused" if any(n.endswith(("down_proj", "gate_up_proj")) for n in names) else "one tensor for each expert"


def make(case, dtype, scratch):
    """Build one case into a temporary directory and move it into place."""
    target = HERE / "cases" / f"{case.name}-{dtype}"
    made = scratch / target.name
    built = build.build(case, dtype, models.TINY, made, scratch / "work")
    write_expected(built, made)
    if case.check == "logits":
        tensors = {"logits": built.logits, **built.inputs}
        save_file(tensors, str(made / "logits.safetensors"))
    text = json.dumps(describe(case, dtype, built), indent=2)
    (made / "case.json").write_text(text + "\n")
    for path in made.rglob("*.safetensors"):
        path.chmod(0o644)  # safetensors writes them readable by the owner only
    shutil.rmtree(target, ignore_errors=True)
    target.parent.mkdir(exist_ok=True)
    shutil.move(made, target)
    return bytes_below(target)


def merges(only):
    """The cases of the table; yields each one's name and size."""
    for case in cases.ALL:
        for dtype in case.dtypes:
            if only in f"{case.name}-{dtype}":
                with tempfile.TemporaryDirectory() as scratch:
                    yield f"{case.name}-{dtype}", make(case, dtype, Path(scratch))


def bytes_below(directory):
    """The size of all files below a directory."""
    return sum(f.stat().st_size for f in directory.rglob("*") if f.is_file())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="only merge cases whose name contains this")
    parser.add_argument("--list", action="store_true", help="list the merge cases")
    options = parser.parse_args()
    if options.list:
        for case in cases.ALL:
            print(f"{case.name} ({', '.join(case.dtypes)}): {case.about}")
        return
    build.quiet()
    only = options.only or ""
    if not only:
        shutil.rmtree(HERE / "cases", ignore_errors=True)
    for name, size in merges(only):
        print(f"cases/{name}: {size} bytes", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        for name, directory in fp8.make_all(HERE / "cases", scratch, VERSIONS, only):
            print(f"cases/{name}: {bytes_below(directory)} bytes", flush=True)
    if not only:
        for name in refused.make_all(HERE / "refused"):
            print(f"refused/{name}", flush=True)
        containers.make_all(HERE / "safetensors")
        for folder in ("cases", "refused", "safetensors"):
            print(f"{folder}: {bytes_below(HERE / folder)} bytes")


if __name__ == "__main__":
    main()
