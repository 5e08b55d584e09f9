"""The ways in and out of archives: pipes, single files and tensors, lists and tests, and command lines that are refused."""

import hashlib
import os
import random
import shutil
import subprocess
from pathlib import Path

import archive_cases as cases
import archive_checks as checks
import archive_writer as writer
from safetensors import safe_open


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
