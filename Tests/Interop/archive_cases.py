"""Random files and directories to pack: tensors of all dtypes, odd headers, damaged files, odd names."""

import json
import os
import struct
import unicodedata
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import _TYPES, save

# Bits of an element. The last ones cannot be made with torch and safetensors.
BITS = {
    "F64": 64, "I64": 64, "U64": 64, "C64": 64, "F32": 32, "I32": 32, "U32": 32, "F16": 16, "BF16": 16, "I16": 16, "U16": 16,
    "U8": 8, "I8": 8, "BOOL": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "F8_E8M0": 8, "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4,
}  # fmt: skip
NAMES = [
    "a", "b", "config.json", "adapter_model.safetensors", "model.safetensors", ".hidden", "..two", "...three", "a b", " lead",
    "-dash", "--", "-", "~", "$HOME", "*", "?", "'", '"quoted"', "a:b", "é", "日本語", "🙂", "e\u0301tude", "%41", "#", "x=1",
    "a@b", "@0",
    "__metadata__", "directory", "end", "part bytes 1", "file 0 x", "tab", "a,b", "[x]", "{}", "null", "0", "con", "x" * 255,
    "\u00a0nbsp", "a\u2028b", "\u202egnp", "\ufeffbom", "ｆｕｌｌ", "nested", "lib.so.1", "README.md",
]  # fmt: skip
WEIGHTS = ("F64", "F32", "F16", "BF16")


def floats(rng, dtype, count, scale=0.02):
    """Weights of a usual distribution in one dtype, as bytes."""
    values = np.random.default_rng(rng.getrandbits(64)).normal(0, scale, count)
    kind = _TYPES[dtype]
    return torch.from_numpy(values).to(kind).view(torch.uint8).numpy().tobytes() if count else b""


def values(rng, dtype, count):
    """The bytes of a tensor: anything from random bits to zeros."""
    size = count * BITS[dtype] // 8
    if dtype == "BOOL":
        return bytes(b & 1 for b in rng.randbytes(size))
    kind = rng.randrange(7)
    if kind == 0 and dtype in WEIGHTS:
        return floats(rng, dtype, count)
    if kind == 1 and dtype in WEIGHTS and count:  # NaN with payloads, infinities, zeros of both signs, subnormals
        patterns = {"F64": "<u8", "F32": "<u4"}.get(dtype, "<u2")
        top = np.array([rng.choice([0x7F, 0xFF, 0x80, 0x00, 0x7E, 0xFE]) for _ in range(count)], np.uint8)
        raw = np.frombuffer(rng.randbytes(size), np.uint8).reshape(count, -1).copy()
        raw[:, -1] = top
        return raw.view(patterns).tobytes()
    if kind == 2:
        return bytes(size)
    if kind == 3:
        return (rng.randbytes(BITS[dtype] // 8 or 1) * (size + 1))[:size]
    if kind == 4:
        return bytes(rng.choice(b"\0\1\x3f\x80\xff") for _ in range(size))
    return rng.randbytes(size)


def shape(rng, most=2000):
    """A shape: scalars, empty ones and long ones too."""
    kind = rng.randrange(8)
    if kind == 0:
        return []
    if kind == 1:
        return rng.choice([[0], [0, 3], [3, 0, 2], [1, 1, 1, 0]])
    if kind == 2:
        return [rng.randrange(1, most)]
    return [rng.randrange(1, max(2, int(most ** (1 / 3)))) for _ in range(rng.randrange(1, 4))]


def tensors(rng, dtypes, most=2000):
    """Some tensors: dtype, shape and bytes by name."""
    found = {}
    for i in range(rng.randrange(0, 7)):
        dtype, dims = rng.choice(dtypes), shape(rng, most)
        if BITS[dtype] < 8:
            dims = [4 * d for d in dims] or [4]
        name = rng.choice(
            [f"w{i}", f"model.layers.{i}.self_attn.q_proj.weight", f"é{i}", f'"{i}\\', f"//{i}", f" {i}\n\t", f"🙂{i}"]
        )
        found[name] = (dtype, dims, values(rng, dtype, int(np.prod(dims, dtype=np.int64))))
    return found


def reference_file(rng, most=2000):
    """A file that the safetensors library writes."""
    made = {}
    for name, (dtype, dims, data) in tensors(rng, list(_TYPES), most).items():
        flat = torch.frombuffer(bytearray(data), dtype=torch.uint8) if data else torch.empty(0, dtype=torch.uint8)
        made[name] = flat.view(_TYPES[dtype]).reshape(dims)
    return save(made, rng.choice([None, {}, {"format": "pt"}, {"b": "2", "a": "1", "é": "\n"}]))


def spaced(rng, text):
    """JSON with white space where it may be."""
    if rng.random() < 0.7:
        return text
    return text.replace('":', rng.choice(['" :', '": ', '"\n:\t'])).replace(',"', rng.choice([', "', '\n,\r\n"'])) + " \n"


def odd_file(rng, most=2000):
    """A valid file with an unusual header: other orders, white space, escapes, no alignment, all dtypes."""
    made, at, entries = tensors(rng, list(BITS), most), 0, []
    for name, (dtype, dims, data) in made.items():
        fields = [("dtype", dtype), ("shape", dims), ("data_offsets", [at, at + len(data)])]
        rng.shuffle(fields)
        entries.append((name, dict(fields)))
        at += len(data)
    rng.shuffle(entries)
    about = rng.choice([None, {}, {"z": "1", "a": "2"}, {"format": "pt"}])
    entries.insert(rng.randrange(len(entries) + 1), ("__metadata__", about))
    text = json.dumps(dict(entries), separators=(",", ":"), ensure_ascii=rng.random() < 0.5)
    text = spaced(rng, text).encode() + b" " * rng.choice([0, 1, 3, 8, 100, 5000])
    return struct.pack("<Q", len(text)) + text + b"".join(data for *_, data in made.values())


def damaged_file(rng, most=2000):
    """Something that is no valid safetensors file, but nearly one."""
    data = bytearray(rng.choice([reference_file, odd_file])(rng, most))
    kind = rng.randrange(6)
    if kind == 0:
        return bytes(data[: rng.randrange(len(data))])
    if kind == 1:
        return bytes(data) + rng.randbytes(rng.randrange(1, 9))
    if kind == 2:
        data[rng.randrange(8)] ^= 1 << rng.randrange(8)
    elif kind == 3:
        data[8 + rng.randrange(min(60, len(data) - 8))] ^= 1 << rng.randrange(8)
    elif kind == 4:
        return struct.pack("<Q", rng.choice([0, 2**63, 2**64 - 8, 100_000_001, 2])) + bytes(data[8:])
    else:
        twice = bytes(data[8:]).replace(b"{", b'{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},' * 2, 1)
        length = int.from_bytes(data[:8], "little") + len(twice) - len(data) + 8
        return struct.pack("<Q", length) + twice
    return bytes(data)


def other_file(rng, most=2000):
    """No tensors at all."""
    size = rng.choice([0, 1, 2, 7, 8, 9, rng.randrange(most), rng.randrange(4 * most)])
    return rng.choice([
        b"", b"{}", b"\0" * size, rng.randbytes(size), (b"some text, and again, " * (size // 20 + 1))[:size],
        json.dumps({"r": 8, "lora_alpha": 16, "target_modules": ["q_proj"]}).encode(), rng.randbytes(3) * size,
    ])  # fmt: skip


FILES = (reference_file, odd_file, damaged_file, other_file)


def folded(path):
    """What a path is on systems that know neither case nor normalisation."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKD", path).casefold())


def random_tree(rng, most=2000):
    """Files with their bytes, and directories without anything in them, by path."""
    files, empty, taken = {}, [], set()
    directories = [""]
    for _ in range(rng.randrange(0, 9)):
        parent = rng.choice(directories)
        path = f"{parent}/{rng.choice(NAMES)}".lstrip("/") if parent else rng.choice(NAMES)
        if folded(path) in taken or len(path.encode()) > 1000:
            continue
        taken.add(folded(path))
        if rng.random() < 0.35 and path.count("/") < 8:
            directories.append(path)
        else:
            files[path] = rng.choice(FILES)(rng, most)
    for path in directories[1:]:
        if not any(other.startswith(path + "/") for other in [*files, *directories]):
            empty.append(path)
    return files, empty


def write_tree(path, files, empty=()):
    """Write them below a new directory."""
    path.mkdir(parents=True)
    for name in empty:
        (path / name).mkdir(parents=True)
    for name, data in files.items():
        target = Path(os.path.join(path, name))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return path


def write_sharded(directory, tensors, config, shards=1, metadata=None):
    """A checkpoint of {name: (dtype, shape, bytes)} in one file or in several with an index."""
    from tensorfile import write_file

    directory.mkdir(parents=True)
    (directory / "config.json").write_text(json.dumps(config, indent=2))
    names = list(tensors)
    if shards == 1:
        write_file(directory / "model.safetensors", tensors, metadata or {"format": "pt"})
        return directory
    weight_map = {}
    for i in range(shards):
        file = f"model-{i + 1:05}-of-{shards:05}.safetensors"
        write_file(directory / file, {n: tensors[n] for n in names[i::shards]}, metadata or {"format": "pt"})
        weight_map |= dict.fromkeys(names[i::shards], file)
    total = sum(len(data) for *_, data in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index, indent=2))
    return directory
