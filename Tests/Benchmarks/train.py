"""Time adapter-train beside PyTorch with PEFT: tokens per second and peak memory.

    python Tests/Benchmarks/train.py DIRECTORY --bin .build/release [--sizes 256,512] [--runs 5] [--threads 2]

DIRECTORY gets two random models of bytes (float32) and token ids unless they are there. Both train LoRA of rank 8 on q and v
with AdamW on the same ids, 8 sequences of 128 tokens a step:

- `all`: in all layers;
- `last:2`: in the last two, where the tool keeps what the frozen layers give from the second epoch on; its speed is taken
  from there, PyTorch's over all steps after the warm-up;
- `full`: everything is trained.

Runs alternate; what is printed is the median, with the range, of tokens per second over the steps after the warm-up, start-up
not counted; the ratio is taken pair by pair. Each PyTorch run is a process of its own. Nothing is asserted.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SIZES = {256: {"layers": 6, "inner": 688}, 512: {"layers": 8, "inner": 1376}}
BATCH, LENGTH, WARM = 8, 128, 4


def make(path, hidden):
    """A random model of bytes, and ids for it."""
    if (path / "config.json").exists():
        return
    import torch
    from safetensors.numpy import save_file
    from transformers import LlamaConfig, LlamaForCausalLM

    size = SIZES[hidden]
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=259, hidden_size=hidden, intermediate_size=size["inner"], num_hidden_layers=size["layers"],
        num_attention_heads=8, num_key_value_heads=8, max_position_embeddings=512, tie_word_embeddings=False,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(path)
    generator = torch.Generator().manual_seed(2)
    for name, steps in (("ids", 8),):
        ids = torch.randint(0, 256, (steps * BATCH, LENGTH + 1), generator=generator, dtype=torch.int32).numpy()
        save_file({"input_ids": ids}, path / f"{name}.safetensors.data")


def torch_run(options):
    """One run of PyTorch, in this process: prints tokens per second and peak memory as JSON."""
    import torch
    from peft import LoraConfig, get_peft_model
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(options.threads)
    model = AutoModelForCausalLM.from_pretrained(options.directory, dtype=torch.float32)
    if options.mode != "full":
        layers = model.config.num_hidden_layers
        chosen = None if options.mode == "all" else list(range(layers - 2, layers))
        model = get_peft_model(
            model, LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"], layers_to_transform=chosen)
        )
    ids = load_file(f"{options.directory}/ids.safetensors.data")["input_ids"].long()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3, weight_decay=0.0)
    model.train()
    begin = 0.0
    for step in range(options.steps):
        if step == WARM:
            begin = time.perf_counter()
        batch = ids[step % 8 * BATCH : (step % 8 + 1) * BATCH]
        logits = model(input_ids=batch[:, :-1], use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits.reshape(-1, logits.shape[-1]), batch[:, 1:].reshape(-1))
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    seconds = time.perf_counter() - begin
    tokens = (options.steps - WARM) * BATCH * LENGTH
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"speed": tokens / seconds, "peak": peak, "loss": loss.item()}))


def tool_run(options, directory, mode):
    """One run of the tool: tokens per second after the warm-up (of the second epoch on where there is a cache)."""
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(scratch) / "ids.safetensors"
        data.symlink_to((directory / "ids.safetensors.data").resolve())
        method = ["--method", "full", "--layers", "all"] if mode == "full" else ["--layers", mode, "--targets", "q_proj,v_proj"]
        command = [
            Path(options.bin) / "adapter-train", directory, "--data", data, "-o", Path(scratch) / "out", *method,
            "--steps", str(options.steps), "--no-shuffle", "--schedule", "constant", "--warmup", "0", "--threads",
            str(options.threads), "--metrics", Path(scratch) / "metrics", "--json",
        ]  # fmt: skip
        if mode == "full":
            command += ["--save-as", "model"]
        answer = subprocess.run(command, check=True, capture_output=True, text=True)
        lines = [json.loads(line) for line in (Path(scratch) / "metrics").read_text().splitlines()]
        steps = [line for line in lines if "loss" in line]
        warm = 8 if mode.startswith("last") else WARM
        speed = (len(steps) - warm) * BATCH * LENGTH / (steps[-1]["seconds"] - steps[warm - 1]["seconds"])
        return {"speed": speed, "peak": json.loads(answer.stdout)["peak_memory_bytes"], "loss": steps[-1]["loss"]}


def torch_process(options, directory, mode):
    """A PyTorch run in a process of its own."""
    command = [sys.executable, "-W", "ignore", __file__, str(directory), "--torch", mode, "--threads", str(options.threads),
               "--steps", str(options.steps), "--bin", options.bin]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": str(options.threads), "HF_HUB_OFFLINE": "1"}
    answer = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return json.loads(answer.stdout.splitlines()[-1])


def spread(values, digits=0):
    """The median with the range."""
    return f"{statistics.median(values):,.{digits}f} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def main():
    """All sizes and modes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--sizes", default="256,512")
    parser.add_argument("--modes", default="all,last:2,full")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--torch", dest="mode", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.mode:
        torch_run(options)
        return
    for hidden in map(int, options.sizes.split(",")):
        directory = options.directory / f"hidden-{hidden}"
        make(directory, hidden)
        options.steps = 40 if hidden <= 256 else 20
        for mode in options.modes.split(","):
            pairs = []
            for number in range(options.runs):
                first, second = (tool_run, torch_process) if number % 2 else (torch_process, tool_run)
                one, two = first(options, directory, mode), second(options, directory, mode)
                pairs.append((one, two) if number % 2 else (two, one))
            print(f"hidden {hidden}, {mode}:", flush=True)
            print(f"  tool    {spread([a['speed'] for a, _ in pairs])} tokens/s, {max(a['peak'] for a, _ in pairs) / 1e6:,.0f} MB")
            print(f"  PyTorch {spread([b['speed'] for _, b in pairs])} tokens/s, {max(b['peak'] for _, b in pairs) / 1e6:,.0f} MB")
            ratios = [a["speed"] / b["speed"] for a, b in pairs]
            print(f"  ratio   {spread(ratios, 2)}; loss {pairs[-1][0]['loss']:.4f} and {pairs[-1][1]['loss']:.4f}", flush=True)


if __name__ == "__main__":
    main()
