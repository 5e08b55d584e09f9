"""The trainer's LoRA and full fine-tuning against PEFT and PyTorch: gradients, ten steps, and what is written."""

import itertools
import json
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from safetensors.torch import load_file

from train_models import LAYERS, Course, Examples, gradients, load, mean_loss, quiet, sums

LENGTHS = [23, 90, 9, 131, 51, 7, 64, 66, 30, 2]
LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
USUAL = ["q_proj", "k_proj", "v_proj", "o_proj", "up_proj"]


class Trainer:
    """Runs adapter-train in a directory of its own."""

    def __init__(self, tools, bases, directory, tally):
        self.tools, self.bases, self.tally = tools, bases, tally
        self.directory = Path(directory)
        self.directory.mkdir(exist_ok=True)
        self.numbers = itertools.count()

    def place(self, suffix=""):
        """A path that nothing else has."""
        return self.directory / f"t{next(self.numbers)}{suffix}"

    def run(self, base, data, *options, output=None):
        """One run; `base` is a name, or a path."""
        path = base if isinstance(base, Path) else self.bases.path(base)
        out = ["-o", output] if output else []
        return self.tools.run("adapter-train", path, "--data", data, *out, "--no-progress", *options)

    def train(self, label, base, data, *options, validation=None):
        """A run that must succeed: its output, what --json says, and the lines of --metrics; or None."""
        output, metrics = self.place(), self.place(".jsonl")
        extra = ["--validation", validation] if validation else []
        answer = self.run(base, data, "--json", "--metrics", metrics, *extra, *options, output=output)
        if not self.tally.check(answer.code == 0, f"{label}: it trains", answer.text):
            return None
        lines = [json.loads(line) for line in metrics.read_text().splitlines()]
        return Trained(output, json.loads(answer.out), [line for line in lines if "learning_rate" in line])

    def gradients(self, label, base, data, *options):
        """The first step's loss and gradients; or None."""
        path = self.place(".safetensors")
        answer = self.run(base, data, "--gradients", path, *options)
        if not self.tally.check(answer.code == 0, f"{label}: --gradients", answer.text):
            return None
        found = load_file(str(path))
        return float(found.pop("loss")), found

    def loss(self, base, data, *options):
        """The loss of the base as it is on `data`; with `--from`, of that adapter."""
        answer = self.run(
            base, data, "--json", "--learning-rate", 0, "--steps", 1, "--validation", data, "--length", 200, *options,
            output=self.place(),
        )  # fmt: skip
        return json.loads(answer.out)["validation_after"] if answer.code == 0 else answer.text


@dataclass
class Trained:
    """What a run gave."""

    output: Path
    report: dict
    steps: list

    @property
    def losses(self):
        """The loss of each step."""
        return [line["loss"] for line in self.steps]


@dataclass(frozen=True)
class Lora:
    """A LoRA configuration, for PEFT and for the command line."""

    rank: int = 3
    alpha: float = 5
    targets: tuple = tuple(USUAL)
    layers: tuple | None = None
    rslora: bool = False
    dora: bool = False
    save: tuple = ()
    written: str | None = None
    extra: dict = field(default_factory=dict)

    @property
    def config(self):
        """PEFT's. A bare `norm` would mean every norm there."""
        saved = ["model.norm" if name == "norm" else name for name in self.save]
        return LoraConfig(
            r=self.rank, lora_alpha=self.alpha, target_modules=list(self.targets) or "^$", use_rslora=self.rslora,
            use_dora=self.dora, layers_to_transform=list(self.layers) if self.layers else None,
            modules_to_save=saved or None, task_type="CAUSAL_LM",
        )  # fmt: skip

    @property
    def options(self):
        """The command line's."""
        layers = self.written or (",".join(map(str, self.layers)) if self.layers else "all")
        flags = ["--rslora"] * self.rslora + ["--dora"] * self.dora
        saved = ["--modules-to-save", ",".join(self.save)] if self.save else []
        targets = "linear" if list(self.targets) == LINEAR else ",".join(self.targets)
        return ["--rank", self.rank, "--alpha", self.alpha, "--targets", targets, "--layers", layers, *flags, *saved]


LORAS = {
    "lora": Lora(),
    "linear": Lora(targets=tuple(LINEAR)),
    "last": Lora(layers=(3,), written="last:1"),
    "two": Lora(layers=(0, 2), targets=("down_proj", "k_proj")),
    "upper": Lora(layers=(1, 2, 3), written="1-3", targets=tuple(LINEAR)),
    "rslora": Lora(rank=7, alpha=6, rslora=True),
    "dora": Lora(dora=True),
    "dora-linear": Lora(dora=True, targets=tuple(LINEAR), layers=(2, 3), written="last:2"),
    "dora-rslora": Lora(dora=True, rslora=True, rank=2, layers=(1, 3)),
    "head": Lora(save=("lm_head",), layers=(3,)),
    "embedding": Lora(save=("embed_tokens",), layers=(2, 3)),
    "both": Lora(save=("embed_tokens", "lm_head"), layers=(3,), dora=True),
    "norms": Lora(save=("norm", "input_layernorm"), layers=(2, 3)),
    "norm": Lora(save=("norm", "post_attention_layernorm"), layers=(1,), targets=("q_proj",)),
    "whole": Lora(targets=("q_proj", "v_proj"), save=("gate_proj", "k_proj"), layers=(3,)),
    "q_proj": Lora(targets=("q_proj",)),
    "gate_proj": Lora(targets=("gate_proj",), layers=(1,)),
    "o_proj": Lora(targets=("o_proj",), dora=True, layers=(2,)),
}
# Which bases with which adapters, ten steps for some of them.
PAIRS = [
    ("llama", "lora", True), ("llama", "dora", True), ("llama", "linear", False), ("llama3", "linear", True),
    ("llama3-old", "rslora", True), ("llama-linear", "last", False), ("llama-biases", "linear", True),
    ("llama-biases", "dora-linear", True), ("llama-tied", "lora", False), ("llama-one-head", "dora-rslora", True),
    ("llama-bf16", "linear", True), ("llama-f16", "dora", False), ("mistral", "linear", True),
    ("mistral-wide", "dora-linear", True), ("mistral-all", "two", False), ("qwen2", "linear", True),
    ("qwen2", "dora-linear", True), ("qwen2-untied", "upper", False), ("qwen2-window", "linear", True),
    ("llama", "head", True), ("llama", "embedding", True), ("llama", "both", True), ("llama", "norms", True),
    ("llama", "norm", True), ("llama", "whole", True), ("llama-biases", "whole", True), ("qwen2-untied", "whole", False),
    ("llama-tied", "head", True), ("qwen2", "embedding", True), ("llama-tied", "both", True), ("llama", "q_proj", False),
    ("llama", "gate_proj", False), ("llama", "o_proj", False), ("llama-bf16", "norms", False),
    ("llama-f16", "embedding", False),
]  # fmt: skip
QUICK = {("llama", "dora"), ("llama3", "linear"), ("mistral", "linear"), ("qwen2", "dora-linear"), ("llama-tied", "both"),
         ("llama-bf16", "norms")}  # fmt: skip


def close_losses(tally, label, found, wanted, limit=1e-4):
    """Whether all losses agree."""
    fine = len(found) == len(wanted) and all(abs(a - b) <= limit for a, b in zip(found, wanted, strict=True))
    return tally.check(fine, label, f"{found}\n        wanted {wanted}")


def close_gradients(tally, label, found, wanted, limit=1e-3):
    """Whether all tensors are there, and each agrees: the norm of the difference over the norm."""
    if not tally.check(
        found.keys() == wanted.keys(), f"{label}: the same tensors", f"{sorted(found.keys() ^ wanted.keys())}"
    ):
        return
    total = max(float(value.norm()) for value in wanted.values())
    worst, name = max(
        (float((found[n] - w).norm()) / max(float(w.norm()), 1e-6 * total), n)
        if found[n].shape == w.shape
        else (float("inf"), f"{n} of shape {list(found[n].shape)} instead of {list(w.shape)}")
        for n, w in wanted.items()
    )
    tally.check(worst <= limit, f"{label}: gradients to {limit}", f"{name} differs by {worst:.2e}")


def close_values(tally, label, found, wanted):
    """Whether trained values agree: the norm of the difference over the norm of all."""
    off = {n: float((found[n] - w).norm() / w.norm()) for n, w in wanted.items() if n in found}
    name = max(off, key=off.get)
    tally.check(off[name] <= 1e-3, f"{label}: trained values to 0.001", f"{name} differs by {off[name]:.1e}")


def plain_name(name):
    """The trainer's name of a parameter of a PEFT model."""
    name = name.replace(".default", "").replace("lora_magnitude_vector.weight", "lora_magnitude_vector")
    if ".modules_to_save." in name:
        name = name.replace(".modules_to_save", "").removeprefix("base_model.model.")
    return name


def start(model, lora, seed):
    """PEFT around `model`, with values such that nothing is zero."""
    torch.manual_seed(seed)
    with quiet():
        peft = get_peft_model(model, lora.config)
    generator = torch.Generator().manual_seed(seed)
    for name, value in peft.named_parameters():
        noise = torch.randn(value.shape, generator=generator)
        if "lora_B" in name:
            value.data = 0.1 * noise
        elif "lora_magnitude" in name:
            value.data *= 1 + 0.1 * noise
        elif "modules_to_save" in name:
            value.data = value.data + 0.02 * noise
    return peft.eval()


def adapters(trainer, seed, only, quick):
    """All pairs of bases and LoRA configurations."""
    for base, kind, steps in PAIRS:
        label = f"lora {base} {kind}"
        if only in label and (not quick or (base, kind) in QUICK):
            adapter(trainer, label, base, LORAS[kind], seed, steps)


def adapter(trainer, label, base, lora, seed, takes_steps):
    """One LoRA configuration on one base."""
    tally = trainer.tally
    peft = start(trainer.bases.model(base), lora, seed)
    first = trainer.place()
    with quiet():
        peft.save_pretrained(first)
    examples = trainer.bases.examples(base, seed, LENGTHS)
    data = examples.save(trainer.place(".safetensors"))
    held = trainer.bases.examples(base, seed + 1, [40, 17, 99])
    held_file = held.save(trainer.place(".safetensors"))
    course = Course()
    options = [*lora.options, "--from", first]
    found = trainer.gradients(label, base, data, *options, *course.options)
    if found:
        loss, wanted = gradients(peft, examples.part(next(course.parts(len(examples)))))
        close_losses(tally, f"{label}: the loss of the first step", [found[0]], [loss])
        close_gradients(tally, label, found[1], {plain_name(n): g for n, g in wanted.items()})
    for row, (only_one, want) in enumerate((held.part([r]), None) for r in range(len(held))):
        want = mean_loss(peft, only_one)
        one = only_one.save(trainer.place(".safetensors"))
        got = trainer.loss(base, one, *options)
        ok = isinstance(got, float) and abs(got - want) <= 1e-4
        tally.check(ok, f"{label}: the loss of sequence {row}", f"{got}, not {want}")
    if not takes_steps:
        course.steps = 2
    done = trainer.train(label, base, data, *options, *course.options, validation=held_file)
    if not done:
        return
    steps = course.run(peft, examples)
    close_losses(tally, f"{label}: {course.steps} steps", done.losses, [step[0] for step in steps])
    with quiet():
        close_values(tally, label, load_file(str(done.output / "adapter_model.safetensors")), get_peft_model_state_dict(peft))
    held_loss = mean_loss(peft, held)
    close_losses(tally, f"{label}: held-out text", [done.report["validation_after"]], [held_loss])
    stored(trainer, label, base, lora, done, held)


def stored(trainer, label, base, lora, done, held):
    """What was written loads in PEFT, gives the same there, and the same once it is merged."""
    tally = trainer.tally
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        peft = PeftModel.from_pretrained(trainer.bases.model(base), str(done.output)).eval()
    words = [str(w.message) for w in caught if "missing" in str(w.message) or "unexpected" in str(w.message)]
    tally.check(not words, f"{label}: PEFT finds all keys", str(words))
    own = load_file(str(done.output / "adapter_model.safetensors"))
    with quiet():
        keys = get_peft_model_state_dict(peft, save_embedding_layers=False)
    tally.check(own.keys() == keys.keys(), f"{label}: PEFT's keys", f"{sorted(own.keys() ^ keys.keys())}")
    same = all(torch.equal(own[name], keys[name]) for name in own.keys() & keys.keys())
    tally.check(same, f"{label}: PEFT has the values of the file")
    close_losses(tally, f"{label}: PEFT's loss with it", [mean_loss(peft, held)], [done.report["validation_after"]])
    checked = trainer.tools.run("adapter-verify", trainer.bases.path(base), done.output)
    tally.check(checked.code == 0, f"{label}: adapter-verify", checked.text)
    merged = trainer.place()
    answer = trainer.tools.run(
        "adapter-merge", trainer.bases.path(base), done.output, "-o", merged, "--dtype", "f32")
    if not tally.check(answer.code == 0, f"{label}: adapter-merge", answer.text):
        return
    data = held.save(trainer.place(".safetensors"))
    found = trainer.loss(merged, data)
    ok = isinstance(found, float) and abs(found - done.report["validation_after"]) <= 1e-4
    tally.check(ok, f"{label}: the merged model's loss is the attached one's",
                f"{found}, not {done.report['validation_after']}")  # fmt: skip
    generated(trainer, label, base, done.output, merged, peft)


def generated(trainer, label, base, adapter, merged, peft):
    """The logits of `adapter-generate`, where it is built, with the adapter attached and merged, against PEFT's."""
    if not (trainer.tools.directory / "adapter-generate").exists():
        return
    ids = [3, 9, 4, 17, 22, 5, 40]
    with torch.no_grad():
        wanted = peft(input_ids=torch.tensor([ids])).logits[0].float()
    for what, operands in {"attached": [trainer.bases.path(base), adapter], "merged": [merged]}.items():
        path = trainer.place(".safetensors")
        answer = trainer.tools.run(
            "adapter-generate", *operands, "--ids", " ".join(map(str, ids)), "--logits", path)
        if trainer.tally.check(answer.code == 0, f"{label}: adapter-generate {what}", answer.text):
            found = load_file(str(path))["logits"].reshape(len(ids), -1)
            worst = float((found - wanted).abs().max())
            trainer.tally.check(worst <= 1e-4, f"{label}: logits {what}", f"{worst:.2e} apart")


# MARK: Full fine-tuning

FULL = [
    ("llama", "all"), ("llama", "last:1"), ("llama-tied", "all"), ("llama-tied", "last:1"), ("llama3", "last:2"),
    ("llama-biases", "all"), ("mistral", "all"), ("qwen2", "all"), ("qwen2-window", "last:3"), ("llama", "0,2"),
    ("llama-bf16", "all"), ("qwen2-untied", "last:1"),
]  # fmt: skip
QUICK_FULL = {("llama-tied", "all"), ("llama-biases", "all"), ("qwen2", "all"), ("llama", "last:1")}


def full(trainer, seed, only, quick):
    """Full fine-tuning of all or some layers."""
    for base, layers in FULL:
        label = f"full {base} {layers}"
        if only in label and (not quick or (base, layers) in QUICK_FULL):
            tuned(trainer, label, base, layers, seed)


def open_layers(model, layers):
    """Lets only these layers, and what goes with them, be trained."""
    if layers == "all":
        numbers = list(range(LAYERS))
    elif layers.startswith("last:"):
        numbers = list(range(LAYERS))[-int(layers[5:]) :]
    else:
        numbers = [int(part) for part in layers.split(",")]
    for name, value in model.named_parameters():
        parts = name.split(".")
        inside = "layers" in parts and int(parts[parts.index("layers") + 1]) in numbers
        value.requires_grad = inside or name == "model.norm.weight" or len(numbers) == LAYERS
    return model


def tuned(trainer, label, base, layers, seed):
    """One base, some layers."""
    tally = trainer.tally
    examples = trainer.bases.examples(base, seed, LENGTHS)
    data = examples.save(trainer.place(".safetensors"))
    held = trainer.bases.examples(base, seed + 1, [40, 17, 99])
    held_file = held.save(trainer.place(".safetensors"))
    model = open_layers(trainer.bases.model(base), layers)
    course = Course(rate=1e-3)
    options = ["--method", "full", "--layers", layers, *course.options]
    found = trainer.gradients(label, base, data, *options)
    if found:
        loss, wanted = gradients(model, examples.part(next(course.parts(len(examples)))))
        close_losses(tally, f"{label}: the loss of the first step", [found[0]], [loss])
        close_gradients(tally, label, found[1], wanted)
    done = trainer.train(
        label, base, data, *options, "--save-as", "model", "--dtype", "float32", validation=held_file)
    if not done:
        return
    steps = course.run(model, examples)
    close_losses(tally, f"{label}: ten steps", done.losses, [step[0] for step in steps])
    close_losses(tally, f"{label}: held-out text", [done.report["validation_after"]], [mean_loss(model, held)])
    loaded = load(done.output)
    close_losses(
        tally, f"{label}: transformers' loss of the model", [mean_loss(loaded, held)], [done.report["validation_after"]])
    close_values(tally, label, dict(loaded.named_parameters()), dict(model.named_parameters()))


__all__ = ["Examples", "Trainer", "adapters", "full", "sums"]
