"""Tiny bases and examples to train on, and what PyTorch computes from them."""

import contextlib
import json
import math
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file
from torch.nn import functional

from models import TORCH_DTYPES, randomise, save

transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
LAYERS = 4
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 500.0, "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 24,
}  # fmt: skip


@dataclass(frozen=True)
class Base:
    """A model type with what its config says beside the sizes."""

    kind: str = "llama"
    extra: dict = field(default_factory=dict)
    dtype: str = "f32"
    shard: str | None = None
    old: bool = False
    vocab: int = 61


BASES = {
    "llama": Base(),
    "llama-bytes": Base(vocab=256),
    "llama-tied": Base(extra={"tie_word_embeddings": True}),
    "llama3": Base(extra={"rope_parameters": LLAMA3}),
    "llama3-old": Base(extra={"rope_parameters": LLAMA3}, old=True),
    "llama-linear": Base(extra={"rope_parameters": {"rope_type": "linear", "rope_theta": 300.0, "factor": 2.5}}),
    "llama-biases": Base(extra={"attention_bias": True, "mlp_bias": True, "num_key_value_heads": 4}),
    "llama-one-head": Base(extra={"num_key_value_heads": 1, "tie_word_embeddings": True, "head_dim": 12}),
    "llama-bf16": Base(dtype="bf16", shard="20KB"),
    "llama-f16": Base(dtype="f16"),
    "mistral": Base("mistral", {"sliding_window": 5}),
    "mistral-wide": Base("mistral", {"sliding_window": 70, "head_dim": 12}, dtype="bf16"),
    "mistral-all": Base("mistral", {"sliding_window": None}),
    "qwen2": Base("qwen2", {"tie_word_embeddings": True}),
    "qwen2-untied": Base("qwen2", {"tie_word_embeddings": False}, dtype="f16", shard="20KB"),
    "qwen2-window": Base("qwen2", {"use_sliding_window": True, "sliding_window": 6, "max_window_layers": 2}),
}
CLASSES = {
    "llama": (transformers.LlamaConfig, transformers.LlamaForCausalLM),
    "mistral": (transformers.MistralConfig, transformers.MistralForCausalLM),
    "qwen2": (transformers.Qwen2Config, transformers.Qwen2ForCausalLM),
}


class Bases:
    """Bases in a directory, each made when it is first wanted."""

    def __init__(self, directory, seed):
        self.directory, self.seed = Path(directory), seed

    def path(self, name):
        """Where the base `name` is."""
        path = self.directory / name
        if not path.exists():
            self._make(name, path)
        return path

    def _make(self, name, path):
        base = BASES[name]
        config, model = CLASSES[base.kind]
        fields = {
            "vocab_size": base.vocab, "hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": LAYERS,
            "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256, "rms_norm_eps": 1e-5,
            "bos_token_id": 1, "eos_token_id": 2, "tie_word_embeddings": False,
        }  # fmt: skip
        made = randomise(model(config(**(fields | base.extra))), self.seed)
        save(made, path, base.dtype, max_shard_size=base.shard)
        if base.old:
            _old_style(path / "config.json")

    def model(self, name):
        """The base `name` as transformers has it, computing in float32."""
        return load(self.path(name))

    def examples(self, name, seed, lengths):
        """Examples of these lengths."""
        return Examples.random(BASES[name].vocab, seed, lengths)


def _old_style(path):
    """Writes the rotary embedding as transformers 4 did."""
    fields = json.loads(path.read_text())
    rope = fields.pop("rope_parameters")
    fields["rope_theta"] = rope.pop("rope_theta")
    fields["rope_scaling"] = rope
    path.write_text(json.dumps(fields, indent=2))


def load(path):
    """The model at `path`, computing in float32, without dropout."""
    return transformers.AutoModelForCausalLM.from_pretrained(
        str(path), dtype=torch.float32, attn_implementation="eager"
    ).eval()


class Examples:
    """Ids with labels, padded on the right."""

    def __init__(self, ids, labels, mask):
        self.ids, self.labels, self.mask = ids, labels, mask

    @classmethod
    def random(cls, vocab, seed, lengths, ignored=0.2):
        """Random ids in which some follow others, and labels of which some do not count."""
        generator = torch.Generator().manual_seed(seed)
        width = max(lengths)
        ids = torch.randint(3, vocab, (len(lengths), width), generator=generator)
        ids[:, 1::2] = (ids[:, 0 : width - width % 2 : 2] * 7 + 1)[:, : ids[:, 1::2].shape[1]] % vocab
        mask = (torch.arange(width)[None] < torch.tensor(lengths)[:, None]).long()
        drop = torch.rand(ids.shape, generator=generator) < ignored
        labels = torch.where((mask == 0) | drop, -100, ids)
        labels[:, 1] = ids[:, 1]
        return cls(ids, labels, mask)

    def __len__(self):
        return len(self.ids)

    def part(self, rows):
        """Some of them."""
        return Examples(self.ids[rows], self.labels[rows], self.mask[rows])

    def save(self, path):
        """Writes them as the trainer reads them; padding holds an id that would change the loss if it were seen."""
        tensors = {"input_ids": self.ids.to(torch.int32), "labels": self.labels, "attention_mask": self.mask.to(torch.uint8)}
        save_file(tensors, str(path))
        return path

    def lines(self, path):
        """The same as JSON lines, without padding."""
        with open(path, "w") as file:
            for ids, labels, mask in zip(self.ids, self.labels, self.mask, strict=True):
                count = int(mask.sum())
                file.write(json.dumps({"input_ids": ids[:count].tolist(), "labels": labels[:count].tolist()}) + "\n")
        return path


def sums(model, examples):
    """Σ of the losses of all targets, with how many there are."""
    logits = model(input_ids=examples.ids, attention_mask=examples.mask, use_cache=False).logits.float()
    targets = examples.labels[:, 1:].reshape(-1)
    loss = functional.cross_entropy(
        logits[:, :-1].reshape(-1, logits.shape[-1]), targets, ignore_index=-100, reduction="sum"
    )
    return loss, int((targets != -100).sum())


def mean_loss(model, examples):
    """The mean loss of all targets, as a number."""
    with torch.no_grad():
        loss, count = sums(model, examples)
    return float(loss) / count


@dataclass
class Course:
    """How PyTorch trains; the same options for the trainer are in `options`."""

    steps: int = 10
    batch: int = 4
    accumulate: int = 1
    rate: float = 3e-3
    schedule: str = "constant"
    warmup: int = 0
    decay: float = 1.0
    clip: float = 0.0
    betas: tuple = (0.9, 0.999)
    epsilon: float = 1e-8
    layer_decay: float = 1.0

    @property
    def options(self):
        """The command line's part."""
        return [
            "--steps", self.steps, "--batch", self.batch, "--accumulate", self.accumulate,
            "--learning-rate", self.rate, "--schedule", self.schedule, "--warmup", self.warmup / self.steps,
            "--weight-decay", self.decay, "--clip", self.clip, "--beta1", self.betas[0], "--beta2", self.betas[1],
            "--epsilon", self.epsilon, "--no-shuffle", "--length", 200, "--threads", 2,
        ]  # fmt: skip

    def parts(self, count):
        """The examples of each step."""
        size = self.batch * self.accumulate
        per_epoch = math.ceil(count / size)
        for step in range(self.steps):
            start = step % per_epoch * size
            yield slice(start, min(count, start + size))

    def optimizer(self, named):
        """AdamW that leaves vectors as they are; with a rate for each depth if `layer_decay` asks for it."""
        groups = [
            {
                "params": [value],
                "weight_decay": self.decay if value.ndim > 1 else 0.0,
                "lr": self.rate * self.layer_decay ** _depth(name),
            }
            for name, value in named
        ]
        return torch.optim.AdamW(groups, lr=self.rate, betas=self.betas, eps=self.epsilon)

    def scheduler(self, optimizer):
        """transformers' own of that name."""
        make = {
            "constant": transformers.get_constant_schedule_with_warmup,
            "linear": transformers.get_linear_schedule_with_warmup,
            "cosine": transformers.get_cosine_schedule_with_warmup,
        }[self.schedule]
        steps = {} if self.schedule == "constant" else {"num_training_steps": self.steps}
        return make(optimizer, num_warmup_steps=self.warmup, **steps)

    def run(self, model, examples):
        """Trains; losses, gradient norms and learning rates of each step."""
        named = trained(model)
        values = [value for _, value in named]
        optimizer = self.optimizer(named)
        scheduler = self.scheduler(optimizer)
        result = []
        for part in self.parts(len(examples)):
            optimizer.zero_grad()
            loss, count = sums(model, examples.part(part))
            (loss / count).backward()
            norm = torch.nn.utils.clip_grad_norm_(values, self.clip or 1e30)
            result.append((float(loss.detach()) / count, float(norm), scheduler.get_last_lr()[-1]))
            optimizer.step()
            scheduler.step()
        return result


def _depth(name):
    """How many layers lie above a parameter."""
    if "embed_tokens" in name:
        return LAYERS
    parts = name.split(".")
    return LAYERS - 1 - int(parts[parts.index("layers") + 1]) if "layers" in parts else 0


def trained(model):
    """Names and parameters that are trained."""
    return [(name, value) for name, value in model.named_parameters() if value.requires_grad]


def gradients(model, examples):
    """The mean loss, and its derivatives by parameter names."""
    model.zero_grad()
    loss, count = sums(model, examples)
    (loss / count).backward()
    return float(loss.detach()) / count, {n: p.grad for n, p in trained(model) if p.grad is not None}


@contextlib.contextmanager
def quiet():
    """Without the libraries' warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


__all__ = ["BASES", "LAYERS", "TORCH_DTYPES", "Bases", "Course", "Examples", "gradients", "load", "mean_loss", "quiet",
           "sums", "trained"]  # fmt: skip
