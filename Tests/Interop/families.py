"""Many model families: does the merged checkpoint compute what base + adapter does?

    python Tests/Interop/families.py --bin .build/release [--only CLASS] [--kinds all-linear,...] [--full]

For each class a tiny model with random weights is built and saved by transformers, an adapter of each kind is trained for
no step but filled with random numbers and saved by PEFT. The tools may refuse a pair, with a reason; but what they merge
must load by `from_pretrained` without missing or unexpected keys, and give the logits of the base with the adapter,
unmerged, as it was when it was saved (PEFT 0.21.2 does not load every adapter as it was). Ends with 'N passed, N failed'.
"""

import argparse
import copy
import json
import os
import random
import shutil
import sys
import tempfile
import warnings
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "Golden")]
sys.dont_write_bytecode = True
os.environ["HF_HUB_OFFLINE"] = "1"
warnings.filterwarnings("ignore")

# The families of which one of each kind is tried in a quick run.
QUICK = """
    LlamaForCausalLM MistralForCausalLM Qwen2ForCausalLM Qwen3ForCausalLM Gemma2ForCausalLM Phi3ForCausalLM
    GPT2LMHeadModel OPTForCausalLM GPTNeoXForCausalLM BloomForCausalLM FalconForCausalLM GPTJForCausalLM
    MixtralForCausalLM Qwen3MoeForCausalLM GptOssForCausalLM BertForMaskedLM RobertaForMaskedLM DistilBertForMaskedLM
    BertForSequenceClassification LlamaForSequenceClassification ViTForImageClassification
    T5ForConditionalGeneration BartForConditionalGeneration WhisperForConditionalGeneration
""".split()
MORE = """
    PhiForCausalLM StableLmForCausalLM Starcoder2ForCausalLM GemmaForCausalLM CohereForCausalLM OlmoForCausalLM
    Olmo2ForCausalLM GPTNeoForCausalLM GPTBigCodeForCausalLM MptForCausalLM CodeGenForCausalLM XGLMForCausalLM
    BioGptForCausalLM CTRLLMHeadModel OpenAIGPTLMHeadModel Gemma3ForCausalLM GlmForCausalLM Glm4ForCausalLM
    GraniteForCausalLM GraniteMoeForCausalLM SmolLM3ForCausalLM HeliumForCausalLM PersimmonForCausalLM
    DeepseekV3ForCausalLM OlmoeForCausalLM Qwen2MoeForCausalLM PhimoeForCausalLM JetMoeForCausalLM
    MambaForCausalLM RwkvForCausalLM ElectraForMaskedLM AlbertForMaskedLM XLMRobertaForMaskedLM DebertaV2ForMaskedLM
    ModernBertForMaskedLM CamembertForMaskedLM MPNetForMaskedLM RobertaForSequenceClassification
    DistilBertForSequenceClassification BertForTokenClassification GPT2ForSequenceClassification
    Qwen2ForSequenceClassification DeiTForImageClassification SwinForImageClassification ConvNextForImageClassification
    Dinov2ForImageClassification BeitForImageClassification MBartForConditionalGeneration MT5ForConditionalGeneration
    PegasusForConditionalGeneration MarianMTModel LEDForConditionalGeneration
    LlavaForConditionalGeneration Qwen2VLForConditionalGeneration Gemma3ForConditionalGeneration
    PaliGemmaForConditionalGeneration Idefics3ForConditionalGeneration
""".split()
SMALL = {
    "hidden_size": 32, "d_model": 32, "n_embd": 32, "embed_dim": 32, "word_embed_proj_dim": 32, "dim": 32, "hidden_dim": 48,
    "embedding_size": 32, "num_hidden_layers": 2, "n_layer": 2, "n_layers": 2, "num_layers": 2, "encoder_layers": 2,
    "decoder_layers": 2, "num_decoder_layers": 2, "num_attention_heads": 4, "n_head": 4, "n_heads": 4, "num_heads": 4,
    "encoder_attention_heads": 4, "decoder_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
    "intermediate_size": 48, "moe_intermediate_size": 24, "shared_expert_intermediate_size": 24, "ffn_dim": 48,
    "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "d_ff": 48, "d_kv": 8, "n_inner": 48, "dff": 48,
    "vocab_size": 96, "max_position_embeddings": 64, "n_positions": 64, "max_source_positions": 20,
    "max_target_positions": 40, "num_mel_bins": 8, "num_local_experts": 4, "num_experts": 4, "n_routed_experts": 4,
    "num_experts_per_tok": 2, "first_k_dense_replace": 1, "q_lora_rank": 16, "kv_lora_rank": 16, "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 8, "v_head_dim": 8, "rotary_dim": 4, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
    "image_size": 32, "patch_size": 16, "num_labels": 3, "n_group": 2, "topk_group": 1, "expert_ffn_hidden_size": 24,
    "attention_hidden_size": 32, "decoder_start_token_id": 1, "image_token_index": 90, "image_token_id": 90,
    "projection_dim": 32, "kv_channels": 8, "n_ctx": 64, "type_vocab_size": 2, "global_rms_norm_eps": 1e-5,
    "attention_window": [4, 4], "hidden_sizes": [8, 12, 16, 20], "depths": [1, 1, 1, 1], "num_attention_heads_swin": 4,
}  # fmt: skip


def parts(config):
    """The config and those within it."""
    import transformers

    yield config
    for value in list(vars(config).values()):
        if isinstance(value, transformers.PretrainedConfig):
            yield from parts(value)


def configure(cls, tied):
    """A tiny config of the class, its embeddings tied or not (None: as the class has it)."""
    config = copy.deepcopy(cls.config_class())
    for part in parts(config):
        for key, value in SMALL.items():
            old = getattr(part, key, None)
            if old is None or isinstance(old, bool) or isinstance(old, (list, tuple)) != isinstance(value, list):
                continue
            try:
                setattr(part, key, value)
            except Exception:  # noqa: BLE001 some are properties
                continue
        if isinstance(vars(part).get("layer_types"), list):
            part.layer_types = part.layer_types[:2]
        for dropout in ("attn_pdrop", "resid_pdrop", "embd_pdrop", "summary_first_dropout"):
            if hasattr(part, dropout):
                setattr(part, dropout, 0.0)
        if tied is not None:
            part.tie_word_embeddings = tied
    if config.model_type == "gpt_neo":
        config.attention_types = [[["global", "local"], 1]]
        config.attention_layers = ["global", "local"]
    if config.model_type == "deepseek_v3":
        config.num_key_value_heads = 4
    return config


def inputs(model, seed):
    """Inputs for `forward`, by what the model takes."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    config, name = model.config, model.main_input_name
    if name == "pixel_values":
        return {"pixel_values": torch.randn((2, 3, 32, 32), generator=generator)}
    ids = torch.randint(3, 80, (2, 8), generator=generator)
    if name == "input_features":
        features = torch.randn((2, 8, 40), generator=generator)
        return {"input_features": features, "decoder_input_ids": ids}
    if getattr(config, "is_encoder_decoder", False):
        return {"input_ids": ids, "decoder_input_ids": ids.flip(1)}
    return {"input_ids": ids}


def logits(model, batch):
    """What the model answers, in float64 where it can."""
    import torch

    with torch.no_grad():
        result = model(**batch)
    for key in ("logits", "prediction_logits", "last_hidden_state"):
        if getattr(result, key, None) is not None:
            return getattr(result, key).double()
    raise ValueError("no logits")


def names(model, module):
    """The path of a module."""
    return next((n for n, m in model.named_modules() if m is module), None)


def settings(kind, model):
    """The LoraConfig of one kind of adapter for this model, and how many words to add; None where it makes no sense."""
    embedding = names(model, getter(model, "get_input_embeddings"))
    head = names(model, getter(model, "get_output_embeddings"))
    leaf = (embedding or "").rpartition(".")[2]
    top = (head or "").rpartition(".")[2]
    if "tokens" in kind and getattr(getter(model, "get_output_embeddings"), "bias", None) is not None:
        return None  # PEFT 0.21.2 forgets the head's bias while it shows the rows to it
    needs_head = {"head", "both", "both-tying", "save-head", "save-both", "tokens-head", "grow-head", "grow-both"}
    if kind in needs_head and not head or kind not in {"all-linear", "dora", "bias"} and not embedding:
        return None
    table = {
        "all-linear": ({"target_modules": "all-linear"}, 0),
        "dora": ({"target_modules": "all-linear", "use_dora": True}, 0),
        "bias": ({"target_modules": "all-linear", "bias": "all"}, 0),
        "embedding": ({"target_modules": [leaf]}, 0),
        "head": ({"target_modules": [top]}, 0),
        "both": ({"target_modules": [leaf, top]}, 0),
        "both-tying": ({"target_modules": [leaf, top], "ensure_weight_tying": True}, 0),
        "save-embedding": ({"target_modules": "all-linear", "modules_to_save": [leaf]}, 0),
        "save-head": ({"target_modules": [leaf], "modules_to_save": [top]}, 0),
        "save-both": ({"target_modules": "all-linear", "modules_to_save": [leaf, top]}, 0),
        "tokens": ({"target_modules": "all-linear", "trainable_token_indices": {leaf: [3, 7]}}, 0),
        "tokens-head": ({"target_modules": "all-linear", "trainable_token_indices": {top: [3, 7]}}, 0),
        "grow": ({"target_modules": "all-linear"}, 5),
        "grow-embedding": ({"target_modules": [leaf]}, 5),
        "grow-head": ({"target_modules": [top]}, 5),
        "grow-both": ({"target_modules": [leaf, top]}, 5),
        "grow-tokens": ({"target_modules": "all-linear", "trainable_token_indices": {leaf: [96, 97]}}, 5),
        "grow-save": ({"target_modules": "all-linear", "modules_to_save": [leaf]}, 5),
    }
    return table[kind]


KINDS = """
    all-linear dora bias embedding head both both-tying save-embedding save-head save-both tokens tokens-head grow
    grow-embedding grow-head grow-both grow-tokens grow-save
""".split()


def getter(model, name):
    """The embedding or head that the model says it has."""
    try:
        return getattr(model, name)()
    except Exception:  # noqa: BLE001 models without say so in several ways
        return None


def fill(model, seed):
    """Random values for all that is trained."""
    import models

    for name, parameter, noise in models.noise_for(model, seed, models.is_trained):
        if "magnitude" in name:
            parameter.data *= 1 + 0.2 * noise
        elif "lora_" in name:
            parameter.data.copy_(noise * (0.3 if ("lora_A" in name or "embedding_B" in name) else 0.2))
        else:
            parameter.data += 0.2 * noise


def randomise(model, seed):
    """Random values of a usual size for the base."""
    import models

    for _, parameter, noise in models.noise_for(model, seed):
        scale = 0.2 if parameter.ndim > 1 else 0.1
        parameter.data.copy_(parameter.data * (parameter.ndim == 1) + scale * noise)


def attempt(tally, tools, cls, kind, tied, directory, seed):
    """One class, one kind of adapter. Returns a word on how it went."""
    import torch
    from peft import LoraConfig, PeftModel, get_peft_model

    label = f"{cls.__name__} {kind}" + {True: " tied", False: " untied", None: ""}[tied]
    try:
        torch.manual_seed(seed)
        model = cls(configure(cls, tied)).eval()
        randomise(model, seed)
        model.save_pretrained(directory / "base")
        model = cls.from_pretrained(directory / "base").eval()
        found = settings(kind, model)
        if found is None:
            return "no sense"
        options, more = found
        if more:
            model.resize_token_embeddings(96 + more, mean_resizing=False)
        wrapped = get_peft_model(model, LoraConfig(r=3, lora_alpha=6, **options))
        fill(wrapped, seed + 1)
        wrapped.save_pretrained(directory / "adapter")
        batch = inputs(model, seed)
        wanted = logits(wrapped.eval(), batch)
        model = cls.from_pretrained(directory / "base").eval()
        if more:
            model.resize_token_embeddings(96 + more, mean_resizing=False)
        again = logits(PeftModel.from_pretrained(model, directory / "adapter").eval(), batch)
        plain = logits(cls.from_pretrained(directory / "base").eval(), batch)
    except Exception as error:  # noqa: BLE001 what the libraries cannot do is no case
        return f"not made: {type(error).__name__}: {str(error)[:90]}"
    answer = tools.merge(directory / "base", [(directory / "adapter", 1.0)], directory / "out")
    if answer.code != 0:
        fine = answer.code == 1 and "error:" in answer.err
        tally.check(fine, f"{label}: refused with a reason", f"exit {answer.code}: {answer.text}")
        errors = [line for line in answer.err.splitlines() if "error:" in line]
        return "refused: " + errors[0].partition("error: ")[2].replace(str(directory), "")[:230]
    try:
        merged, about = cls.from_pretrained(directory / "out", output_loading_info=True)
        odd = {k: sorted(map(str, v))[:3] for k, v in about.items() if v and k != "error_msgs"}
        tally.check(not odd, f"{label}: no missing or unexpected keys", str(odd))
        got = logits(merged.eval(), batch)
    except Exception as error:  # noqa: BLE001
        tally.check(False, f"{label}: from_pretrained", f"{type(error).__name__}: {str(error)[:300]}")
        return "FAILED"
    change = float((wanted - plain[..., : wanted.shape[-1]]).abs().max()) if plain.shape == wanted.shape else 1.0
    worst = float((got - wanted).abs().max() / wanted.abs().max()) if got.shape == wanted.shape else 9.0
    if float((again - wanted).abs().max()) > 1e-3:
        label += " (PEFT loads another function)"
    fine = tally.check(worst < 1e-4, f"{label}: logits of base + adapter", f"differ by {worst:.3g} of the largest")
    return ("ok" if change > 1e-4 else "ok, but the adapter changes nothing") if fine else "FAILED"


def run(options):
    """Everything; returns the exit status."""
    import build
    import transformers
    from tools import Tally, Tools

    build.quiet()
    tools, tally = Tools(options.bin), Tally()
    kinds = options.kinds.split(",") if options.kinds else KINDS
    classes = QUICK + (MORE if options.full or options.only else [])
    chooser = random.Random(options.seed)
    print(f"seed {options.seed}", flush=True)
    for name in classes:
        cls = getattr(transformers, name, None)
        if cls is None or options.only not in name:
            continue
        chosen = kinds if options.full or options.kinds else ["all-linear"] + chooser.sample(kinds[1:], 4)
        for kind in chosen:
            ties = [None] if kind in ("all-linear", "dora", "bias") else [True, False]
            for tied in ties:
                directory = Path(tempfile.mkdtemp())
                try:
                    word = attempt(tally, tools, cls, kind, tied, directory, options.seed)
                finally:
                    shutil.rmtree(directory, ignore_errors=True)
                if options.verbose or options.full:
                    print(f"{name:36} {kind:15} {json.dumps(tied):6} {word}", flush=True)
    print(f"{tally.passed} passed, {tally.failed} failed")
    return 1 if tally.failed else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True, help="directory of the built tools")
    parser.add_argument("--only", default="", help="classes whose name contains this")
    parser.add_argument("--kinds", default="", help=f"of {', '.join(KINDS)}")
    parser.add_argument("--full", action="store_true", help="more classes, all kinds, and a line for each case")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--verbose", action="store_true", help="a line for each case")
    return run(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
