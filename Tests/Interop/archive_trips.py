"""Packing and unpacking without a base: all kinds of input come back, by every way in and out."""

import json
import os
import random

import archive_cases as cases
import archive_checks as checks

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


# The one method of zlib that makes these smaller is not the last one that is tried.
BARELY = [
    "9696969624964b24965a3d96249696969696969696969624",
    "f7a2c6a2a2f7a2f7c6a2a2a2a2f7a2f7dbf7c6a2a2a2a2c6f7c6f721f7f7c6c6c5f7a2",
]


def barely(rng):
    """Bytes that deflate makes hardly smaller: few values, short repetitions."""
    few, data = rng.randbytes(rng.choice([2, 3, 4, 6, 10, 30])), bytearray()
    size = rng.randrange(13, 80)
    while len(data) < size:
        at = rng.randrange(len(data)) if len(data) > 6 and rng.random() < 0.2 else None
        data += (
            data[at : at + rng.randrange(3, 6)]
            if at is not None
            else bytes([rng.choice(few if rng.random() < 0.7 else range(256))])
        )
    return bytes(data)


def small_files(tally, tools, size, directory, seed):
    """Thousands of files for which deflate is as good as none, so that each method of zlib fails for some."""
    rng = random.Random(f"small {seed}")
    files = {f"known{i}": bytes.fromhex(text) for i, text in enumerate(BARELY)} | {f"{i}": barely(rng) for i in range(3000)}
    source = cases.write_tree(directory / "in", files)
    for level in LEVELS:
        checks.round_trip(tally, tools, f"small files {level}", source, directory, "--level", level)


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
