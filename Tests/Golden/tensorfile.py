"""A safetensors reader and number formats in numpy only, independent of the libraries under test.

Values come back as float64. Rounding to a storage type is done here as well, so that the expected
bytes do not depend on how torch rounds.
"""

import json
import math
import struct
from pathlib import Path

import numpy as np

FLOAT_DTYPES = {"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"}
_NUMPY = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "u1",
    "BF16": "<u2", "F8_E4M3": "u1", "F8_E5M2": "u1",
}  # fmt: skip


def decode_f8(codes, exponent_bits):
    """Float8 codes (uint8) to float64; e4m3 has no infinities and one NaN pattern, e5m2 is IEEE-like."""
    mantissa_bits = 7 - exponent_bits
    bias = (1 << (exponent_bits - 1)) - 1
    table = np.empty(256)
    for code in range(256):
        sign = -1.0 if code & 0x80 else 1.0
        exponent = (code & 0x7F) >> mantissa_bits
        mantissa = code & ((1 << mantissa_bits) - 1)
        if exponent_bits == 4 and (code & 0x7F) == 0x7F:
            value = math.nan
        elif exponent_bits == 5 and exponent == 31:
            value = math.inf if mantissa == 0 else math.nan
        elif exponent == 0:
            value = mantissa * 2.0 ** (1 - bias - mantissa_bits)
        else:
            value = (1 + mantissa * 2.0**-mantissa_bits) * 2.0 ** (exponent - bias)
        table[code] = sign * value
    return table[codes]


def encode_f8(values, exponent_bits):
    """Round float64 to the nearest float8 code, ties to even, too large values to the largest finite one."""
    table = decode_f8(np.arange(128, dtype=np.uint8), exponent_bits)
    grid = table[np.isfinite(table)]
    magnitude = np.minimum(np.abs(values), grid[-1])
    high = np.clip(np.searchsorted(grid, magnitude), 1, len(grid) - 1)
    low = high - 1
    below, above = magnitude - grid[low], grid[high] - magnitude
    pick_high = (above < below) | ((above == below) & (high % 2 == 0))
    codes = np.where(pick_high, high, low).astype(np.uint8)
    return codes | (np.signbit(values).astype(np.uint8) << 7)


def encode_bf16(values):
    """Round float64 to bfloat16 bit patterns, once, ties to even (never through float32)."""
    f32 = np.asarray(values, dtype=np.float64).astype(np.float32)
    # Round to odd in float32 first: a later rounding to fewer bits then equals a single rounding.
    bits = f32.view(np.uint32)
    back = f32.astype(np.float64)
    too_far = np.abs(back) > np.abs(values)
    inexact = back != values
    truncated = bits - too_far.astype(np.uint32)
    odd = np.where(inexact, truncated | 1, bits).astype(np.uint64)
    return ((odd + 0x7FFF + ((odd >> 16) & 1)) >> 16).astype(np.uint16)


def decode(raw, dtype):
    """Stored numbers (numpy, by _NUMPY) to float64 for float types; other types unchanged."""
    if dtype == "BF16":
        return (raw.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    if dtype == "F8_E4M3":
        return decode_f8(raw, 4)
    if dtype == "F8_E5M2":
        return decode_f8(raw, 5)
    return raw.astype(np.float64) if dtype in FLOAT_DTYPES else raw


def round_to(values, dtype):
    """Float64 rounded once to `dtype`, as the stored bit patterns (unsigned integers)."""
    if dtype == "BF16":
        return encode_bf16(values)
    if dtype in ("F8_E4M3", "F8_E5M2"):
        return encode_f8(values, 4 if dtype == "F8_E4M3" else 5)
    stored = np.asarray(values).astype(_NUMPY[dtype])
    return stored.view(f"<u{stored.itemsize}")


class Stored:
    """One tensor of a file: its dtype name, shape and bytes."""

    def __init__(self, dtype, shape, data):
        self.dtype, self.shape, self.data = dtype, tuple(shape), data

    @property
    def raw(self):
        return np.frombuffer(self.data, dtype=_NUMPY[self.dtype]).reshape(self.shape)

    @property
    def bits(self):
        raw = self.raw
        return raw.view(f"<u{raw.itemsize}")

    @property
    def values(self):
        return decode(self.raw, self.dtype)


def read_file(path):
    """All tensors of one safetensors file, by name."""
    blob = Path(path).read_bytes()
    (length,) = struct.unpack("<Q", blob[:8])
    header = json.loads(blob[8 : 8 + length])
    header.pop("__metadata__", None)
    data = blob[8 + length :]
    return {
        name: Stored(entry["dtype"], entry["shape"], data[slice(*entry["data_offsets"])])
        for name, entry in header.items()
    }


def read_checkpoint(directory):
    """All tensors of a model directory: model.safetensors, or the shards that its index names."""
    directory = Path(directory)
    index = directory / "model.safetensors.index.json"
    if not index.exists():
        return read_file(directory / "model.safetensors")
    weight_map = json.loads(index.read_text())["weight_map"]
    shards = {shard: read_file(directory / shard) for shard in sorted(set(weight_map.values()))}
    return {name: shards[shard][name] for name, shard in weight_map.items()}


def write_file(path, tensors, metadata=None):
    """Write {name: (dtype, shape, bytes)} the way the reference writer lays files out."""
    order = ["BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "I16", "U16", "F16", "BF16", "I32", "U32", "F32",
             "F64", "I64", "U64"]  # fmt: skip
    names = sorted(tensors, key=lambda name: (-order.index(tensors[name][0]), name))
    header, offset = {}, 0
    if metadata is not None:
        header["__metadata__"] = metadata
    for name in names:
        dtype, shape, data = tensors[name]
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    Path(path).write_bytes(struct.pack("<Q", len(text)) + text + b"".join(tensors[n][2] for n in names))
