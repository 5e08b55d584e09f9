"""Prefixes against PEFT, bottlenecks against PyTorch and the library `adapters`, and the outputs of full fine-tuning."""

import functools
import hashlib
import json
import os
import shutil
import subprocess
import warnings
from pathlib import Path

import torch
import transformers
from peft import PeftModel, PrefixTuningConfig, get_peft_model, get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import nn

from train_checks import LENGTHS, close_gradients, close_losses
from train_models import LAYERS, Course, gradients, load, mean_loss, quiet

HERE = Path(__file__).resolve().parent
PREFIXES = ["llama", "llama3", "llama-one-head", "llama-biases", "qwen2", "mistral-all", "llama-bf16"]
BOTTLENECKS = [("llama", "all", 8), ("llama-biases", "last:2", 5), ("qwen2", "0,3", 7), ("mistral", "all", 3)]


def texts(trainer, base, seed):
    """Examples and held-out ones, with their files."""
    examples = trainer.bases.examples(base, seed, LENGTHS)
    held = trainer.bases.examples(base, seed + 1, [40, 17, 99])
    return (examples, examples.save(trainer.place(".safetensors")), held, held.save(trainer.place(".safetensors")))


def prefixes(trainer, seed, only, quick):
    """Prefix tuning."""
    for base in PREFIXES[1:3] if quick else PREFIXES:
        if only in f"prefix {base}":
            prefix(trainer, f"prefix {base}", base, seed)


def untrained(trainer, label, base, data, *options):
    """The first values: a step of rate 0 leaves them as they are."""
    still = [*Course(steps=1, rate=0).options]
    return trainer.train(f"{label} before", base, data, *options, *still)


def prefix(trainer, label, base, seed):
    """One base."""
    tally = trainer.tally
    examples, data, held, held_file = texts(trainer, base, seed)
    course = Course(rate=2e-2)
    method = ["--method", "prefix", "--prefix-length", 5, "--seed", seed]
    before = untrained(trainer, label, base, data, *method)
    if not before:
        return
    with_adapter(trainer, label, base, before.output)
    with quiet():
        peft = get_peft_model(
            trainer.bases.model(base), PrefixTuningConfig(num_virtual_tokens=5, task_type="CAUSAL_LM"))
    table = peft.prompt_encoder.default.embedding.weight
    stored = load_file(str(before.output / "adapter_model.safetensors"))["prompt_embeddings"]
    if not tally.check(table.shape == stored.shape, f"{label}: PEFT's shape", f"{stored.shape}, not {table.shape}"):
        return
    table.data = stored.clone()
    peft.eval()
    found = trainer.gradients(label, base, data, *method, *course.options)
    if found:
        loss, wanted = gradients(peft, examples.part(next(course.parts(len(examples)))))
        table = wanted["prompt_encoder.default.embedding.weight"]
        parts = table.reshape(5, LAYERS, 2, -1)
        named = {f"prefix.{n}.{k}": parts[:, n, i] for n in range(LAYERS) for i, k in enumerate(("keys", "values"))}
        close_losses(tally, f"{label}: the loss of the first step", [found[0]], [loss])
        close_gradients(tally, label, found[1], named)
    done = trainer.train(label, base, data, *method, *course.options, validation=held_file)
    if not done:
        return
    steps = course.run(peft, examples)
    close_losses(tally, f"{label}: ten steps", done.losses, [step[0] for step in steps])
    loaded = with_adapter(trainer, label, base, done.output)
    after = done.report["validation_after"]
    close_losses(tally, f"{label}: PEFT's loss with it", [mean_loss(loaded, held)], [after])
    moved = abs(after - done.report["validation_before"])
    # How far depends on the random course; losses of the same weights differ by less than a hundredth of this.
    tally.check(moved > 1e-5, f"{label}: training moves the held-out loss", f"by {moved}")


def with_adapter(trainer, label, base, path):
    """PEFT with what was written, after a look at its keys."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        peft = PeftModel.from_pretrained(trainer.bases.model(base), str(path)).eval()
    words = [str(w.message) for w in caught if "missing" in str(w.message) or "unexpected" in str(w.message)]
    own = load_file(str(path / "adapter_model.safetensors"))
    keys = get_peft_model_state_dict(peft)
    same = own.keys() == keys.keys() and all(torch.equal(own[name], keys[name]) for name in own)
    trainer.tally.check(same and not words, f"{label}: PEFT loads it", f"{words} {sorted(own.keys() ^ keys.keys())}")
    return peft


# MARK: Bottlenecks


class Bottleneck(nn.Module):
    """A linear layer with y = x + U swish(D x + c) + b behind it."""

    def __init__(self, linear, tensors):
        super().__init__()
        self.linear = linear
        self.down, self.down_bias, self.up, self.up_bias = (nn.Parameter(t.clone()) for t in tensors)

    def forward(self, x):
        y = self.linear(x)
        inner = nn.functional.silu(nn.functional.linear(y, self.down, self.down_bias))
        return y + nn.functional.linear(inner, self.up, self.up_bias)


PLACES = {"attention_adapters": ("self_attn", "o_proj"), "output_adapters": ("mlp", "down_proj")}
PARTS = ["adapter_down.0.weight", "adapter_down.0.bias", "adapter_up.weight", "adapter_up.bias"]


def attached(trainer, base, path):
    """PyTorch's model with the bottlenecks in `path`; and how each tensor there is called in it."""
    model = trainer.bases.model(base)
    model.requires_grad_(False)
    tensors = load_file(str(path / "adapter.safetensors"))
    name = json.loads((path / "adapter_config.json").read_text())["name"]
    used, places = set(), {}
    for number, layer in enumerate(model.model.layers):
        for place, (parent, linear) in PLACES.items():
            keys = [f"model.layers.{number}.{place}.adapters.{name}.{part}" for part in PARTS]
            if keys[0] not in tensors:
                continue
            owner = getattr(layer, parent)
            made = Bottleneck(getattr(owner, linear), [tensors[key] for key in keys])
            setattr(owner, linear, made)
            used.update(keys)
            places |= dict(zip(keys, [made.down, made.down_bias, made.up, made.up_bias], strict=True))
    return model.eval(), places, tensors.keys() - used


def bottlenecks(trainer, seed, only, quick):
    """Bottleneck adapters."""
    if only in "bottleneck" and not python_with_adapters():
        print("skipped: the library adapters with bottlenecks, since ADAPTERKIT_ADAPTERS_PYTHON names no Python that has it")
    for base, layers, size in BOTTLENECKS[1:3] if quick else BOTTLENECKS:
        label = f"bottleneck {base} {layers}"
        if only in label:
            bottleneck(trainer, label, base, layers, size, seed)


def bottleneck(trainer, label, base, layers, size, seed):
    """One base, some layers."""
    tally = trainer.tally
    examples, data, held, held_file = texts(trainer, base, seed)
    course = Course(rate=1e-2)
    method = ["--method", "bottleneck", "--bottleneck", size, "--layers", layers, "--seed", seed]
    before = untrained(trainer, label, base, data, *method)
    if not before:
        return
    model, places, left = attached(trainer, base, before.output)
    tally.check(places and not left, f"{label}: the tensors of a Houlsby adapter", str(sorted(left)))
    found = trainer.gradients(label, base, data, *method, *course.options)
    if found:
        loss, _ = gradients(model, examples.part(next(course.parts(len(examples)))))
        names = {}
        for key, value in places.items():
            head, tail = key.split(".adapters.")
            part = "down" if "adapter_down" in tail else "up"
            names[f"{head}.{part}.{tail.rsplit('.', 1)[1]}"] = value.grad.clone()
        close_losses(tally, f"{label}: the loss of the first step", [found[0]], [loss])
        close_gradients(tally, label, found[1], names)
    done = trainer.train(label, base, data, *method, *course.options, validation=held_file)
    if not done:
        return
    steps = course.run(model, examples)
    close_losses(tally, f"{label}: ten steps", done.losses, [step[0] for step in steps])
    after = done.report["validation_after"]
    again, _, _ = attached(trainer, base, done.output)
    close_losses(tally, f"{label}: PyTorch's loss with it", [mean_loss(again, held)], [after])
    moved = abs(after - done.report["validation_before"])
    # How far depends on the random course; losses of the same weights differ by less than a hundredth of this.
    tally.check(moved > 1e-5, f"{label}: training moves the held-out loss", f"by {moved}")
    loaded_by_adapters(trainer, label, base, done.output, held_file, after)


@functools.cache
def python_with_adapters():
    """A Python that has the library `adapters`; None if none is named, or that one has not."""
    python = os.environ.get("ADAPTERKIT_ADAPTERS_PYTHON")
    look = "import importlib.util, sys; sys.exit(importlib.util.find_spec('adapters') is None)"
    return python if python and subprocess.run([python, "-c", look], check=False).returncode == 0 else None


def loaded_by_adapters(trainer, label, base, path, held, after):
    """The library `adapters` loads it without a missing key, and has the same loss."""
    python = python_with_adapters()
    if not python:
        return
    run = subprocess.run(
        [python, "-W", "ignore", str(HERE / "train_adapters.py"), str(trainer.bases.path(base)), str(path), str(held)],
        capture_output=True, text=True, timeout=600, check=False)  # fmt: skip
    if not trainer.tally.check(run.returncode == 0, f"{label}: adapters loads it", run.stdout + run.stderr[-1500:]):
        return
    found = json.loads(run.stdout.splitlines()[-1])
    trainer.tally.check(not found["keys"], f"{label}: no missing or unexpected key in adapters", str(found["keys"]))
    close_losses(trainer.tally, f"{label}: the loss of adapters", [found["loss"]], [after])


# MARK: Outputs of full fine-tuning


def outputs(trainer, seed, only, quick):
    """An archive, an adapter and a model from the same training."""
    cases = [("llama-bf16", "last:2"), ("llama", "last:1"), ("qwen2", "all"), ("llama-f16", "all")]
    for base, layers in cases[: 2 if quick else 4]:
        label = f"output {base} {layers}"
        if only in label:
            output(trainer, label, base, layers, seed)


def output(trainer, label, base, layers, seed):
    """One base, some layers."""
    tally, tools = trainer.tally, trainer.tools
    _, data, held, held_file = texts(trainer, base, seed)
    options = ["--method", "full", "--layers", layers, *Course(steps=4, rate=1e-3).options]
    whole = trainer.train(f"{label} model", base, data, *options, "--save-as", "model", validation=held_file)
    packed = trainer.train(f"{label} archive", base, data, *options, validation=held_file)
    narrow = trainer.train(
        f"{label} adapter", base, data, *options, "--save-as", "adapter", "--rank", 32, validation=held_file)
    if not (whole and packed and narrow):
        return
    path = trainer.bases.path(base)
    back = trainer.place()
    answer = tools.run("adapter-unpack", packed.output, "--base", path, "-o", back)
    if tally.check(answer.code == 0, f"{label}: adapter-unpack", answer.text):
        tally.check(contents(back) == contents(whole.output), f"{label}: the archive holds the model's bytes",
                    f"{sorted(contents(back))} {sorted(contents(whole.output))}")  # fmt: skip
    answer = tools.run("adapter-unpack", packed.output, "-o", trainer.place())
    tally.check(answer.code != 0, f"{label}: the archive needs its base", answer.text)
    answer = tools.run("adapter-verify", path, narrow.output)
    tally.check(answer.code == 0, f"{label}: the adapter fits its base", answer.text)
    rounded = trainer.loss(whole.output, held_file)
    # Full rank: what rounding to the base's dtype leaves is all that differs, beside norms that no adapter has.
    merged = trainer.place()
    answer = tools.run("adapter-merge", path, narrow.output, "-o", merged)
    if tally.check(answer.code == 0, f"{label}: the adapter merges", answer.text):
        found = trainer.loss(merged, held_file)
        near = isinstance(found, float) and abs(found - rounded) <= 0.02
        tally.check(near, f"{label}: the adapter is near the model", f"{found}, not {rounded}")
    for folder in (whole.output, narrow.output):
        tally.check((folder / "training.json").exists(), f"{label}: {folder.name} has its record")
    base_files = load_all(path)
    for name, value in load_all(whole.output).items():
        if not tally.check(value.dtype == base_files[name].dtype, f"{label}: {name} has the base's dtype"):
            break
    frozen = [n for n in base_files if layers != "all" and ("layers.0." in n or "embed" in n or "lm_head" in n)]
    tuned = load_all(whole.output)
    tally.check(all(torch.equal(base_files[n], tuned[n]) for n in frozen), f"{label}: what is frozen stays as it is")


def own_types(trainer, seed, only, quick):
    """--dtype is what config and files say afterwards; a stored head that differs from the embedding is a head."""
    if only not in "output of another dtype":
        return
    tally = trainer.tally
    _, data, held, held_file = texts(trainer, "llama-bf16", seed)
    options = ["--method", "full", "--layers", "last:1", "--save-as", "model", *Course(steps=3, rate=1e-3).options]
    for word, dtype in {"float32": torch.float32, "bfloat16": torch.bfloat16}.items():
        label = f"output of another dtype {word}"
        done = trainer.train(label, "llama-f16", data, *options, "--dtype", word, validation=held_file)
        if not done:
            continue
        loaded = transformers.AutoModelForCausalLM.from_pretrained(str(done.output), dtype="auto")
        tally.check(loaded.dtype == dtype, f"{label}: transformers goes by it", str(loaded.dtype))
        limit = 1e-4 if word == "float32" else 0.02
        after = done.report["validation_after"]
        close_losses(tally, f"{label}: the loss", [mean_loss(load(done.output), held)], [after], limit)
        total = sum(value.numel() * value.element_size() for value in load_all(done.output).values())
        tally.check(done.report["bytes"] == total, f"{label}: it says its bytes", f"{done.report['bytes']}, not {total}")
    apart = trainer.place()
    shutil.copytree(trainer.bases.path("llama-tied"), apart)
    file = apart / "model.safetensors"
    tensors = load_file(str(file))
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].flip(0) * 0.9
    save_file(tensors, str(file), metadata={"format": "pt"})
    close_losses(tally, "output: a head apart", [trainer.loss(apart, held_file)], [mean_loss(load(apart), held)])
    first = trainer.train("output: start", "llama", data, *Course(steps=1).options)
    if first:
        second = trainer.train("output: going on", "llama", data, *Course(steps=1).options, "--from", first.output)
        record = json.loads((second.output / "training.json").read_text()) if second else {}
        digest = hashlib.sha256((first.output / "adapter_model.safetensors").read_bytes()).hexdigest()
        tally.check(record.get("start", {}).get("sha256") == digest, "output: the record names the adapter of --from")


def contents(directory):
    """All files below a directory."""
    return {str(p.relative_to(directory)): p.read_bytes() for p in sorted(Path(directory).rglob("*")) if p.is_file()}


def load_all(directory):
    """All tensors of a model."""
    return {k: v for p in sorted(Path(directory).glob("*.safetensors")) for k, v in load_file(str(p)).items()}
