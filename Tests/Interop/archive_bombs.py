"""Archives whose container or streams lie, and archives that would fill the memory or the disk."""

import json
import re
import struct
import zlib

import archive_checks as checks
from archive_writer import Hooks, Part, pack, sha256

GOOD = {"a.txt": b"hello, hello, hello, hello", "dir/b": b"\0" * 400, "w": [Part("rotated2", bytes(range(64)), 16)]}
MIB = 1 << 20
LARGE = 128 * 1024  # KiB that an archive of a million chunks may take


def zeros(size):
    """A zlib stream that inflates to `size` zeros (a number of MiB), as small as deflate can make it."""
    deflater = zlib.compressobj(9)
    first = deflater.compress(bytes(MIB)) + deflater.flush(zlib.Z_FULL_FLUSH)
    block = deflater.compress(bytes(MIB)) + deflater.flush(zlib.Z_FULL_FLUSH)
    adler = struct.pack(">I", (size % 65521) << 16 | 1)  # of zeros: the sum is 1 throughout
    return first + block * (size // MIB - 1) + b"\x03\x00" + adler


def entry_changed(name, old, new, count=1):
    """A hook that replaces something in the header's entry of a stream."""

    def hook(text):
        at = text.index(b'"%s":' % name.encode())
        assert old.encode() in text[at:], old
        return text[:at] + text[at:].replace(old.encode(), new.encode(), count)

    return Hooks(header=hook)


def bad_containers():
    """Files that are no safetensors files, or not these."""
    shapes = re.compile(rb'"shape":\[(\d+)\]')
    table = {
        "another dtype": entry_changed("a.txt", '"U8"', '"I8"'),
        "two dimensions": Hooks(header=lambda t: shapes.sub(rb'"shape":[1,\1]', t)),
        "no dimension": entry_changed("a.txt", '"shape":[', '"shape":[],"x":['),
        "an unknown field": entry_changed("a.txt", "{", '{"x":1,'),
        "F32 with the right size": Hooks(header=lambda t: t.replace(b'"U8","shape":[64]', b'"F32","shape":[16]')),
        "a tensor more": Hooks(streams=lambda s: [("0", b"x"), *s]),
        "a tensor more at the end": Hooks(streams=lambda s: [*s, ("~", b"x")]),
        "a tensor of no bytes more": Hooks(streams=lambda s: [*s[:1], ("b", b""), *s[1:]]),
        "a tensor less": Hooks(streams=lambda s: s[1:]),
        "two of one name": Hooks(streams=lambda s: [s[0], *s]),
        "another order": Hooks(streams=lambda s: [s[1], s[0], *s[2:]]),
        "the directory first": Hooks(streams=lambda s: s[-1:] + s[:-1]),
        "no directory": Hooks(streams=lambda s: s[:-1]),
        "two directories": Hooks(streams=lambda s: s + s[-1:]),
        "swapped streams": Hooks(streams=lambda s: [(s[0][0], s[1][1]), (s[1][0], s[0][1]), *s[2:]]),
        "a stream with more": Hooks(streams=lambda s: [(s[0][0], s[0][1] + b"x"), *s[1:]]),
        "a stream with less": Hooks(streams=lambda s: [(s[0][0], s[0][1][:-1]), *s[1:]]),
        "an empty stream": Hooks(streams=lambda s: [(s[0][0], b""), *s[1:]]),
        "more before the stream": Hooks(streams=lambda s: [(s[0][0], b"x" + s[0][1]), *s[1:]]),
        "an empty directory": Hooks(deflated=lambda d: b""),
        "a directory and more": Hooks(deflated=lambda d: d + b"x"),
        "a directory twice": Hooks(deflated=lambda d: d + d),
        "a directory cut short": Hooks(deflated=lambda d: d[:-1]),
        "a raw deflate stream": Hooks(deflated=lambda d: d[2:-4]),
        "gzip": Hooks(deflated=lambda d: zlib.compress(zlib.decompress(d), wbits=31)),
        "a directory's Adler": Hooks(deflated=lambda d: d[:-1] + bytes([d[-1] ^ 1])),
        "a preset dictionary": Hooks(deflated=preset),
        "a byte after the data": Hooks(whole=lambda w: w + b"x"),
        "a byte less": Hooks(whole=lambda w: w[:-1]),
        "overlapping": Hooks(header=lambda t: re.sub(rb'"data_offsets":\[[1-9]\d*,', b'"data_offsets":[0,', t)),
        "a header of 100 MB": Hooks(whole=lambda w: struct.pack("<Q", 100_000_001) + w[8:]),
        "of 2^63": Hooks(whole=lambda w: struct.pack("<Q", 2**63) + w[8:]),
        "of 2^64 - 8": Hooks(whole=lambda w: struct.pack("<Q", 2**64 - 8) + w[8:]),
        "a huge offset": entry_changed("//directory", '"shape":[', '"shape":[9' + "9" * 17),
    }
    for label, hooks in table.items():
        yield f"container: {label}", pack(GOOD, hooks=hooks)
    for key in ("archive", "content", "directory"):
        yield (
            f"metadata: no {key}",
            pack(GOOD, hooks=Hooks(metadata=lambda m, key=key: {k: v for k, v in m.items() if not k.endswith(key)})),
        )
    digest = sha256(b"x")
    for label, more in {
        "version 2": {"archive": "2"}, "version 01": {"archive": "01"}, "no version": {"archive": ""},
        "version 1.0": {"archive": "1.0"},
        "another content": {"content": digest}, "no digest": {"content": "x"},
        "another directory": {"directory": f"{digest} 400"},
        "no length": {"directory": digest}, "a negative length": {"directory": f"{digest} -1"},
        "words": {"directory": f"{digest} 1 1"},
    }.items():  # fmt: skip
        more = {f"adapterkit.{key}": value for key, value in more.items()}
        yield f"metadata: {label}", pack(GOOD, hooks=Hooks(metadata=lambda m, more=more: m | more))
    for size in (0, 1, 2**31, 2**62, 2**64 - 1, 2**64, 10**30):
        yield f"metadata: length {size}", pack(GOOD, hooks=claimed(size))
    yield (
        "metadata: length with a zero",
        pack(GOOD, hooks=Hooks(metadata=lambda m: {k: v.replace(" ", " 0") for k, v in m.items()})),
    )
    yield "no metadata", pack(GOOD, hooks=Hooks(header=lambda t: re.sub(rb'"__metadata__":{[^}]*},', b"", t)))
    yield "content of another", pack(GOOD, hooks=Hooks(
        lines=lambda lines: [f"content {digest}" if line.startswith("content") else line for line in lines],
        metadata=lambda m: m | {"adapterkit.content": digest}))  # fmt: skip


def preset(deflated):
    """The directory's stream with a dictionary that the reader cannot know."""
    deflater = zlib.compressobj(9, zdict=b"adapterkit-archive 1\ncontent ")
    return deflater.compress(zlib.decompress(deflated)) + deflater.flush()


def claimed(size):
    """A hook that claims a length for the directory."""
    return Hooks(metadata=lambda m: m | {"adapterkit.directory": m["adapterkit.directory"].split(" ")[0] + f" {size}"})


def bad_streams():
    """Planes that are not what their tokens say."""
    data = b"some text, and again, " * 50
    stream = zlib.compress(data)
    digest = f"file {len(data)} {sha256(data)} z"

    def planes(tokens, content, size=None, chunk=2000, code="bytes"):
        size = size or len(data)
        lines = [f"file {size} {sha256(data)} z", f"part {code} {size} {sha256(data)} {chunk} {tokens}", "end"]
        return pack({"z": data}, hooks=Hooks(lines=lambda old: old[:3] + lines, streams=lambda s: [("z", content), s[1]]))

    other, adler = zlib.compress(data[:-1] + b"!"), f"={zlib.adler32(data):08x}"
    for label, tokens, content in [
        ("other bytes", f"{len(other)}", other), ("other bytes as they are", adler, data[:-1] + b"!"),
        ("a byte more", f"{len(stream) + 1}", stream + b"x"),
        ("a byte less", f"{len(stream) - 1}", stream[:-1]), ("a byte more as it is", adler, data + b"x"),
        ("a byte less as it is", adler, data[:-1]),
        ("too short", f"{len(zlib.compress(data[:-1]))}", zlib.compress(data[:-1])),
        ("too long", f"{len(zlib.compress(data + b'x'))}", zlib.compress(data + b"x")),
        ("Adler", f"{len(stream)}", stream[:-4] + b"\0\0\0\0"), ("raw", f"{len(stream) - 6}", stream[2:-4]), ("gzip",
        "99", zlib.compress(data, wbits=31).ljust(99, b"\0")),
        ("two streams", f"{2 * len(stream)}", stream * 2), ("garbage", "99", bytes(range(99))), ("no bytes", "0", b""),
        ("a plane past the end", f"{len(stream) + 99}", stream),
        ("a bomb", f"{len(zeros(64 * MIB))}", zeros(64 * MIB)), ("a bomb in few bytes", "1", b"x"),
        ("preset", str(len(preset(stream))), preset(stream)),
    ]:  # fmt: skip
        yield f"stream: {label}", planes(tokens, content)
    yield (
        "stream: right, but for a digest",
        pack({"z": data}, hooks=Hooks(lines=lambda s: [s[0], s[1], s[2], digest[:-3] + "0 z", *s[4:]])),
    )
    for size in (2**32, 2**40, 2**62, 2**63 - 1, 2**64 - 1):
        yield f"stream: {size} bytes of one plane", planes(f"{len(stream)}", stream, size, min(size, 1 << 24))
        yield f"stream: {size} bytes as they are", planes(adler, data, size, 1 << 24)
    small = zeros(16 * MIB)
    yield "bomb: 1 TiB of planes that are not there", planes(" ".join([f"{len(small)}"] * 65536), small, 2**40, 1 << 24)
    yield "bomb: 1 TiB of planes as they are", planes(" ".join([adler] * 65536), data, 2**40, 1 << 24)
    yield "bomb: planes of one byte", planes(" ".join(["9"] * 65536), b"x" * 65536 * 9, 2**40, 1 << 24)
    yield "bomb: more than deflate can", planes(f"{len(stream)}", stream, 1033 * len(stream), 1 << 24)


def bombs():
    """Directories that inflate to very much, or that list very much."""
    for size in (32 * MIB, 1024 * MIB):
        stream = zeros(size)
        for told in (400, 16 * MIB, size):
            hooks = claimed(told)
            hooks.deflated = lambda d, stream=stream: stream
            yield f"bomb: a directory of {size // MIB} MiB that claims {told}", pack(GOOD, hooks=hooks)
    digest = sha256(b"")
    many = [f"file 0 {digest} {i:07}" for i in range(1_000_000)]
    yield "bomb: a million files without streams", pack({}, hooks=Hooks(lines=lambda s: [*s[:3], *many, "end"]))
    streams = [(f"{i:07}", b"") for i in range(1_000_000)]
    yield "bomb: a million files", pack({}, hooks=Hooks(lines=lambda s: [*s[:3], *many, "end"], streams=lambda s: streams + s))
    yield "bomb: a million streams", pack({}, hooks=Hooks(streams=lambda s: streams + s))
    yield (
        "bomb: a million directories",
        pack({}, hooks=Hooks(lines=lambda s: [*s[:3], *(f"directory d{i:07}" for i in range(1_000_000)), "end"])),
    )
    short = [f"part bytes 1 {digest} 1 =00010001"] * 180_000
    yield (
        "bomb: 180,000 parts without bytes",
        pack({}, hooks=Hooks(lines=lambda s: [*s[:3], f"file 0 {digest} a", *short, "end"])),
    )
    line = f"part bytes 1400000 {digest} 1" + " =00000000" * 1_400_000
    yield (
        "bomb: 1,400,000 chunks without bytes",
        pack({}, hooks=Hooks(lines=lambda s: [*s[:3], f"file 1400000 {digest} a", line, "end"])),
    )
    line = f"part bytes 5000000 {digest} 1" + " 1" * 5_000_000
    yield (
        "bomb: 5,000,000 chunks without bytes",
        pack({}, hooks=Hooks(lines=lambda s: [*s[:3], f"file 5000000 {digest} a", line, "end"])),
    )
    yield "bomb: a line of 15 MiB", pack({}, hooks=Hooks(lines=lambda s: [*s[:3], "directory " + "x" * 15 * MIB, "end"]))
    yield "bomb: lines without anything", pack({}, hooks=Hooks(lines=lambda s: [*s[:3], *[""] * 15 * MIB, "end"]))
    deep = "/".join(["d"] * 64)
    yield (
        "bomb: deep directories that collide",
        pack({}, hooks=Hooks(lines=lambda s: [*s[:3], *[f"directory {deep}"] * 100_000, "end"])),
    )
    yield "bomb: a deep header", pack({}, hooks=Hooks(header=lambda t: b'{"a":' + b"[" * 5_000_000 + b"]" * 5_000_000 + b"}"))
    yield "bomb: a header of spaces", pack({}, hooks=Hooks(header=lambda t: t[:-2] + b" " * 90_000_000))
    yield "bomb: a long name in the header", pack({}, hooks=Hooks(streams=lambda s: [("x" * 90_000_000, b""), *s]))
    yield (
        "bomb: long metadata",
        pack({}, hooks=Hooks(metadata=lambda m: m | {"adapterkit.content": json.dumps("x" * 50_000_000)})),
    )


def large(tally, tools, size, directory, seed):
    """Archives that are right but unusual: they come back, and take no more memory than it has to."""
    few = bytes(range(100)) * 10_000
    files = {
        "a million chunks of one byte": {"a": [Part("bytes", few, 1, lambda plane: True)]},
        "30,000 files": {f"{i:05}": b"" for i in range(30_000)},
        "50,000 parts": {"a": [Part("bytes", b"x") for _ in range(50_000)]},
        "1 GiB of zeros": {"a": [Part("bytes", bytes(1 << 24), 1 << 24) for _ in range(64)]},
    }  # fmt: skip
    for label, parts in files.items():
        archive, out = directory / "archive", directory / "out"
        archive.write_bytes(pack(parts, level=9))
        # To write many files durably takes the disk its time.
        for arguments in [["--test"], ["-o", out]][: 1 + (len(parts) < 1000)]:
            answer = checks.measured(tools, "adapter-unpack", archive, *arguments)
            about = f"large: {label} {arguments[0]}"
            tally.check(answer.code == 0, about, str(answer))
            tally.check(answer.peak <= LARGE, f"{about}: memory", f"{answer.peak} KiB")
            print(f"  {about}: {answer.peak} KiB, {answer.seconds:.2f} s")
        if out.exists():
            found = checks.tree(out)
            wanted = {p: b"".join(x.data for x in d) if isinstance(d, list) else d for p, d in parts.items()}
            tally.check(found == {p.encode(): d for p, d in wanted.items()}, f"large: {label}: same bytes")
        checks.clean(out)


SECTIONS = {"containers": bad_containers, "streams": bad_streams, "bombs": bombs}
