"""Archives of the independent writer, in all codes: the reference decoder and adapter-unpack give back what went in."""

import os
import random
import subprocess
import sys

import archive_cases as cases
import archive_checks as checks
import archive_writer as writer

CHUNKS = (1, 3, 8, 64, 1000, 1 << 16, 1 << 20, 1 << 24)


def stored_choice(rng):
    """Which planes are kept as they are: whatever is smaller, all, none, or some."""
    return rng.choice([None, lambda plane: True, lambda plane: False, lambda plane: rng.random() < 0.5])


def near(rng, data):
    """A source for some bytes: the same, slightly different or anything."""
    kind = rng.randrange(3)
    if kind == 0:
        return data
    if kind == 1:
        return rng.randbytes(len(data))
    noisy = bytearray(data)
    for _ in range(1 + len(noisy) // 3):
        i = rng.randrange(len(noisy))
        noisy[i] = (noisy[i] + rng.choice([1, 2, 254, 255])) & 255
    return bytes(noisy)


def coded(rng, data, sources):
    """The parts of a file, each in a random code; adds to the sources what these need."""
    parts = []
    for part in writer.cut(data, stored=stored_choice(rng)):
        widths = [w for w in (1, 2, 4, 8) if len(part.data) % w == 0]
        width = rng.choice(widths)
        part.chunk = max(rng.choice(CHUNKS), len(part.data) // 300 + 1)
        kind = rng.choice(["bytes", "rotated", "joint", "difference", "grouped", "copy"])
        if kind == "joint" and width == 1:
            kind = "rotated"
        part.code = kind
        if kind not in ("bytes", "copy"):
            part.code = f"{kind}{width}"
            part.chunk = min(-(-part.chunk // width) * width, 1 << 24)
        if kind == "grouped":
            part.code += f".{rng.choice([0, 7, 10, 23, 52, 8 * width - 1, 8 * width - 8]) % (8 * width)}"
        if kind in ("difference", "grouped", "copy"):
            source = part.data if kind == "copy" else near(rng, part.data)
            part.code += f"@{len(sources)}"
            number, odd = len(sources), rng.choice(["", ".weight", ' "quoted" \\', "é\u2028"])
            if rng.random() < 0.2:
                sources.append(writer.Source("file", f"sub/{number}.bin" if number % 2 else f"{number}.json", source))
            else:
                sources.append(writer.Source("tensor", f"t{number}{odd}", source))
        parts.append(part)
    return parts


def write_base(path, sources, shards):
    """A model's directory that has the sources."""
    tensors = {s.name: ("U8", [len(s.data)], s.data) for s in sources if s.kind == "tensor"} or {"t": ("U8", [1], b"x")}
    cases.write_sharded(path, tensors, {"model_type": "llama"}, min(shards, len(tensors)))
    for source in sources:
        if source.kind == "file":
            (path / source.name).parent.mkdir(exist_ok=True)
            (path / source.name).write_bytes(source.data)
    return path


def one(rng, directory, most=3000):
    """A random archive: its path, the tree that it holds, and its base if it needs one."""
    files, empty = cases.random_tree(rng, most)
    single = rng.random() < 0.2 and files
    if single:
        name = rng.choice(sorted(files))
        files, empty = {os.path.basename(name): files[name]}, []
    sources = []
    parts = {path: coded(rng, data, sources) for path, data in files.items()}
    checks.clean(directory / "base")
    base = write_base(directory / "base", sources, rng.randrange(1, 4)) if sources else None
    whole = writer.pack(
        parts, directories=empty, kind="file" if single else "directory", sources=sources, level=rng.choice([0, 1, 6, 9]),
        base=rng.choice(["base", 'a "b"\\', "é", ""]), padding=rng.choice([8, 16, 1000]),
        bound=rng.choice([[], [(None, "0" * 64)], [(None, "1" * 64), ("a.weight", "2" * 64), ('"b', "3" * 64)]]),
    )  # fmt: skip
    archive = directory / "archive"
    archive.write_bytes(whole)
    if single:
        return archive, {b"": next(iter(files.values()))}, base
    wanted = {os.fsencode(path): data for path, data in files.items()} | {os.fsencode(path): None for path in empty}
    for path in [*files, *empty]:
        above = os.path.dirname(path)
        while above:
            wanted[os.fsencode(above)], above = None, os.path.dirname(above)
    return archive, wanted, base


def agree(count):
    """Many archives; the decoder and the tool must give the same."""

    def section(tally, tools, size, directory, seed):
        for number in range(count):
            rng = random.Random(f"own {seed} {number}")
            archive, wanted, base = one(rng, directory, rng.choice([50, 3000, 3000, 60_000]))
            label = f"own archive {number}"
            checks.decodes(tally, label, archive, directory / "decoded", wanted, base)
            checks.unpacked(tally, tools, label, archive, directory / "out", wanted, *(["--base", base] if base else []))
            if number % 10 == 0:
                answer = checks.run(tools, "adapter-unpack", archive, "--test", *(["--base", base] if base else []))
                tally.check(answer.code == 0, f"{label}: --test", str(answer))

    return section


def decoder(count):
    """The reference decoder alone: as a command, on right archives, and on ones with a bit flipped."""

    def section(tally, tools, size, directory, seed):
        for number in range(count):
            rng = random.Random(f"decoder {seed} {number}")
            archive, wanted, base = one(rng, directory)
            label, out = f"decoder {number}", directory / "out"
            if number < 5:
                checks.clean(out)
                more = ["--base", base] if base else []
                done = subprocess.run([sys.executable, checks.DECODER, archive, out, *more], capture_output=True)
                tally.check(done.returncode == 0, f"{label}: command", done.stderr.decode(errors="replace"))
                checks.same(tally, f"{label}: command", wanted, out)
            checks.decodes(tally, label, archive, out, wanted, base)
            whole = bytearray(archive.read_bytes())
            for _ in range(5):
                at, bit = rng.randrange(len(whole)), 1 << rng.randrange(8)
                whole[at] ^= bit
                archive.write_bytes(whole)
                whole[at] ^= bit
                checks.clean(out)
                code, _ = checks.decoded(archive, out, base)
                fine = code or not checks.differences(wanted, checks.tree(out))
                tally.check(fine, f"{label}: byte {at} ^ {bit} is refused or without effect")

    return section
