"""A live test of adapters on a model in memory (`examples/attach`) against PEFT's own forward pass.

    python Tests/Interop/serving.py --bin .build/release [--quick]

What q_proj of a tiny Llama answers with LoRA, rsLoRA, DoRA, a rank pattern, a bias, and with several adapters at once must be
the float64 answer rounded once; and when all are detached, the base answers as before. `--quick` takes one dtype only.
Ends with 'N passed, N failed'; exit status 1 if anything failed. If the libraries cannot be imported it says 'skipped'
and exits 0.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
try:
    import numpy as np
    import torch
    import transformers
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(0)
transformers.utils.logging.disable_progress_bar()

LAYER = "model.layers.1.self_attn.q_proj"
CASES = {
    "lora": [dict(r=4, lora_alpha=6)],
    "rslora": [dict(r=9, lora_alpha=6, use_rslora=True)],
    "rank-pattern": [dict(r=4, lora_alpha=6, rank_pattern={"layers.1.self_attn.q_proj": 7})],
    "dora": [dict(r=4, lora_alpha=6, use_dora=True)],
    "two": [dict(r=4, lora_alpha=6), dict(r=3, lora_alpha=9)],
    "three": [dict(r=2, lora_alpha=6), dict(r=3, lora_alpha=1, use_rslora=True), dict(r=5, lora_alpha=2)],
}


def shake(model, generator):
    """Random factors, so that nothing is zero; magnitudes stay near what they were."""
    for name, value in model.named_parameters():
        if "lora_magnitude" in name:
            value.data *= 1 + 0.3 * torch.rand(value.shape, generator=generator, dtype=value.dtype)
        elif "lora_" in name:
            value.data = torch.randn(value.shape, generator=generator, dtype=value.dtype) * 0.2


def answers(binary, base, adapters):
    """The numbers of each line that the example prints, in order, and its verdict."""
    run = subprocess.run(
        [binary, "--all", base, LAYER, *adapters], capture_output=True, text=True, timeout=60, check=False)
    if run.returncode:
        raise SystemExit(f"attach-example ended with {run.returncode}: {run.stdout}{run.stderr}")
    lines = run.stdout.splitlines()
    return [np.array(line.split(": ", 1)[1].split(), dtype=np.float32) for line in lines[:-1]], lines[-1]


def check(name, configs, binary, scratch, dtype):
    seed = sum(map(ord, name))
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    bias = name == "two"
    model = LlamaForCausalLM(LlamaConfig(
        vocab_size=32, hidden_size=48, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, attention_bias=bias))
    model = model.to(dtype)
    base = scratch / name / "base"
    model.save_pretrained(base)
    # In float64 PEFT's own rounding does not blur the comparison; the weights are those of the file.
    model = model.to(torch.float64)
    targets = ["q_proj", "down_proj"]
    peft = get_peft_model(model, LoraConfig(target_modules=targets, **configs[0]), adapter_name="a0")
    for at, config in enumerate(configs[1:], 1):
        peft.add_adapter(f"a{at}", LoraConfig(target_modules=targets, **config))
    peft = peft.to(torch.float32)
    shake(peft, generator)
    peft.save_pretrained(scratch / name)
    peft = peft.to(torch.float64)
    adapters = [str(scratch / name / f"a{at}") for at in range(len(configs))]
    found, verdict = answers(binary, str(base), adapters)
    module = peft.get_submodule("base_model.model." + LAYER)
    k = torch.arange(48)
    x = (((k * 37 + 11) % 101 - 50).to(torch.float32) / 50).to(torch.float64)[None]
    with torch.no_grad():
        wanted = [module.base_layer(x)]
        for at in range(len(configs)):
            peft.base_model.set_adapter([f"a{i}" for i in range(at + 1)])
            wanted.append(module(x))
    worst = 0.0
    for got, exact in zip(found, wanted):
        exact = exact[0].numpy()
        # Half a float32 step of each number, and what the sums' order does in float64.
        limit = np.abs(exact) * 2.0**-24 + 1e-13 * np.abs(exact).max()
        worst = max(worst, float((np.abs(got.astype(np.float64) - exact) / limit).max()))
    same = np.array_equal(found[0], found[-1]) and np.array_equal(found[-2], found[len(configs)])
    ok = worst <= 1 and same and verdict == "the same bits"
    if not ok:
        print(f"FAILED: {name} {str(dtype)[6:]}: {worst:.2f} of the bound, {verdict}")
    return ok


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--quick", action="store_true", help="one dtype only")
    arguments = parser.parse_args()
    binary = str(pathlib.Path(arguments.bin).resolve() / "attach-example")
    dtypes = [torch.bfloat16] if arguments.quick else [torch.bfloat16, torch.float16, torch.float32]
    with tempfile.TemporaryDirectory() as scratch:
        results = [
            check(name, configs, binary, pathlib.Path(scratch) / str(dtype)[6:], dtype)
            for dtype in dtypes for name, configs in CASES.items()
        ]
    print(f"serving: {sum(results)} passed, {len(results) - sum(results)} failed")
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
