"""What each library makes of a converted adapter: the merged weights by the base's names, in float64 where it can."""

import json
import math
import warnings
from pathlib import Path

import dialect_models
import dialect_pipelines as pipelines
import numpy as np
import torch
from dialect_cases import array, changes, read_base
from peft import PeftModel


def peft_model(model, directory):
    """PeftModel.from_pretrained in float64; keys that do not belong together are an error."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        wrapped = PeftModel.from_pretrained(model.double(), str(directory))
    said = [str(w.message) for w in caught if "missing" in str(w.message) or "unexpected" in str(w.message).lower()]
    again = wrapped.load_adapter(str(directory), "default")
    missing = [name for name in again.missing_keys if "lora_" in name]
    if said or missing or again.unexpected_keys:
        raise ValueError(f"PEFT: {said[:1]}, missing {missing[:3]}, unexpected {again.unexpected_keys[:3]}")
    return wrapped.double().eval()


def model_of(kind, base):
    """A language model on disk in float64."""
    return dialect_models.load_model(kind, base, "f64")


def merged_language(kind, base, directory):
    """What PEFT merges into a language model."""
    model = peft_model(model_of(kind, base), directory).merge_and_unload()
    return changes(base, {n: array(v) for n, v in dialect_models.MODELS[kind].names(model).items()})


def component_of(kind, base, name):
    """A component of a pipeline on disk; CLIP's text model by the names that published files have."""
    module = pipelines.load(base, kind)[name]
    return pipelines.Published(module) if pipelines.INDEX[kind][1][name] == "CLIPTextModel" else module


def merged_component(kind, base, name, directory):
    """What PEFT merges into one component of a pipeline."""
    model = peft_model(component_of(kind, base, name), directory).merge_and_unload()
    return changes(base, {f"{name}/{n}": array(v) for n, v in model.state_dict().items() if "position_ids" not in n})


def merged_diffusers(kind, base, path):
    """What diffusers loads and fuses, in float32."""
    from dialect_witness import merged

    names = read_base(base)
    return changes(base, {n: v for n, v in merged(kind, base, path).items() if n in names})


def mlx_model(base, directory):
    """mlx-lm's model with the adapter in place."""
    import mlx.core as mx
    from mlx_lm import utils
    from mlx_lm.tuner.utils import load_adapters

    mx.set_default_device(mx.cpu)
    model, _ = utils.load_model(Path(base))
    model = load_adapters(model, str(directory))
    model.set_dtype(mx.float32)  # it would multiply factors in their own type
    return model.eval()


def mlx_logits(base, directory, tokens):
    """Logits of mlx-lm's model with the adapter unmerged."""
    import mlx.core as mx

    model = mlx_model(base, directory)
    return np.array(model(mx.array(tokens)).astype(mx.float32)).astype(np.float64)


def merged_mlx(base, directory):
    """What `mlx_lm.fuse` writes, in float32."""
    from mlx.utils import tree_flatten, tree_unflatten

    model = mlx_model(base, directory)
    model.update_modules(tree_unflatten([(n, m.fuse()) for n, m in model.named_modules() if hasattr(m, "fuse")]))
    return changes(base, {n: np.array(v).astype(np.float64) for n, v in tree_flatten(model.parameters())})


def merged_lycoris(base, path, parts):
    """What LyCORIS computes from a file, for modules by what their names begin with in the file and in the base."""
    import lycoris
    from lycoris.wrapper import LycorisNetwork

    lycoris.logger.setLevel("ERROR")
    after, kept = {}, LycorisNetwork.LORA_PREFIX
    for (theirs, ours), module in parts.items():
        LycorisNetwork.LORA_PREFIX = theirs
        try:
            network, _ = lycoris.create_lycoris_from_weights(1.0, str(path), module.double())
        finally:
            LycorisNetwork.LORA_PREFIX = kept
        owners = {id(m): ours + name for name, m in module.named_modules()}
        after |= lycoris_weights(network.loras, owners)
    return changes(base, after)


def lycoris_weights(loras, owners):
    """The weights that LyCORIS' modules compute with in float64."""
    import dialect_lycoris

    after = {}
    with dialect_lycoris.doubles():
        for lora in loras:
            lora.double()
            for key, value in dialect_lycoris.trained(lora).items():
                after[f"{owners[id(lora.org_module[0])]}.{key}"] = array(value)
    return after


def gguf_rules(reader, architecture, names, before):
    """What llama.cpp's loader asks of a LoRA, as it is stated in llama-adapter.cpp; the sentences that are not so."""

    def value(key):
        field = reader.get_field(key)
        return None if field is None else field.contents()

    wrong = []
    for key, wanted in (("general.type", "adapter"), ("adapter.type", "lora"), ("general.architecture", architecture)):
        if value(key) != wanted:
            wrong.append(f"{key} is {value(key)!r}")
    if not isinstance(value("adapter.lora.alpha"), float):
        wrong.append("there is no alpha")
    found = {t.name: [int(n) for n in t.shape] for t in reader.tensors}
    for stem in sorted({n.rpartition(".lora_")[0] for n in found}):
        a, b = found.get(stem + ".lora_a"), found.get(stem + ".lora_b")
        if a is None or b is None:
            wrong.append(f"{stem} is not a pair")
        elif stem not in names:
            wrong.append(f"{stem} is in no model")
        else:
            ne = before[names[stem]].shape[::-1]
            # The embedding is looked up, so both factors are the other way round.
            fits = (b[1], a[1]) == ne if stem == "token_embd.weight" else (a[0], b[1], a[1]) == (*ne, b[0])
            if not fits:
                wrong.append(f"{stem}: {a} and {b} for {ne}")
    return wrong


def merged_gguf(kind, base, path):
    """W + alpha / rank B A by the file as gguf reads it, with the rows of q and k put back."""
    import dialect_gguf
    import gguf

    before = read_base(base)
    config = model_config(base)
    table = gguf.get_tensor_name_map(dialect_gguf.ARCHITECTURES[kind], config["num_hidden_layers"])
    names = {table.get_name(n, try_suffixes=(".weight", ".bias")): n for n in before}
    reader = gguf.GGUFReader(str(path))
    if wrong := gguf_rules(reader, kind, names, before):
        raise ValueError(f"llama.cpp would refuse it: {wrong[:3]}")
    alpha = reader.get_field("adapter.lora.alpha").contents()
    values = {t.name: gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float64) for t in reader.tensors}
    after = {}
    for stem in {n.rpartition(".lora_")[0] for n in values}:
        a, b, name = values[stem + ".lora_a"], values[stem + ".lora_b"], names[stem]
        delta = (a @ b.T if stem == "token_embd.weight" else b @ a) * (alpha / b.shape[1] if alpha else 1)
        if kind == "llama" and stem.endswith(("attn_q.weight", "attn_k.weight")):
            heads = config["num_attention_heads" if "attn_q" in stem else "num_key_value_heads"]
            delta = delta.reshape(heads, len(delta) // heads // 2, 2, -1).swapaxes(1, 2).reshape(delta.shape)
        after[name] = before[name] + delta
    return changes(base, after)


def model_config(base):
    """The base's config.json."""
    return json.loads((Path(base) / "config.json").read_text())


def distance(found, wanted):
    """The largest difference of two sets of weights, as a part of the largest weight; infinite where they differ in names."""
    if set(found) != set(wanted):
        return math.inf
    return max((np.abs(found[n] - v).max() / np.abs(v).max() for n, v in wanted.items()), default=0.0)


def logits(model, tokens):
    """Logits of a torch model, as float64."""
    with torch.no_grad():
        return array(model(input_ids=torch.tensor(tokens)).logits)
