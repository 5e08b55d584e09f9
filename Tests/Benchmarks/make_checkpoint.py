"""Write the benchmark's checkpoint and adapters: random normal numbers in the shapes of a 1.1 billion parameter Llama.

    python make_checkpoint.py DIRECTORY [--layers 22] [--shards 4] [--ranks 16 64]

DIRECTORY gets `base/` (bfloat16, sharded, with index and config) and one `rank-R/` for each rank (float32, all seven
linear modules of each layer, deltas of about a tenth of the weights' size). Needs torch and safetensors.
"""

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import save_file

HIDDEN, HEADS, KV_HEADS, INNER, VOCABULARY = 2048, 32, 4, 5632, 32000
KV = HIDDEN // HEADS * KV_HEADS


def shapes(layers):
    """Names and shapes in the order in which transformers saves them."""
    result = {"model.embed_tokens.weight": (VOCABULARY, HIDDEN)}
    for layer in range(layers):
        prefix = f"model.layers.{layer}."
        result |= {
            prefix + "self_attn.q_proj.weight": (HIDDEN, HIDDEN),
            prefix + "self_attn.k_proj.weight": (KV, HIDDEN),
            prefix + "self_attn.v_proj.weight": (KV, HIDDEN),
            prefix + "self_attn.o_proj.weight": (HIDDEN, HIDDEN),
            prefix + "mlp.gate_proj.weight": (INNER, HIDDEN),
            prefix + "mlp.up_proj.weight": (INNER, HIDDEN),
            prefix + "mlp.down_proj.weight": (HIDDEN, INNER),
            prefix + "input_layernorm.weight": (HIDDEN,),
            prefix + "post_attention_layernorm.weight": (HIDDEN,),
        }
    return result | {"model.norm.weight": (HIDDEN,), "lm_head.weight": (VOCABULARY, HIDDEN)}


def write_base(path, layers, shards):
    """The checkpoint, as evenly distributed over its files as the order allows."""
    path.mkdir(parents=True)
    sizes = {name: 2 * torch.Size(shape).numel() for name, shape in shapes(layers).items()}
    total, done, files = sum(sizes.values()), 0, [{} for _ in range(shards)]
    for name in sizes:
        files[min(shards - 1, done * shards // total)][name] = None
        done += sizes[name]
    weight_map = {}
    for at, names in enumerate(files):
        file = f"model-{at + 1:05d}-of-{shards:05d}.safetensors"
        tensors = {n: (torch.randn(shapes(layers)[n]) * 0.02).to(torch.bfloat16) for n in names}
        save_file(tensors, path / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(names, file)
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    (path / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "dtype": "bfloat16", "hidden_act": "silu",
        "hidden_size": HIDDEN, "intermediate_size": INNER, "num_hidden_layers": layers, "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS, "vocab_size": VOCABULARY, "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-05, "tie_word_embeddings": False,
    }
    (path / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def write_adapter(path, layers, rank):
    """alpha = rank; a tenth of the weights' size means a standard deviation of 0.002 for the sum of `rank` products."""
    path.mkdir(parents=True)
    factor = (0.002 / rank**0.5) ** 0.5
    tensors = {}
    for name, shape in shapes(layers).items():
        if "_proj" in name:
            module = "base_model.model." + name.removesuffix(".weight")
            tensors[module + ".lora_A.weight"] = torch.randn(rank, shape[1]) * factor
            tensors[module + ".lora_B.weight"] = torch.randn(shape[0], rank) * factor
    save_file(tensors, path / "adapter_model.safetensors", metadata={"format": "pt"})
    config = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": "base", "r": rank, "lora_alpha": rank,
        "bias": "none", "inference_mode": True,
        "target_modules": ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"],
    }
    (path / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--layers", type=int, default=22)
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--ranks", type=int, nargs="+", default=[16, 64])
    options = parser.parse_args()
    torch.manual_seed(0)
    write_base(options.directory / "base", options.layers, options.shards)
    for rank in options.ranks:
        write_adapter(options.directory / f"rank-{rank}", options.layers, rank)


if __name__ == "__main__":
    main()
