"""Damaged archives: each bit flipped and each length cut; nothing wrong comes out, and nothing is left behind."""

import json
import random

import archive_cases as cases
import archive_checks as checks
import archive_own
import archive_writer as writer

SAMPLE = 150  # flips and cuts of one archive in a quick run


def small(tools, directory, seed):
    """An archive of adapter-pack with a text, a file of tensors, an empty file and an empty directory."""
    rng = random.Random(f"small {seed}")
    text = json.dumps({"w": {"dtype": "BF16", "shape": [5, 8], "data_offsets": [0, 80]}}).encode()
    tensors = len(text).to_bytes(8, "little") + text + cases.floats(rng, "BF16", 40)
    files = {"a.txt": b"hello, hello, hello", "d/w.safetensors": tensors, "empty": b""}
    source = cases.write_tree(directory / "in", files, ["e"])
    answer = checks.run(tools, "adapter-pack", source, "-o", directory / "packed")
    return directory / "packed", checks.tree(source), None, answer


def coded(tools, directory, seed):
    """An archive of the writer that has every code and needs a base."""
    rng = random.Random(f"coded {seed}")
    data, base = (cases.floats(rng, "F16", 24) for _ in range(2))
    sources = [writer.Source("tensor", "t", base), writer.Source("tensor", "same", data), writer.Source("file", "f", base)]
    files = {"a": [writer.Part(f"{code}", data, 32) for code in (
        "bytes", "rotated2", "joint2", "joint4", "difference2@0", "grouped2.10@0", "copy@1", "grouped4.23@2")]}  # fmt: skip
    path = archive_own.write_base(directory / "base", sources, 1)
    archive = directory / "coded"
    archive.write_bytes(writer.pack(files, sources=sources, directories=["e"], bound=[(None, "0" * 64)]))
    return archive, {b"a": data * 8, b"e": None}, path, checks.Run(0, b"", "")


def harmless(tally, tools, label, whole, archive, wanted, base, scratch):
    """Unpacking fails and leaves nothing, or nothing is wrong with what it gives; whether it failed."""
    archive.write_bytes(whole)
    out = scratch / "out"
    answer = checks.run(tools, "adapter-unpack", archive, "-o", out, *(["--base", base] if base else []))
    if answer.code == 0:
        checks.same(tally, label, wanted, out)
        checks.clean(out)
    else:
        fine = 0 < answer.code < 128 and answer.code in (1, 65) and answer.err.strip()
        tally.check(fine, f"{label}: exit 1 or 65", str(answer))
        left = [p.name for p in scratch.iterdir()]
        if not tally.check(not left, f"{label}: nothing is left", str(left)):
            checks.clean(out)
    return answer.code != 0


def damage(make, full):
    """Flips and cuts of the archive that `make` makes."""

    def section(tally, tools, size, directory, seed):
        archive, wanted, base, answer = make(tools, directory, seed)
        if not tally.check(answer.code == 0, f"{make.__name__}: adapter-pack", str(answer)):
            return
        rng, whole = random.Random(f"damage {seed}"), archive.read_bytes()
        (scratch := directory / "scratch").mkdir()
        flips = range(8 * len(whole)) if full else sorted(rng.sample(range(8 * len(whole)), SAMPLE))
        refused, other = 0, directory / "damaged"
        for bit in flips:
            damaged = bytearray(whole)
            damaged[bit // 8] ^= 1 << bit % 8
            label = f"{make.__name__}: bit {bit % 8} of byte {bit // 8} flipped"
            refused += harmless(tally, tools, label, damaged, other, wanted, base, scratch)
            code, _ = checks.decoded(other, scratch / "out", base)
            fine = code or not checks.differences(wanted, checks.tree(scratch / "out"))
            tally.check(fine, f"{label}: decoder")
            checks.clean(scratch / "out")
        print(f"  {len(whole)} bytes; {refused} of {len(flips)} flips were refused, the others are without effect")
        cuts = range(len(whole)) if full else sorted(rng.sample(range(len(whole)), min(SAMPLE // 2, len(whole))))
        for length in cuts:
            label = f"{make.__name__}: cut to {length} bytes"
            tally.check(harmless(tally, tools, label, whole[:length], other, wanted, base, scratch), f"{label}: is refused")
        pipes(tally, tools, make.__name__, whole, rng, directory)

    return section


def in_place(count):
    """A damaged adapter in place: what adapter-merge makes of it is right, or nothing."""

    def section(tally, tools, size, directory, seed):
        import combine_cases

        rng = random.Random(f"damage in place {seed}")
        item = next(c for c in combine_cases.ALL if c.name == "two")
        base, adapters = combine_cases.make(item, combine_cases.models.TINY, directory, seed)
        archive, out, right = directory / "packed", directory / "out", directory / "right"
        if not checks.packed(tally, tools, "damage in place", adapters[0], archive):
            return
        if not tally.check(tools.merge(base, [(archive, 1.0)], right).code == 0, "damage in place: adapter-merge"):
            return
        wanted, whole = checks.tree(right), archive.read_bytes()
        for bit in rng.sample(range(8 * len(whole)), count):
            damaged, label = bytearray(whole), f"damage in place: bit {bit % 8} of byte {bit // 8} flipped"
            damaged[bit // 8] ^= 1 << bit % 8
            archive.write_bytes(damaged)
            answer = checks.run(tools, "adapter-merge", base, archive, "-o", out)
            if answer.code == 0:
                checks.same(tally, label, wanted, out)
            else:
                tally.check(answer.code in (1, 65, 66), f"{label}: exit 1, 65 or 66", str(answer))
                tally.check(not out.exists(), f"{label}: nothing is left")
            checks.clean(out)
            for name, arguments in (("adapter-inspect", ["--norms", archive]), ("adapter-verify", ["--deep", base, archive])):
                answer = checks.run(tools, name, *arguments)
                tally.check(0 <= answer.code < 128 and answer.code != 70, f"{label}: {name}", str(answer))

    return section


def pipes(tally, tools, name, whole, rng, directory):
    """The same through a pipe, where nothing may come out that is not right: --test first."""
    for bit in rng.sample(range(8 * len(whole)), 40):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        answer = checks.run(tools, "adapter-unpack", "-", "--test", given=bytes(damaged))
        tally.check(0 <= answer.code < 128 and answer.code != 70, f"{name}: bit {bit} through a pipe", str(answer))
