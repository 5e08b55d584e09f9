"""A live test of adapter-generate against transformers and PEFT: logits, greedy texts, adapters of every kind.

    python Tests/Interop/generate.py --bin .build/release [--quick] [--seed N] [--only WORD]

Random small models of the Llama family (rope scaling, shared heads of keys, tied heads, biases, sliding windows) in float32,
bfloat16 and float16, in one file or several: logits must be those that transformers computes in float32 from the same
weights, to 1e-4 of their scale, and greedy ids the same wherever the margin is no tie. The same with adapters that PEFT made
(LoRA, DoRA, rsLoRA, patterns, saved modules, embeddings, several at once, prefix tuning). A packed adapter must give the same
bytes, a merged model the same text, and a batch in which adapters come and go what each gives alone. `--quick` takes fewer
models. Ends with 'N passed, N failed'; exit status 1 if anything failed.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
sys.path.insert(0, str(Path(__file__).parent))
from tools import Tally, command_line  # noqa: E402

TOLERANCE = 1e-4
SIZES = dict(
    vocab_size=300, hidden_size=48, intermediate_size=80, num_hidden_layers=3, num_attention_heads=6,
    num_key_value_heads=2, max_position_embeddings=128, bos_token_id=257, eos_token_id=258, initializer_range=0.2)  # fmt: skip
LLAMA3 = dict(
    rope_type="llama3", rope_theta=10000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
    original_max_position_embeddings=32)  # fmt: skip
MODELS = {
    "llama": ("Llama", {}),
    "llama-tied": ("Llama", dict(tie_word_embeddings=True)),
    "llama-bias": ("Llama", dict(attention_bias=True, mlp_bias=True)),
    "llama-rope3": ("Llama", dict(rope_parameters=LLAMA3)),
    "llama-linear": ("Llama", dict(rope_parameters=dict(rope_type="linear", rope_theta=10000.0, factor=4.0))),
    "llama-head-dim": ("Llama", dict(head_dim=20, num_key_value_heads=6)),
    "mistral-window": ("Mistral", dict(sliding_window=7)),
    "mistral": ("Mistral", dict(sliding_window=None)),
    "qwen2": ("Qwen2", dict(tie_word_embeddings=True)),
    "qwen2-window": ("Qwen2", dict(use_sliding_window=True, sliding_window=9, max_window_layers=1)),
}


def adapters():
    """PEFT configs by name; `None` takes part in none."""
    from peft import LoraConfig, PrefixTuningConfig

    every = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    return {
        "lora": LoraConfig(r=4, lora_alpha=8, target_modules=every),
        "rslora": LoraConfig(r=5, lora_alpha=8, use_rslora=True, target_modules=["q_proj", "down_proj"]),
        "dora": LoraConfig(r=4, lora_alpha=8, use_dora=True, target_modules=every),
        "patterns": LoraConfig(
            r=4, lora_alpha=8, target_modules=every, rank_pattern={"q_proj": 2}, alpha_pattern={"down_proj": 3}),
        "bias": LoraConfig(r=4, lora_alpha=8, target_modules=["v_proj"], lora_bias=True),
        "saved": LoraConfig(r=4, lora_alpha=8, target_modules=["v_proj"], modules_to_save=["lm_head"]),
        "embedding": LoraConfig(r=4, lora_alpha=8, target_modules=["embed_tokens", "o_proj"]),
        "tokens": LoraConfig(r=4, lora_alpha=8, target_modules=["v_proj"], trainable_token_indices=[3, 9, 70]),
        "prefix": PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=5),
        "prefix-projected": PrefixTuningConfig(
            task_type="CAUSAL_LM", num_virtual_tokens=3, prefix_projection=True, encoder_hidden_size=16),
    }  # fmt: skip


class Generate:
    """The tool, and the models that it is held against."""

    def __init__(self, options, scratch, checks):
        self.bin, self.scratch, self.checks, self.seed = Path(options.bin).resolve(), Path(scratch), checks, options.seed
        self.quick, self.only = options.quick, options.only

    def run(self, *arguments, tool="generate", status=0):
        command = [str(self.bin / f"adapter-{tool}"), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL)
        if done.returncode != status:
            raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr}")
        return done.stdout

    def logits(self, base, ids, *adapters):
        """What the tool writes, as float32."""
        from safetensors.torch import load_file

        out = self.scratch / "logits.safetensors"
        self.run(base, *adapters, "--ids", " ".join(map(str, ids)), "--logits", out, "--force")
        found = load_file(out)
        assert found["ids"].tolist() == list(ids)
        return found["logits"]

    def greedy(self, base, ids, count, *arguments):
        """The ids that the tool makes."""
        text = self.run(
            base, *arguments, "--ids", " ".join(map(str, ids)), "--json", "--ignore-eos", "--max-tokens", count)
        return json.loads(text)

    def close(self, what, found, wanted):
        """Checks logits against those of the live libraries."""
        wanted = wanted.to(found.dtype)
        scale = wanted.abs().max().item()
        distance = (found - wanted).abs().max().item() if found.shape == wanted.shape else float("inf")
        self.checks.check(distance <= TOLERANCE * scale, what, f"{distance:.3g} away, of {scale:.3g}")

    def ids(self, generator, count, size):
        import torch

        return torch.randint(0, size, (count,), generator=generator).tolist()

    def build(self, name, dtype, shards):
        """A random model, saved in `dtype`; the same in float32, and its directory."""
        import torch
        import transformers

        family, changes = MODELS[name]
        torch.manual_seed(self.seed)
        config = getattr(transformers, family + "Config")(**{**SIZES, **changes})
        if name == "qwen2-window":
            config.layer_types = ["full_attention"] + ["sliding_attention"] * 2
        config._attn_implementation = "eager"
        model = getattr(transformers, family + "ForCausalLM")(config).eval()
        with torch.no_grad():
            for key, value in model.named_parameters():
                if "norm" in key or key.endswith("bias"):
                    value.add_(0.3 * torch.randn(value.shape))
        path = self.scratch / f"{name}-{dtype}"
        model.to(getattr(torch, dtype)).save_pretrained(path, max_shard_size="30KB" if shards else "5GB")
        # Loaded again: what `to` does to the frequencies of positions does not come back.
        kind = type(model)
        return kind.from_pretrained(path, dtype=torch.float32, attn_implementation="eager").eval(), path

    def model(self, name, dtype, shards):
        """Logits and greedy ids of a base."""
        import torch

        model, path = self.build(name, dtype, shards)
        generator = torch.Generator().manual_seed(self.seed + 1)
        prompt = self.ids(generator, 33, 300)
        label = f"{name} {dtype}{' in shards' if shards else ''}"
        with torch.no_grad():
            wanted = model(torch.tensor([prompt])).logits[0]
        self.close(f"{label}: logits", self.logits(path, prompt), wanted)
        self.same_text(label, model, path, prompt[:11], 40)
        return model, path, prompt

    def same_text(self, label, model, path, prompt, count, *arguments):
        """Greedy ids are those of the live model, up to the first tie."""
        import torch

        found = self.greedy(path, prompt, count, *arguments)["ids"]
        with torch.no_grad():
            logits = model(torch.tensor([prompt + found])).logits[0][len(prompt) - 1 : -1]
        top = logits.topk(2).values
        ties = (top[:, 0] - top[:, 1]) < 2 * TOLERANCE * logits.abs().max()
        right = (logits.argmax(-1) == torch.tensor(found)) | ties
        self.checks.check(len(found) == count and bool(right.all()), f"{label}: greedy ids", f"{found}")

    def adapter(self, model, path, prompt, name, config, label):
        """An adapter that PEFT made, and what it answers with it; None if PEFT cannot make it for this model."""
        import torch
        from peft import get_peft_model

        torch.manual_seed(self.seed + 2)
        peft = get_peft_model(model, config).eval()
        with torch.no_grad():
            for key, value in peft.named_parameters():
                if not value.requires_grad:
                    continue
                if "magnitude" in key:
                    value.mul_(1 + 0.3 * torch.rand(value.shape))
                else:
                    value.add_(0.1 * torch.randn(value.shape))
        out = self.scratch / f"{path.name}-{name}"
        peft.save_pretrained(out)
        if name == "prefix-projected":
            # What is saved is the projection's result, which is what PEFT itself loads.
            from peft import PeftModel

            peft = PeftModel.from_pretrained(peft.get_base_model(), out).eval()
        with torch.no_grad():
            wanted = peft(torch.tensor([prompt])).logits[0]
        self.close(f"{label} with {name}: logits", self.logits(path, prompt, out), wanted)
        self.same_text(f"{label} with {name}", peft, path, prompt[:11], 12, out)
        return out, wanted

    def packed(self, path, prompt, adapter, label):
        """A packed adapter gives the same bytes, and so does a packed base."""
        import torch

        packed = self.scratch / f"{adapter.name}.adapter"
        self.run(adapter, "-o", packed, "--quiet", tool="pack")
        same = torch.equal(self.logits(path, prompt, adapter), self.logits(path, prompt, packed))
        self.checks.check(same, f"{label}: packed", "other logits")
        base = self.scratch / f"{path.name}.model"
        self.run(path, "-o", base, "--quiet", "--force", tool="pack")
        same = torch.equal(self.logits(path, prompt, adapter), self.logits(base, prompt, adapter))
        self.checks.check(same, f"{label}: packed base", "other logits")

    def merged(self, path, prompt, adapter, label):
        """A merged model gives the text of base plus adapter; in float32, so that no weight is rounded to 16 bits."""
        out = self.scratch / f"{adapter.name}-merged"
        self.run(path, adapter, "-o", out, "--quiet", "--dtype", "float32", tool="merge")
        one, two = (self.greedy(*words, "--quiet")["text"] for words in ((path, prompt[:11], 40, adapter), (out, prompt[:11], 40)))
        self.checks.check(one == two, f"{label}: merged", f"{one!r} and {two!r}")
        found, wanted = self.logits(out, prompt), self.logits(path, prompt, adapter)
        self.close(f"{label}: merged logits", found, wanted)

    def batch(self, path, prompt, adapters, label):
        """Adapters that come and go in one process give what each gives by itself, and leave the base as it was."""
        lines = [None, adapters[0], adapters[1], None, [f"{adapters[0]}:0.5", str(adapters[1])], adapters[0], None]
        texts = [str(line) if isinstance(line, Path) else line for line in lines]
        requests = self.scratch / "batch.jsonl"
        ids = prompt[:9]
        requests.write_text("".join(
            json.dumps({"ids": ids, "adapter": text, "max_tokens": 20, "ignore_eos": True}) + "\n" for text in texts))
        found = [json.loads(line) for line in self.run(path, "--batch", requests).splitlines()]
        alone = []
        for text in texts:
            operands = [] if text is None else [text] if isinstance(text, str) else text
            alone.append(self.greedy(path, ids, 20, *operands)["ids"])
        self.checks.check(
            [line["ids"] for line in found] == alone and [line["line"] for line in found] == list(range(1, 8)),
            f"{label}: batch", f"{found} instead of {alone}")

    def several(self, model, path, prompt, label):
        """Two adapters with weights, against PEFT's weighted sum of what each adds."""
        import copy

        import torch
        from peft import LoraConfig, get_peft_model

        torch.manual_seed(self.seed + 3)
        peft = get_peft_model(copy.deepcopy(model), LoraConfig(r=3, lora_alpha=6, target_modules=["q_proj", "up_proj"]), "one")
        peft.add_adapter("two", LoraConfig(r=2, lora_alpha=6, target_modules=["q_proj", "down_proj"]))
        for key, value in peft.named_parameters():
            if "lora_" in key:
                value.data = 0.2 * torch.randn(value.shape)
        peft.save_pretrained(self.scratch / f"{path.name}-several")
        for adapter, weight in (("one", 0.5), ("two", -1.5)):
            for module in peft.modules():
                if adapter in (scaling if isinstance(scaling := getattr(module, "scaling", None), dict) else ()):
                    module.scaling[adapter] *= weight
        peft.base_model.set_adapter(["one", "two"])
        with torch.no_grad():
            wanted = peft(torch.tensor([prompt])).logits[0]
        one, two = (self.scratch / f"{path.name}-several" / name for name in ("one", "two"))
        self.close(f"{label}: two with weights", self.logits(path, prompt, f"{one}:0.5", f"{two}:-1.5"), wanted)

    def perplexity(self, model, path, prompt, label):
        """Loss of a sequence, whole and in windows with context."""
        import torch

        ids = prompt + prompt[::-1]
        file = self.scratch / "ids.jsonl"
        file.write_text(json.dumps(ids) + "\n")
        for window, stride in ((None, None), (20, 20), (20, 6)):
            options = [] if window is None else ["--window", window, "--stride", stride]
            found = json.loads(self.run(path, "--perplexity", file, "--json", *options))
            total, done, begin = 0.0, 0, 0
            window, stride = window or 128, stride or 128
            while done < len(ids) - 1:
                end = min(len(ids) - 1, begin + window)
                with torch.no_grad():
                    logits = model(torch.tensor([ids[begin:end]])).logits[0].double().log_softmax(-1)
                for place in range(done, end):
                    total -= logits[place - begin, ids[place + 1]].item()
                done, begin = end, begin + stride
            wanted = total / (len(ids) - 1)
            ok = abs(found["loss"] - wanted) <= 1e-4 * wanted and found["tokens"] == len(ids) - 1
            self.checks.check(ok, f"{label}: perplexity, window {window}, stride {stride}", f"{found['loss']}, not {wanted}")

    def everything(self):
        import copy

        import torch

        dtypes = ["bfloat16"] if self.quick else ["float32", "bfloat16", "float16"]
        for number, name in enumerate(MODELS):
            for dtype in dtypes:
                if self.only not in name:
                    continue
                model, path, prompt = self.model(name, dtype, shards=number % 2 == 0)
                if dtype != dtypes[0] or name not in ("llama", "llama-tied", "mistral-window", "qwen2"):
                    continue
                made = {}
                for kind, config in adapters().items():
                    if kind == "saved" and "tied" in name or kind in ("embedding", "saved", "tokens") and name == "qwen2":
                        continue  # PEFT unties the head there; Tests/Interop/run.py has those
                    if kind == "bias" and name != "qwen2":
                        continue  # refused, as in a merge: there is no bias to add to
                    label = f"{name} {dtype}"
                    made[kind], _ = self.adapter(copy.deepcopy(model), path, prompt, kind, config, label)
                self.packed(path, prompt, made["lora"], name)
                self.packed(path, prompt, made["prefix"], name + " prefix")
                for kind in ("lora", "dora"):
                    self.merged(path, prompt, made[kind], f"{name} {kind}")
                self.batch(path, prompt, [made["lora"], made["rslora"]], name)
                self.several(model, path, prompt, name)
                self.perplexity(model, path, prompt, name)
                again = torch.equal(self.logits(path, prompt), self.logits(path, prompt, f"{made['lora']}:0"))
                self.checks.check(again, f"{name}: weight 0", "other logits than the base")


def main():
    options = command_line(__doc__, "fewer models and one dtype", "models whose name has this in it")
    if options is None:
        return 0
    import transformers

    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    checks = Tally(verbose=options.verbose)
    print(f"generate: --seed {options.seed}")
    with tempfile.TemporaryDirectory() as scratch:
        Generate(options, scratch, checks).everything()
    return checks.report()


if __name__ == "__main__":
    sys.exit(main())
