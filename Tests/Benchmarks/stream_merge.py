"""The best merge script that we could write in Python: tensor by tensor, nothing touched twice, all cores.

    python stream_merge.py BASE ADAPTER OUT

Each shard is mapped and written anew in order: weights that no adapter touches straight from the map, the others after
one fused multiplication in float32 and one rounding. It knows plain LoRA on Linear layers only, and checks nothing.
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
        if path.suffix == ".safetensors":
            merge(path, out / path.name, factors, scale)
        else:
            shutil.copyfile(path, out / path.name)


def merge(source, target, factors, scale):
    with open(source, "rb") as file, open(target, "wb", buffering=0) as out:
        view = memoryview(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ))
        (length,) = struct.unpack("<Q", view[:8])
        out.write(view[: 8 + length])
        header = json.loads(bytes(view[8 : 8 + length]))
        header.pop("__metadata__", None)
        for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
            begin, end = (8 + length + at for at in entry["data_offsets"])
            data = view[begin:end]
            module = "base_model.model." + name.removesuffix(".weight")
            down = factors.get(module + ".lora_A.weight")
            if down is not None:
                weight = torch.frombuffer(data, dtype=DTYPES[entry["dtype"]]).view(entry["shape"])
                total = torch.addmm(weight.float(), factors[module + ".lora_B.weight"], down, alpha=scale)
                data = memoryview(total.to(weight.dtype).view(torch.uint8).numpy()).cast("B")
            while data:
                data = data[out.write(data) :]
        os.fsync(out.fileno())


if __name__ == "__main__":
    main()
