"""Running the built tools, and counting what passed."""

import argparse
import importlib
import os
import random
import subprocess
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Answer:
    """What one run of a tool gave."""

    code: int
    out: str
    err: str

    @property
    def text(self):
        return self.out + self.err


class Tools:
    """The tools in one directory."""

    def __init__(self, directory):
        self.directory = Path(directory).resolve()

    def missing(self):
        """Names of tools that are not there."""
        wanted = ("adapter-inspect", "adapter-verify", "adapter-merge")
        return [name for name in wanted if not os.access(self.directory / name, os.X_OK)]

    def run(self, name, *arguments, cpu=None):
        """Run one tool; `cpu` chooses the instruction level of its kernels."""
        environment = dict(os.environ)
        environment.pop("ADAPTERKIT_CPU", None)
        if cpu:
            environment["ADAPTERKIT_CPU"] = cpu
        command = [str(self.directory / name), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, env=environment, timeout=300)
        return Answer(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))

    def merge(self, base, adapters, output, *options, cpu=None):
        """`adapter-merge` with weights where they are not 1."""
        named = [str(path) if weight == 1.0 else f"{path}:{weight}" for path, weight in adapters]
        return self.run("adapter-merge", base, *named, "-o", output, *options, cpu=cpu)


@dataclass
class Tally:
    """Checks that passed and failed, and how exactly weights were rounded."""

    passed: int = 0
    failed: int = 0
    verbose: bool = False
    elements: dict = field(default_factory=dict)
    inexact: dict = field(default_factory=dict)

    def check(self, fine, what, detail=""):
        """Count one check; say it when it fails."""
        if fine:
            self.passed += 1
            if self.verbose:
                print(f"  ok    {what}")
        else:
            self.failed += 1
            print(f"  FAIL  {what}" + (f"\n        {detail.strip()[:600]}" if detail else ""), flush=True)
        return bool(fine)

    def rounding(self, dtype, elements, inexact):
        """Add to the totals of correctly rounded elements."""
        self.elements[dtype] = self.elements.get(dtype, 0) + elements
        self.inexact[dtype] = self.inexact.get(dtype, 0) + inexact

    def report(self):
        """Exactness by dtype; then the line that ends the run, which fails if nothing was checked."""
        for dtype, total in sorted(self.elements.items()):
            wrong = self.inexact[dtype]
            share = 100 * (total - wrong) / total
            print(f"{dtype}: {total - wrong} of {total} changed elements are the exact value rounded once ({share:.5f} %)")
            if dtype in ("BF16", "F16"):
                self.check(share >= 99.99, f"{dtype}: at least 99.99 % exactly rounded", f"{share:.5f} %")
        print(f"{self.passed} passed, {self.failed} failed")
        return 1 if self.failed or not self.passed else 0


def command_line(about, quick, only):
    """What the command line asks for; None, with a word on stdout, where the live libraries are not there."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True, help="directory of the built tools")
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--only", default="", help=only)
    parser.add_argument("--verbose", action="store_true", help="print checks that pass as well")
    options = parser.parse_args()
    try:
        for library in ("numpy", "peft", "safetensors", "torch", "transformers"):
            importlib.import_module(library)
    except ImportError as error:
        print(f"skipped: {error}")
        return None
    return options
