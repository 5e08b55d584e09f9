"""A live test of `adapter-train` against PyTorch, transformers and PEFT.

    python Tests/Interop/train.py --bin .build/release [--quick] [--seed N] [--only TEXT]

On tiny models of the Llama family: losses and gradients of the first step, ten steps of AdamW, what PEFT and transformers
make of the output, forms of data, the course of a run, and inputs that must be refused. Bottleneck adapters are
loaded by the library `adapters` in a Python of its own, which ADAPTERKIT_ADAPTERS_PYTHON names; without it, that part is
skipped. Ends with 'N passed, N failed'; exit status 1 if anything failed. If the libraries cannot be imported it says
'skipped' and exits 0.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

from tools import Tally, Tools, command_line

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "Golden")]
sys.dont_write_bytecode = True
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"


def main():
    options = command_line(__doc__, "fewer bases and adapters", "run only cases whose name has this in it")
    if options is None:
        return 0
    import torch

    import train_bytes
    import train_checks
    import train_methods
    import train_refused
    import train_runs
    from train_models import Bases

    torch.set_num_threads(1)
    tools, tally = Tools(options.bin), Tally(verbose=options.verbose)
    if not os.access(tools.directory / "adapter-train", os.X_OK):
        print(f"skipped: {tools.directory} has no adapter-train")
        return 0
    print(f"seed {options.seed}")
    with tempfile.TemporaryDirectory() as scratch:
        bases = Bases(Path(scratch), options.seed)
        trainer = train_checks.Trainer(tools, bases, Path(scratch) / "runs", tally)
        parts = (
            train_checks.adapters, train_checks.full, train_methods.prefixes, train_methods.bottlenecks,
            train_methods.outputs, train_methods.own_types, train_runs.data_forms, train_runs.courses,
            train_runs.dropout, train_bytes.same_bytes, train_bytes.killed, train_bytes.looks, train_refused.refusals,
        )  # fmt: skip
        for part in parts:
            started = time.monotonic()
            part(trainer, options.seed, options.only, options.quick)
            if options.verbose:
                print(f"{part.__name__}: {time.monotonic() - started:.1f} s")
    return tally.report()


if __name__ == "__main__":
    sys.exit(main())
