"""Taking merges back: the base comes back byte for byte, for whatever the live libraries make.

    python Tests/Interop/undo.py --bin .build/release [--quick] [--seed N] [--only TEXT]

Makes models and adapters with torch, transformers and PEFT, merges them with a record, deletes the base, and compares what
adapter-unmerge restores with every byte that was there. The decoder in formats/ must agree where it can. PEFT's own
unmerge_adapter is measured beside it. Ends with 'N passed, N failed'; exit status 1 if anything failed.
"""

import contextlib
import importlib
import importlib.util
import io
import os
import random
import re
import sys
import tempfile
from pathlib import Path

from tools import command_line

HERE = Path(__file__).resolve().parent
GOLDEN = HERE.parent / "Golden"
sys.path[:0] = [str(HERE), str(GOLDEN)]
sys.dont_write_bytecode = True
os.environ["HF_HUB_OFFLINE"] = "1"
DECODER = HERE.parents[1] / "formats" / "undo_decoder.py"
# Ways to ask for a merge; cases take turns with them.
WAYS = {
    "plain": [],
    "by name": ["--undo-by-name"],
    "float32": ["--dtype", "float32"],
    "float16": ["--dtype", "float16", "--allow", "overflow"],
    "shards": ["--max-shard-size", "30KB"],
    "digests": ["--digests", "--threads", "5"],
    "bfloat16": ["--dtype", "bfloat16", "--max-shard-size", "50KB"],
}
# Cases that --quick takes, every second one in turn: each kind of change that an adapter can make.
QUICK = (
    "linear-qv", "rslora", "dora-linear", "dora-embedding", "all-linear-sharded", "embedding", "saved-head", "tokens-dict",
    "tied-both-different", "tied-resized", "resized-vocabulary", "two-adapters", "gpt2", "gpt-oss-both", "mixtral-both",
    "lora-bias", "classifier-new-head", "conv2d", "multihead-attention", "rank-pattern-rslora",
)  # fmt: skip
# What the decoder can compute D for.
DECODABLE = {"linear-qv", "all-linear-sharded", "rslora", "two-adapters", "targets-regex", "layers-excluded"}


def furnish(base, rng):
    """Put everything else into a base's directory that people have there."""
    for name in (".gitattributes", "tokenizer.json", "original/params.json", "deep/er/.hidden", "empty.txt"):
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_bytes(rng.randbytes(rng.randrange(3000)) if name != "empty.txt" else b"")
    (base / "pytorch_model.bin").write_bytes(b"PK\3\4" + rng.randbytes(50_000))
    (base / "SHA256SUMS").write_text("0" * 64 + "  model.safetensors\n")
    for name in ("nothing", "deep/nothing", ".cache/none"):
        (base / name).mkdir(parents=True)


def load_decoder(loaded=[]):  # noqa: B006 loaded once
    """The module of the decoder."""
    if not loaded:
        spec = importlib.util.spec_from_file_location("undo_decoder", DECODER)
        loaded.append(importlib.util.module_from_spec(spec))
        spec.loader.exec_module(loaded[0])
    return loaded[0]


def decoded(merged, record, out):
    """The decoder's exit status and what it said."""
    import numpy as np

    decoder = load_decoder()
    with contextlib.redirect_stderr(io.StringIO()), np.errstate(all="ignore"):
        try:
            return decoder.restore(Path(merged), Path(record), Path(out)), ""
        except decoder.Beyond as name:
            return 2, f"D of {name}"
        except SystemExit as stop:
            return 1, str(stop)
        except Exception as error:  # noqa: BLE001 whatever it trips over is told
            return 1, f"{type(error).__name__}: {error}"


def trip(tally, tools, label, base, adapters, options, directory, decodes=False):
    """Merge with a record and without, delete the base, take the merge back; the base is given to be deleted."""
    import archive_checks as checks

    base, merged, record, back = Path(base), directory / "merged", directory / "undo", directory / "back"
    wanted, single = checks.tree(base), base.is_file()
    if single:
        merged, back = (p.with_suffix(".safetensors") for p in (merged, back))
    plain_options = [o for o in options if o != "--undo-by-name"]
    for path in (merged, record, back, directory / "plain"):
        checks.clean(path)
    answer = tools.merge(base, adapters, merged, "--undo", record, *options)
    if not tally.check(answer.code == 0, f"{label}: adapter-merge --undo", answer.text):
        return
    plain = directory / ("plain.safetensors" if single else "plain")
    answer = tools.merge(base, adapters, plain, *plain_options)
    if tally.check(answer.code == 0, f"{label}: adapter-merge", answer.text):
        checks.same(tally, f"{label}: --undo changes nothing", checks.tree(plain), merged)
    checks.clean(plain)
    checks.clean(base)
    given = []
    if "--undo-by-name" in options:
        answer = tools.run("adapter-unmerge", merged, "--undo", record, "-o", back)
        if answer.code == 0:  # every tensor's old bytes were the smaller way: what the adapters add isn't asked for
            # Named by their files: `adapter`, or `0.adapter` where they were packed.
            fine = re.search(r"without (\d+\.)?adapter", answer.text) is not None
            tally.check(fine, f"{label}: restores without adapters only where it may", answer.text)
            checks.same(tally, f"{label}: without adapters", wanted, back)
            checks.clean(back)
        else:
            tally.check(answer.code == 66 and not back.exists(), f"{label}: needs its adapters", answer.text)
        for path, _ in reversed(adapters):
            given += ["--adapter", path]
    before = checks.tree(merged), record.read_bytes()
    answer = tools.run("adapter-unmerge", merged, "--undo", record, "-o", back, *given)
    if tally.check(answer.code == 0, f"{label}: adapter-unmerge", answer.text):
        checks.same(tally, f"{label}: adapter-unmerge", wanted, back)
    tally.check(before == (checks.tree(merged), record.read_bytes()), f"{label}: inputs are as they were")
    left = {p.name for p in directory.iterdir() if p.name.startswith((".merged", ".undo", ".back"))}
    tally.check(not left, f"{label}: nothing else is left", str(left))
    checks.clean(directory / "decoded")
    code, told = decoded(merged, record, directory / "decoded")
    fine = code == 0 or (code == 2 and not (decodes and not given))
    if tally.check(fine, f"{label}: decoder", f"exit {code}: {told}") and code == 0:
        checks.same(tally, f"{label}: decoder", wanted, directory / "decoded")
        tally.decoded = getattr(tally, "decoded", 0) + 1


def made_case(tally, tools, case, dtype, size, directory, seed, way, shape):
    """One case of the golden data's kinds, made anew."""
    import build

    built = build.build(case, dtype, size, directory / "made", directory / "scratch", seed)
    pairs = [(path, weight) for path, weight in zip(built.adapters, case.weights, strict=True)]
    base, options, label = Path(built.base), list(WAYS[way]), f"{case.name} {dtype} {way} {shape}"
    if shape == "packed":
        packed = []
        for number, (path, weight) in enumerate(pairs):
            packed.append((directory / f"{number}.adapter", weight))
            answer = tools.run("adapter-pack", path, "-o", packed[-1][0])
            tally.check(answer.code == 0, f"{label}: adapter-pack", answer.text)
        pairs = packed
    if shape == "file" and (base / "model.safetensors").exists():
        base, options = base / "model.safetensors", [o for o in options if o not in WAYS["shards"]]
        options = [o for o in options if o not in ("--digests", "--max-shard-size", "50KB")]
    else:
        furnish(base, random.Random(f"{label} {seed}"))
    plain = case.name in DECODABLE and shape != "archive"
    if shape == "archive":
        return packed_base(tally, tools, label, base, pairs, options, directory)
    trip(tally, tools, label, base, pairs, options, directory, decodes=plain)


def packed_base(tally, tools, label, base, pairs, options, directory):
    """A base that is an archive: the directory that it holds comes back."""
    import archive_checks as checks

    wanted, archive = checks.tree(base), directory / "base.archive"
    answer = tools.run("adapter-pack", base, "-o", archive)
    tally.check(answer.code == 0, f"{label}: adapter-pack", answer.text)
    checks.clean(base)
    merged, record, back = directory / "merged", directory / "undo", directory / "back"
    answer = tools.merge(archive, pairs, merged, "--undo", record, *options)
    if not tally.check(answer.code == 0, f"{label}: adapter-merge --undo", answer.text):
        return
    checks.clean(archive)
    given = [word for path, _ in pairs for word in ("--adapter", path)] if "--undo-by-name" in options else []
    answer = tools.run("adapter-unmerge", merged, "--undo", record, "-o", back, *given)
    if tally.check(answer.code == 0, f"{label}: adapter-unmerge", answer.text):
        checks.same(tally, f"{label}: adapter-unmerge", wanted, back)


def eight_bit(tally, tools, directory):
    """Bases in 8-bit floats, as they are and cast."""
    import fp8

    for number, name in enumerate(fp8.KINDS):
        for options in ([], ["--dtype", ("bfloat16", "float32")[number % 2]]):
            made = directory / f"{name}{len(options)}"
            fp8.make(name, made)
            furnish(made / "base", random.Random(name))
            trip(tally, tools, f"{name} {options}", made / "base", [(made / "adapter", 1.0)], options, made)


def damaged(tally, tools, case, size, directory, seed):
    """A flipped bit anywhere is named; nothing is written."""
    import archive_checks as checks
    import build

    built = build.build(case, "bf16", size, directory / "made", directory / "scratch", seed)
    pairs = [(path, weight) for path, weight in zip(built.adapters, case.weights, strict=True)]
    merged, record, back = directory / "merged", directory / "undo", directory / "back"
    answer = tools.merge(built.base, pairs, merged, "--undo", record)
    tally.check(answer.code == 0, "damage: adapter-merge --undo", answer.text)
    wanted, rng = checks.tree(built.base), random.Random(seed)
    for number in range(20):
        path = rng.choice([record, *sorted(p for p in merged.iterdir() if p.suffix in (".safetensors", ".json"))])
        whole = path.read_bytes()
        broken = bytearray(whole)
        broken[rng.randrange(len(broken))] ^= 1 << rng.randrange(8)
        path.write_bytes(bytes(broken))
        answer = tools.run("adapter-unmerge", merged, "--undo", record, "-o", back)
        if answer.code == 0:  # a bit of provenance, or of a file that the merge made itself
            checks.same(tally, f"damage {number} in {path.name}: harmless", wanted, back)
        else:
            named = str(path) in answer.err or (path.suffix == ".json" and str(merged) in answer.err)
            fine = answer.code in (1, 65, 66) and named
            tally.check(fine, f"damage {number} in {path.name}: is named", f"exit {answer.code}: {answer.text}")
            tally.check(not back.exists(), f"damage {number} in {path.name}: nothing is written")
        path.write_bytes(whole)
        checks.clean(back)


def peft_beside(tally, size, seed):
    """How many weights PEFT's own unmerge_adapter does not give back, in bfloat16."""
    import models
    import torch
    from peft import LoraConfig, get_peft_model

    model = models.randomise(models.llama(size), seed).to(torch.bfloat16)
    linear = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    wrapped = get_peft_model(model, LoraConfig(target_modules=linear, r=8, lora_alpha=16, init_lora_weights=False))
    names = [n for n, _ in wrapped.named_parameters() if "base_layer" in n]
    before = {n: p.detach().clone() for n, p in wrapped.named_parameters() if n in set(names)}
    wrapped.merge_adapter()
    wrapped.unmerge_adapter()
    total = wrong = 0
    for name, parameter in wrapped.named_parameters():
        if name in before:
            total += parameter.numel()
            wrong += int((parameter != before[name]).sum())
    tally.check(total > 0, "PEFT: there is something to take back")
    print(f"PEFT's unmerge_adapter: {wrong} of {total} bf16 weights ({100 * wrong / total:.1f} %) are not what they were")


def run(options):
    """Everything; returns the exit status."""
    import build
    import cases
    from run import sizes
    from tools import Tally, Tools

    build.quiet()
    tools, size, tally = Tools(options.bin), sizes(options.seed), Tally(verbose=options.verbose)
    if missing := [n for n in ("adapter-merge", "adapter-unmerge", "adapter-pack") if not (tools.directory / n).exists()]:
        print(f"not built: {', '.join(missing)} in {options.bin}", file=sys.stderr)
        return 1
    print(f"seed {options.seed}, {size}", flush=True)
    ways, shapes, dtypes = list(WAYS), ("directory", "packed", "file", "archive"), ("bf16", "f16", "f32")
    chosen = [c for c in cases.ALL if options.only in c.name and (not options.quick or c.name in QUICK)]
    for number, case in enumerate(chosen):
        turn = number + options.seed
        if options.quick and turn % 2 and not options.only and case.name not in DECODABLE:
            continue
        rounds = [(dtypes[turn % 3], ways[turn % len(ways)], shapes[turn // 3 % 4])]
        if not options.quick:
            rounds = [(d, ways[(turn + 2 * i) % len(ways)], shapes[(turn + i) % 4]) for i, d in enumerate(dtypes)]
        if case.name in DECODABLE:
            rounds = rounds if not options.quick else []
            rounds.append((dtypes[(turn + 1) % 3], "plain", "directory"))
        for dtype, way, shape in rounds:
            with tempfile.TemporaryDirectory() as scratch:
                try:
                    made_case(tally, tools, case, dtype, size, Path(scratch), options.seed, way, shape)
                except Exception as error:  # noqa: BLE001 one broken case must not hide the others
                    tally.check(False, f"{case.name} {dtype} {way} {shape}", f"{type(error).__name__}: {error}")
    if not options.only:
        with tempfile.TemporaryDirectory() as scratch:
            eight_bit(tally, tools, Path(scratch))
            case = next(c for c in cases.ALL if c.name == "all-linear-sharded")
            (Path(scratch) / "damage").mkdir()
            damaged(tally, tools, case, size, Path(scratch) / "damage", options.seed)
        peft_beside(tally, size, options.seed)
        tally.check(getattr(tally, "decoded", 0) >= 4, "the decoder restored some bases", str(getattr(tally, "decoded", 0)))
    print(f"the decoder restored {getattr(tally, 'decoded', 0)} bases by itself")
    return tally.report()


def main():
    options = command_line(__doc__, "some cases, one dtype for each", "only cases whose name contains this")
    if options is None:
        return 0
    return run(options)


if __name__ == "__main__":
    sys.exit(main())
