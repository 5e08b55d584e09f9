"""Compare a merged checkpoint with base + adapter, in Python: logits, and losses on held-out text.

    adapter-merge examples/data/base examples/data/adapter-law -o /path/to/merged
    python examples/check_merged.py /path/to/merged law

Needs torch, transformers, safetensors and numpy; with peft, base + adapter is run as well instead of being looked up.
Exits with 1 if a tensor is not the exact sum rounded once, or if the logits are not those of base + adapter.
"""

import argparse
import hashlib
import json
import os
import sys
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM
from transformers.utils import logging

DATA = Path(__file__).resolve().parent / "data"
WINDOW = 256


def load(directory):
    """A checkpoint in float32."""
    return AutoModelForCausalLM.from_pretrained(str(directory), dtype=torch.float32).eval()


def losses(model):
    """Nats for each byte on each held-out text."""
    result = {}
    for path in sorted((DATA / "text").glob("*.txt")):
        data = torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8).long()
        rows = data[: len(data) // WINDOW * WINDOW].reshape(-1, WINDOW)
        with torch.no_grad():
            result[path.stem] = model(input_ids=rows, labels=rows).loss.item()
    return result


def digests(directory):
    """SHA-256 of each tensor's bytes."""
    found = {}
    for path in sorted(directory.glob("*.safetensors")):
        with safe_open(str(path), "pt") as opened:
            for name in opened.keys():
                data = opened.get_tensor(name).contiguous().view(torch.uint8).numpy().tobytes()
                found[name] = hashlib.sha256(data).hexdigest()
    return found


def unmerged(adapter):
    """The base with the adapter beside it, by PEFT; None without PEFT."""
    try:
        from peft import PeftModel
    except ImportError:
        return None
    return PeftModel.from_pretrained(load(DATA / "base"), str(DATA / f"adapter-{adapter}")).eval()


def main():
    names = sorted(p.name.removeprefix("adapter-") for p in DATA.glob("adapter-*"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("merged", type=Path, help="directory that adapter-merge wrote")
    parser.add_argument("adapter", choices=names, help="which adapter was merged, with weight 1")
    options = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()

    lines = (DATA / "expected" / f"merged-{options.adapter}.sha256").read_text().splitlines()
    wanted = {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
    found = digests(options.merged)
    same = sum(found.get(name) == digest for name, digest in wanted.items())
    print(f"tensors equal to the exact sum rounded once: {same} of {len(wanted)}")

    expected = load_file(str(DATA / "expected" / "logits.safetensors"))
    merged = load(options.merged)
    with torch.no_grad():
        logits = merged(input_ids=expected["input_ids"]).logits
    beside = expected[f"logits.{options.adapter}"]
    error = ((logits - beside).abs().mean() / beside.abs().mean()).item()
    print(f"logits against base + adapter: mean relative difference {error:.2e}")

    recorded = json.loads((DATA / "expected" / "losses.json").read_text())["losses"]
    model = unmerged(options.adapter)
    table = {
        "base": recorded["base"],
        "base + adapter": losses(model) if model else recorded[options.adapter],
        "merged": losses(merged),
    }
    print(f"\n{'loss on':16}" + "".join(f"{genre:>12}" for genre in recorded["base"]))
    for row, values in table.items():
        print(f"{row:16}" + "".join(f"{values[genre]:12.4f}" for genre in recorded["base"]))
    return 0 if same == len(wanted) == len(found) and error < 0.02 else 1


if __name__ == "__main__":
    sys.exit(main())
