"""Time the tools beside their rivals, in turn, and print ratios.

    python make_checkpoint.py DIRECTORY
    python run.py DIRECTORY --bin .build/release [--rank 16] [--runs 5] [--with cp stream peft inspect verify]

DIRECTORY is on the disk that is to be measured. Each rival runs right after the tool, with the same inputs in the
page cache, and everything that was written is made durable inside the timed span (the tools do so themselves; for the
others `sync -f` follows). The ratio is taken pair by pair; medians and the range are printed. Nothing is asserted:
speed depends on the machine.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent


def timed(command, out):
    """Seconds and peak resident megabytes of a command; its output directory is removed before."""
    shutil.rmtree(out, ignore_errors=True)
    os.sync()
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    _, errors = process.communicate()
    seconds = time.perf_counter() - begin
    if process.returncode:
        sys.exit(f"{command}: {errors.decode()}")
    return seconds


def peak(command, out):
    """Peak resident megabytes of one run, by the kernel's account of finished children."""
    shutil.rmtree(out, ignore_errors=True)
    code = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL, "
        "stderr=subprocess.DEVNULL); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    printed = subprocess.run([sys.executable, "-c", code, *command], check=True, capture_output=True, text=True).stdout
    return int(printed) / 1024


def durable(command, out):
    """The command, then its output made durable."""
    return ["sh", "-c", 'out=$1; shift; "$@" && sync -f "$out"', "sh", str(out), *command]


def compare(title, tool, rival, out, runs):
    """The tool and a rival in turn; times, and the ratio pair by pair."""
    timed(tool, out)  # Once without counting, for the page cache.
    pairs = [(timed(tool, out), timed(rival, out)) for _ in range(runs)]
    ours, theirs = zip(*pairs)
    ratios = [a / b for a, b in pairs]
    show = lambda values: f"{statistics.median(values):8.3f} ({min(values):.3f} to {max(values):.3f})"
    print(f"{title:34} tool {show(ours)} s   rival {show(theirs)} s   ratio {show(ratios)}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--bin", type=Path, required=True)
    parser.add_argument("--rank", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--with", dest="rivals", nargs="+", default=["cp", "stream", "peft", "inspect", "verify", "memory"])
    options = parser.parse_args()
    base, out = options.directory / "base", options.directory / "out"
    bin, python = options.bin.resolve(), sys.executable
    for rank in options.rank:
        adapter = options.directory / f"rank-{rank}"
        merge = [str(bin / "adapter-merge"), "--quiet", str(base), str(adapter), "-o", str(out)]
        rivals = {
            "cp": ["cp", "-r", str(base), str(out)],
            "stream": [python, str(HERE / "stream_merge.py"), str(base), str(adapter), str(out)],
            "peft": [python, "-W", "ignore", str(HERE / "peft_merge.py"), str(base), str(adapter), str(out)],
        }
        for name, command in rivals.items():
            if name in options.rivals:
                compare(f"merge, rank {rank}, against {name}", merge, durable(command, out), out, options.runs)
        if "memory" in options.rivals:
            print(f"merge, rank {rank}, peak memory           {peak(merge, out):8.1f} MB", flush=True)
        for name in ("inspect", "verify"):
            if name in options.rivals:
                command = [str(bin / f"adapter-{name}"), *([str(base)] if name == "verify" else []), str(adapter)]
                times = [timed(command, out) for _ in range(options.runs * 3)]
                print(f"{name}, rank {rank}: {statistics.median(times) * 1000:.1f} ms (least {min(times) * 1000:.1f})", flush=True)
    if "inspect" in options.rivals:
        times = [timed([str(bin / "adapter-inspect"), str(base)], out) for _ in range(options.runs * 3)]
        print(f"inspect, the base: {statistics.median(times) * 1000:.1f} ms (least {min(times) * 1000:.1f})")
    shutil.rmtree(out, ignore_errors=True)


if __name__ == "__main__":
    main()
