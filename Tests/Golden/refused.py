"""Adapters and bases that a file-level merge must refuse, below `refused/`: `case.json` says why."""

import json
import shutil
from pathlib import Path

import build
import models
import numpy as np
import peft
import tensorfile
import torch

SIZE = models.Size(hidden=8, inter=12, layers=1, heads=2, kv=1, vocab=12)
TARGETS = ["q_proj", "v_proj"]
CAUSAL = {"task_type": "CAUSAL_LM"}
LORA = {"r": 2, "target_modules": TARGETS}
ALIEN = {
    "prefix-tuning": (peft.PrefixTuningConfig(num_virtual_tokens=3, **CAUSAL), "prefix tuning adds keys and values"),
    "prompt-tuning": (peft.PromptTuningConfig(num_virtual_tokens=3, **CAUSAL), "prompt tuning adds virtual tokens"),
    "p-tuning": (
        peft.PromptEncoderConfig(num_virtual_tokens=3, encoder_hidden_size=8, **CAUSAL),
        "P-tuning adds virtual tokens",
    ),
    "pissa": (
        peft.LoraConfig(init_lora_weights="pissa", **LORA),
        "init_lora_weights=pissa: training started from a base that PEFT had changed",
    ),
    "olora": (
        peft.LoraConfig(init_lora_weights="olora", **LORA),
        "init_lora_weights=olora: training started from a base that PEFT had changed",
    ),
    "layer-replication": (
        peft.LoraConfig(layer_replication=[[0, 1], [0, 1]], **LORA),
        "layer_replication: the adapter belongs to a restacked model",
    ),
    "alora": (
        peft.LoraConfig(alora_invocation_tokens=[3, 4], **LORA, **CAUSAL),
        "activated LoRA applies only after its invocation tokens",
    ),
}


def _disturb(model, seed):
    generator = torch.Generator().manual_seed(seed)
    for _, parameter in sorted(model.named_parameters()):
        if parameter.requires_grad:
            parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator).to(parameter.dtype)


def _adapter(name, config, base, directory):
    model = models.load(models.llama(SIZE), base, "f32")
    torch.manual_seed(build.seed_of(name))
    wrapped = peft.get_peft_model(model, config)
    _disturb(wrapped, build.seed_of(name))
    wrapped.save_pretrained(directory)
    build.neutralise(directory)


def _case(root, name, why, base="../base", **extra):
    text = json.dumps({"name": name, "base": base, "adapter": "adapter", "why": why} | extra, indent=2)
    (root / name / "case.json").write_text(text + "\n")


def _config(directory, **changes):
    path = directory / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes, indent=2, sort_keys=True) + "\n")


def _pickle(root, base):
    name = "pickle-only"
    model = models.load(models.llama(SIZE), base, "f32")
    torch.manual_seed(build.seed_of(name))
    wrapped = peft.get_peft_model(model, peft.LoraConfig(**LORA))
    _disturb(wrapped, build.seed_of(name))
    wrapped.save_pretrained(root / name / "adapter", safe_serialization=False)
    build.neutralise(root / name / "adapter")
    _case(root, name, "adapter_model.bin is a pickle, which is never read")


def _gptq(root, adapter):
    """Tensors named and shaped as in GPTQ files (4 bits, groups of 8); the values are random."""
    name = "gptq-base"
    random = np.random.default_rng(build.seed_of(name))
    tensors = {}
    for key, stored in tensorfile.read_checkpoint(root / "base").items():
        if not key.endswith("_proj.weight"):
            tensors[key] = (stored.dtype, stored.shape, stored.data)
            continue
        rows, columns = stored.shape
        stem = key.removesuffix(".weight")
        groups = -(-columns // 8)
        shapes = {"qweight": (-(-columns // 8), rows), "qzeros": (groups, -(-rows // 8))}
        for leaf, shape in shapes.items():
            values = random.integers(-(2**31), 2**31, shape, dtype=np.int64).astype("<i4")
            tensors[f"{stem}.{leaf}"] = ("I32", shape, values.tobytes())
        scales = random.uniform(0.01, 0.1, (groups, rows)).astype("<f2")
        tensors[f"{stem}.scales"] = ("F16", scales.shape, scales.tobytes())
        order = (np.arange(columns) // 8).astype("<i4")
        tensors[f"{stem}.g_idx"] = ("I32", order.shape, order.tobytes())
    base = root / name / "base"
    base.mkdir(parents=True)
    tensorfile.write_file(base / "model.safetensors", tensors, {"format": "pt"})
    config = json.loads((root / "base" / "config.json").read_text())
    config["quantization_config"] = {"bits": 4, "desc_act": False, "group_size": 8, "quant_method": "gptq", "sym": True}
    (base / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    shutil.copytree(adapter, root / name / "adapter")
    _case(root, name, "the base is quantised (GPTQ): its weights are packed integers", base="base")


def _grouped_conv(root):
    class Grouped(torch.nn.Module):
        input_kind = "conv"

        def __init__(self):
            super().__init__()
            self.first = torch.nn.Conv2d(4, 8, 3, groups=2)

    name = "grouped-conv"
    net = models.randomise(Grouped(), build.seed_of(name))
    models.save(net, root / name / "base", "f32")
    wrapped = peft.get_peft_model(net, peft.LoraConfig(r=2, target_modules=["first"]))
    _disturb(wrapped, build.seed_of(name))
    wrapped.save_pretrained(root / name / "adapter")
    build.neutralise(root / name / "adapter")
    _case(root, name, "a convolution in groups: PEFT refuses to merge it too", base="base")


def make_all(target):
    """Write everything below `target`; yields the names."""
    shutil.rmtree(target, ignore_errors=True)
    base = Path(target) / "base"
    models.save(models.randomise(models.llama(SIZE), build.seed_of("refused")), base, "f32")
    for name, (config, why) in ALIEN.items():
        _adapter(name, config, base, target / name / "adapter")
        _case(target, name, why)
        yield name
    plain = target / "gptq-base" / "plain"
    _adapter("plain", peft.LoraConfig(**LORA), base, plain)
    for name, change, why in [
        ("qalora", {"use_qalora": True}, "QA-LoRA: A acts on pooled inputs"),
        ("bdlora", {"use_bdlora": {"target_modules_bd_a": ["q_proj"], "nblocks": 2}}, "block-diagonal LoRA"),
        ("arrow", {"arrow_config": {"top_k": 1}}, "Arrow routes between adapters at run time"),
        ("kasa", {"kasa_config": {}}, "KaSA has a diagonal and truncates the base"),
        ("unknown-peft-type", {"peft_type": "SOMETHING_NEW"}, "an unknown kind of adapter"),
    ]:
        shutil.copytree(plain, target / name / "adapter")
        _config(target / name / "adapter", **change)
        _case(target, name, why, made="a plain LoRA whose adapter_config.json was changed by hand")
        yield name
    _gptq(target, plain)
    shutil.rmtree(plain)
    _pickle(target, base)
    _grouped_conv(target)
    for path in target.rglob("*.safetensors"):
        path.chmod(0o644)
    yield from ("gptq-base", "pickle-only", "grouped-conv")
