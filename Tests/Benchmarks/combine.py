"""Time adapter-combine beside PEFT's dense SVD.

    python Tests/Benchmarks/combine.py DIRECTORY --bin .build/release [--layers 32] [--hidden 4096] [--inner 11008]
        [--rank 64] [--runs 3] [--without-peft]

DIRECTORY gets two adapters (float32, all seven linear modules of each layer of a Llama) unless they are there. The tool
approximates their sum at the same rank: median and range of the wall time, and peak memory as the kernel counts it. PEFT's
`add_weighted_adapter` does the same with one module of each shape, which is scaled to all modules: with
`svd_full_matrices=True`, its default, and without. Its time to load and save is not counted. Nothing is asserted.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import time
from pathlib import Path

import numpy as np
from run import peak
from safetensors.numpy import save_file

WEIGHTS = (1.0, 0.5)


def shapes(hidden, inner):
    """The linear modules of one layer: outputs and inputs."""
    attention = {f"self_attn.{n}_proj": (hidden, hidden) for n in "qkvo"}
    return attention | {"mlp.gate_proj": (inner, hidden), "mlp.up_proj": (inner, hidden), "mlp.down_proj": (hidden, inner)}


def write_adapter(path, options, seed):
    """An adapter of random normal numbers with alpha = rank; its singular values are those of training gone astray."""
    if path.exists():
        return
    path.mkdir(parents=True)
    generator, tensors = np.random.default_rng(seed), {}
    for layer in range(options.layers):
        for name, (rows, columns) in shapes(options.hidden, options.inner).items():
            module = f"base_model.model.model.layers.{layer}.{name}"
            size = (0.002 / options.rank**0.5) ** 0.5
            for half, shape in (("A", (options.rank, columns)), ("B", (rows, options.rank))):
                tensors[f"{module}.lora_{half}.weight"] = generator.standard_normal(shape, np.float32) * np.float32(size)
    save_file(tensors, path / "adapter_model.safetensors", metadata={"format": "pt"})
    config = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": "base", "r": options.rank,
        "lora_alpha": options.rank, "target_modules": sorted(n.partition(".")[2] for n in shapes(1, 1)),
    }  # fmt: skip
    (path / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n")


def measured(command, out):
    """Seconds of one run; its output is removed before."""
    shutil.rmtree(out, ignore_errors=True)
    os.sync()
    begin = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


def tool(title, command, out, runs):
    """The tool's median time; prints it with the range and the largest memory."""
    measured(command, out)  # Once without counting, for the page cache.
    times = [measured(command, out) for _ in range(runs)]
    median = statistics.median(times)
    memory = peak(command, out)
    print(f"{title:44} {median:10.3f} s ({min(times):.3f} to {max(times):.3f}), {memory:.0f} MB", flush=True)
    return median


def rival(title, ours, parts, unit="modules"):
    """A rival's time from parts [(shape, count, seconds of one)], and how often the tool's it is."""
    for shape, count, seconds in parts:
        print(f"  one of {count} {unit} of {shape[0]} x {shape[1]}: {seconds:.3f} s", flush=True)
    total = sum(count * seconds for _, count, seconds in parts)
    print(f"{title:44} {total:10.1f} s, {total / ours:.0f} times the tool's", flush=True)


def peft_seconds(shape, rank, full):
    """How long PEFT's `add_weighted_adapter` takes for one linear module."""
    import torch
    from peft import LoraConfig, get_peft_model

    model = torch.nn.Module()
    model.layer = torch.nn.Linear(shape[1], shape[0], bias=False)
    config = LoraConfig(r=rank, lora_alpha=rank, target_modules=["layer"])
    wrapped = get_peft_model(model, config)
    wrapped.add_adapter("other", config)
    for name, parameter in wrapped.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter.data, std=0.02)
    begin = time.perf_counter()
    wrapped.add_weighted_adapter(
        ["default", "other"], list(WEIGHTS), "sum", "svd", svd_rank=rank, svd_full_matrices=full
    )  # fmt: skip
    return time.perf_counter() - begin


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--bin", type=Path, required=True)
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--hidden", type=int, default=4096)
    parser.add_argument("--inner", type=int, default=11008)
    parser.add_argument("--rank", type=int, default=64)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--without-peft", action="store_true")
    options = parser.parse_args()
    size = f"{options.layers}x{options.hidden}x{options.inner}-r{options.rank}"
    adapters = [options.directory / f"combine-{size}-{name}" for name in "ab"]
    for seed, path in enumerate(adapters):
        write_adapter(path, options, seed)
    out, (one, two) = options.directory / "out", map(str, adapters)
    binary, rank = str(options.bin.resolve() / "adapter-combine"), str(options.rank)
    common = ["--quiet", "-o", str(out)]
    tool("adapter-combine stack", [binary, "stack", one, f"{two}:{WEIGHTS[1]}", *common], out, options.runs)
    command = [binary, "svd", one, f"{two}:{WEIGHTS[1]}", "--rank", rank, *common]
    ours = tool(f"adapter-combine svd --rank {rank}", command, out, options.runs)
    shutil.rmtree(out, ignore_errors=True)
    if options.without_peft:
        return
    peft_seconds((64, 64), 8, True)  # Once without counting: the libraries are loaded then.
    counts = {}
    for shape in shapes(options.hidden, options.inner).values():
        counts[shape] = counts.get(shape, 0) + options.layers
    for full, title in ((True, "PEFT svd, its defaults, scaled"), (False, "PEFT svd_full_matrices=False, scaled")):
        rival(title, ours, [(shape, count, peft_seconds(shape, options.rank, full)) for shape, count in counts.items()])


if __name__ == "__main__":
    main()
