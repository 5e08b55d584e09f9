"""Time taking adapters out again and changing them, as ratios to a plain merge; sizes of records; peak memory.

    python make_checkpoint.py DIRECTORY
    python swap.py DIRECTORY --bin .build/release [--runs 5] [--only sizes merges swaps kept memory peft]

DIRECTORY is on the disk that is to be measured, with room for five times the checkpoint. It gets a second adapter, which
stays there, and everything else in `swap-bench/`, which is removed. Each run comes right after a plain merge of the same
pair, and the ratio is taken pair by pair; the tools make everything durable themselves, and for `cp` `sync -f` follows.
Nothing is asserted: speed depends on the machine.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from make_checkpoint import HIDDEN, INNER, KV, write_adapter

PARTS = ("sizes", "merges", "swaps", "kept", "memory", "peft")


class Bench:
    """The inputs, the tools, and what is measured with them."""

    def __init__(self, options):
        self.base, self.bin, self.runs = (options.directory / "base").resolve(), options.bin.resolve(), options.runs
        self.adapter, self.other = options.directory / "rank-16", options.directory / "rank-16-other"
        self.work = options.directory / "swap-bench"
        self.out, self.undo, self.model = self.work / "out", self.work / "undo", self.work / "model"

    def tool(self, name, *arguments):
        return [str(self.bin / f"adapter-{name}"), *map(str, arguments), "--quiet"]

    def merge(self, adapter, *options):
        return self.tool("merge", self.base, adapter, "-o", self.out, *options)

    def swap(self, *arguments):
        return self.tool("swap", self.model, *arguments)

    def clear(self):
        """No outputs; the model and its state stay."""
        shutil.rmtree(self.out, ignore_errors=True)
        self.undo.unlink(missing_ok=True)

    def timed(self, command):
        """Seconds that a command takes where nothing waits to be written."""
        self.clear()
        os.sync()
        begin = time.perf_counter()
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        seconds = time.perf_counter() - begin
        if done.returncode:
            sys.exit(f"{command}: {done.stderr}")
        return seconds

    def fresh_model(self):
        """The base in the model's place, never swapped."""
        for path in (self.model, self.work / ".model.adapterkit-swap"):
            shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(self.base, self.model)

    def ratios(self, title, *commands):
        """Commands in turn, each after a plain merge: seconds, and the ratio pair by pair."""
        pairs = []
        for at in range(self.runs):
            plain = self.timed(self.merge(self.adapter))
            pairs.append((self.timed(commands[at % len(commands)]), plain))
        show(title, [pair[0] for pair in pairs], [pair[1] for pair in pairs])


def show(title, times, plain):
    """Medians and ranges."""
    text = lambda values: f"{statistics.median(values):7.3f} ({min(values):.3f} to {max(values):.3f})"
    ratios = [a / b for a, b in zip(times, plain, strict=True)]
    print(f"{title:34} {text(times)} s   plain merge {text(plain)} s   ratio {text(ratios)}", flush=True)


def sizes(bench):
    """Records at several sizes of the delta, with the adapter in them and without."""
    for weight in (0.1, 0.5, 1.0):
        for option in ([], ["--undo-by-name"]):
            bench.clear()
            command = bench.merge(f"{bench.adapter}:{weight}", "--undo", bench.undo, "--json", *option)
            report = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            tensors = report["loss"]["tensors"]
            touched = 2 * sum(tensor["elements"] for tensor in tensors)
            delta = statistics.median(tensor["relative_size"] for tensor in tensors)
            size = report["undo"]["bytes"]
            print(
                f"record, delta of {100 * delta:5.2f} % of the weights {'without' if option else 'with   '} the adapter: "
                f"{size / 1e6:7.1f} MB, {100 * size / touched:.2f} % of {touched / 1e6:.0f} MB that are touched",
                flush=True,
            )


def merges(bench):
    """The record, and the way back with it, each against a plain merge."""
    bench.timed(bench.merge(bench.adapter))  # Once without counting, for the page cache.
    copy = ["sh", "-c", 'cp -r "$1" "$2" && sync -f "$2"', "sh", str(bench.base), str(bench.out)]
    bench.ratios("cp and sync", copy)
    bench.ratios("merge --undo", bench.merge(f"{bench.adapter}:0.5", "--undo", bench.undo))
    bench.timed(bench.merge(f"{bench.adapter}:0.5", "--undo", bench.undo))
    merged, record = bench.work / "merged", bench.work / "record"
    bench.out.rename(merged)
    bench.undo.rename(record)
    bench.ratios("unmerge", bench.tool("unmerge", merged, "--undo", record, "-o", bench.out))
    shutil.rmtree(merged)
    record.unlink()


def uses(bench):
    """The commands that put one adapter or the other into the model, and the one that takes it out."""
    return [bench.swap("use", f"{adapter}:0.5") for adapter in (bench.adapter, bench.other)] + [bench.swap("base")]


def swaps(bench):
    """By the record, each against a plain merge."""
    bench.fresh_model()
    first, second, restore = uses(bench)
    bench.timed(first)
    bench.ratios("swap, one adapter to another", second, first)
    bench.timed(restore)
    results = []
    for _ in range(bench.runs):
        results.append((bench.timed(first), bench.timed(restore), bench.timed(bench.merge(bench.adapter))))
    into, back, plain = zip(*results, strict=True)
    show("swap, base to an adapter", into, plain)
    show("swap, base by the record", back, plain)


def kept(bench):
    """Between generations that are kept."""
    bench.fresh_model()
    first, second, restore = uses(bench)
    bench.timed([*first, "--keep"])
    bench.timed([*second, "--keep"])
    for title, commands in (("a kept one to another", (first, second)), ("base and back", (restore, second))):
        took = [1000 * bench.timed(commands[at % 2]) for at in range(20)]
        print(f"swap, {title:28} {statistics.median(took):7.1f} ms ({min(took):.1f} to {max(took):.1f})", flush=True)


def peak(command):
    """Peak resident megabytes of one run, by the kernel's account of finished children."""
    code = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL, "
        "stderr=subprocess.DEVNULL); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    printed = subprocess.run([sys.executable, "-c", code, *command], check=True, capture_output=True, text=True).stdout
    return int(printed) / 1024


def memory(bench):
    """Each once."""
    bench.clear()
    merge = bench.merge(f"{bench.adapter}:0.5", "--undo", bench.undo)
    print(f"peak memory, merge --undo             {peak(merge):8.1f} MB", flush=True)
    merged = bench.work / "merged"
    bench.out.rename(merged)
    unmerge = bench.tool("unmerge", merged, "--undo", bench.undo, "-o", bench.out)
    print(f"peak memory, unmerge                  {peak(unmerge):8.1f} MB", flush=True)
    shutil.rmtree(merged)
    bench.fresh_model()
    commands = {
        "swap, base to an adapter": ("use", f"{bench.adapter}:0.5"),
        "swap, one adapter to another": ("use", f"{bench.other}:0.5"), "swap, base by the record": ("base",),
        "swap, base to one to keep": ("use", f"{bench.adapter}:0.5", "--keep"), "swap, base that is kept": ("base",),
    }  # fmt: skip
    for title, arguments in commands.items():
        print(f"peak memory, {title:29} {peak(bench.swap(*arguments)):7.1f} MB", flush=True)


def peft(bench):
    """merge_adapter() and unmerge_adapter() on layers of these shapes in bfloat16: elements that are not as they were."""
    import torch
    from peft import LoraConfig, get_peft_model

    shapes = {"q": (HIDDEN, HIDDEN), "k": (KV, HIDDEN), "up": (INNER, HIDDEN), "down": (HIDDEN, INNER)}
    for percent in (1, 5, 10):
        torch.manual_seed(percent)
        model = torch.nn.ModuleDict({n: torch.nn.Linear(s[1], s[0], bias=False) for n, s in shapes.items()})
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.02)
        model = model.to(torch.bfloat16)
        before = {name: layer.weight.detach().clone() for name, layer in model.items()}
        wrapped = get_peft_model(model, LoraConfig(r=16, lora_alpha=16, target_modules=list(shapes)))
        for name, parameter in wrapped.named_parameters():
            if "lora_" in name:
                torch.nn.init.normal_(parameter, std=(0.02 * percent / 100 / 16**0.5) ** 0.5)
        wrapped.merge_adapter()
        wrapped.unmerge_adapter()
        lost = total = 0
        for name in shapes:
            after = wrapped.base_model.model[name].base_layer.weight.detach()
            lost += int((after.view(torch.int16) != before[name].view(torch.int16)).sum())
            total += after.numel()
        print(f"PEFT, delta of {percent} % of the weights: {100 * lost / total:.2f} % of {total} elements not restored", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--bin", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    options = parser.parse_args()
    bench = Bench(options)
    if not bench.other.exists():
        import torch

        torch.manual_seed(1)
        write_adapter(bench.other, 22, 16)
    bench.work.mkdir()
    try:
        for part in PARTS:
            if part in options.only:
                globals()[part](bench)
    finally:
        shutil.rmtree(bench.work)


if __name__ == "__main__":
    main()
