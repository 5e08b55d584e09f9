"""What a merge should give, from the files alone: numpy, float64, independent of PEFT.

`merge(base_dir, [(adapter_dir, weight), ...])` reads a checkpoint and its adapters as saved, and returns every
tensor of the output that differs from the base, unrounded, with the changes that `config.json` needs.
"""

import json
import math
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tensorfile import read_checkpoint, read_file

CONV1D = {"gpt2": {"c_attn", "c_proj", "c_fc", "q_attn"}}
TRANSPOSED_EXPERTS = {"gpt_oss"}
# Parameters of a fused experts module in the order in which the model registers them.
EXPERT_PARAMETERS = ["gate_up_proj", "down_proj"]
# Checkpoints that keep one tensor for each expert: the module's name there, and what the fused halves are called.
# Names of tensors in the checkpoint that a class of transformers has under another name in memory.
STORED_AS = {
    "mixtral": [(r"\.mlp\.gate\.", ".block_sparse_moe.gate.")],
    "gpt_neox": [(r"^lm_head\.", "embed_out.")],
    "vit": [(r"^vit\.layers\.", "vit.encoder.layer."), (r"attention\.q_proj", "attention.attention.query"),
            (r"attention\.v_proj", "attention.attention.value"), (r"mlp\.fc1", "intermediate.dense"),
            (r"mlp\.fc2", "output.dense")],
}  # fmt: skip
# The tied head of a class, other tensors that part with it (and what they share), and the embedding.
HEADS = {
    "bert": ("cls.predictions.decoder.weight", {"cls.predictions.decoder.bias": "cls.predictions.bias"},
             "bert.embeddings.word_embeddings.weight"),
}  # fmt: skip
UNFUSED = {
    "mixtral": (".block_sparse_moe.experts", {"gate_up_proj": ["w1", "w3"], "down_proj": ["w2"]}),
    "qwen3_moe": (".mlp.experts", {"gate_up_proj": ["gate_proj", "up_proj"], "down_proj": ["down_proj"]}),
}
_SUFFIX = re.compile(
    r"^(?P<module>.*?)\.?(?P<role>lora_A|lora_B|lora_embedding_A|lora_embedding_B|lora_magnitude_vector"
    r"|token_adapter\.trainable_tokens_delta)(\.default)?(?P<leaf>\.weight|\.bias)?$"
)


@dataclass
class Merged:
    """Tensors that differ from the base (`values`), those of them that the base lacks, config changes."""

    values: dict = field(default_factory=dict)
    added: list = field(default_factory=list)
    config: dict = field(default_factory=dict)
    tied: bool = False
    touched_modules: int = 0


class Adapter:
    """A PEFT LoRA directory: tensors grouped by module, and the scale of each module."""

    def __init__(self, directory):
        directory = Path(directory)
        self.config = json.loads((directory / "adapter_config.json").read_text())
        self.modules, self.full, self.base_layers = {}, {}, set()
        for key, stored in sorted(read_file(directory / "adapter_model.safetensors").items()):
            name = key.removeprefix("base_model.model.")
            found = _SUFFIX.match(name)
            if ".original_module." in name:
                continue  # PEFT saves the head as well where this would matter
            if not found:
                plain = name.replace(".token_adapter.", ".").replace(".base_layer.", ".").replace(".modules_to_save.", ".")
                self.full[plain] = stored.values
                if ".base_layer." in name:
                    self.base_layers.add(plain)
                continue
            role = found["role"] + (".bias" if found["leaf"] == ".bias" else "")
            self.modules.setdefault(found["module"], {})[role] = stored.values

    def _pattern(self, table, path, default):
        for key, value in (self.config.get(table) or {}).items():
            if re.match(rf"(.*\.)?({key})$", path):
                return value
        return default

    def scale(self, path):
        """alpha / r (or alpha / sqrt r), with the first pattern that matches the module's path."""
        rank = self._pattern("rank_pattern", path, self.config["r"])
        alpha = self._pattern("alpha_pattern", path, self.config["lora_alpha"])
        return alpha / math.sqrt(rank) if self.config.get("use_rslora") else alpha / rank

    def rank(self, path):
        """The rank that the config gives this module."""
        return self._pattern("rank_pattern", path, self.config["r"])


class Base:
    """A checkpoint and what its config says about it."""

    def __init__(self, directory):
        directory = Path(directory)
        self.stored = read_checkpoint(directory)
        self.config = json.loads((directory / "config.json").read_text())
        self.kind = self.config.get("model_type", "custom")
        default = ("lm_head.weight", {}, None)
        self.head, self.companions, self.embedding_name = HEADS.get(self.kind, default)
        self.tied = bool(self.config.get("tie_word_embeddings")) and self.head not in self.stored
        quantisation = self.config.get("quantization_config") or {}
        self.block = quantisation.get("weight_block_size")

    def resolve(self, name):
        """The stored name for a module's tensor: exact, else the unique one that shares the longest suffix."""
        for pattern, stored in STORED_AS.get(self.kind, []):
            name = re.sub(pattern, stored, name)
        if name in self.stored:
            return name
        parts = name.split(".")
        for start in range(1, len(parts) - 1):
            rest = ".".join(parts[start:])
            found = [n for n in self.stored if n == rest or n.endswith("." + rest)]
            if len(found) == 1:
                return found[0]
            if found:
                raise ValueError(f"{name}: ambiguous, {found}")
        raise KeyError(name)

    def scale_of(self, name):
        """The factor by which a stored 8-bit float tensor is multiplied, expanded to its shape, or None."""
        shape = self.stored[name].shape
        if name + "_scale_inv" in self.stored:
            rows, columns = self.block
            blocks = self.stored[name + "_scale_inv"].values
            return np.repeat(np.repeat(blocks, rows, 0), columns, 1)[: shape[0], : shape[1]]
        if name + "_scale" in self.stored:
            return np.broadcast_to(self.stored[name + "_scale"].values, shape)
        return None

    def values(self, name):
        """The tensor's values, dequantised."""
        scale = self.scale_of(name)
        values = self.stored[name].values
        return values if scale is None else values * scale

    def embedding(self):
        """The stored name of the input embedding."""
        if self.embedding_name:
            return self.embedding_name
        names = ("embed_tokens.weight", "wte.weight")
        return next(name for name in self.stored if name.endswith(names))


def low_rank(parts, scale, shape, conv1d):
    """s * B @ A in the layout of the stored weight."""
    if "lora_embedding_A" in parts:
        return scale * (parts["lora_embedding_B"] @ parts["lora_embedding_A"]).T
    a, b = parts["lora_A"], parts["lora_B"]
    product = scale * (b.reshape(b.shape[0], -1) @ a.reshape(a.shape[0], -1))
    return product.T if conv1d else product.reshape(shape)


def magnitude(weight, vector, by_columns):
    """DoRA: each output unit (row, or column for in x out and embeddings) rescaled to its magnitude."""
    vector = vector.reshape(-1)
    if by_columns:
        return weight * (vector / np.sqrt((weight**2).sum(0)))[None, :]
    norms = np.sqrt((weight.reshape(len(vector), -1) ** 2).sum(1))
    return weight * (vector / norms).reshape((-1,) + (1,) * (weight.ndim - 1))


def expert_deltas(parts, scale, rank, transposed):
    """One delta for each expert: A is stacked by expert, B's columns are interleaved."""
    a, b = parts["lora_A"], parts["lora_B"]
    count = a.shape[0] // rank
    deltas = [scale * (b[:, e::count] @ a[e * rank : (e + 1) * rank]) for e in range(count)]
    return np.stack([d.T for d in deltas] if transposed else deltas)


class _Merge:
    """One merge: replacements first, then the sum of deltas, then magnitudes, then token rows."""

    def __init__(self, base, adapters):
        self.base, self.adapters = base, adapters
        self.replaced, self.sums, self.magnitudes, self.rows = {}, {}, {}, {}
        self.modules = set()

    def name(self, wanted):
        """The output's name for a wanted tensor; a tied head keeps its own until the end."""
        if wanted == self.base.head and self.base.tied:
            return wanted
        return self.base.resolve(wanted)

    def start(self, name):
        """The base's values for a name of the output."""
        if name == self.base.head and self.base.tied:
            name = self.base.embedding()
        return self.base.values(name)

    def add(self, name, delta):
        self.sums[name] = self.sums.get(name, 0.0) + delta

    def experts(self, module, parts, adapter, weight):
        """A pair that belongs to a fused parameter of an experts module."""
        path = module.replace(".base_layer", "")
        targeted = [p for p in EXPERT_PARAMETERS if any((path + "." + p).endswith(t)
                    for t in adapter.config["target_parameters"])]  # fmt: skip
        depth = module.count(".base_layer")
        parameter = targeted[len(targeted) - 1 - depth]
        full = f"{path}.{parameter}"
        transposed = self.base.kind in TRANSPOSED_EXPERTS
        deltas = weight * expert_deltas(parts, adapter.scale(full), adapter.rank(full), transposed)
        if full in self.base.stored:
            self.add(full, deltas)
            return
        prefix, names = UNFUSED[self.base.kind]
        stem = path.replace(".mlp.experts", prefix)
        for expert, delta in enumerate(deltas):
            pieces = np.split(delta, len(names[parameter]), axis=0)
            for leaf, piece in zip(names[parameter], pieces, strict=True):
                self.add(f"{stem}.{expert}.{leaf}.weight", piece)

    def module(self, module, parts, adapter, weight):
        """Everything the adapter has for one module."""
        if "token_adapter.trainable_tokens_delta" in parts:
            indices = adapter.config["trainable_token_indices"]
            if isinstance(indices, dict):
                own = [v for k, v in indices.items() if module == k or module.endswith("." + k)]
                indices = own[0] if own else next(iter(indices.values()))
            rows = parts.pop("token_adapter.trainable_tokens_delta")
            self.rows[self.name(module + ".weight")] = (list(indices), rows)
            if not parts:
                return
        if adapter.config.get("target_parameters") and ".experts" in module:
            self.experts(module, parts, adapter, weight)
            return
        path = module.replace(".base_layer", "")
        packed = path + ".in_proj_weight"
        name = packed if packed in self.base.stored else self.name(path + ".weight")
        shape = (self.replaced[name] if name in self.replaced else self.start(name)).shape
        conv1d = path.split(".")[-1] in CONV1D.get(self.base.kind, ())
        scale = adapter.scale(path) * weight
        if module.endswith(".base_layer.out_proj"):
            scale *= 2  # PEFT 0.21.2 adds it twice, in forward as in merge: this is the function that was trained
        self.add(name, low_rank(parts, scale, shape, conv1d))
        if "lora_B.bias" in parts:
            self.add(self.base.resolve(path + ".bias"), scale * parts["lora_B.bias"])
        if "lora_magnitude_vector" in parts:
            by_columns = conv1d or "lora_embedding_A" in parts
            self.magnitudes[name] = (parts["lora_magnitude_vector"], by_columns)

    def collect(self):
        for adapter, weight in self.adapters:
            for name, values in adapter.full.items():
                try:
                    self.replaced[self.name(name)] = values
                except KeyError:
                    self.replaced[name] = values
        if self.base.tied:
            self.share_base_layer()
        for adapter, weight in self.adapters:
            for module, parts in adapter.modules.items():
                self.module(module, dict(parts), adapter, weight)
                self.modules.add(module)

    def share_base_layer(self):
        """What PEFT loads under `base_layer` lands in the storage that embedding and head share."""
        both = {self.base.embedding(), self.base.head}
        for adapter, _ in self.adapters:
            for name in adapter.base_layers & both:
                for other in both - set(self.replaced):
                    self.replaced[other] = adapter.full[name]

    def value(self, name):
        """The merged value of one output tensor."""
        value = self.replaced[name] if name in self.replaced else self.start(name)
        if self.base.tied and name == self.base.head:
            value = self.show_rows(value)
        if name in self.sums:
            value = value + self.sums[name]
        if name in self.magnitudes:
            value = magnitude(value, *self.magnitudes[name])
        if name in self.rows:
            indices, rows = self.rows[name]
            value = value.copy()
            value[indices] = rows
        return value

    def show_rows(self, value):
        """A tied head has the embedding's rows, unless it has its own; its delta comes on top."""
        if self.base.head in self.rows or self.base.embedding() not in self.rows:
            return value
        indices, rows = self.rows[self.base.embedding()]
        value = value.copy()
        value[indices] = rows
        return value

    def result(self):
        self.collect()
        merged = Merged(tied=self.base.tied, touched_modules=len(self.modules))
        names = [*self.replaced, *self.sums, *self.rows]
        if self.base.tied and any(n in names for n in (self.base.head, self.base.embedding())):
            self.settle_tie(merged, names)
        for name in dict.fromkeys(names):
            value = self.value(name)
            if name in self.base.stored and name not in self.sums and name not in self.magnitudes:
                if value.shape == self.base.stored[name].shape and np.array_equal(value, self.base.values(name)):
                    continue  # a saved copy of the base's own tensor
            if name not in self.base.stored:
                merged.added.append(name)
            elif (scale := self.base.scale_of(name)) is not None:
                value = value / scale
            merged.values[name] = value
        self.vocabulary(merged)
        return merged

    def settle_tie(self, merged, names):
        """Keep the tie if both uses get the same values, else write the head on its own."""
        embedding, head = self.base.embedding(), self.base.head
        first, second = self.value(embedding), self.value(head)
        if first.shape == second.shape and np.abs(first - second).max() <= 1e-12 * np.abs(first).max():
            for table in (self.replaced, self.sums, self.rows):
                table.pop(head, None)
            names[:] = [n for n in names if n != head] + [embedding]
        else:
            names.append(head)
            for target, source in self.base.companions.items():
                self.replaced[target] = self.base.values(source)
                names.append(target)
            merged.config["tie_word_embeddings"] = False
            merged.tied = False

    def vocabulary(self, merged):
        """A resized vocabulary shows in the config."""
        for name, value in merged.values.items():
            if name == self.base.head or name.endswith(("embed_tokens.weight", "wte.weight")):
                if value.shape[0] != self.base.config.get("vocab_size", value.shape[0]):
                    merged.config["vocab_size"] = value.shape[0]


def merge(base_dir, adapters):
    """The merge of `adapters` [(directory, weight)] into the checkpoint at `base_dir`, unrounded."""
    pairs = [(Adapter(directory), weight) for directory, weight in adapters]
    return _Merge(Base(base_dir), pairs).result()
