"""Time and weigh adapter-pack and adapter-unpack beside their rivals, on the same bytes.

    python Tests/Benchmarks/archive.py DIRECTORY --bin .build/release [--runs 3] [--only TEXT] [--size 64] [--json FILE]
        [--big]

DIRECTORY gets the inputs (see archive_inputs.py) unless they are there; it is on the disk that is to be measured. Rivals
are gzip, zstd, Python's zlib, and ZipNN if this Python has it: `pip install zipnn`, which compiles it and needs torch; a
virtual environment keeps it apart. A rival that is missing is skipped with a line, and so are ours.

All tools run in turn, `--runs` times (zstd -19 once), with the input in the page cache, and every output is compared to the
input. Commands write files, which are made durable inside the timed span. "zipnn" reads and writes files, too, but in this
process, so that Python's start is not counted; "in memory" and "1 thread" have no files at all, as its authors time it. For
merges the rivals get the file as it is, and once more its data XOR the base's; making the XOR and undoing it is not counted.

Tables give the median and the range. "over" is how far the size is from the order-0 entropy of the rotated split, tensor by
tensor (for a merge: of the differences, grouped by the base's exponent). It can be negative: codes may change within a
tensor. MB are 10^6 bytes of the original. Then each claim follows with what was measured. `--big` also packs a file of
1 GiB and prints the peak memory that the kernel counted. Nothing is asserted: speed depends on the machine.
"""

import argparse
import contextlib
import filecmp
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from archive_claims import print_claims
from archive_inputs import DTYPES, grouped_bound, inputs, once, rotated_bound, write_big
from run import peak

LEVELS = ("fast", "default", "best")


@dataclass
class Tool:
    """`pack` and `unpack` take source and output, and return seconds without and with making it durable."""

    name: str
    pack: callable
    unpack: callable
    source: Path
    once: bool = False


@dataclass
class Result:
    """What one tool did with one input; a time is a pair: without and with making the output durable."""

    size: int = 0
    pack: list = field(default_factory=list)
    unpack: list = field(default_factory=list)


def durable(path):
    with path.open("rb") as file:
        os.fsync(file.fileno())


def command(*words):
    """Runs a command; IN and OUT stand for the files, and without OUT its output is what it prints."""

    def run(source, out):
        full = [str({"IN": source, "OUT": out}.get(word, word)) for word in words]
        begin = time.perf_counter()
        with contextlib.nullcontext() if "OUT" in words else out.open("wb") as printed:
            done = subprocess.run(full, stdout=printed or subprocess.DEVNULL, stderr=subprocess.PIPE)
        ended = time.perf_counter()
        if done.returncode:
            sys.exit(f"{' '.join(full)}: exit code {done.returncode}\n{done.stderr.decode()}")
        durable(out)
        return ended - begin, time.perf_counter() - begin

    return run


def in_memory(function):
    """Runs a function from bytes to bytes; reading and writing them is not counted."""

    def run(source, out):
        data = bytearray(source.read_bytes())  # Its own copy: ZipNN changes its input.
        begin = time.perf_counter()
        result = function(data)
        seconds = time.perf_counter() - begin
        out.write_bytes(result)
        return seconds, seconds

    return run


def with_files(function):
    """The same with reading and writing."""

    def run(source, out):
        begin = time.perf_counter()
        out.write_bytes(function(bytearray(source.read_bytes())))
        ended = time.perf_counter()
        durable(out)
        return ended - begin, time.perf_counter() - begin

    return run


def programs(source):
    """gzip, zstd and zlib."""
    for level in (1, 6):
        if shutil.which("gzip"):
            yield Tool(f"gzip -{level}", command("gzip", f"-{level}", "-c", "IN"), command("gzip", "-dc", "IN"), source)
    for level in (3, 19):
        if shutil.which("zstd"):
            pack = command("zstd", "-q", "-f", f"-{level}", "IN", "-o", "OUT")
            yield Tool(f"zstd -{level}", pack, command("zstd", "-q", "-f", "-d", "IN", "-o", "OUT"), source, level == 19)
    yield Tool("zlib 6 in memory", in_memory(lambda data: zlib.compress(data, 6)), in_memory(zlib.decompress), source)


def zipnn_tools(source, dtype):
    """ZipNN with files, in memory, and in memory with one thread; a new object each time, since it keeps state."""
    try:
        from zipnn import ZipNN
    except ImportError:
        return
    kinds = (("zipnn", with_files, 0), ("zipnn in memory", in_memory, 0), ("zipnn 1 thread", in_memory, 1))
    for name, around, threads in kinds:
        make = lambda t=threads: ZipNN(bytearray_dtype=DTYPES[dtype], input_format="byte", threads=t)
        pack, unpack = (lambda data, m=make: m().compress(data)), (lambda data, m=make: m().decompress(data))
        yield Tool(name, around(pack), around(unpack), source)


def ours(bin, item):
    """adapter-pack at each level."""
    base = ["--base", str(item.base)] if item.base else []
    for level in LEVELS:
        pack = command(bin / "adapter-pack", "IN", "-o", "OUT", "--level", level, *base)
        unpack = command(bin / "adapter-unpack", "IN", "-o", "OUT", *base)
        yield Tool(f"pack {level}", pack, unpack, item.path)


def tools(bin, item):
    """All that are here, with the XOR for the rivals if there is one."""
    result = [*programs(item.path), *zipnn_tools(item.path, item.dtype)]
    if item.xor:
        more = [*programs(item.xor), *zipnn_tools(item.xor, item.dtype)]
        result += [Tool(f"{t.name}, xor", t.pack, t.unpack, t.source, t.once) for t in more]
    return result + (list(ours(bin, item)) if have_ours(bin) else [])


def have_ours(bin):
    return all((bin / name).exists() for name in ("adapter-pack", "adapter-unpack"))


def missing(bin):
    """A line for each tool that is not here."""
    for name in ("gzip", "zstd"):
        if not shutil.which(name):
            print(f"{name} is not on the PATH: skipped")
    try:
        import zipnn  # noqa: F401
    except ImportError as error:
        print(f"this Python has no zipnn: skipped ({error})")
    if not have_ours(bin):
        print(f"{bin} has no adapter-pack and adapter-unpack: ours are skipped")


def measure(item, bin, runs, out):
    """Results by tool, all in turn in each round."""
    chosen, results = tools(bin, item), {}
    out.mkdir(exist_ok=True)
    packed, unpacked = out / "packed", out / "unpacked"
    for round in range(runs):
        for tool in chosen:
            if tool.once and round:
                continue
            result = results.setdefault(tool.name, Result())
            packed.unlink(missing_ok=True)
            unpacked.unlink(missing_ok=True)
            tool.source.read_bytes()
            os.sync()
            result.pack.append(tool.pack(tool.source, packed))
            result.unpack.append(tool.unpack(packed, unpacked))
            result.size = packed.stat().st_size
            if not filecmp.cmp(tool.source, unpacked, shallow=False):
                sys.exit(f"{tool.name} did not give back {tool.source}")
    shutil.rmtree(out)
    return results


def speed(size, times):
    """MB/s: median, least and most."""
    rates = [size / 1e6 / seconds for _, seconds in times]
    return f"{statistics.median(rates):8.1f} ({min(rates):.1f} to {max(rates):.1f})"


def print_table(item, bound, results):
    size = item.path.stat().st_size
    kind = "differences to the base" if item.base else "rotated split"
    print(f"\n{item.name}: {size / 1e6:.1f} MB, entropy of the {kind} {100 * bound / size:.4f} %")
    print(f"  {'':24}{'size %':>9}{'over %':>10}   {'pack MB/s':28}{'unpack MB/s':28}")
    for name, result in results.items():
        over = f"{100 * (result.size / bound - 1):+.3f}"
        rates = [speed(size, times) for times in (result.pack, result.unpack)]
        print(f"  {name:24}{100 * result.size / size:9.4f}{over:>10}   {rates[0]:28}{rates[1]:28}".rstrip(), flush=True)


def memory(directory, bin, out):
    """Peak megabytes of packing and unpacking 1 GiB, by level; not the best, which takes many minutes."""
    source = once(directory / "weights-bf16-big.safetensors", write_big)
    out.mkdir(exist_ok=True)
    packed, unpacked, peaks = out / "packed", out / "unpacked", {}
    for level in LEVELS[:2]:
        pack = [str(bin / "adapter-pack"), str(source), "-o", str(packed), "--level", level, "--force"]
        unpack = [str(bin / "adapter-unpack"), str(packed), "-o", str(unpacked), "--force"]
        peaks[level] = [peak(words, out / "none") for words in (pack, unpack)]
        if not filecmp.cmp(source, unpacked, shallow=False):
            sys.exit(f"adapter-unpack did not give back {source}")
    shutil.rmtree(out)
    return peaks


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--bin", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", default="", help="inputs whose names contain this")
    parser.add_argument("--size", type=int, default=64, help="MB of each synthetic input")
    parser.add_argument("--json", type=Path, help="write what was measured to this file")
    parser.add_argument("--big", action="store_true")
    options = parser.parse_args()
    bin, out, report = options.bin.resolve(), options.directory / "out", []
    missing(bin)
    for item in inputs(options.directory, options.size, options.only):
        results = measure(item, bin, options.runs, out)
        bound = grouped_bound(item.path, item.base) if item.base else rotated_bound(item.path)
        print_table(item, bound, results)
        report.append((item, bound, results))
    peaks = memory(options.directory, bin, out) if options.big and have_ours(bin) else {}
    print_claims(report, peaks)
    if options.json:
        written = [
            {"input": i.name, "bytes": i.path.stat().st_size, "bound": b, "tools": {n: vars(r) for n, r in rs.items()}}
            for i, b, rs in report
        ]
        document = {"machine": platform.platform(), "cpus": os.cpu_count(), "inputs": written, "peak megabytes": peaks}
        options.json.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
