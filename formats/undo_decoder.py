#!/usr/bin/env python3
"""Gives back the base of a merge from the merged model and its record; the format is in undo-record.md. Needs numpy only.

    python undo_decoder.py MERGED RECORD OUT

Writes the new directory OUT, or the file OUT if the base was one file. D is computed for plain LoRA on linear layers whose names
the adapter has, in F64, F32, F16 and BF16, without patterns; any other use of `unmerged` takes adapter-unmerge. Exit status: 0, all digests hold; 1, refused,
and what is in OUT is of no use; 2, D is beyond this decoder.
"""

import hashlib, json, math, re, sys, zlib  # noqa: E401
from pathlib import Path
import numpy as np

WIDTH = {"BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1, "U16": 2, "I16": 2, "F16": 2, "BF16": 2,
         "U32": 4, "I32": 4, "F32": 4, "U64": 8, "I64": 8, "F64": 8, "C64": 8}  # fmt: skip
SHIFTED = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}

class Beyond(Exception):
    """What takes adapter-unmerge."""

def need(holds, what):
    if not holds:
        sys.exit(f"refused: {what}")

def sha256(data):
    return hashlib.sha256(data).hexdigest()

def header(data):
    """The metadata of a safetensors file, its tensors in the order of their data, and where that begins."""
    start = 8 + int.from_bytes(data[:8], "little")
    found = json.loads(bytes(data[8:start]))
    metadata = found.pop("__metadata__", {})
    return metadata, dict(sorted(found.items(), key=lambda item: item[1]["data_offsets"])), start

def tensors(data):
    """All tensors by name: dtype, shape and bytes."""
    _, found, start = header(data)
    return {n: (t["dtype"], t["shape"], data[slice(*(start + at for at in t["data_offsets"]))]) for n, t in found.items()}

# Numbers: values in float64, rounded once to a dtype; a fused multiply-add.

def widen(data, dtype):
    if dtype == "BF16":
        return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4").astype("<f8")
    return np.frombuffer(data, SHIFTED[dtype]).astype("<f8")

def to_odd(x, error):
    """x + error, of which x is the nearest number: the one of its two neighbours whose last bit is set, unless x is it."""
    inexact = (error != 0) & (x.view(f"<i{x.itemsize}") & 1 == 0)
    return np.where(inexact, np.nextafter(x, np.where(error > 0, np.inf, -np.inf).astype(x.dtype)), x)

def narrow(x, dtype):
    if dtype == "BF16":  # by way of float32, rounded to odd, after which rounding to fewer bits is as good as rounding once
        near = x.astype("<f4")
        bits = to_odd(near, np.where(np.isnan(x), 0, np.sign(x - near.astype("<f8")))).view("<u4").astype("<u8")
        bits = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
        return np.where(np.isnan(x), 0x7FC0, bits).astype("<u2").tobytes()
    y = x.astype(SHIFTED[dtype])
    bits = y.view(f"<u{y.itemsize}")
    return np.where(np.isnan(x), np.array(np.nan, y.dtype).view(bits.dtype), bits).astype(bits.dtype).tobytes()

def two_sum(a, b):
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)

def two_product(a, b):
    def split(x):
        t = 134217729.0 * x
        high = t - (t - x)
        return high, x - high

    (ah, al), (bh, bl), p = split(a), split(b), a * b
    return p, ((ah * bh - p) + ah * bl + al * bh) + al * bl

def fma(a, b, c):
    """a·b + c, rounded once (Boldo and Melquiond 2008), for numbers that are neither huge nor tiny."""
    (p, q), a = two_product(a, b), None
    t, u = two_sum(c, q)
    v, w = two_sum(p, t)
    return v + to_odd(*two_sum(u, w))

def delta(name, shape, adapters, there):
    """D of a tensor, by the definition."""
    def modules(tensors):
        return {re.sub(r"^base_model\.model\.|\.lora_[AB]\.weight$", "", n) for n in tensors}

    total, module = np.zeros(shape), name.removesuffix(".weight")
    if any(f"{m}.weight" not in there for _, held, _ in adapters for m in modules(held)):
        raise Beyond(name)  # the adapter calls something by another name than the file
    for config, held, weight in adapters:
        mine = {n: t for n, t in held.items() if modules([n]) == {module}}
        keys = ("use_dora", "rank_pattern", "alpha_pattern", "target_parameters", "modules_to_save", "trainable_token_indices")
        plain = not any(config.get(k) for k in keys) and config.get("bias", "none") == "none"
        if not plain or any("lora_" not in n for n in held):
            raise Beyond(name)
        if not mine:
            continue
        if len(shape) != 2 or len(mine) != 2:
            raise Beyond(name)
        a, b = (next(t for n, t in mine.items() if f".lora_{half}." in n) for half in "AB")
        right, left = (widen(t[2], t[0]).reshape(t[1]) for t in (a, b))
        rank, alpha = config["r"], float(config["lora_alpha"])
        left = (weight * (alpha / (math.sqrt(rank) if config.get("use_rslora") else rank))) * left
        if left.shape != (shape[0], rank) or right.shape != (rank, shape[1]):
            raise Beyond(name)
        for k in range(rank):
            total = fma(left[:, k : k + 1], right[k : k + 1, :], total)
    return total

# Streams

def sections(stream):
    found = []
    while stream:
        count, size = (int.from_bytes(stream[at : at + 4], "little") for at in (0, 4))
        data, stream = stream[8 : 8 + size], stream[8 + size :]
        need(len(data) == size <= count, "a section that ends early")
        if size < count:
            inflater = zlib.decompressobj()
            data = inflater.decompress(data, count + 1)
            need(len(data) == count and inflater.eof and not inflater.unused_data, "a section of another length")
        found.append(data)
    return found

def sparse(head, x):
    need(len(head) >= 5 and head[0] < 32, "a head of differences")
    parameter, count, at = head[0], int.from_bytes(head[1:5], "little"), 0
    bits = "".join(f"{byte:08b}"[::-1] for byte in head[5:])
    need(0 < count <= len(x), "a number of differences")

    def number(digits):
        nonlocal at
        need(at + digits <= len(bits), "bits that are not there")
        at += digits
        return int(bits[at - digits : at][::-1] or "0", 2)

    def zeros():
        nonlocal at
        one = bits.find("1", at)
        need(one >= 0, "a one that does not come")
        at, found = one + 1, one - at
        return found

    place = 0
    for _ in range(count):
        place += (zeros() << parameter) + number(parameter)
        digits = zeros()
        need(place < len(x) and digits < 8 * x.itemsize, "an element behind the last one, or too great a difference")
        size = 1 << digits | number(digits)
        x[place] = (int(x[place]) + (-size if number(1) else size)) & ((1 << 8 * x.itemsize) - 1)
        place += 1
    need(len(bits) - at < 8 and "1" not in bits[at:], "bits that nobody takes")
    return x

def decode(stream, width, reference, size):
    """The bytes of a chunk."""
    if not stream:
        return reference
    x = np.frombuffer(reference if reference is not None else bytes(size), f"<u{width}").copy()
    if stream[0] == 0:
        return sparse(stream[1:], x).tobytes()
    need(stream[0] in (1, 2), "a kind of stream")
    planes = [np.frombuffer(part, np.uint8) for part in sections(stream[3 - stream[0] :])]
    need(len(planes) == width and all(len(p) == len(x) for p in planes), "planes of another size")
    y = np.stack(planes[::-1], axis=1).reshape(-1).view(x.dtype)
    if stream[0] == 2:
        return (y >> 1 | y << (8 * width - 1) if width > 1 else y).tobytes()
    y = np.where(y & 1, ~(y >> 1), y >> 1)
    y[np.argsort(x >> stream[1] & 255, kind="stable")] = y.copy()
    return (x + y).tobytes()

def restore(merged, record, out):
    data = record.read_bytes()
    metadata, info, start = header(data)
    held = {name: data[slice(*(start + at for at in t["data_offsets"]))] for name, t in info.items()}
    need(metadata.get("adapterkit.undo") == "1", "another version")
    digest, size = metadata["adapterkit.undo.directory"].split(" ")
    text, streams = zlib.decompressobj().decompress(held["directory"], int(size)), held["streams"]
    need(sha256(text) == digest and sha256(streams) == metadata["adapterkit.undo.streams"], "the digest of directory or streams")
    directory, adapters = json.loads(text), []
    for at, about in enumerate(directory["adapters"]):
        config, file = held.get(f"adapter.{at}.config"), held.get(f"adapter.{at}.tensors")
        if config is not None:
            manifest = f"{sha256(config)}  adapter_config.json\n{sha256(file)}  adapter_model.safetensors\n"
            need(sha256(manifest.encode()) == about["sha256"], "the digest of an adapter")
            adapters.append((json.loads(config), tensors(file), about["weight"]))
    paths = [file["path"] for file in directory["files"]] + directory["directories"] + directory.get("linked", [])
    need(all(p not in ("", ".", "..") for path in paths for p in path.split("/")), "a path that leads out")
    nested = any("/" in file["path"] and file["tensors"] for file in directory["files"])  # a pipeline: COMPONENT.NAME
    shards = sorted(merged.glob("*/*.safetensors" if nested else "*.safetensors")) if merged.is_dir() else [merged]
    before = lambda path: f"{path.parent.name}." if nested else ""  # noqa: E731
    there = {before(shard) + name: t for shard in shards for name, t in tensors(shard.read_bytes()).items()}

    def part(entry, dtype, name, shape, path):
        (reference, at, chunks), old, done = entry, None, []
        if reference == "merged":
            old = there[name][2] if name else (merged / path).read_bytes()
        if reference == "unmerged":
            kind, merged_shape, bits = there[name]
            if len(adapters) < len(directory["adapters"]) or dtype not in {*SHIFTED, "BF16"}:
                raise Beyond(name)
            minus = 0 if not any(chunk[0] for chunk in chunks) else delta(name, shape, adapters, there)
            old = narrow((widen(bits, kind).reshape(merged_shape) - minus).reshape(-1), dtype)
        for size, length, digest in chunks:
            begin, stream = sum(map(len, done)), streams[at : at + length]
            need(len(stream) == length and (length or old is not None), "a stream that is not there")
            done.append(decode(stream, WIDTH.get(dtype, 1), old and old[begin : begin + size], size))
            need(sha256(done[-1]) == digest, f"the digest of {name or path}: not what the merge wrote?")
            at += length
        return b"".join(done)

    for path in [""] * (not directory["is_file"]) + directory["directories"]:
        (out / path).mkdir(parents=True)
    for file in directory["files"]:
        if file["aside"]:
            continue
        path = file["path"]
        made = part(file["head"], "U8", None, None, path)
        if file["tensors"]:
            names = header(made)[1].items()
            need(len(names) == len(file["tensors"]), "tensors that the header does not have")
            start = before(Path(path))
            made += b"".join(part(p, t["dtype"], start + n, t["shape"], path) for p, (n, t) in zip(file["tensors"], names))
        need(len(made) == file["size"], f"the size of {path}")
        target = out if directory["is_file"] else out / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.open("xb").write(made)
    for path in directory.get("linked", []):
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        (out / path).open("xb").write((merged / path).read_bytes())
    return 0

if __name__ == "__main__":
    need(len(sys.argv) == 4, "takes MERGED, RECORD and OUT")
    with np.errstate(all="ignore"):
        try:
            sys.exit(restore(*map(Path, sys.argv[1:])))
        except Beyond as name:
            print(f"D of {name} takes adapter-unmerge", file=sys.stderr)
            sys.exit(2)
