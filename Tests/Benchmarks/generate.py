"""Time greedy generation beside transformers' `generate`: tokens per second, with and without the start of the program.

    python generate.py --bin .build/release [--runs 5] [--threads 2] [--tokens 200] [--dtype float32]

Makes random Llamas of two sizes (hidden 256 with 6 layers, hidden 512 with 8; 8 heads, a vocabulary of 259) in a temporary
directory. Both continue the same 16 ids by 200 tokens with a cache of keys and values, in turn, so that what else the machine
does meets both; ratios are taken pair by pair, medians and ranges printed. "Without start" counts what `generate` takes once a
warmed-up model is in memory, and for the tool what it says of itself; "with start" is the whole process, loading included.
By default the tool guesses tokens from the text so far, which a random model's repetitions favour: "one by one" is without
(`--lookahead 0`), token by token as `generate` works, and the figure to compare.
Nothing is asserted: speed depends on the machine.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
SIZES = {"hidden 256, 6 layers": (256, 6, 688), "hidden 512, 8 layers": (512, 8, 1376)}
PROMPT = [(37 * at + 11) % 256 for at in range(16)]


def make(path, hidden, layers, inner, dtype):
    """A random model, saved."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=259, hidden_size=hidden, intermediate_size=inner, num_hidden_layers=layers, num_attention_heads=8,
        num_key_value_heads=8, max_position_embeddings=512, bos_token_id=256, eos_token_id=257)  # fmt: skip
    LlamaForCausalLM(config).to(getattr(torch, dtype)).save_pretrained(path)


def load(path, options):
    """A model that transformers computes with, in evaluation mode."""
    import torch
    from transformers import LlamaForCausalLM

    torch.set_num_threads(options.threads)
    return LlamaForCausalLM.from_pretrained(path, dtype=getattr(torch, options.dtype)).eval()


def theirs(model, options):
    """Ids that `generate` makes, and the tokens per second."""
    import torch

    ids = torch.tensor([PROMPT])
    begin = time.perf_counter()
    with torch.inference_mode():
        made = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=options.tokens, min_new_tokens=options.tokens,
            do_sample=False, pad_token_id=0)  # fmt: skip
    return made[0, len(PROMPT) :].tolist(), options.tokens / (time.perf_counter() - begin)


def ours(path, options, *more):
    """The same by the tool: ids, tokens per second by its own account and of the whole process."""
    command = [
        str(options.bin.resolve() / "adapter-generate"), str(path), "--ids", " ".join(map(str, PROMPT)), "--json",
        "--ignore-eos", "--max-tokens", str(options.tokens), "--threads", str(options.threads), *more]  # fmt: skip
    begin = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    whole = options.tokens / (time.perf_counter() - begin)
    result = json.loads(done.stdout)
    # With the prompt, as `generate` counts it.
    return result["ids"], options.tokens / (result["prompt_seconds"] + result["seconds"]), whole


def started(path, options):
    """Tokens per second of a whole process of transformers."""
    begin = time.perf_counter()
    words = ["--threads", options.threads, "--tokens", options.tokens, "--dtype", options.dtype, "--bin", options.bin]
    subprocess.run(
        [sys.executable, "-W", "ignore", __file__, "--child", str(path), *map(str, words)], check=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    return options.tokens / (time.perf_counter() - begin)


def show(title, own, other):
    """Medians and ranges."""
    text = lambda values, digits: (
        f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})")
    ratios = [a / b for a, b in zip(own, other, strict=True)]
    print(
        f"{title:36} {text(own, 0):>20} tokens/s   transformers {text(other, 0):>20}   ratio {text(ratios, 2)}",
        flush=True)  # fmt: skip


def measure(name, path, options):
    """One size."""
    model = load(path, options)
    theirs(model, options)  # Once without counting.
    own, guessing, whole, other, child = [], [], [], [], []
    for _ in range(options.runs):
        found, speed, total = ours(path, options, "--lookahead", "0")
        wanted, their_speed = theirs(model, options)
        guessing.append(ours(path, options)[1])
        own.append(speed)
        other.append(their_speed)
        whole.append(total)
        child.append(started(path, options))
    same = next((at for at, (a, b) in enumerate(zip(found, wanted)) if a != b), options.tokens)
    show(f"{name}, one by one", own, other)
    show(f"{name}, with guesses", guessing, other)
    show(f"{name}, with start", whole, child)
    print(f"{name}: the first {same} of {options.tokens} ids are the same", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=200)
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    import transformers

    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    if options.child:
        theirs(load(options.child, options), options)
        return
    with tempfile.TemporaryDirectory() as scratch:
        for name, sizes in SIZES.items():
            path = Path(scratch) / str(sizes[0])
            make(path, *sizes, options.dtype)
            measure(name, path, options)


if __name__ == "__main__":
    main()
