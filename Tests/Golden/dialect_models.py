"""The bases of the dialect cases: tiny, random, one directory (or file) each."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import models
import torch
from dialect_cases import seed_of

SMALL = models.Size(hidden=16, inter=24, layers=1, heads=4, kv=2, vocab=24, experts=3)


@dataclass(frozen=True)
class Model:
    """A base that transformers or plain torch makes."""

    build: Callable

    def names(self, module):
        """The tensors of a module by their names on disk; tied ones once."""
        seen, found = set(), {}
        for name, value in module.state_dict().items():
            if value.data_ptr() in seen:
                continue
            seen.add(value.data_ptr())
            found[name] = value
        return found


MODELS = {
    "llama": Model(models.llama),
    "qwen2": Model(models.qwen2),
    "gpt2": Model(models.gpt2),
    "mixtral": Model(models.mixtral),
    "conv1d": Model(lambda size: models.ConvNet(size, 1)),
    "conv2d": Model(lambda size: models.ConvNet(size, 2)),
}


def make_model(kind, directory, size, seed=0):
    """Write the base `kind` in float32."""
    torch.manual_seed(0)
    model = models.randomise(MODELS[kind].build(size), seed_of(kind, seed))
    models.save(model, directory, "f32")
    SIZES[Path(directory).resolve()] = size


def _writer(kind):
    return lambda directory, size, seed: make_model(kind, directory, size, seed)


BASES = {kind: _writer(kind) for kind in MODELS}


def load_model(kind, directory, dtype):
    """The base on disk as a module."""
    return models.load(MODELS[kind].build(size_of(directory)), directory, dtype)


SIZES = {}


def size_of(directory):
    """The size that a base was made with in this process."""
    return SIZES.get(Path(directory).resolve(), SMALL)
