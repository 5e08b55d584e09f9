"""mlx-lm on the CPU: its layers, its files, its fuse."""

import functools
import math

import mlx.core as mx
import mlx_lm.utils as utils
import models
import numpy as np
from dialect_cases import Case, Made, changes, noise, read_base
from dialect_models import SMALL, make_model
from mlx.utils import tree_flatten, tree_unflatten
from mlx_lm.tuner.utils import linear_to_lora_layers, load_adapters

mx.set_default_device(mx.cpu)
SIZE = models.Size(hidden=16, inter=24, layers=2, heads=4, kv=2, vocab=24, experts=3)
WRITTEN_BY = ("mlx-lm", "mlx")
LINEAR = ["self_attn.q_proj", "self_attn.v_proj", "mlp.down_proj"]
EXPERTS = ["self_attn.q_proj", "block_sparse_moe.switch_mlp.gate_proj", "block_sparse_moe.switch_mlp.down_proj"]
MATRICES = {"gate_proj": "w1", "down_proj": "w2", "up_proj": "w3"}


def stacked(directory, size, seed):
    """Mixtral as mlx-lm stores it: the experts of a layer in one tensor for each matrix."""
    make_model("mixtral", directory, size, seed)
    model, config = utils.load_model(directory)
    for path in directory.glob("model*.safetensors*"):
        path.unlink()
    utils.save_model(directory, model)
    utils.save_config(config, directory / "config.json")


BASES = {
    "llama-two-layers": lambda directory, size, seed: make_model(
        "llama", directory, SIZE if size is SMALL else size, seed
    ),
    "mixtral": lambda directory, size, seed: make_model("mixtral", directory, size, seed),
    "mixtral-stacked": stacked,
}


def prepare(base, kind, layers, parameters):
    """The model with the layers that mlx-lm trains."""
    model, _ = utils.load_model(base)
    model.freeze()
    if kind == "full":
        for layer in model.layers[-max(layers, 0) :]:
            layer.unfreeze()
    else:
        linear_to_lora_layers(model, layers, parameters, use_dora=kind == "dora")
    return model


def disturb(model, rng, scale):
    """Random values for everything that is trained."""
    found = []
    for name, value in sorted(tree_flatten(model.trainable_parameters())):
        fresh = noise(rng, *value.shape)
        leaf = name.rpartition(".")[2]
        if leaf == "lora_a":
            fresh = fresh / math.sqrt(value.shape[-1] if value.ndim == 3 else value.shape[0])
        elif leaf == "lora_b":
            rank = value.shape[-1] if value.ndim == 3 else value.shape[0]
            fresh = fresh * 0.3 / (scale * math.sqrt(rank))
        else:
            fresh = np.array(value) * (1 + 0.2 * fresh)
        found.append((name, mx.array(fresh.astype(np.float32))))
    model.update(tree_unflatten(found))


def unstack(tensors):
    """The names of a mixture of experts as transformers stores it."""
    found = {}
    for name, value in tensors.items():
        head, middle, tail = name.partition(".switch_mlp.")
        if not middle:
            found[name] = value
            continue
        for expert, matrix in enumerate(value):
            found[f"{head}.experts.{expert}.{MATRICES[tail.removesuffix('.weight')]}.weight"] = matrix
    return found


def write(kind, layers, parameters, base, directory, seed):
    """Train nothing, save as the trainer does, load and fuse as `mlx_lm.fuse` does."""
    model = prepare(base, kind, layers, parameters)
    disturb(model, np.random.default_rng(seed), parameters["scale"])
    adapter = directory / "adapter"
    adapter.mkdir()
    mx.save_safetensors(str(adapter / "adapters.safetensors"), dict(tree_flatten(model.trainable_parameters())))
    config = {"model": "base", "fine_tune_type": kind, "num_layers": layers, "lora_parameters": parameters,
              "adapter_path": "adapters", "batch_size": 4, "iters": 10, "learning_rate": 1e-5, "seed": 0}  # fmt: skip
    utils.save_config(config, adapter / "adapter_config.json")
    fused, _ = utils.load_model(base)
    fused = load_adapters(fused, str(adapter))
    fused.update_modules(tree_unflatten([(n, m.fuse()) for n, m in fused.named_modules() if hasattr(m, "fuse")]))
    after = {n: np.array(v).astype(np.float64) for n, v in tree_flatten(fused.parameters())}
    if any(".experts." in n for n in read_base(base)):
        after = unstack(after)
    return Made("adapter", changes(base, after))


def _case(tag, kind, layers, base="llama-two-layers", keys=None, scale=4.0, rank=3):
    parameters = {"rank": rank, "dropout": 0.0, "scale": scale} | ({"keys": keys} if keys else {})
    return Case(f"mlx-{tag}", "mlx", {"full": "diff"}.get(kind, kind), base,
                functools.partial(write, kind, layers, parameters), WRITTEN_BY)  # fmt: skip


CASES = [
    _case("lora", "lora", 1, keys=LINEAR),
    _case("lora-all-layers", "lora", -1, keys=LINEAR[:2], scale=20.0),
    _case("lora-default-keys", "lora", 1),
    _case("lora-embedding", "lora", 1, keys=[LINEAR[0], "model.embed_tokens"]),
    _case("dora", "dora", 1, keys=LINEAR),
    _case("dora-embedding", "dora", 1, keys=[LINEAR[0], "model.embed_tokens"]),
    _case("full", "full", 1),
    _case("experts", "lora", 1, "mixtral-stacked", keys=EXPERTS),
    _case("experts-apart", "lora", 1, "mixtral", keys=EXPERTS),
]
