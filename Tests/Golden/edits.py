"""Changes made to saved files by hand, to give them names that real files have.

Each function takes (base directory, adapter directories, size) and returns a function from the base's tensor
names to those of the edited base.
"""

import re

import numpy as np
from tensorfile import read_file, write_file

METADATA = {"format": "pt"}


def _rewrite(path, rename, extra=None):
    tensors = {}
    for name, stored in read_file(path).items():
        if (new := rename(name)) is not None:
            tensors[new] = (stored.dtype, stored.shape, stored.data)
    tensors.update(extra or {})
    write_file(path, tensors, METADATA)


def _adapters(adapters, rename):
    for directory in adapters:
        _rewrite(directory / "adapter_model.safetensors", rename)
    return lambda name: name


def default_infix(base, adapters, size):
    """`lora_A.weight` becomes `lora_A.default.weight`."""
    return _adapters(adapters, lambda name: re.sub(r"\.lora_([AB])\.", r".lora_\1.default.", name))


def no_prefix(base, adapters, size):
    """No `base_model.model.` before the module path."""
    return _adapters(adapters, lambda n: n.removeprefix("base_model.model."))


def rename_adapter(base, adapters, size):
    """Adapter paths as in a vision-language class."""
    return _adapters(adapters, lambda n: n.replace("model.model.layers.", "model.model.language_model.layers."))


def rename_base(base, adapters, size):
    """Base names as in a vision-language checkpoint, with a vision tower whose leaf names differ or repeat."""

    def rename(name):
        return name.replace("model.", "model.language_model.", 1) if name.startswith("model.") else name

    tower = np.linspace(-1, 1, 64, dtype="<f4").tobytes()
    extra = {f"model.visual.blocks.{i}.attn.q_proj.weight": ("F32", (8, 8), tower) for i in range(2)}
    _rewrite(base / "model.safetensors", rename, extra)
    return rename


def strip_transformer(base, adapters, size):
    """GPT-2's original names, with the causal masks that those files carry."""

    def rename(name):
        return name.removeprefix("transformer.")

    mask = np.tril(np.ones((16, 16), dtype="<f4")).tobytes()
    extra = {f"h.{i}.attn.bias": ("F32", (1, 1, 16, 16), mask) for i in range(size.layers)}
    _rewrite(base / "model.safetensors", rename, extra)
    return rename


def drop_score(base, adapters, size):
    """A base without the classification head."""
    _rewrite(base / "model.safetensors", lambda n: None if n.startswith("score.") else n)
    return lambda name: name
