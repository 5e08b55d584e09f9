"""Make the golden data of the trainer: `python Tests/Golden/training.py`. See README.md.

Three tiny models, some ids, and what PyTorch and PEFT compute from them in float32: logits, losses, gradients, and the
losses of ten steps of AdamW for LoRA, DoRA and full fine-tuning.
"""

import json
import shutil
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "Interop"))
sys.dont_write_bytecode = True

from models import randomise, save  # noqa: E402
from train_models import CLASSES, LLAMA3, Course, Examples, gradients, load, quiet, trained  # noqa: E402

TARGETS = {"lora": ["q_proj", "v_proj", "down_proj"], "dora": ["k_proj", "o_proj", "gate_proj"]}
MODELS = {
    "llama": ("llama", {"tie_word_embeddings": False, "rope_parameters": LLAMA3}),
    "mistral": ("mistral", {"tie_word_embeddings": False, "sliding_window": 4}),
    "qwen2": ("qwen2", {"tie_word_embeddings": True}),
}
SIZES = {
    "vocab_size": 19, "hidden_size": 16, "intermediate_size": 20, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
LENGTHS = [13, 7, 30, 2, 21]
# Of full fine-tuning, some of each kind.
KEPT = ["model.embed_tokens.weight", "model.norm.weight", "lm_head.weight", "model.layers.0.self_attn.k_proj.weight",
        "model.layers.0.self_attn.k_proj.bias", "model.layers.1.mlp.down_proj.weight",
        "model.layers.1.input_layernorm.weight"]  # fmt: skip
COURSE = Course(steps=10, batch=2, rate=3e-3, schedule="cosine", warmup=2, decay=0.5, clip=1.0)


def adapted(model, way, seed):
    """PEFT around `model`, with values such that nothing is zero."""
    torch.manual_seed(seed)
    config = LoraConfig(
        r=2, lora_alpha=3, target_modules=TARGETS[way], use_dora=way == "dora", task_type="CAUSAL_LM")
    with quiet():
        peft = get_peft_model(model, config)
    generator = torch.Generator().manual_seed(seed)
    for name, value in peft.named_parameters():
        noise = torch.randn(value.shape, generator=generator)
        if "lora_B" in name:
            value.data = 0.2 * noise
        elif "lora_magnitude" in name:
            value.data *= 1 + 0.1 * noise
    return peft.eval()


def short(name):
    """The name of a parameter of a PEFT model in its file."""
    return name.replace(".default", "").replace("lora_magnitude_vector.weight", "lora_magnitude_vector")


def measure(model, examples, expected, way):
    """Adds logits, the first loss and its gradients, then the losses of all steps."""
    with torch.no_grad():
        expected[f"{way}/logits"] = model(input_ids=examples.ids[:1, :13]).logits[0].float().clone()
    loss, found = gradients(model, examples.part(slice(0, COURSE.batch)))
    expected[f"{way}/loss"] = torch.tensor([loss], dtype=torch.float64)
    for name, value in found.items():
        if way != "full" or name in KEPT:
            expected[f"{way}/gradient/{short(name)}"] = value.clone()
    steps = COURSE.run(model, examples)
    for at, what in enumerate(("losses", "norms", "rates")):
        expected[f"{way}/{what}"] = torch.tensor([step[at] for step in steps], dtype=torch.float64)
    after, value = trained(model)[-1]
    expected[f"{way}/after/{short(after)}"] = value.detach().clone()


def make(name, directory):
    """One model with all that belongs to it."""
    kind, extra = MODELS[name]
    config, model = CLASSES[kind]
    seed = sum(map(ord, name))
    base = directory / "base"
    save(randomise(model(config(**(SIZES | extra))), seed), base, "f32")
    examples = Examples.random(SIZES["vocab_size"], seed, LENGTHS)
    examples.save(directory / "data.safetensors")
    expected = {}
    for way in ("lora", "dora"):
        peft = adapted(load(base), way, seed)
        with tempfile.TemporaryDirectory() as scratch:
            with quiet():
                peft.save_pretrained(scratch)
            target = directory / way
            target.mkdir()
            shutil.copy(f"{scratch}/adapter_model.safetensors", target)
            fields = json.loads(Path(scratch, "adapter_config.json").read_text())
        fields["base_model_name_or_path"] = "base"
        # PEFT makes the list from a set, whose order is random.
        fields["target_modules"].sort()
        (target / "adapter_config.json").write_text(json.dumps(fields, indent=2, sort_keys=True) + "\n")
        measure(peft, examples, expected, way)
    measure(load(base), examples, expected, "full")
    versions = {name: version(name) for name in ("torch", "peft", "transformers", "safetensors")}
    save_file(expected, str(directory / "expected.safetensors"), metadata={"versions": json.dumps(versions)})


def main():
    torch.set_num_threads(1)
    target = HERE / "training"
    shutil.rmtree(target, ignore_errors=True)
    for name in MODELS:
        (target / name).mkdir(parents=True)
        make(name, target / name)
        count = len(load_file(str(target / name / "expected.safetensors")))
        print(f"{name}: {count} tensors")


if __name__ == "__main__":
    main()
