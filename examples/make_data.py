"""Make the example base with adapter-train, train two adapters on it with PEFT, and write all to examples/data/.

    python examples/make_data.py [--tools DIRECTORY] [--steps N] [--adapter-steps N]

Needs the tools built in release mode, torch, transformers, peft, safetensors and numpy, a Debian system for the text, and
about a quarter of an hour. What it makes is described in examples/data/README.md.
"""

import argparse
import hashlib
import json
import math
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import example_text
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from transformers import LlamaForCausalLM
from transformers.utils import logging

HERE = Path(__file__).resolve().parent
DATA = HERE / "data"
sys.path.insert(0, str(HERE.parent / "Tests" / "Golden"))

import reference  # noqa: E402
import tensorfile  # noqa: E402

WINDOW = 256
ADAPTERS = {"scripture": 8, "law": 8}
CONFIG = dict(
    model_type="llama", vocab_size=256, hidden_size=128, intermediate_size=384, num_hidden_layers=4, num_attention_heads=4,
    num_key_value_heads=2, head_dim=32, max_position_embeddings=512, hidden_act="silu", rms_norm_eps=1e-6,
    rope_parameters={"rope_theta": 10000.0, "rope_type": "default"}, initializer_range=0.02, attention_bias=False,
    mlp_bias=False, tie_word_embeddings=False, bos_token_id=None, eos_token_id=None, pad_token_id=None,
)  # fmt: skip


def batches(text, size, seed):
    """Endless random windows of the text, one token for each byte."""
    data = torch.frombuffer(bytearray(text), dtype=torch.uint8).long()
    generator = torch.Generator().manual_seed(seed)
    while True:
        starts = torch.randint(0, len(data) - WINDOW, (size,), generator=generator)
        yield torch.stack([data[s : s + WINDOW] for s in starts.tolist()])


def train(model, text, steps, rate, seed, batch):
    """AdamW with warm-up and cosine decay; prints the loss now and then."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=rate, betas=(0.9, 0.98), weight_decay=0.01)
    source, started, recent = batches(text, batch, seed), time.monotonic(), []
    model.train()
    for step in range(steps):
        factor = min((step + 1) / 50, 0.5 * (1 + math.cos(math.pi * step / steps)) + 0.02)
        for group in optimizer.param_groups:
            group["lr"] = rate * factor
        ids = next(source)
        loss = model(input_ids=ids, labels=ids).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        recent = [*recent, loss.item()][-50:]
        if (step + 1) % 100 == 0 or step + 1 == steps:
            mean = sum(recent) / len(recent)
            print(f"  step {step + 1}: loss {mean:.3f}, {time.monotonic() - started:.0f} s", flush=True)
    return model.eval()


def loss_on(model, text):
    """Mean loss in nats for each byte over whole windows of a held-out text."""
    data = torch.frombuffer(bytearray(text), dtype=torch.uint8).long()
    rows = data[: len(data) // WINDOW * WINDOW].reshape(-1, WINDOW)
    with torch.no_grad():
        return model(input_ids=rows, labels=rows).loss.item()


def load_base():
    """The saved base in float32: bfloat16 values, computed exactly."""
    return LlamaForCausalLM.from_pretrained(str(DATA / "base"), dtype=torch.float32).eval()


def make_base(tools, scratch, training, held, steps):
    """The base, by `adapter-train pretrain`: the same bytes wherever the tool runs on a CPU of the same kind."""
    for name, data in {"config.json": json.dumps(CONFIG).encode(), "train.txt": training, "held.txt": held}.items():
        (scratch / name).write_bytes(data)
    command = [tools / "adapter-train", "pretrain", scratch / "config.json", "-o", DATA / "base", "--force"]
    command += ["--data", scratch / "train.txt", "--validation", scratch / "held.txt", "--validate-every", "100"]
    command += ["--steps", str(steps), "--batch", "16", "--length", str(WINDOW), "--threads", "2", "--seed", "7"]
    command += ["--learning-rate", "3e-3", "--warmup", "0.045", "--beta2", "0.98", "--weight-decay", "0.01"]
    subprocess.run([*command, "--dtype", "bfloat16", "--max-shard-size", "700KB"], check=True)


def make_adapter(name, rank, text, steps):
    torch.manual_seed(11)
    config = LoraConfig(
        r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=True
    )
    wrapped = get_peft_model(load_base(), config)
    train(wrapped, text, steps, 4e-3, seed=2, batch=8)
    target = DATA / f"adapter-{name}"
    shutil.rmtree(target, ignore_errors=True)
    wrapped.save_pretrained(str(target))
    (target / "README.md").unlink(missing_ok=True)
    path = target / "adapter_config.json"
    saved = json.loads(path.read_text())
    saved["base_model_name_or_path"] = "base"
    saved["target_modules"] = sorted(saved["target_modules"])
    path.write_text(json.dumps(saved, indent=2, sort_keys=True) + "\n")


def write_digests(name):
    """SHA-256 of every tensor of the merged model: the float64 sum, rounded once to bfloat16."""
    base = tensorfile.read_checkpoint(DATA / "base")
    merged = reference.merge(DATA / "base", [(DATA / f"adapter-{name}", 1.0)])
    lines = []
    for tensor, stored in sorted(base.items()):
        values = merged.values.get(tensor)
        data = stored.data if values is None else tensorfile.round_to(values, stored.dtype).tobytes()
        lines.append(f"{hashlib.sha256(data).hexdigest()}  {tensor}\n")
    (DATA / "expected" / f"merged-{name}.sha256").write_text("".join(lines))


def write_expected(texts):
    """Logits of base and base + adapter (unmerged, float32) and all the losses."""
    from peft import PeftModel

    held = {genre: pair[1] for genre, pair in texts.items()}
    ids = torch.frombuffer(bytearray(held["scripture"][:24] + held["law"][:24]), dtype=torch.uint8).long().view(2, 24)
    logits, losses = {"input_ids": ids}, {}
    for name in ("base", *ADAPTERS):
        model = load_base()
        if name != "base":
            model = PeftModel.from_pretrained(model, str(DATA / f"adapter-{name}")).eval()
        with torch.no_grad():
            logits[f"logits.{name}"] = model(input_ids=ids).logits.contiguous()
        losses[name] = {genre: round(loss_on(model, text), 4) for genre, text in held.items()}
    save_file(logits, str(DATA / "expected" / "logits.safetensors"))
    document = {"unit": "nats for each byte, held-out text", "window": WINDOW, "losses": losses}
    (DATA / "expected" / "losses.json").write_text(json.dumps(document, indent=2) + "\n")
    for name, row in losses.items():
        print(f"{name:10}", "  ".join(f"{genre} {value:.3f}" for genre, value in row.items()))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tools", type=Path, default=HERE.parent / ".build/release", help="where adapter-train is")
    parser.add_argument("--keep-base", action="store_true", help="train the adapters on the base that is there")
    parser.add_argument("--steps", type=int, default=1100, help="training steps of the base")
    parser.add_argument("--adapter-steps", type=int, default=300, help="training steps of each adapter")
    options = parser.parse_args()
    torch.set_num_threads(2)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    for folder in ("text", "expected"):
        (DATA / folder).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        texts = example_text.fetch(scratch)
        for name, data in example_text.chapters(scratch).items():
            (DATA / "text" / f"{name}.txt").write_bytes(data)
        for genre, (training, held) in texts.items():
            (DATA / "text" / f"{genre}.txt").write_bytes(held)
            print(f"{genre}: {len(training)} bytes to train on, {len(held)} held out", flush=True)
        if not options.keep_base:
            make_base(options.tools, Path(scratch), *texts["jargon"], options.steps)
    for name, rank in ADAPTERS.items():
        print(f"adapter {name}", flush=True)
        make_adapter(name, rank, texts[name][0], options.adapter_steps)
        write_digests(name)
    write_expected(texts)
    for path in DATA.rglob("*.safetensors"):
        path.chmod(0o644)


if __name__ == "__main__":
    main()
