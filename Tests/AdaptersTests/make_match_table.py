"""Writes match-table.json: what Python's `re` and PEFT 0.21.2 say about patterns, targets and module paths.

    python Tests/AdaptersTests/make_match_table.py        # needs peft

`patterns` are keys of rank_pattern and alpha_pattern (peft.utils.other.get_pattern_key), `targets` are configs
(peft.tuners.tuners_utils.check_target_module_exists); each comes with the numbers of the paths that it matches.
"""

import json
import pathlib
import re

from peft import LoraConfig
from peft.tuners.tuners_utils import check_target_module_exists
from peft.utils.other import get_pattern_key

PATHS = [
    "model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.q_proj", "model.layers.10.self_attn.q_proj",
    "model.layers.1.self_attn.v_proj", "model.layers.11.self_attn.o_proj", "model.layers.2.mlp.gate_proj",
    "model.layers.2.mlp.experts.0.w1", "model.layers.2.mlp.experts.12.w3", "model.language_model.layers.3.mlp.down_proj",
    "model.visual.blocks.3.attn.qkv", "transformer.h.1.attn.c_attn", "h.1.q_proj", "h.11.q_proj", "h.1.attn.q_proj",
    "q_proj", "xq_proj", "q_proj_extra", "model.q_proj.base", "lm_head", "model.embed_tokens", "score", "classifier.dense",
    "encoder.block.0.layer.0.SelfAttention.q", "decoder.block.0.layer.1.EncDecAttention.q", "base.q-proj", "base.qXproj",
    "unet.down_blocks.0.attentions.1.to_out.0", "model.layers.5.self_attn.Q_PROJ", "model.layers.5", "a.b.c", "aXbXc",
    "model.layers.7.self attn.q_proj", "modèle.q_proj", "layers.3.q_proj", "x.layers.3.q_proj", "layer.4.layers.3.q_proj",
]

PATTERNS = [
    "q_proj", "self_attn.q_proj", "layers.1.self_attn.q_proj", "model.layers.1.self_attn.q_proj", "proj", "q.proj", "a.b.c",
    "h.1.q_proj", "^h.1.q_proj", "^q_proj", "^model.*q_proj", "q_proj$", "(q|v)_proj", "q_proj|v_proj", "q_proj|^h.*",
    "[qv]_proj", "[^q]_proj", "[a-p]_proj", r"layers\.\d+\.self_attn\.q_proj", r"layers\.\d\.self_attn\.[qkvo]_proj",
    r"layers\.(0|1|2)\..*", r"layers\.1\d\..*", r"layers\.[0-9]{2}\..*", r"layers\.\d{1,2}\.mlp\..*", r".*\.q_proj", ".*",
    ".*q_proj", r"\w+", r"\w+_proj", r"\w+\.q_proj", r"(?!.*visual).*qkv", r"(?!.*layers\.1\.).*q_proj",
    r"(?=.*layers)[a-z_.0-9]+q_proj", r"layers\.(?!1\.)\d+\.self_attn\.q_proj", r"(?:self_attn|mlp)\.\w+", r"experts\.\d+\.w[13]",
    r"\bq_proj\b", r"self\s?attn.q_proj", r"\S+q_proj", r"(?i)q_proj", r"(?i:Q)_PROJ", "q_proj.*", "q_proj?", "q+_proj",
    "x*q_proj", r"\.q_proj", r"h\.[1-5]\.(?:attn\.)?q_proj", r"(\w)_pro\w", r"(\w)\w*\.\1_proj", r"layers\.([0-4])\.\w+\.\w+",
    r"q\-proj", r"q[-_]proj", r"[q][_]proj", r"[\w.]+c_attn", "to_out.0", r"to_out\.\d", r"(?P<n>\d+)\.mlp\.\w+", "q_proj{1}",
    r"q_proj(?<!x)", r"(?<=\.)q_proj", r"(?<!self_attn\.)q_proj", r"\Aq_proj", r"q_proj\Z", "(q_proj)?", "", ".", r"\d+",
    "mod.le.q_proj", "modèle.q_proj", "[^.]+", r"[^\W\d]+", "lm_head|score", "(lm_head|score)", r"[\d]+\.self_attn\.\w+",
    r"a\.b\.c", "A.B.C", r"(a.){2}c", r"[a-c](?:.[a-c])*", r"(?:[a-z]+\.)*q_proj", r"q_proj\b.*", r"\Bq_proj", r"[.]q_proj",
    "(", "[", "*", "a{2,1}", r"\q", "(?<n>a)", r"(?<=attn\.)q_proj", r"(?<!attn\.)q_proj", r"(?<=layers\.\d)\..*", r"(?<=x|yy)q",
    "[[q]_proj", "[]q]_proj", "[q&&v]_proj", "[a--z]_proj", "[q||v]_proj", "[q~~]_proj", "[[:alpha:]]_proj", r"[\]q]_proj",
    "(?s).*", "q{,1}_proj", "q_proj{", "q_proj{x}", "q_{0}proj", r"\x71_proj", r"\u0071_proj", "(?i)Q_PROJ", "(?P<a>q)_proj",
    ".*.*.*.*.*.*.*.*x", "(a+)+b", "(?:(?:q|v)*)*_proj", r"[\w-]+", r"[-q]_proj", r"[q-]_proj", r"[a-\d]", r"[\d-z]_proj",
    "q_proj++", "(?>q)_proj", "(?(1)a|b)", "q**", "q_proj*?", "^*q_proj", "$q", r"\0", r"q\_proj", "(?#no)q_proj", "a|", "|q_proj",
    "(?=q)q_proj", "(?!q).*_proj", "(?:)q_proj", "()q_proj", r"(?<=\b)q_proj", "x{2}", "[^]q]_proj", r"\Z", r"(?-i:Q)_PROJ",
]

TARGETS = [
    dict(target_modules=["q_proj", "v_proj"]), dict(target_modules=["self_attn.q_proj"]), dict(target_modules=["proj"]),
    dict(target_modules=["model.layers.1.self_attn.q_proj"]), dict(target_modules=["1.self_attn.q_proj", "lm_head"]),
    dict(target_modules=["q.proj"]), dict(target_modules=r".*\.q_proj"), dict(target_modules="q_proj"),
    dict(target_modules=r"q_proj|h\.1\.q_proj"), dict(target_modules=r".*layers\.[0-5]\..*(q|v)_proj"),
    dict(target_modules=r".*\b(q_proj|w1)\b"), dict(target_modules=r"(?!.*visual).*"), dict(target_modules=r"model\..*_proj$"),
    dict(target_modules=["q_proj"], exclude_modules=["layers.1.self_attn.q_proj"]),
    dict(target_modules=["q_proj"], exclude_modules=r"model\.layers\.1.*"), dict(target_modules=["q_proj"], exclude_modules=["q_proj"]),
    dict(target_modules=["q_proj", "score", "dense", "lm_head"], modules_to_save=["score", "classifier"]),
    dict(target_modules=["q_proj", "embed_tokens"], modules_to_save=["embed.tokens"]),
    dict(target_modules=".*", modules_to_save=["layers.1"]), dict(target_modules=["q_proj"], layers_to_transform=[1, 3]),
    dict(target_modules=["q_proj"], layers_to_transform=1), dict(target_modules=["q_proj", "h.1.q_proj"], layers_to_transform=[0]),
    dict(target_modules=["q_proj"], layers_to_transform=[]), dict(target_modules=["w1", "w3", "0"], layers_to_transform=[2]),
    dict(target_modules=["q_proj"], layers_to_transform=[1, 3], layers_pattern="h"),
    dict(target_modules=["q_proj"], layers_to_transform=[1, 3], layers_pattern=["h", "layers"]),
    dict(target_modules=["q_proj"], layers_to_transform=[3], layers_pattern=["layers"]),
    dict(target_modules=["q_proj"], layers_to_transform=[3, 4], layers_pattern=r"layers?"),
    dict(target_modules=["q_proj"], layers_to_transform=[1], layers_pattern=r"(?:h|layers)"),
    dict(target_modules=["q_proj"], layers_to_transform=[1], layers_pattern=r"(h|layers)"),
    dict(target_modules=["q_proj"], layers_to_transform=[1], layers_pattern=[]), dict(target_modules=[]),
    dict(target_modules=["q", "qkv", "c_attn"]), dict(target_modules=["attn.q_proj"], exclude_modules=["h.1.attn.q_proj"]),
]


def matched_by_key(key):
    try:
        return [n for n, path in enumerate(PATHS) if re.match(rf"(.*\.)?({key})$", path)]
    except re.error:
        return None


def main():
    for key in PATTERNS:
        for n in matched_by_key(key) or []:
            assert get_pattern_key([key], PATHS[n]) == key
    targets = []
    for fields in TARGETS:
        config = LoraConfig(peft_type="LORA", **fields)
        # The config holds sets; the table keeps what was given.
        found = [n for n, path in enumerate(PATHS) if check_target_module_exists(config, path)]
        targets.append({"config": {"peft_type": "LORA", **fields}, "matches": found})
    table = {
        "paths": PATHS,
        "patterns": [{"key": key, "matches": matched_by_key(key)} for key in PATTERNS],
        "targets": targets,
    }
    text = json.dumps(table, ensure_ascii=False)
    text = text.replace('"patterns"', '\n"patterns"').replace('"targets"', '\n"targets"').replace("{\"key\"", "\n{\"key\"")
    text = text.replace('{"config"', '\n{"config"')
    pathlib.Path(__file__).with_name("match-table.json").write_text(text + "\n")


main()
