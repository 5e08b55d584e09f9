"""Small safetensors files written by the reference library, for byte-identical round trips."""

import json
import shutil
import struct

import torch
from safetensors import safe_open
from safetensors.torch import save_file

TORCH = {
    "BOOL": torch.bool, "U8": torch.uint8, "I8": torch.int8, "I16": torch.int16, "U16": torch.uint16,
    "I32": torch.int32, "U32": torch.uint32, "I64": torch.int64, "U64": torch.uint64, "F16": torch.float16,
    "BF16": torch.bfloat16, "F32": torch.float32, "F64": torch.float64, "C64": torch.complex64,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2, "F8_E8M0": torch.float8_e8m0fnu,
    "F8_E4M3FNUZ": torch.float8_e4m3fnuz, "F8_E5M2FNUZ": torch.float8_e5m2fnuz, "F4": torch.float4_e2m1fn_x2,
}  # fmt: skip


def _bytes_tensor(dtype, shape, start=0):
    """A tensor of `shape` whose bytes count up from `start`."""
    size = torch.empty((), dtype=dtype).element_size()
    count = size
    for n in shape:
        count *= n
    raw = (torch.arange(count) + start).remainder(2 if dtype == torch.bool else 251).to(torch.uint8)
    return raw.view(dtype).reshape(shape) if dtype != torch.bool else raw.to(torch.bool).reshape(shape)


def _six_bits(label):
    """A file with 16 elements of 6 bits, laid out as the reference writer does."""
    header = '{"t":{"dtype":"%s","shape":[4,4],"data_offsets":[0,12]}}' % label
    text = header.encode() + b" " * (-len(header) % 8)
    return struct.pack("<Q", len(text)) + text + bytes(range(12))


def make_all(target):
    """Write every file and `index.json`, which says what is in each."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    about = {}

    def put(name, what, tensors, metadata=None):
        save_file(tensors, str(target / f"{name}.safetensors"), metadata=metadata)
        about[f"{name}.safetensors"] = what

    for label, dtype in TORCH.items():
        put(f"dtype-{label.lower()}", f"one {label} tensor", {"t": _bytes_tensor(dtype, (3, 4))})
    for label in ("F6_E2M3", "F6_E3M2"):
        name = f"dtype-{label.lower()}.safetensors"
        (target / name).write_bytes(_six_bits(label))
        with safe_open(str(target / name), "np") as opened:
            assert opened.get_slice("t").get_dtype() == label
        about[name] = f"one {label} tensor; put together here, as the Python binding cannot write 6-bit types"
    every = {f"{k.lower()}.{i}": _bytes_tensor(v, (2, 2), i) for i, (k, v) in enumerate(TORCH.items())}
    put("all-dtypes", "one tensor of each dtype: the writer's order", every, {"format": "pt"})
    put("no-tensors", "no tensor at all", {})
    put("no-tensors-metadata", "no tensor, one metadata key", {}, {"format": "pt"})
    put("empty-tensors", "empty tensors among others", {
        "a": torch.zeros(0), "b": torch.ones(3), "c": torch.zeros(4, 0, 2), "d": torch.zeros(0, dtype=torch.int64),
    })  # fmt: skip
    bare = {"x": torch.tensor(1.5), "n": torch.tensor(7), "b": torch.tensor(True)}
    put("scalars", "tensors without dimensions", bare)
    put("one-metadata-key", "one metadata key", {"w": torch.ones(2)}, {"format": "pt"})
    text = 'quotes " backslash \\ newline \n tab \t bell \x07 euro € clef 𝄞 del \x7f'
    put("odd-metadata", "characters that JSON escapes, and some that it does not", {"w": torch.ones(2)}, {"k/é": text})
    odd = ["é", "e\u0301", "日本語.weight", "𝄞", "a b", 'quote"', "back\\slash", "", "../up", "tab\t", "nul\x00", "\u202e",
           "/", "__metadata", "z" * 300]  # fmt: skip
    put("odd-names", "names with unusual characters", {n: torch.full((2,), float(i)) for i, n in enumerate(odd)})
    put("order", "names that sort by bytes, several dtypes", {
        n: torch.zeros(2, dtype=d) for n, d in [("b", torch.float32), ("a", torch.bfloat16), ("B", torch.float32),
        ("_", torch.float32), ("a.10", torch.float32), ("a.9", torch.float32), ("c", torch.int8)]
    })  # fmt: skip
    put("deep", "eight dimensions", {"t": torch.zeros(1, 2, 1, 2, 1, 2, 1, 2)})
    for path in target.glob("*.safetensors"):
        path.chmod(0o644)
    (target / "index.json").write_text(json.dumps(about, indent=2, sort_keys=True) + "\n")
