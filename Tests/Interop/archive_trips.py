"""Packing and unpacking without a base: all kinds of input come back, by every way in and out."""

import hashlib
import json
import os
import random
import shutil
import subprocess
from pathlib import Path

import archive_cases as cases
import archive_checks as checks
import archive_writer as writer
from safetensors import safe_open

LEVELS = ("fast", "default", "best")


def trees(count):
    """Random directories."""

    def section(tally, tools, size, directory, seed):
        for number in range(count):
            rng = random.Random(f"tree {seed} {number}")
            files, empty = cases.random_tree(rng, rng.choice([50, 2000, 2000, 50_000]))
            checks.clean(directory / "in")
            source = cases.write_tree(directory / "in", files, empty)
            level = rng.choice(LEVELS)
            checks.round_trip(tally, tools, f"tree {number} {level}", source, directory, "--level", level)

    return section


def files(count):
    """Random single files: tensors of all dtypes, odd headers, damaged ones, and no tensors at all."""

    def section(tally, tools, size, directory, seed):
        for number in range(count):
            rng = random.Random(f"file {seed} {number}")
            kind = cases.FILES[number % len(cases.FILES)]
            source = directory / rng.choice(["model.safetensors", "a b", ".x", "é"])
            source.write_bytes(kind(rng, rng.choice([50, 2000, 2000, 200_000])))
            level = rng.choice(LEVELS)
            checks.round_trip(tally, tools, f"{kind.__name__} {number} {level}", source, directory, "--level", level)
            source.unlink()

    return section


def dtypes(quick):
    """Each dtype that the format has, with every kind of values, in parts of one chunk and of several."""

    def section(tally, tools, size, directory, seed):
        rng = random.Random(f"dtypes {seed}")
        for number, dtype in enumerate(cases.BITS):
            tensors = [cases.values(rng, dtype, 8 * count) for count in (1, 3, 1000, 5000, 5000, 5000)]
            tensors.append(rng.randbytes(99) * (1 << 17 if number == seed % len(cases.BITS) else 1 << 12) * cases.BITS[dtype])
            header, at = {}, 0
            for i, data in enumerate(tensors):
                dims = [len(data) * 8 // cases.BITS[dtype]]
                header[f"t{i}"] = {"dtype": dtype, "shape": dims, "data_offsets": [at, at + len(data)]}
                at += len(data)
            text = json.dumps(header).encode()
            source = directory / "model.safetensors"
            source.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(tensors))
            for level in LEVELS if not quick else [LEVELS[(number + seed) % 3]]:
                checks.round_trip(tally, tools, f"{dtype} {level}", source, directory, "--level", level)

    return section


def models_and_adapters(tally, tools, size, directory, seed):
    """What transformers and PEFT write: checkpoints with shards, adapters of several kinds."""
    import combine_cases
    import models

    for dtype, shard in (("f32", "100KB"), ("bf16", None), ("f16", "30KB"), ("f64", "200KB")):
        source = directory / f"model-{dtype}"
        models.save(models.randomise(models.llama(size), seed), source, dtype, shard)
        for level in LEVELS:
            checks.round_trip(tally, tools, f"checkpoint {dtype} {level}", source, directory, "--level", level)
    for item in [
        c for c in combine_cases.ALL if c.name in ("two", "bfloat16-files", "experts-both", "saved-head", "token-rows")
    ]:
        _, adapters = combine_cases.make(item, combine_cases.sized(item, size), directory / item.name, seed)
        for source in adapters:
            checks.round_trip(tally, tools, f"adapter {item.name}", source, directory)


def special(tally, tools, size, directory, seed):
    """Directories at the edges: empty, very long paths, many parts, many files, names with a meaning elsewhere."""
    long = "/".join(["x" * 250] * 12)
    many = {f"d{i % 7}/f{i}": b"%d" % (i % 5) for i in range(1000)}
    table = {
        "nothing": ({}, []), "an empty file": ({"a": b""}, []), "empty directories": ({}, ["a", "b/c/d", ".e"]),
        "long": ({long + "/f": b"1"}, [long + "/e"]), "64 parts": ({"/".join(["d"] * 63) + "/f": b"1"}, []),
        "many": (many, []), "all names": ({name: name.encode() for name in cases.NAMES}, []),
        "its own names": ({"__metadata__": b"1", "a/__metadata__": b"2", "directory": b"3", "input/0/a": b"4"}, ["end"]),
        "order": ({p: b"x" for p in ("a", "a.b", "a-b", "ab/c", "a0/c", "é", "z", "Y", "__metadata__", "_", "`")}, []),
        "names beside a directory": ({"a/b": b"1", "a-": b"2", "a0": b"3"}, []),
        "255 bytes": ({"é" * 127 + "x": b"1"}, []),
    }  # fmt: skip
    for label, (files, empty) in table.items():
        checks.clean(directory / "in")
        source = cases.write_tree(directory / "in", files, empty)
        checks.round_trip(tally, tools, f"special: {label}", source, directory)
    few_files(tally, tools, cases.write_tree(directory / "many", many), directory)


def few_files(tally, tools, source, directory):
    """Many files do not have to be open at once."""
    archive, out = directory / "packed", directory / "out"
    checks.clean(archive)
    answer = checks.limited(tools, 40, "adapter-pack", source, "-o", archive)
    if tally.check(answer.code == 0, "special: packing with 40 open files", str(answer)):
        answer = checks.limited(tools, 40, "adapter-unpack", archive, "-o", out)
        tally.check(answer.code == 0, "special: unpacking with 40 open files", str(answer))
        checks.same(tally, "special: unpacking with 40 open files", checks.tree(source), out)


def bad_names(tally, tools, size, directory, seed):
    """Names that an archive cannot have are refused when they are packed, and nothing is written."""
    table = {
        "backslash": [b"a\\b"], "control": [b"a\x01b"], "line feed": [b"a\nb"], "tab": [b"a\tb"], "delete": [b"a\x7f"],
        "C1 control": ["a\u0085".encode()], "trailing dot": [b"a."], "trailing space": [b"a "], "dots": [b"..."],
        "not UTF-8": [b"a\xff"], "surrogate": [b"a\xed\xa0\x80"], "case": [b"name", b"Name"],
        "normalisation": ["é".encode(), "e\u0301".encode()], "65 parts": [b"/".join([b"d"] * 65)],
        "case in a directory": [b"d/name", b"d/NAME"],
    }  # fmt: skip
    for label, names in table.items():
        source, archive = directory / "in", directory / "packed"
        checks.clean(source)
        source.mkdir()
        for name in names:
            target = os.path.join(os.fsencode(source), name)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with open(target, "wb") as file:
                file.write(b"x")
        answer = checks.run(tools, "adapter-pack", source, "-o", archive)
        tally.check(answer.code in (1, 64, 65), f"bad name: {label}: is refused", str(answer))
        left = sorted(os.listdir(directory))
        tally.check(left == ["in"], f"bad name: {label}: nothing is left", str(left))
        checks.clean(archive)


def streams(tally, tools, size, directory, seed):
    """Through pipes: the same archive, and the same file from it."""
    rng = random.Random(f"streams {seed}")
    for number, kind in enumerate(cases.FILES * 3):
        label, data = f"pipe {number}", kind(rng, 20_000)
        source, archive, out = directory / "model.safetensors", directory / "packed", directory / "out"
        source.write_bytes(data)
        piped = checks.run(tools, "adapter-pack", "-", "-o", "-", given=data)
        tally.check(piped.code == 0, f"{label}: adapter-pack - -o -", str(piped))
        archive.write_bytes(piped.out)
        checks.unpacked(tally, tools, label, archive, out, {b"": data})
        checks.decodes(tally, label, archive, directory / "decoded", {b"": data})
        back = checks.run(tools, "adapter-unpack", "-", "-o", "-", given=piped.out)
        tally.check(back.code == 0 and back.out == data, f"{label}: adapter-unpack - -o -", str(back))
        if not checks.packed(tally, tools, label, source, archive):
            continue
        named = checks.run(tools, "adapter-pack", source, "-o", "-")
        tally.check(named.code == 0 and named.out == archive.read_bytes(), f"{label}: adapter-pack FILE -o -", str(named))
        back = checks.run(tools, "adapter-unpack", archive, "-o", "-")
        tally.check(back.code == 0 and back.out == data, f"{label}: adapter-unpack FILE -o -", str(back))
        for path in (archive, out, directory / "decoded"):
            checks.clean(path)
    source = cases.write_tree(directory / "in", {"a": b"1", "d/b": b"2"}, ["e"])
    piped = checks.run(tools, "adapter-pack", source, "-o", "-")
    tally.check(piped.code == 0, "pipe: adapter-pack DIRECTORY -o -", str(piped))
    checks.clean(directory / "out")
    answer = checks.run(tools, "adapter-unpack", "-", "-o", directory / "out", given=piped.out)
    tally.check(answer.code == 0, "pipe: adapter-unpack - -o OUT", str(answer))
    checks.same(tally, "pipe: adapter-unpack - -o OUT", checks.tree(source), directory / "out")
    answer = checks.run(tools, "adapter-unpack", "-", "-o", "-", given=piped.out)
    tally.check(answer.code not in (0, 70) and answer.code > 0 and not answer.out, "pipe: no directory to stdout", str(answer))


def threads(tally, tools, size, directory, seed):
    """The bytes do not depend on the number of threads, nor on the run."""
    rng = random.Random(f"threads {seed}")
    tensors = {
        "large": ("F32", [1_300_000], cases.floats(rng, "F32", 1_300_000)),
        "half": ("BF16", [2_000_000], cases.floats(rng, "BF16", 2_000_000)),
        "zeros": ("F16", [1_000_000], bytes(2_000_000)), "random": ("I64", [300_000], rng.randbytes(2_400_000)),
    }  # fmt: skip
    source = cases.write_sharded(directory / "in", tensors, {"model_type": "llama"}, shards=2)
    (source / "text").write_bytes(b"some text, and again, " * 300_000)
    for i in range(40):
        (source / f"small{i}").write_bytes(cases.other_file(rng))
    for level in LEVELS:
        one, other, label = directory / "one", directory / "other", f"threads: {level}"
        if not checks.packed(tally, tools, label, source, one, "--threads", 1, "--level", level):
            continue
        wanted = one.read_bytes()
        for more in (["--threads", 2], ["--threads", 5], []):
            if checks.packed(tally, tools, f"{label} {more}", source, other, "--level", level, *more):
                tally.check(other.read_bytes() == wanted, f"{label} {more}: same archive")
        for more in (["--threads", 1], ["--threads", 2], ["--threads", 5], []):
            checks.unpacked(tally, tools, f"{label} {more}", one, directory / "out", checks.tree(source), *more)
    checks.decodes(tally, "threads", one, directory / "decoded", checks.tree(source))


def selections(tally, tools, size, directory, seed):
    """One file of an archive by its path, one tensor by its name, the list, the manifest and the test."""
    rng = random.Random(f"selections {seed}")
    files = {f"sub/{i}.safetensors": cases.reference_file(rng) for i in range(3)} | {
        "a b": b"text",
        "empty": b"",
        "d/é": b"\0" * 99,
    }
    tensors = {"f": ("F32", [20, 30], cases.floats(rng, "F32", 600)), "scalar": ("F64", [], rng.randbytes(8)),
               "none": ("BF16", [0, 4], b""), "b.weight": ("BF16", [9999], cases.floats(rng, "BF16", 9999))}  # fmt: skip
    source, archive, out = cases.write_tree(directory / "in", files), directory / "packed", directory / "out"
    cases.write_sharded(source / "model", tensors, {}, 2)
    if not checks.packed(tally, tools, "selections", source, archive):
        return
    whole = {os.fsdecode(p): data for p, data in checks.tree(source).items() if data is not None}
    for path, data in whole.items():
        answer = checks.run(tools, "adapter-unpack", archive, path, "-o", out)
        fine = answer.code == 0 and out.is_file() and out.read_bytes() == data
        tally.check(fine, f"selections: {path}", str(answer))
        checks.clean(out)
    for name, (dtype, dims, data) in tensors.items():
        answer = checks.run(tools, "adapter-unpack", archive, name, "-o", out)
        if tally.check(answer.code == 0, f"selections: tensor {name}", str(answer)):
            piece = {n: (d, b) for n, d, b in writer.pieces(out.read_bytes()) if n}
            tally.check(piece == ({name: (dtype, data)} if data else {}), f"selections: tensor {name}: bytes")
            with safe_open(str(out), "pt") as opened:
                fine = list(opened.keys()) == [name] and list(opened.get_slice(name).get_shape()) == dims
                tally.check(fine, f"selections: tensor {name}: shape")
        checks.clean(out)
    answer = checks.run(tools, "adapter-unpack", archive, "nothing/there", "-o", out)
    refused = answer.code in (1, 64, 66) and not out.exists()
    tally.check(refused, "selections: a name that is not there", str(answer))
    listing(tally, tools, archive, source, whole)


def listing(tally, tools, archive, source, whole):
    """--list, --manifest and --test."""
    answer = checks.run(tools, "adapter-unpack", archive, "--list")
    absent = [path for path in whole if path.encode() not in answer.out]
    tally.check(answer.code == 0 and not absent, "listing: --list", f"absent: {absent} {answer}")
    checks.document(tally, "listing: --list --json", checks.run(tools, "adapter-unpack", archive, "--list", "--json"))
    answer = checks.run(tools, "adapter-unpack", archive, "--test")
    tally.check(answer.code == 0, "listing: --test", str(answer))
    checks.document(tally, "listing: --test --json", checks.run(tools, "adapter-unpack", archive, "--test", "--json"))
    answer = checks.run(tools, "adapter-unpack", archive, "--manifest")
    lines = [f"{hashlib.sha256(whole[p]).hexdigest()}  {p}\n" for p in sorted(whole, key=str.encode)]
    tally.check(answer.out.decode() == "".join(lines), "listing: --manifest", f"{answer} {answer.out[:300]!r}")
    done = subprocess.run(["sha256sum", "-c", "--strict", "--quiet"], input=answer.out, cwd=source, capture_output=True)
    tally.check(done.returncode == 0, "listing: sha256sum -c", done.stderr.decode())
    content = checks.header(archive)["__metadata__"]["adapterkit.content"]
    tally.check(hashlib.sha256(answer.out).hexdigest() == content, "listing: the content digest is the manifest's")


def usage(tally, tools, size, directory, seed):
    """Command lines that make no sense, files that are not there, outputs that are."""
    source, archive = cases.write_tree(directory / "in", {"a": b"1", "d/b": b"2"}, ["e"]), directory / "packed"
    if not checks.packed(tally, tools, "usage", source, archive):
        return
    other = cases.write_tree(directory / "other", {"z": b"26"})
    new, none = directory / "new", directory / "none"
    table = [
        ("adapter-pack", [], (64,)), ("adapter-pack", [source], (64,)), ("adapter-pack", [source, source, "-o", new], (64,)),
        ("adapter-pack", [source, "-o", new, "--level", "9"], (64,)), ("adapter-pack", [source, "-o", new, "--nothing"], (64,)),
        ("adapter-pack", [source, "-o", new, "--threads", "0"], (64,)), ("adapter-pack", [source, "-o", new,
        "--threads", "x"], (64,)),
        ("adapter-pack", [none, "-o", new], (66,)), ("adapter-pack", [source, "-o", archive], (73,)),
        ("adapter-pack", [source, "-o", other], (73,)), ("adapter-pack", [source, "-o", none / "x"], (73,)),
        ("adapter-pack", [source, "-o", new, "--base", none], (66,)), ("adapter-pack", [source, "-o", new,
        "--bind", none], (66,)),
        ("adapter-pack", [source, "-o", new, "--adapter", other], (64,)),
        ("adapter-unpack", [], (64,)), ("adapter-unpack", [archive], (64,)), ("adapter-unpack", [none, "-o", new], (66,)),
        ("adapter-unpack", [archive, "-o", other], (73,)), ("adapter-unpack", [archive, "-o", none / "x"], (73,)),
        ("adapter-unpack", [archive, "-o", new, "--nothing"], (64,)), ("adapter-unpack", [archive, "-o", new,
        "--threads", "-1"], (64,)),
        ("adapter-unpack", [source / "a", "-o", new], (65,)), ("adapter-unpack", [source, "-o", new], (64, 65, 66)),
    ]  # fmt: skip
    before = checks.tree(directory)
    for tool, arguments, codes in table:
        label = f"usage: {tool} {' '.join(os.path.relpath(a, directory) if isinstance(a, Path) else a for a in arguments)}"
        answer = checks.run(tools, tool, *arguments)
        tally.check(answer.code in codes and answer.err.strip(), f"{label}: exit {codes}", str(answer))
        differ = checks.differences(before, checks.tree(directory))
        tally.check(not differ, f"{label}: changes nothing", str(differ))
        checks.clean(new)
    forced(tally, tools, source, archive, other)


def forced(tally, tools, source, archive, other):
    """--force replaces what is there as a whole, but no directory that holds something else."""
    copy = shutil.copy(archive, archive.with_name("copy"))
    answer = checks.run(tools, "adapter-pack", source / "a", "-o", copy, "--force", "--json")
    tally.check(answer.code == 0, "usage: adapter-pack --force", str(answer))
    checks.document(tally, "usage: adapter-pack --json", answer)
    checks.unpacked(tally, tools, "usage: adapter-pack --force", copy, archive.with_name("new"), {b"": b"1"})
    answer = checks.run(tools, "adapter-unpack", archive, "-o", other, "--force")
    tally.check(answer.code == 73, "usage: adapter-unpack --force over other files", str(answer))
    checks.same(tally, "usage: adapter-unpack --force over other files", {b"z": b"26"}, other)
    checks.clean(other)
    cases.write_tree(other, {"a": b"changed"})
    answer = checks.run(tools, "adapter-unpack", archive, "-o", other, "--force", "--json")
    tally.check(answer.code == 0, "usage: adapter-unpack --force", str(answer))
    checks.document(tally, "usage: adapter-unpack --json", answer)
    checks.same(tally, "usage: adapter-unpack --force", checks.tree(source), other)
    left = sorted(p.name for p in archive.parent.iterdir())
    tally.check(left == ["copy", "in", "new", "other", "packed"], "usage: --force leaves nothing", str(left))
