"""What combined adapters should be: numpy, float64, from the files alone, independent of PEFT and of the tools.

A delta here is a matrix, B·A with all but the first dimension of each factor flattened: rows are outputs, and a
convolution's columns are its inputs times its kernel. The experts of a fused parameter stand below each other.
"""

import itertools

import numpy as np
import reference
from tensorfile import read_file

PREFIX = "base_model.model."


def parameter_of(adapter, module):
    """The path of the parameter that a pair of an experts module belongs to: the last registered one is outermost."""
    path = module.replace(".base_layer", "")
    targets = adapter.config["target_parameters"]
    names = [p for p in reference.EXPERT_PARAMETERS if any(f"{path}.{p}".endswith(t) for t in targets)]
    return f"{path}.{names[len(names) - 1 - module.count('.base_layer')]}"


def factors(parts):
    """A and B of one module as matrices."""
    a, b = ("lora_embedding_A", "lora_embedding_B") if "lora_embedding_A" in parts else ("lora_A", "lora_B")
    return parts[a].reshape(len(parts[a]), -1), parts[b].reshape(len(parts[b]), -1)


def deltas(directory):
    """The scaled delta of each module, and of each bias as a matrix of one row, by its path."""
    adapter = reference.Adapter(directory)
    result = {}
    for module, parts in adapter.modules.items():
        if not {"lora_A", "lora_embedding_A"} & set(parts):
            continue  # rows of tokens
        path = module.replace(".base_layer", "")
        if adapter.config.get("target_parameters") and ".experts" in module:
            path = parameter_of(adapter, module)
            experts = reference.expert_deltas(parts, adapter.scale(path), adapter.rank(path), transposed=False)
            result[path] = experts.reshape(-1, experts.shape[-1])
            continue
        a, b = factors(parts)
        result[path] = adapter.scale(path) * (b @ a)
        if "lora_B.bias" in parts:
            result[path + ".bias"] = adapter.scale(path) * parts["lora_B.bias"][None]
    return result


def total(pairs):
    """The sum of weight · delta over [(directory, weight)], by path."""
    result = {}
    for directory, weight in pairs:
        for path, delta in deltas(directory).items():
            result[path] = result.get(path, 0.0) + weight * delta
    return result


def weighted(method, weights):
    """The weight of each adapter in the sum: `subtract` negates all but the first."""
    return [-w if method == "subtract" and i else w for i, w in enumerate(weights)]


def carried(directory):
    """What an adapter has beside its factors: saved modules, biases and rows of tokens, as stored.

    A bias is named as if its module had no factors: it moves into `base_layer` when another adapter has some for it.
    """
    stored = read_file(directory / "adapter_model.safetensors")
    plain = {n.replace(".base_layer.bias", ".bias"): s for n, s in stored.items() if ".lora_" not in n}
    return {n: (s.dtype, s.shape, s.data) for n, s in plain.items()}


def spectrum(matrix):
    """The singular values, largest first."""
    return np.linalg.svd(matrix, compute_uv=False)


def dropped(values, rank):
    """The least Frobenius error of any matrix of this rank (Eckart and Young)."""
    return float(np.sqrt((values[rank:] ** 2).sum()))


def rank_for(values, rank=None, energy=None, ratio=None):
    """The rank that the limits leave of these singular values, at least 1."""
    kept = int((values > 0).sum())
    if energy is not None and kept:
        share = np.cumsum(values**2) / (values**2).sum()
        kept = min(kept, int((share < energy).sum()) + 1)
    if ratio is not None:
        kept = min(kept, int((values >= values[0] / ratio).sum()))
    if rank is not None:
        kept = min(kept, rank)
    return max(1, kept)


def largest(tensor, density):
    """The tensor with all but its largest int(density · size) elements zero."""
    if density >= 1:
        return tensor
    mask = np.zeros(tensor.size)
    mask[np.argsort(-np.abs(tensor).ravel(), kind="stable")[: int(density * tensor.size)]] = 1
    return tensor * mask.reshape(tensor.shape)


def joined(method, pruned, weights, sign="total"):
    """The weighted sum of pruned tensors, or for the methods with `ties` the mean of those that have the elected sign."""
    pruned = np.stack(pruned)
    scaled = pruned * np.reshape(weights, (-1,) + (1,) * (pruned.ndim - 1))
    if "ties" not in method:
        return scaled.sum(0)
    votes = pruned if sign == "total" else np.sign(pruned)
    agree = np.sign(pruned) == np.where(votes.sum(0) >= 0, 1, -1)
    return (scaled * agree).sum(0) / np.maximum(agree.sum(0), 1)


def is_close(tensor, density):
    """Whether the last element that is kept and the first that is not are too near for float32 to tell them apart."""
    sizes, kept = np.sort(np.abs(tensor).ravel())[::-1], int(density * tensor.size)
    return kept < tensor.size and sizes[kept - 1] - sizes[kept] < 1e-6 * sizes[kept]


def dense(method, pairs, density=1.0, sign="total"):
    """What a method without chance makes of the dense deltas, by path, but for those where rounding decides."""
    tables, result = [(deltas(directory), weight) for directory, weight in pairs], {}
    for path in sorted({p for table, _ in tables for p in table}):
        tasks = [(table[path], weight) for table, weight in tables if path in table]
        if not any(is_close(task, density) for task, _ in tasks):
            result[path] = joined(method, *zip(*[(largest(task, density), weight) for task, weight in tasks]), sign)
    return result


def outcomes(method, tensors, weights, density, sign="total"):
    """All values that an element can have after `dare-linear` or `dare-ties`, one array for each choice of survivors."""
    for alive in itertools.product([0.0, 1.0], repeat=len(tensors)):
        yield joined(method, [a * t / density for a, t in zip(alive, tensors, strict=True)], weights, sign)
