"""LoRA by adapter-hub's `adapters` library: its own names and its nested config; merged by its merge_adapter.

`adapters` 1.3 needs transformers 4, so this group runs in an environment of its own.
"""

import functools
import json

import adapters
import torch
from adapters import IA3Config, LoRAConfig, SeqBnConfig
from dialect_cases import Case, Made, array, changes, fill
from dialect_models import BASES as MODELS
from dialect_models import MODELS as KINDS
from dialect_models import SMALL, load_model

SIZE = SMALL
KEEPS_BASES = True  # those of the other groups were written by a newer transformers
BASES = {kind: MODELS[kind] for kind in ("llama", "gpt2", "qwen2")}
WRITTEN_BY = ("adapters", "transformers", "torch")


def write(config, base, directory, seed, *, kind, safe=True, mergeable=True, why="", head=False):
    """Add, fill, save; load in float64 and merge."""
    torch.manual_seed(seed)
    model = load_model(kind, base, "f32")
    adapters.init(model)
    model.add_adapter("golden", config=config())
    model.train_adapter("golden")
    fill([(n, p) for n, p in model.named_parameters() if ".golden." in n], seed, 0.8)
    adapter = directory / "adapter"
    model.save_adapter(str(adapter), "golden", use_safetensors=safe, with_head=head)
    for path in adapter.glob("*.json"):
        document = json.loads(path.read_text())
        document["model_name"] = "base"
        path.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n")
    if not mergeable:
        return Made("adapter", mergeable=False, why=why)
    again = load_model(kind, base, "f64")
    adapters.init(again)
    name = again.load_adapter(str(adapter), use_safetensors=safe)
    again.double()
    again.set_active_adapters(name)
    again.merge_adapter(name)
    after = {n: array(v) for n, v in KINDS[kind].names(again).items() if ".loras." not in n}
    return Made("adapter", changes(base, after))


def _case(tag, sort, config, kind="llama", **options):
    work = functools.partial(write, config, kind=kind, **options)
    return Case(f"adapterhub-{tag}", "adapterhub", sort, kind, work, WRITTEN_BY)


def _lora(**options):
    return lambda: LoRAConfig(**{"r": 3, "alpha": 5} | options)


CASES = [
    _case("lora", "lora", _lora()),
    _case("lora-pickle", "lora", _lora(), safe=False),
    _case("lora-everywhere", "lora", _lora(intermediate_lora=True, output_lora=True, attn_matrices=["q", "k", "v"])),
    _case("lora-gpt2", "lora", _lora(attn_matrices=["q", "v"]), "gpt2"),
    _case("lora-qwen2", "lora", _lora(attn_matrices=["q", "k"]), "qwen2"),
    _case("ia3", "ia3", lambda: IA3Config()),
    _case("bottleneck", "bottleneck", lambda: SeqBnConfig(reduction_factor=4), mergeable=False,
          why="bottleneck adapters are layers of their own with a function that is not linear"),
]  # fmt: skip
