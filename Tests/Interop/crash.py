"""Crashes of adapter-swap, at every system call: is the model always one generation or the other, and can it go on?

    python3 Tests/Interop/crash.py --bin .build/release [--quick] [--seed N] [--only TEXT]

Each command runs once under strace. From its calls, `crash_disk.py` works out everything that may be on the disk if the
machine stops after any one of them (that a process is killed there is the case in which nothing is lost). Each of these
disks is made, and on it:

- the model is byte for byte the old or the new generation (except where files are exchanged one by one, and `recover`
  has yet to finish);
- `status` says what is the case, and `recover` succeeds;
- then the model is the old or the new generation, all that is kept and the record are whole (`status --deep`), and
  nothing is left over that the state does not speak of;
- the same command makes the new generation, byte for byte, and `base` the pristine base.

Needs strace, but no library. Ends with 'N passed, N failed'; each failure names the command, the call and the disk.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.dont_write_bytecode = True
from crash_disk import WAYS, State, Trace
from tools import Tally, Tools

MODEL = "model"
INSIDE = ".adapterkit-swap"
MODULES = {"model.layers.0.self_attn.q_proj": 16, "model.layers.0.self_attn.v_proj": 8, "model.layers.1.mlp.up_proj": 20}
HIDDEN, RANK = 16, 2


def tensor(rng, dtype, *shape):
    """Normal numbers as bytes; bfloat16 by cutting."""
    values = (rng.gauss(0, 0.1) for _ in range(shape[0] * (shape[1] if len(shape) > 1 else 1)))
    start = 2 if dtype == "BF16" else 0
    return dtype, list(shape), b"".join(struct.pack("<f", value)[start:] for value in values)


def save(path, tensors):
    """A safetensors file."""
    header, data = {}, b""
    for name, (dtype, shape, raw) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def make_model(path, rng):
    """Three files of weights, of which adapters change two, and a directory."""
    weights = {name + ".weight": tensor(rng, "BF16", rows, HIDDEN) for name, rows in MODULES.items()}
    names = list(weights)
    parts = [
        {"model.embed_tokens.weight": tensor(rng, "BF16", 24, HIDDEN)},
        {name: weights[name] for name in names[:2]},
        {names[2]: weights[names[2]], "model.norm.weight": tensor(rng, "BF16", HIDDEN)},
    ]
    path.mkdir()
    index, size = {}, 0
    for at, part in enumerate(parts):
        file = f"model-{at + 1:05d}-of-{len(parts):05d}.safetensors"
        save(path / file, part)
        index |= dict.fromkeys(part, file)
        size += sum(len(raw) for _, _, raw in part.values())
    text = json.dumps({"metadata": {"total_size": size}, "weight_map": index})
    (path / "model.safetensors.index.json").write_text(text)
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": HIDDEN}
    (path / "config.json").write_text(json.dumps(config))
    (path / "tokenizer.json").write_text("{}")
    # A merge leaves this out, so that generations have different files.
    (path / "SHA256SUMS").write_text("sums of the base\n")
    (path / "original").mkdir()
    (path / "original" / "params.json").write_text('{"dim": 16}')


def make_adapter(path, rng):
    """Small numbers for all modules."""
    path.mkdir()
    tensors = {}
    for name, rows in MODULES.items():
        tensors[f"base_model.model.{name}.lora_A.weight"] = tensor(rng, "F32", RANK, HIDDEN)
        tensors[f"base_model.model.{name}.lora_B.weight"] = tensor(rng, "F32", rows, RANK)
    save(path / "adapter_model.safetensors", tensors)
    config = {"peft_type": "LORA", "r": RANK, "lora_alpha": RANK, "bias": "none", "target_modules": ["q_proj", "v_proj", "up_proj"]}
    (path / "adapter_config.json").write_text(json.dumps(config))


def manifest(path):
    """What is in a model, without the state of its swaps."""
    result = {}
    for directory, names, files in os.walk(path):
        if INSIDE in names:
            names.remove(INSIDE)
        for name in files:
            file = Path(directory) / name
            result[str(file.relative_to(path))] = hashlib.sha256(file.read_bytes()).hexdigest()
    return result


@dataclass
class Case:
    """A command, and those before it. `inside` puts the state into the model, so that files are exchanged one by one."""

    name: str
    before: list
    command: list
    inside: bool = False
    quick: bool = True


CASES = [
    Case("first use", [], ["use", "a"]),
    Case("use of another one, by the record", [["use", "a"]], ["use", "b"]),
    Case("base, by the record", [["use", "a"]], ["base"]),
    Case("first use --keep", [], ["use", "a", "--keep"], quick=False),
    Case("use --keep where there was a record", [["use", "a"]], ["use", "b", "--keep"]),
    Case("the same with --keep", [["use", "a"]], ["use", "a", "--keep"], quick=False),
    Case("use --keep beside others", [["use", "a", "--keep"]], ["use", "b", "--keep"], quick=False),
    Case("use of one that is not kept, where the base is", [["use", "a", "--keep"]], ["use", "b"], quick=False),
    Case("back to one that is kept", [["use", "a", "--keep"], ["use", "b", "--keep"]], ["use", "a"]),
    Case("base that is kept", [["use", "a", "--keep"]], ["base"]),
    Case("use with a limit", [["use", "a", "--keep"], ["use", "b", "--keep"]], ["use", "a:0.5", "--keep", "--limit", "1"], quick=False),
    Case("forget", [["use", "a", "--keep"], ["use", "b", "--keep"]], ["forget", "--all"]),
    Case("forget, with the base", [["use", "a", "--keep"], ["base"]], ["forget", "--all"], quick=False),
    Case("first use, file by file", [], ["use", "a"], inside=True),
    Case("use of another one, file by file", [["use", "a"]], ["use", "b"], inside=True, quick=False),
    Case("base, file by file", [["use", "a"]], ["base"], inside=True, quick=False),
    Case("first use --keep, file by file", [], ["use", "a", "--keep"], inside=True, quick=False),
    Case("back to one that is kept, file by file", [["use", "a", "--keep"], ["use", "b", "--keep"]], ["use", "a"], inside=True, quick=False),
    Case("base that is kept, file by file", [["use", "a", "--keep"]], ["base"], inside=True),
]  # fmt: skip


@dataclass
class Bench:
    """Where all of it happens."""

    tools: Tools
    scratch: Path
    tally: Tally
    options: argparse.Namespace
    number: int = 0
    pristine: dict = field(default_factory=dict)

    def command(self, root, arguments):
        """Arguments of adapter-swap; adapters are named in short."""
        full = [str(self.scratch / word) if word[0] in "ab" and word != "base" else word for word in arguments]
        return [str(root / MODEL), *full, "--quiet", *(["--threads", "1"] if arguments[0] != "forget" else [])]

    def swap(self, root, *arguments):
        return self.tools.run("adapter-swap", *self.command(root, arguments))

    def fresh(self):
        self.number += 1
        return self.scratch / f"disk-{self.number}"


def state_directory(root, inside):
    return root / MODEL / INSIDE if inside else root / f".{MODEL}.adapterkit-swap"


def litter(place, root, inside):
    """Names in the state's directory, and beside the model, that the state does not speak of."""
    found = [] if inside else [name for name in os.listdir(root) if name not in (MODEL, place.name)]
    if not place.is_dir():
        return found
    names, known = set(os.listdir(place)), {"lock", "kept", "state.json"}
    kept = set()
    if "state.json" in names:
        state = json.loads((place / "state.json").read_bytes())
        kept = {generation["id"] for generation in state["kept"]}
        if state["undo"]:
            known.add("undo")
    found += sorted(names - known)
    if "kept" in names:
        found += [f"kept/{name}" for name in os.listdir(place / "kept") if name not in kept]
    return found


@dataclass
class Expected:
    """What the model may be, and what leads to the new one."""

    case: Case
    command: list
    old: dict
    new: dict


def problems(bench, state, expected, root):
    """What is wrong with one disk after a crash; the first thing only."""
    state.make(root)
    case, place = expected.case, state_directory(root, expected.case.inside)
    before = manifest(root / MODEL)
    if before not in (expected.old, expected.new) and not case.inside:
        return "the model is neither the old nor the new generation"
    answer = bench.swap(root, "status")
    if answer.code not in (0, 75):
        return f"status: exit {answer.code}: {answer.text}"
    answer = bench.swap(root, "recover")
    if answer.code != 0:
        return f"recover: exit {answer.code}: {answer.text}"
    after = manifest(root / MODEL)
    if after not in (expected.old, expected.new):
        return f"after recover, the model is neither the old nor the new generation: {difference(after, expected.new)}"
    if before == expected.new and after != before:
        return "recover took back what had been done"
    answer = bench.swap(root, "status", "--deep")
    if answer.code != 0:
        return f"after recover, status --deep: exit {answer.code}: {answer.text}"
    if left := litter(place, root, case.inside):
        return f"after recover, there is left over: {' '.join(left)}"
    answer = bench.swap(root, *expected.command)
    if answer.code != 0:
        return f"the same command again: exit {answer.code}: {answer.text}"
    if (now := manifest(root / MODEL)) != expected.new:
        return f"the same command again made something else: {difference(now, expected.new)}"
    answer = bench.swap(root, "base")
    if answer.code != 0 or manifest(root / MODEL) != bench.pristine:
        return f"base: exit {answer.code}, or not the pristine base: {answer.text}"
    return None


def difference(found, wanted):
    return " ".join(sorted(path for path in found.keys() | wanted.keys() if found.get(path) != wanted.get(path)))


def disks(bench, disk, rng):
    """Everything that may be left by a crash after each call, each different one once."""
    seen = set()
    # What a stage holds that was never given its name is removed unread.
    is_ignored = lambda path: ".partial/" in path or path.endswith("/lock")
    for at, point in enumerate(disk.points):
        choices = [(changes, way) for changes in disk.ordered(point) for way in WAYS]
        random_ones = 2 if bench.options.quick else 12
        choices += [(disk.scattered(point, rng), None) for _ in range(random_ones)]
        for kept, way in choices:
            contents = {
                number: data if synced == data else WAYS[way or rng.choice(list(WAYS))](synced, data)
                for number, (synced, data) in point.files.items()
            }
            order = f"the first {len(kept)} changes of names" if way else "a random part of the changes of names"
            label = f"after call {at} ({point.label}): {order} of {point.changes}, unsynced bytes {way or 'at random'}"
            state = State(disk, disk.tables(kept), contents, label)
            key = state.key(is_ignored)
            if key not in seen:
                seen.add(key)
                yield state


def examine(bench, name, disk, expected, rng):
    """All disks of one trace."""

    def one(state):
        root = bench.fresh()
        try:
            return state, problems(bench, state, expected, root)
        finally:
            shutil.rmtree(root, ignore_errors=True)

    count, failed = 0, 0
    with ThreadPoolExecutor(bench.options.jobs) as pool:
        for state, problem in pool.map(one, disks(bench, disk, rng)):
            count += 1
            failed += problem is not None
            # The first ones tell enough.
            if problem is None or failed <= 3:
                bench.tally.check(problem is None, f"{name}, {state.label}", problem or "")
            else:
                bench.tally.failed += 1
    print(f"{name}: {len(disk.points) - 1} calls, {count} different disks, {failed} wrong", flush=True)


def trace(bench, name, root, command, deaf=""):
    """The command's trace on the files below `root`."""
    program = [str(bench.tools.directory / "adapter-swap"), *bench.command(root, command)]
    result = Trace(root, program, str(bench.scratch / "trace"), deaf)
    if not bench.tally.check(result.code == 0, f"{name}: exit 0", f"exit {result.code}: {result.text}"):
        return None
    return result.disk


def prepare(bench, case, deaf=""):
    """One command, traced; nothing if it failed."""
    root = bench.fresh()
    root.mkdir()
    shutil.copytree(bench.scratch / "pristine", root / MODEL)
    if case.inside:
        (root / MODEL / INSIDE).mkdir()
    for command in case.before:
        answer = bench.swap(root, *command)
        bench.tally.check(answer.code == 0, f"{case.name}: {command}", answer.text)
    old = manifest(root / MODEL)
    disk = trace(bench, case.name, root, case.command, deaf)
    new = manifest(root / MODEL)
    shutil.rmtree(root)
    return disk, Expected(case, case.command, old, new)


def run_case(bench, case, rng):
    """One command, and the recovery from each place where it was killed."""
    disk, expected = prepare(bench, case)
    if disk is not None:
        examine(bench, case.name, disk, expected, rng)
        recoveries(bench, case, disk, expected, rng)


def same_record(bench):
    """The record does not depend on where the state lies; inside the model, it must not hold that itself."""
    records = []
    for inside in (False, True):
        root = bench.fresh()
        shutil.copytree(bench.scratch / "pristine", root / MODEL)
        if inside:
            (root / MODEL / INSIDE).mkdir()
        bench.swap(root, "use", "a")
        records.append((state_directory(root, inside) / "undo").read_bytes())
        shutil.rmtree(root)
    bench.tally.check(records[0] == records[1], "the same record beside the model and inside", str([*map(len, records)]))


def would_notice(bench, case, deaf, rng):
    """Whether the test finds something wrong on a disk for which nobody waits."""
    disk, expected = prepare(bench, case, deaf)
    for state in reversed(list(disks(bench, disk, rng))):
        root = bench.fresh()
        problem = problems(bench, state, expected, root)
        shutil.rmtree(root)
        if problem:
            break
    bench.tally.check(problem, f"if waiting for {deaf} did nothing, that would be noticed")


def recoveries(bench, case, disk, expected, rng):
    """A crash of `recover`, which is killed at every call from every place where the command was killed."""
    places = [point for point in disk.points if any(path.endswith("journal.json") for path in names(disk, point))]
    if bench.options.quick:
        # Once where it takes back, and once where it goes on.
        places = places[:1] + places[len(places) // 2 : len(places) // 2 + 1] if case.quick else []
    seen = set()
    for point in places:
        contents = {number: data for number, (_, data) in point.files.items()}
        state = State(disk, disk.tables(range(point.changes)), contents, "")
        if state.key() in seen:
            continue
        seen.add(state.key())
        root = bench.fresh()
        state.make(root)
        name = f"{case.name}, killed after '{point.label}', then recover"
        if recovery := trace(bench, name, root, ["recover"]):
            examine(bench, name, recovery, expected, rng)
        shutil.rmtree(root)


def names(disk, point):
    return [path for path, _, _ in disk.walk(disk.tables(range(point.changes)))]


def run(options):
    """Everything; returns the exit status."""
    tally = Tally(verbose=options.verbose)
    print(f"seed {options.seed}", flush=True)
    # Thousands of small files: in memory where there is a file system for that.
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=place) as scratch:
        bench = Bench(Tools(options.bin), Path(scratch).resolve(), tally, options)
        rng = random.Random(options.seed)
        make_model(bench.scratch / "pristine", rng)
        for name in "ab":
            make_adapter(bench.scratch / name, rng)
        bench.pristine = manifest(bench.scratch / "pristine")
        for case in CASES:
            if options.only in case.name and (case.quick or not options.quick):
                run_case(bench, case, rng)
        same_record(bench)
        for deaf in ("names", "bytes"):
            would_notice(bench, CASES[1], deaf, rng)
    return tally.report()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True, help="directory of the built tools")
    parser.add_argument("--quick", action="store_true", help="fewer commands, and less at random")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--only", default="", help="only commands whose name contains this")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="disks that are examined at once")
    parser.add_argument("--verbose", action="store_true", help="print checks that pass as well")
    options = parser.parse_args()
    if shutil.which("strace") is None:
        print("skipped: there is no strace")
        return 0
    if subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True).returncode:
        print("skipped: strace may not trace here")
        return 0
    return run(options)


if __name__ == "__main__":
    sys.exit(main())
