"""Time adapter-extract beside what mergekit and kohya's scripts do.

    python Tests/Benchmarks/make_checkpoint.py DIRECTORY
    python Tests/Benchmarks/extract.py DIRECTORY --bin .build/release [--rank 32] [--runs 3] [--without-rivals]

DIRECTORY/tuned is made from DIRECTORY/base unless it is there: every projection with noise of a thousandth of its size and
a merged LoRA of rank 16. The tool extracts an adapter: median and range of the wall time, and peak memory as the kernel
counts it. The rivals' arithmetic runs on one module of each shape and is scaled to all: a float32 SVD of the difference,
with mergekit's split of the singular values, and with kohya's full matrices and clamp. Their time to load and save is not
counted. Nothing is asserted.
"""

import argparse
import json
import shutil
import time
from pathlib import Path

import torch
from combine import rival, tool
from safetensors import safe_open
from safetensors.torch import load_file, save_file

MERGED = 16


def tune(weight, seed):
    """The weight with noise and a low-rank change, in its dtype."""
    generator = torch.Generator().manual_seed(seed)
    rows, columns = weight.shape
    wide = weight.float()
    spread = float(wide.std())
    b = torch.randn((rows, MERGED), generator=generator)
    a = torch.randn((MERGED, columns), generator=generator)
    change = 1e-3 * torch.randn(weight.shape, generator=generator) + (b @ a) * (0.1 / MERGED**0.5)
    return (wide + spread * change).to(weight.dtype)


def write_tuned(base, path):
    """The tuned checkpoint, shard by shard, in the base's files."""
    path.mkdir()
    for number, file in enumerate(sorted(base.iterdir())):
        if file.suffix != ".safetensors":
            shutil.copyfile(file, path / file.name)
            continue
        tensors = load_file(file)
        for position, name in enumerate(sorted(tensors)):
            if "_proj" in name:
                tensors[name] = tune(tensors[name], 1000 * number + position)
        save_file(tensors, path / file.name, metadata={"format": "pt"})


def examples(base, tuned):
    """One pair of weights for each shape of a projection, and how many there are."""
    weight_map = json.loads((base / "model.safetensors.index.json").read_text())["weight_map"]
    counts, first = {}, {}
    for name, file in weight_map.items():
        if "_proj" not in name:
            continue
        with safe_open(base / file, "pt") as opened:
            shape = tuple(opened.get_slice(name).get_shape())
        counts[shape] = counts.get(shape, 0) + 1
        first.setdefault(shape, (name, file))
    for shape, (name, file) in first.items():
        pair = []
        for directory in (base, tuned):
            with safe_open(directory / file, "pt") as opened:
                pair.append(opened.get_tensor(name))
        yield shape, counts[shape], pair


def mergekit(base, tuned, rank):
    """As `mergekit-extract-lora`: a thin SVD, and the root of the singular values on either side."""
    u, s, vh = torch.linalg.svd((tuned - base).float(), full_matrices=False)
    root = torch.sqrt(s[:rank])
    return u[:, :rank] * root, root[:, None] * vh[:rank]


def kohya(base, tuned, rank):
    """As `extract_lora_from_models.py`: a full SVD, the singular values on U, and a clamp at the 99 % quantile."""
    u, s, vh = torch.linalg.svd(tuned.float() - base.float())
    u, vh = u[:, :rank] @ torch.diag(s[:rank]), vh[:rank]
    high = torch.quantile(torch.cat([u.flatten(), vh.flatten()]), 0.99)
    return u.clamp(-high, high), vh.clamp(-high, high)


def seconds(method, pair, rank):
    """How long a method takes for one module."""
    begin = time.perf_counter()
    method(*pair, rank)
    return time.perf_counter() - begin


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--bin", type=Path, required=True)
    parser.add_argument("--rank", type=int, default=32)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--without-rivals", action="store_true")
    options = parser.parse_args()
    base, tuned, out = (options.directory / name for name in ("base", "tuned", "out"))
    if not tuned.exists():
        write_tuned(base, tuned)
    binary = str(options.bin.resolve() / "adapter-extract")
    command = [binary, "--quiet", str(base), str(tuned), "--rank", str(options.rank), "-o", str(out)]
    ours = tool(f"adapter-extract --rank {options.rank}", command, out, options.runs)
    shutil.rmtree(out, ignore_errors=True)
    if options.without_rivals:
        return
    pairs = list(examples(base, tuned))
    torch.linalg.svd(torch.ones(64, 64))  # Once without counting.
    for title, method in (("mergekit's method, scaled", mergekit), ("kohya's method, scaled", kohya)):
        rival(title, ours, [(shape, count, seconds(method, pair, options.rank)) for shape, count, pair in pairs])


if __name__ == "__main__":
    main()
