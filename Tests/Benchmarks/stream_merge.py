"""The best merge script that we could write in Python: tensor by tensor, nothing touched twice, all cores.

    python stream_merge.py BASE ADAPTER OUT

Each shard is written anew in order: what no adapter touches is copied inside the kernel, the rest is read into a buffer that
is used again and again (fresh memory costs more than the arithmetic), summed in float32 by one fused call, and rounded
once. It knows plain LoRA on Linear layers only, and checks nothing.
"""

import json
import math
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
        if path.suffix == ".safetensors":
            merge(path, out / path.name, factors, scale)
        else:
            shutil.copyfile(path, out / path.name)


class Buffers:
    """Memory that is kept: the stored weights, and their sum in float32."""

    def __init__(self):
        self.stored, self.wide = torch.empty(0, dtype=torch.uint8), torch.empty(0)

    def take(self, count, size):
        if self.wide.numel() < count:
            self.stored, self.wide = torch.empty(count * 4, dtype=torch.uint8), torch.empty(count)
        return self.stored[: count * size], self.wide[:count]


BUFFERS = Buffers()


def copy(source, target, begin, end):
    """Bytes from file to file, inside the kernel."""
    while begin < end:
        begin += os.copy_file_range(source, target, end - begin, begin, begin)


def merge(source, target, factors, scale):
    with open(source, "rb", buffering=0) as file, open(target, "wb", buffering=0) as out:
        read, write = file.fileno(), out.fileno()
        os.posix_fallocate(write, 0, os.fstat(read).st_size)
        (length,) = struct.unpack("<Q", os.pread(read, 8, 0))
        header = json.loads(os.pread(read, length, 8))
        header.pop("__metadata__", None)
        copy(read, write, 0, 8 + length)
        for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
            begin, end = (8 + length + at for at in entry["data_offsets"])
            module = "base_model.model." + name.removesuffix(".weight")
            down = factors.get(module + ".lora_A.weight")
            if down is None:
                copy(read, write, begin, end)
                continue
            count = math.prod(entry["shape"])
            stored, wide = BUFFERS.take(count, (end - begin) // count)
            data = memoryview(stored.numpy())
            os.preadv(read, [data], begin)
            weight, total = stored.view(DTYPES[entry["dtype"]]), wide.view(entry["shape"])
            wide.copy_(weight)
            total.addmm_(factors[module + ".lora_B.weight"], down, alpha=scale)
            weight.copy_(wide)
            os.pwritev(write, [data], begin)
        os.fsync(write)


if __name__ == "__main__":
    main()
