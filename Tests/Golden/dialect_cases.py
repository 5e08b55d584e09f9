"""What a case of the other dialects and kinds is, and what all of them share: seeds, random values, files."""

import hashlib
import json
import math
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import tensorfile

TOLERANCE = 1e-6


@dataclass
class Made:
    """What writing a case gave: the adapter's path below its directory, and the merged tensors by their base's names.

    In a base of several components a name is `FOLDER/TENSOR`. Values are float64.
    """

    adapter: str
    expected: dict = field(default_factory=dict)
    mergeable: bool = True
    why: str = ""
    tolerance: float = TOLERANCE


@dataclass(frozen=True)
class Case:
    """One adapter: `write(base, directory, seed)` makes its files below `directory` and returns a `Made`."""

    name: str
    dialect: str
    kind: str
    base: str
    write: Callable
    written_by: tuple


def seed_of(text, seed=0):
    """A seed that depends on a name only."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{text}".encode()).digest()[:4], "little")


def versions(names):
    """`peft 0.21.2, torch 2.13.0` for these packages; a word that is no package stays as it is."""
    found = []
    for name in names:
        try:
            found.append(f"{name} {version(name).partition('+')[0]}")
        except PackageNotFoundError:
            found.append(name)
    return ", ".join(found)


def noise(rng, *shape):
    """Standard normal numbers in float32."""
    return rng.standard_normal(shape).astype(np.float32)


def factors(rng, out, into, rank, ratio=0.3, scale=1.0):
    """A pair (up, down) whose product, times `scale`, is about `ratio` of a weight of usual size."""
    down = noise(rng, rank, into) / math.sqrt(into)
    up = noise(rng, out, rank) * np.float32(ratio / (scale * math.sqrt(rank)))
    return up, down.astype(np.float32)


def fill(named, seed, spread=0.3):
    """Random values of a usual scale for every (name, parameter) of torch, in the order of names."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    for _, parameter in sorted(named, key=lambda pair: pair[0]):
        if not parameter.numel():
            continue
        value = torch.randn(parameter.shape, generator=generator) * spread
        if parameter.numel() == max(parameter.shape, default=1):
            parameter.data.add_(value)  # a vector: factors near those it starts with
        else:
            parameter.data.copy_(value / math.sqrt(parameter[0].numel()))


def read_base(base):
    """All tensors of a base as float64, by name; those of a component behind its folder and a slash."""
    base = Path(base)
    if base.is_file():
        return {n: s.values for n, s in tensorfile.read_file(base).items()}
    found = {}
    for path in sorted(base.rglob("*.safetensors")):
        folder = path.parent.relative_to(base).as_posix()
        prefix = "" if folder == "." else folder + "/"
        found |= {prefix + n: s.values for n, s in tensorfile.read_file(path).items()}
    return found


def changes(base, after):
    """The tensors of `after` (name to float64) that differ from the base's; a name that the base lacks is an error."""
    before = read_base(base)
    missing = sorted(set(after) - set(before))
    if missing:
        raise KeyError(f"not in the base: {missing[:4]}")
    return {n: v for n, v in after.items() if not np.array_equal(v, before[n])}


def save_tensors(path, tensors, metadata=None):
    """A safetensors file of numpy arrays."""
    from safetensors.numpy import save_file

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({n: np.ascontiguousarray(v) for n, v in tensors.items()}, str(path), metadata=metadata)


def settle(path):
    """Put the metadata of a safetensors file in order: its writer leaves it in the order of a hash table."""
    blob = Path(path).read_bytes()
    (length,) = struct.unpack("<Q", blob[:8])
    header = json.loads(blob[8 : 8 + length])
    if not header.get("__metadata__"):  # mlx writes null
        return
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    Path(path).write_bytes(blob[:8] + text.ljust(length) + blob[8 + length :])


def save_json(path, document):
    """JSON as the libraries write it: indented, keys in order."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n")


def array(tensor):
    """A torch tensor as float64."""
    return tensor.detach().double().cpu().numpy()
