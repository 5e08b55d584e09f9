"""Writes packed archives as formats/adapter-archive.md has them, independently of adapter-pack: right ones, and wrong ones.

`pack` turns files into the bytes of an archive. How each file is cut, coded and chunked is the caller's choice, and hooks can
distort everything on its way: the lines, the directory, its stream, the metadata, the streams, the header, the whole.
"""

import hashlib
import json
import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

WIDTHS = {
    "F64": 8, "I64": 8, "U64": 8, "C64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2,
}  # fmt: skip


def same(value):
    """The hook that changes nothing."""
    return value


@dataclass
class Part:
    """Consecutive bytes of a file, and how to store them; `stored` says of a plane that it is kept as it is."""

    code: str
    data: bytes
    chunk: int = 1 << 16
    stored: Callable | None = None


@dataclass
class Source:
    """What parts refer to: a tensor or a file of the base."""

    kind: str
    name: str
    data: bytes


@dataclass
class Hooks:
    """Each takes what the writer has made, and gives what to go on with."""

    lines: Callable = same  # of the directory, a list without line feeds
    directory: Callable = same  # its bytes
    deflated: Callable = same  # its stream
    metadata: Callable = same  # a dictionary
    streams: Callable = same  # a list of names and bytes; the directory is the last
    header: Callable = same  # the JSON as bytes
    whole: Callable = same  # the bytes of the archive


def sha256(data):
    return hashlib.sha256(data).hexdigest()


class Raw(str):
    """A name that stands in the directory as it is, without quotes or escapes."""


def quoted(text):
    return text if isinstance(text, Raw) else json.dumps(text, ensure_ascii=False)


def planes(code, chunk, source):
    """The planes of one chunk; `source` has the same place in the source."""
    kind, width, shift = re.match(r"([a-z]+)([1248])?(?:\.(\d+))?", code).groups()
    if kind == "bytes":
        return [chunk]
    width = int(width)
    x = np.frombuffer(chunk, f"<u{width}")
    if kind in ("rotated", "joint"):
        x = (x << 1) + (x >> (8 * width - 1))
        if kind == "joint":
            return joint_planes(x, width)
    else:
        s = np.frombuffer(source.ljust(len(chunk), b"\0"), f"<u{width}")
        d = (x - s).view(f"<i{width}")
        x = ((d << 1) ^ (d >> (8 * width - 1))).view(f"<u{width}")
        if kind == "grouped":
            x = np.concatenate([x[((s >> int(shift)) & 255) == group] for group in range(256)])
    rows = x.astype(f">u{width}").view(np.uint8).reshape(-1, width)
    return [rows[:, i].tobytes() for i in range(width)]


def joint_planes(x, width):
    """The planes of a `joint` chunk, from its rotated elements."""
    whole = [(x >> (8 * (width - 2 - i) + 6) & 255).astype(np.uint8).tobytes() for i in range(width - 1)]
    quarter = (len(x) + 3) // 4
    padded = np.zeros(4 * quarter, np.uint64)
    padded[: len(x)] = x
    a, b, c, d = (padded & 63).reshape(4, quarter)
    sixes = [a + d % 4 * 64, b + d // 4 % 4 * 64, c + d // 16 * 64]
    a, b, c, d = (padded >> (8 * width - 2)).reshape(4, quarter)
    return [
        *whole,
        b"".join(s.astype(np.uint8).tobytes() for s in sixes),
        (a + 4 * b + 16 * c + 64 * d).astype(np.uint8).tobytes(),
    ]


def token(plane, level, stored):
    """The token of one plane, and its bytes in the stream."""
    deflated = zlib.compress(plane, level)
    if stored(plane) if stored else len(deflated) >= len(plane):
        return f"={zlib.adler32(plane):08x}", plane
    return str(len(deflated)), deflated


def encode(part, sources, level):
    """The line of one part, and its bytes in the stream."""
    number = part.code.partition("@")[2]
    source = sources[int(number)].data if number and int(number) < len(sources) else b""
    tokens, chunk = [], part.chunk
    if part.code.startswith(("copy", "merged")):
        chunk = 0
    else:
        for start in range(0, len(part.data), chunk):
            here = slice(start, start + chunk)
            tokens += [token(p, level, part.stored) for p in planes(part.code, part.data[here], source[here])]
    words = ["part", part.code, str(len(part.data)), sha256(part.data), str(chunk), *(t for t, _ in tokens)]
    return " ".join(words), b"".join(data for _, data in tokens)


def pieces(data):
    """A valid safetensors file as its header and its tensors with any bytes, each with its dtype; None if it is none."""
    try:
        (length,) = struct.unpack("<Q", data[:8])
        start = 8 + length
        if start > len(data):
            return None
        header = json.loads(data[8:start])
        header.pop("__metadata__", None)
        spans = sorted((*entry["data_offsets"], entry["dtype"], name) for name, entry in header.items())
    except (ValueError, KeyError, TypeError, AttributeError, struct.error):
        return None
    if [s[0] for s in spans] + [len(data) - start] != [0] + [s[1] for s in spans]:
        return None
    found = [("", None, data[:start])]
    return found + [(name, dtype, data[start + b : start + e]) for b, e, dtype, name in spans if e > b]


def plain(name, dtype, data):
    """The code of a piece without a base."""
    width = WIDTHS.get(dtype, 1)
    return f"rotated{width}" if width > 1 and len(data) % width == 0 else "bytes"


def cut(data, choose=plain, chunk=1 << 16, stored=None):
    """The parts of a file; `choose` gives the code of a piece by its name, dtype and bytes."""
    found = pieces(data) or ([("", None, data)] if data else [])
    return [Part(choose(*piece), piece[2], chunk, stored) for piece in found]


def order(path):
    """Inputs of a recipe come after all files."""
    return path.startswith("//"), path.encode(errors="surrogatepass")


def content_digest(files):
    """The SHA-256 of what sha256sum prints; `files` has bytes by path."""
    own = sorted((p for p in files if not p.startswith("//")), key=order)
    return sha256("".join(f"{sha256(files[p])}  {p}\n" for p in own).encode(errors="surrogatepass"))


def head(content, kind, bound, base, sources, recipe, directories):
    """The lines of the directory that stand before the files."""
    yield "adapterkit-archive 1"
    yield f"content {content}"
    yield f"input {kind}"
    yield from (f"bound config {digest}" for name, digest in bound if name is None)
    yield from (f"bound tensor {digest} {quoted(name)}" for name, digest in bound if name is not None)
    lines = [f"source {s.kind} {len(s.data)} {sha256(s.data)} {quoted(s.name)}" for s in sources]
    if lines:
        yield f"base {sha256(''.join(line + chr(10) for line in lines).encode())} {quoted(base)}"
    yield from lines
    if recipe is not None:
        yield f"recipe {json.dumps(recipe, separators=(',', ':'), ensure_ascii=False)}"
    yield from (f"directory {path}" for path in sorted(directories, key=order))


def container(streams, metadata, hooks, padding=0):
    """The safetensors file that holds the streams, even if names repeat."""
    entries, at = [f'"__metadata__":{json.dumps(metadata, separators=(",", ":"))}'], 0
    for name, data in streams:
        entries.append(f'{quoted(name)}:{{"dtype":"U8","shape":[{len(data)}],"data_offsets":[{at},{at + len(data)}]}}')
        at += len(data)
    text = ("{" + ",".join(entries) + "}").encode(errors="surrogatepass")
    text = hooks.header(text + b" " * (padding - len(text) % 8))
    return hooks.whole(struct.pack("<Q", len(text)) + text + b"".join(data for _, data in streams))


def pack(
    files, *, directories=(), kind="directory", sources=(), base="base", bound=(), recipe=None, level=6, padding=8, hooks=None
):
    """The bytes of an archive. `files` has bytes, or a list of parts, by path; `bound` has names (None: config) and digests."""
    hooks = hooks or Hooks()
    parts = {path: cut(given) if isinstance(given, bytes) else given for path, given in files.items()}
    whole = {path: b"".join(part.data for part in some) for path, some in parts.items()}
    content = content_digest(whole)
    lines, streams = list(head(content, kind, bound, base, sources, recipe, directories)), []
    for path in sorted(parts, key=order):
        lines.append(f"file {len(whole[path])} {sha256(whole[path])} {path}")
        coded = [encode(part, sources, level) for part in parts[path]]
        lines += [line for line, _ in coded]
        streams.append(("//__metadata__" if path == "__metadata__" else path, b"".join(data for _, data in coded)))
    text = "".join(line + "\n" for line in hooks.lines([*lines, "end"]))
    directory = hooks.directory(text.encode(errors="surrogatepass"))
    streams.append(("//directory", hooks.deflated(zlib.compress(directory, 9))))
    metadata = {
        "adapterkit.archive": "1",
        "adapterkit.content": content,
        "adapterkit.directory": f"{sha256(directory)} {len(directory)}",
    }
    return container(hooks.streams(streams), hooks.metadata(metadata), hooks, padding)
