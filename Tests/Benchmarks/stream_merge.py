"""The best merge script that we could write in Python: shard by shard, in place on a fresh copy, all cores.

    python stream_merge.py BASE ADAPTER OUT

Each shard is copied inside the kernel, the copy is mapped, and each adapted weight is updated there with one fused
multiplication in float32 and one rounding. It knows plain LoRA on Linear layers only, and checks nothing.
"""

import json
import mmap
import os
import shutil
import struct
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

DTYPES = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32}


def main():
    base, adapter, out = map(Path, sys.argv[1:])
    config = json.loads((adapter / "adapter_config.json").read_text())
    scale = config["lora_alpha"] / config["r"]
    factors = load_file(adapter / "adapter_model.safetensors")
    out.mkdir()
    for path in sorted(base.iterdir()):
        target = out / path.name
        shutil.copyfile(path, target)
        if path.suffix == ".safetensors":
            merge(target, factors, scale)


def merge(path, factors, scale):
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as view:
        (length,) = struct.unpack("<Q", view[:8])
        for name, entry in json.loads(view[8 : 8 + length]).items():
            module = "base_model.model." + name.removesuffix(".weight")
            down = factors.get(module + ".lora_A.weight")
            if down is None:
                continue
            begin, end = (8 + length + at for at in entry["data_offsets"])
            dtype = DTYPES[entry["dtype"]]
            weight = torch.frombuffer(view, dtype=dtype, count=(end - begin) // dtype.itemsize, offset=begin)
            weight = weight.view(entry["shape"])
            weight.copy_(torch.addmm(weight.float(), factors[module + ".lora_B.weight"], down, alpha=scale))
            del weight
        os.fsync(file.fileno())


if __name__ == "__main__":
    main()
