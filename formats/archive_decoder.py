#!/usr/bin/env python3
"""Unpacks a packed archive; its format is in adapter-archive.md. Needs numpy only, and holds whole files in memory.

    python archive_decoder.py ARCHIVE OUT [--base BASE]

Writes the new directory OUT, or the file OUT if a single file was packed. BASE is a model's directory or one safetensors file.
Exit status: 0, all digests hold; 1, refused, and what is in OUT is of no use; 2, made by a recipe, which takes adapter-unpack.
Of the rules for paths and sizes it checks what keeps it from harm; adapter-unpack checks all.
"""

import argparse, hashlib, io, json, re, sys, zlib  # noqa: E401
from pathlib import Path
import numpy as np

N, DIGEST, NAME = "(?:0|[1-9][0-9]{0,17})", "[0-9a-f]{64}", '".*"'
SOURCE = rf"source (tensor|file) ({N}) ({DIGEST}) ({NAME})\n"
CODE = rf"bytes|rotated[1248]|joint[248]|difference[1248]@{N}|grouped[1248]\.{N}@{N}|copy@{N}|merged@{N}"
PART = rf"part ({CODE}) ({N}) ({DIGEST}) ({N})((?: =[0-9a-f]{{8}}| [1-9][0-9]{{0,9}})*)\n"
FILE = rf"file ({N}) ({DIGEST}) (.+)\n((?:{PART})*)"
DIRECTORY = (
    rf"adapterkit-archive 1\ncontent (?P<content>{DIGEST})\ninput (?P<input>directory|file)\n(?:bound config {DIGEST}\n)?"
    rf"(?:bound tensor {DIGEST} {NAME}\n)*(?:base (?P<base>{DIGEST}) {NAME}\n)?(?P<sources>(?:{SOURCE})*)"
    rf"(?P<recipe>recipe {{.*}}\n)?(?P<empty>(?:directory .+\n)*)(?P<files>(?:{FILE})*)end\n"
)

def need(holds, what):
    if not holds:
        sys.exit(f"refused: {what}")

def sha256(data):
    return hashlib.sha256(data).hexdigest()

def tensors(path):
    """The metadata of a safetensors file, and the bytes of its tensors by name, in the order of the file."""
    data = memoryview(np.memmap(path, np.uint8, "r"))
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(bytes(data[8:start]))
    metadata = header.pop("__metadata__", {})
    spans = sorted((*about["data_offsets"], i, name) for i, (name, about) in enumerate(header.items()))
    need([s[0] for s in spans] + [len(data) - start] == [0] + [s[1] for s in spans], "tensors with gaps or overlaps")
    return metadata, {name: data[start + begin : start + end] for begin, end, _, name in spans}

def plane(token, size, stream):
    """The `size` bytes of the next plane in a stream."""
    stored, inflater = token.startswith("="), zlib.decompressobj()  # which checks the Adler-32 itself
    count = size if stored else int(token)
    need(len(data := stream.read(count)) == count, "a stream that ends early")
    if stored:
        need(f"={zlib.adler32(data):08x}" == token, "the Adler-32 of a plane")
        return data
    data = inflater.decompress(data, size + 1)  # bounded: a stream that lies must not fill the memory
    need(len(data) == size and inflater.eof and not inflater.unused_data, "a plane of another length")
    return data

def unpacked(planes, count):
    """The planes of rotated elements from those of a `joint` chunk: two bits, whole bytes and six bits, one after the other."""
    *whole, sixes, twos = planes
    a, b, c = sixes.reshape(3, -1)  # what is packed together comes from the four quarters of the chunk
    six = np.concatenate([a & 63, b & 63, c & 63, a >> 6 | b >> 6 << 2 | c >> 6 << 4])[:count]
    top = np.concatenate([twos >> shift & 3 for shift in (0, 2, 4, 6)])[:count]
    fields = [top, *whole]  # each gives its last two bits to the byte that begins with the one before
    return [a << 6 | b >> 2 for a, b in zip(fields, whole)] + [whole[-1] << 6 | six]

def decode(part, stream, sources):
    """The bytes of one part, whose planes come next in the stream of its file."""
    code, size, digest, chunk, tokens = part[0], int(part[1]), part[2], int(part[3]), part[4].split()
    kind, width, shift, number = re.fullmatch(r"([a-z]+)(\d)?(?:\.(\d+))?(?:@(\d+))?", code).groups()
    width, shift, source = int(width or 1), int(shift or 0), sources[int(number)] if number else None
    need((number is None or len(source) == size) and shift < 8 * width and size % width == 0, f"{code} of {size} bytes")
    starts, data = range(0, size, chunk) if chunk else [], [source] if kind == "copy" else []
    need(len(tokens) == (planes_of := width + (kind == "joint")) * len(starts), "a number of planes that does not fit")
    for i, start in enumerate(starts):
        count, tokens_of = min(chunk, size - start) // width, tokens[i * planes_of : (i + 1) * planes_of]
        sizes = [count] * width if kind != "joint" else [count] * (width - 1) + [(count + 3) // 4 * 3, (count + 3) // 4]
        planes = [np.frombuffer(plane(*pair, stream), np.uint8) for pair in zip(tokens_of, sizes)]
        if kind == "joint":
            planes = unpacked(planes, count)
        x = np.stack(planes[::-1], axis=1).reshape(-1).view(f"<u{width}")  # the last plane has the lowest bytes
        if kind in ("rotated", "joint"):
            x = x >> 1 | x << (8 * width - 1)
        elif kind != "bytes":
            x, s = np.where(x & 1, ~(x >> 1), x >> 1), np.frombuffer(source[start : start + count * width], x.dtype)  # zigzag
            if kind == "grouped":
                x[np.argsort(s >> shift & 255, kind="stable")] = x.copy()
            x = s + x
        data.append(x.tobytes())
    need(sha256(data := b"".join(data)) == digest, f"the digest of a part in {code}")
    return data

def find_sources(lines, base):
    """The bytes of the base that are needed; they must be the right ones."""
    need(base, "this needs --base")
    where, files = (base, sorted(base.glob("*.safetensors"))) if base.is_dir() else (base.parent, [base])
    named = {file for index in where.glob("*.index.json") for file in json.loads(index.read_text())["weight_map"].values()}
    files.sort(key=lambda file: file.name in named)  # what the index names counts
    there = {name: data for file in files for name, data in tensors(file)[1].items()}
    for kind, size, digest, name in lines:
        data = (where / json.loads(name)).read_bytes() if kind == "file" else there.get(json.loads(name), b"")
        need(len(data) == int(size) and sha256(data) == digest, f"another base: its {kind} {name}")
        yield data

def unpack(archive, out, base=None):
    metadata, streams = tensors(archive)
    (*names, last), (digest, length) = streams, metadata["adapterkit.directory"].split(" ")
    need(metadata["adapterkit.archive"] == "1" and last == "//directory", "another version")
    text = plane(str(len(streams[last])), int(length), io.BytesIO(streams[last]))
    need(sha256(text) == digest and (found := re.fullmatch(DIRECTORY, text.decode())), "the directory's digest or form")
    if found["recipe"]:
        print("made by a recipe, which takes adapter-unpack", file=sys.stderr)
        return 2
    files, empty = re.findall(FILE, found["files"]), re.findall("directory (.+)\n", found["empty"])
    paths, single = [file[2] for file in files], found["input"] == "file"
    need(names == ["//" * (path == "__metadata__") + path for path in paths], "streams of other files")
    need(paths == sorted(set(paths), key=str.encode) and (len(paths) == 1 or not single), "files in another order or number")
    need(all(part not in ("", ".", "..") for path in paths + empty for part in path.split("/")), "a path that leads out")
    manifest = "".join(f"{digest}  {path}\n" for _, digest, path, *_ in files)
    need(sha256(manifest.encode()) == found["content"] == metadata["adapterkit.content"], "the digest of the content")
    need(found["base"] == (sha256(found["sources"].encode()) if found["sources"] else None), "the digest of the sources")
    sources = list(find_sources(re.findall(SOURCE, found["sources"]), base)) if found["base"] else []
    for path in [""] * (not single) + empty:
        (out / path).mkdir(parents=True)
    for name, (size, digest, path, parts, *_) in zip(names, files):
        stream = io.BytesIO(streams[name])
        data = b"".join(decode(part, stream, sources) for part in re.findall(PART, parts))
        need(len(data) == int(size) and sha256(data) == digest and not stream.read(1), f"the digest or size of {path}")
        target = out if single else out / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.open("xb").write(data)
    return 0

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("archive", "out", "--base"):
        parser.add_argument(name, type=Path)
    sys.exit(unpack(**vars(parser.parse_args())))
