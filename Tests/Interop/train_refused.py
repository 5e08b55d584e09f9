"""Inputs and options that adapter-train must refuse: one clear error, the right exit status, and nothing written."""

import json
import os
import resource
import shutil
import signal
import subprocess

import torch
from safetensors.torch import load_file, save_file

from train_methods import texts


class Refusals:
    """Runs that must fail."""

    def __init__(self, trainer, seed):
        self.trainer, self.tally = trainer, trainer.tally
        _, self.data, _, self.held = texts(trainer, "llama", seed)
        self.text = self.file(".txt", b"some text to train on, not long")

    def file(self, suffix, contents):
        """A file with these bytes, or tensors."""
        path = self.trainer.place(suffix)
        if isinstance(contents, dict):
            save_file(contents, str(path))
        else:
            path.write_bytes(contents)
        return path

    def base(self, name="llama", config=None, tensors=None, drop=(), keep_config=True):
        """A copy of a base with another config or other tensors."""
        path = self.trainer.place()
        shutil.copytree(self.trainer.bases.path(name), path)
        fields = json.loads((path / "config.json").read_text()) | (config or {})
        (path / "config.json").write_text(json.dumps({k: v for k, v in fields.items() if v is not ...}))
        if not keep_config:
            (path / "config.json").unlink()
        if tensors or drop:
            file = path / "model.safetensors"
            values = load_file(str(file))
            values = {k: v for k, v in values.items() if k not in drop} | (tensors or {})
            save_file(values, str(file), metadata={"format": "pt"})
        return path

    def refuse(self, label, code, words, base, data, *options, most=1):
        """One run; `words` must be in its message, which has at most `most` errors."""
        label = f"refused {label}"
        place = self.trainer.place()
        place.mkdir()
        answer = self.trainer.run(base, data, *options, output=place / "out")
        errors = [line for line in answer.err.splitlines() if "error:" in line]
        self.tally.check(answer.code == code, f"{label}: exit status {code}", f"{answer.code}: {answer.text}")
        words = [words] if isinstance(words, str) else words
        said = all(word in answer.err for word in words)
        self.tally.check(said and 0 < len(errors) <= most, f"{label}: an error that says {words}", answer.err)
        self.tally.check(not os.listdir(place), f"{label}: nothing is written", str(os.listdir(place)))


def refusals(trainer, seed, only, quick):
    """All of them."""
    if only not in "refused":
        return
    cases = Refusals(trainer, seed)
    bases(cases)
    data(cases)
    options(cases)
    places(cases)
    full_disk(cases)


def bases(cases):
    """Bases that are of no use."""
    head = "lm_head.weight"
    q = "model.layers.1.self_attn.q_proj.weight"
    ids, long = cases.data, ["--length", 200]
    cases.refuse("another family", 1, "gpt2", cases.base(config={"model_type": "gpt2"}), ids)
    cases.refuse("no model type", 1, "model_type", cases.base(config={"model_type": ...}), ids)
    cases.refuse("another activation", 1, "gelu", cases.base(config={"hidden_act": "gelu"}), ids)
    quantized = {"quantization_config": {"quant_method": "gptq", "bits": 4}}
    cases.refuse("quantized", 1, "quantized", cases.base(config=quantized), ids)
    cases.refuse("no config", 66, "config.json", cases.base(keep_config=False), ids)
    cases.refuse("wrong shape", 1, [q, "[31, 32]"], cases.base(tensors={q: torch.zeros(31, 32)}), ids)
    cases.refuse("a missing tensor", 1, [q, "missing"], cases.base(drop=[q]), ids)
    cases.refuse("no head", 1, head, cases.base(drop=[head]), ids)
    extra = {"model.layers.0.self_attn.q_norm.weight": torch.ones(8)}
    cases.refuse("an unexpected tensor", 1, "q_norm", cases.base(tensors=extra), ids)
    cases.refuse("8-bit weights", 1, q, cases.base(tensors={q: torch.zeros(32, 32, dtype=torch.int8)}), ids)
    for bad in (float("nan"), float("inf")):
        value = torch.zeros(32, 32)
        value[3, 5] = bad
        cases.refuse(f"a weight of {bad}", 1, [q, "finite", "[3, 5]"], cases.base(tensors={q: value}), ids, *long)
    cases.refuse("another size", 1, "model.", cases.base(config={"hidden_size": 48}), ids, most=50)
    cases.refuse("heads that do not fit", 65, "heads", cases.base(config={"num_key_value_heads": 3}), ids)
    cases.refuse("no layers", 65, "num_hidden_layers", cases.base(config={"num_hidden_layers": 0}), ids)
    cases.refuse("a config with a text", 65, "vocab_size", cases.base(config={"vocab_size": "many"}), ids)
    window = {"layer_types": ["sliding_attention", "full_attention"] * 2}
    cases.refuse("layer types that contradict", 1, "layer_types", cases.base("qwen2-window", config=window), ids)
    yarn = {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4, "factor": 2.0}}
    cases.refuse("another rotary embedding", 1, "yarn", cases.base(config=yarn), ids)
    cases.refuse("no base", 66, "nowhere", cases.trainer.directory / "nowhere", ids)
    cut = cases.base()
    file = cut / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    cases.refuse("a base that is cut", 65, "model.safetensors", cut, ids)
    broken = cases.base()
    (broken / "config.json").write_text("{")
    cases.refuse("a config that is no JSON", 65, "config.json", broken, ids)


def data(cases):
    """Data that nothing can be learned from."""
    text, ids = "llama-bytes", "llama"
    cases.refuse("no data", 66, "nowhere", ids, cases.trainer.directory / "nowhere.jsonl")
    cases.refuse("empty text", 65, "empty", text, cases.file(".txt", b""))
    cases.refuse("one byte", 65, "no token", text, cases.file(".txt", b"x"))
    cases.refuse("binary data", 65, "not text", text, cases.file(".txt", b"ab\0cd"))
    cases.refuse("no tokenizer", 66, "tokenizer.json", ids, cases.text)
    cases.refuse("blank lines", 65, "no token", text, cases.file(".jsonl", b"\n\n \n"))
    lines = {
        "no JSON": (b'{"text": "ab"}\n{"text": ', "line 2"),
        "a list of texts": (b'["a", "b"]', "line 1"),
        "two names of ids": (b'{"ids": [1, 2], "tokens": [1, 2]}', ["ids", "tokens", "line 1"]),
        "no known field": (b'{"question": "a"}', "line 1"),
        "a number as text": (b'{"text": 5}', "line 1"),
        "a prompt alone": (b'{"prompt": "a"}', "line 1"),
        "an empty completion": (b'{"prompt": "a", "completion": ""}', "empty completion"),
        "ids with a fraction": (b'{"input_ids": [3, 4.5]}', "line 1"),
        "ids as text": (b'{"input_ids": "34"}', "line 1"),
        "labels of another number": (b'{"input_ids": [3, 4, 5], "labels": [3, 4]}', "labels"),
    }
    for label, (line, word) in lines.items():
        cases.refuse(label, 65, word, text, cases.file(".jsonl", line))
    cases.refuse("an id outside", 1, ["61", "line 1"], ids, cases.file(".jsonl", b'{"input_ids": [3, 61]}'))
    cases.refuse("a negative id", 1, "-1", ids, cases.file(".jsonl", b'{"input_ids": [3, -1]}'))
    line = b'{"input_ids": [3, 4], "labels": [3, 99]}'
    cases.refuse("a label outside", 1, "99", ids, cases.file(".jsonl", line))
    line = b'{"input_ids": [3, 4], "labels": [-100, -100]}'
    cases.refuse("labels of which none counts", 65, "no token", ids, cases.file(".jsonl", line))
    line = b'{"input_ids": [' + b", ".join([b"5"] * 40) + b"]}"
    cases.refuse("a line beyond --length", 65, ["39", "--truncate"], ids, cases.file(".jsonl", line), "--length", 20)
    good = torch.full((2, 6), 4)
    left = torch.tensor([[0, 1, 1, 1, 1, 1]] * 2)
    tensors = {
        "another name": ({"numbers": good}, 65, "input_ids"),
        "floats": ({"input_ids": good.float()}, 65, "F32"),
        "three dimensions": ({"input_ids": good[None]}, 65, "[1, 2, 6]"),
        "an id outside in a file": ({"input_ids": good + 57}, 1, "61"),
        "labels of another shape": ({"input_ids": good, "labels": good[:1].clone()}, 65, "labels"),
        "padding on the left": ({"input_ids": good, "attention_mask": left}, 1, "mask"),
        "no ids": ({"input_ids": torch.zeros(0, 5, dtype=torch.int64)}, 65, "no"),
    }
    for label, (value, code, word) in tensors.items():
        cases.refuse(label, code, word, ids, cases.file(".safetensors", value))
    cases.refuse("a file that is none", 65, ".safetensors", ids, cases.file(".safetensors", b"not a header at all"))
    cases.refuse("too long a --length", 1, ["256", "--length"], ids, cases.data, "--length", 300)
    cases.refuse("held-out text that is empty", 65, "empty", ids, cases.data, "--validation", cases.file(".jsonl", b""),
                 "--length", 200)  # fmt: skip
    cases.refuse("all held out", 64, "held out", ids, cases.file(".jsonl", b'{"input_ids": [3, 4, 5]}'),
                 "--validation-share", 0.5)  # fmt: skip


def options(cases):
    """Options that make no sense."""
    table = [
        ("unknown targets", "q_prog", ["--targets", "q_proj,q_prog"]),
        ("no targets", "no module", ["--targets", ","]),
        ("a target that is saved", "q_proj", ["--modules-to-save", "q_proj"]),
        ("an unknown module to save", "score", ["--modules-to-save", "score"]),
        ("a layer that is not there", "4", ["--layers", "1,4"]),
        ("too many layers", "4", ["--layers", "last:5"]),
        ("layers in words", "first", ["--layers", "first"]),
        ("a range that falls", "3-1", ["--layers", "3-1"]),
        ("an open range", "1-", ["--layers", "1-"]),
        ("a negative layer", "-1", ["--layers", "-1"]),
        ("rank 0", "--rank", ["--rank", 0]),
        ("dropout 1", "--dropout", ["--dropout", 1]),
        ("a rate that is no number", "--learning-rate", ["--learning-rate", "nan"]),
        ("a negative rate", "--learning-rate", ["--learning-rate=-1"]),
        ("no steps", "--steps", ["--steps", 0]),
        ("steps and epochs", "--steps", ["--steps", 3, "--epochs", 2]),
        ("an unknown schedule", "sine", ["--schedule", "sine"]),
        ("patience without held-out text", "--patience", ["--patience", 3]),
        ("resuming without checkpoints", "--checkpoint-every", ["--resume"]),
        ("two held-out texts", "--validation", ["--validation", cases.held, "--validation-share", 0.1]),
        ("prefix of some layers", "prefix", ["--method", "prefix", "--layers", "last:1"]),
        ("an unknown option", "--lr", ["--lr", 1]),
    ]  # fmt: skip
    for label, word, given in table:
        cases.refuse(label, 64, word, "llama", cases.data, "--length", 200, *given)
    own = {
        "full": ["--targets q_proj", "--rank 4", "--alpha 3", "--dropout 0.1", "--dora", "--rslora", "--modules-to-save norm",
                 "--bottleneck 3", "--prefix-length 3"],
        "lora": ["--bottleneck 3", "--prefix-length 3", "--layer-decay 0.5", "--unfreeze-every 3", "--save-as model",
                 "--dtype float32"],
        "bottleneck": ["--rank 3", "--dora", "--prefix-length 3", "--save-as archive"],
        "prefix": ["--bottleneck 3", "--targets q_proj", "--layer-decay 0.5"],
    }  # fmt: skip
    for method, foreign in own.items():
        for option in foreign:
            words = [option.split()[0], f"--method {method}"]
            cases.refuse(f"{option} with {method}", 64, words, "llama", cases.data, "--method", method, *option.split())
    cases.refuse("a prefix with a window", 1, "window", "mistral", cases.data, "--method", "prefix", "--length", 200)
    starts(cases)


def starts(cases):
    """Adapters that training cannot go on from."""
    trainer = cases.trainer
    made = trainer.train("an adapter to start from", "llama", cases.data, "--length", 200, "--steps", 1, "--rank", 4)
    if not made:
        return
    for label, given in {"another rank": ["--rank", 5], "more targets": ["--rank", 4, "--targets", "linear"],
                         "fewer layers": ["--rank", 4, "--layers", "last:1"],
                         "no DoRA": ["--rank", 4, "--dora"]}.items():  # fmt: skip
        cases.refuse(f"--from with {label}", 1, "lora_", "llama", cases.data, "--length", 200, "--from", made.output, *given)
    cases.refuse("--from nothing", 66, "nowhere", "llama", cases.data, "--length", 200, "--from", trainer.directory / "nowhere")
    cases.refuse("--from with full", 64, "--from", "llama", cases.data, "--method", "full", "--from", made.output)
    bad = trainer.place()
    shutil.copytree(made.output, bad)
    file = bad / "adapter_model.safetensors"
    values = load_file(str(file))
    next(iter(values.values()))[0, 0] = float("nan")
    save_file(values, str(file))
    cases.refuse("--from with NaN", 1, "finite", "llama", cases.data, "--length", 200, "--from", bad, "--rank", 4)
    scaled = trainer.place()
    shutil.copytree(made.output, scaled)
    config = json.loads((scaled / "adapter_config.json").read_text()) | {"use_rslora": True}
    (scaled / "adapter_config.json").write_text(json.dumps(config))
    cases.refuse("--from with another scale", 1, "scale", "llama", cases.data, "--length", 200, "--from", scaled, "--rank", 4)


def places(cases):
    """Outputs that are there, or cannot be."""
    trainer, tally = cases.trainer, cases.tally
    place = trainer.place()
    place.mkdir()
    (place / "keep").write_text("mine")
    for label, method in {"a directory": [], "an archive": ["--method", "full"]}.items():
        answer = trainer.run("llama", cases.data, "--length", 200, "--steps", 1, *method, output=place)
        tally.check(answer.code == 73, f"refused {label} that exists: exit status 73", f"{answer.code} {answer.text}")
        tally.check((place / "keep").read_text() == "mine", f"refused {label} that exists: it stays")
    answer = trainer.run("llama", cases.data, "--length", 200, "--steps", 1, output=place / "no" / "out")
    tally.check(answer.code == 73, "refused a place that is not there: exit status 73", answer.text)
    for what in ("--metrics", "--plot", "--report"):
        cases_file = trainer.place(".svg")
        cases_file.write_text("mine")
        answer = trainer.run("llama", cases.data, "--length", 200, "--steps", 1, what, cases_file, output=trainer.place())
        tally.check(answer.code == 73 and cases_file.read_text() == "mine", f"refused {what} that exists", answer.text)
    base = cases.base()
    before = {p: p.read_bytes() for p in base.iterdir()}
    for out in (base, base / "adapter"):
        answer = trainer.run(base, cases.data, "--length", 200, "--steps", 1, "--force", output=out)
        tally.check(answer.code in (64, 73), "refused an output in the base", f"{answer.code} {answer.text}")
        tally.check({p: p.read_bytes() for p in base.iterdir()} == before, "refused an output in the base: it stays")
    copy = trainer.place(".safetensors")
    copy.write_bytes(cases.data.read_bytes())
    for what, data in ((copy, copy), (base / "model.safetensors", cases.data), (base / "gradients", cases.data)):
        answer = trainer.run(base, data, "--length", 200, "--gradients", what, "--force")
        kept = copy.read_bytes() == cases.data.read_bytes() and {p: p.read_bytes() for p in base.iterdir()} == before
        tally.check(answer.code == 73 and kept, "refused gradients in place of an input", f"{answer.code} {answer.text}")
    config = cases.file(".json", (base / "config.json").read_bytes().replace(b'"vocab_size": 61', b'"vocab_size": 256'))
    answer = trainer.tools.run(
        "adapter-train", "pretrain", config, "--data", cases.text, "-o", trainer.place(), "--patience", 2)
    tally.check(answer.code == 64, "refused pretrain with patience alone", f"{answer.code} {answer.text}")
    checkpoint = trainer.place()
    (checkpoint.parent / (checkpoint.name + ".checkpoint")).write_bytes(b"not a checkpoint")
    answer = trainer.run("llama", cases.data, "--length", 200, "--checkpoint-every", 2, output=checkpoint)
    tally.check(answer.code == 73, "refused an old checkpoint", answer.text)
    answer = trainer.run("llama", cases.data, "--length", 200, "--checkpoint-every", 2, "--resume", output=checkpoint)
    tally.check(answer.code == 65, "refused a checkpoint that is none", f"{answer.code} {answer.text}")
    other_run(cases)


def other_run(cases):
    """A checkpoint of a run with other options, data or base."""
    trainer, tally = cases.trainer, cases.tally
    out = trainer.place()
    options = ["--length", 200, "--steps", 400, "--checkpoint-every", 2, "--threads", 1]
    command = [
        str(trainer.tools.directory / "adapter-train"), str(trainer.bases.path("llama")), "--data", str(cases.data),
        "-o", str(out), *map(str, options),
    ]  # fmt: skip
    checkpoint = out.parent / (out.name + ".checkpoint")
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
        while run.poll() is None and not checkpoint.exists():
            pass
        run.kill()
    for label, base, data, given in [
        ("another seed", "llama", cases.data, ["--seed", 4]), ("another rank", "llama", cases.data, ["--rank", 3]),
        ("other data", "llama", cases.held, []), ("another base", "llama-biases", cases.data, []),
        ("another decay", "llama", cases.data, ["--weight-decay", 0.5]), ("another method", "llama", cases.data, ["--method", "prefix"]),
    ]:  # fmt: skip
        answer = trainer.run(base, data, *options, "--resume", *given, output=out)
        fine = answer.code == 1 and "another" in answer.err and not out.exists()
        tally.check(fine, f"refused to go on with {label}", f"{answer.code} {answer.text}")
    content = checkpoint.read_bytes()
    checkpoint.write_bytes(content[:-7])
    answer = trainer.run("llama", cases.data, *options, "--resume", output=out)
    tally.check(answer.code == 65 and not out.exists(), "refused to go on from a cut checkpoint", answer.text)


def full_disk(cases):
    """Files cannot grow beyond a limit: it says so, and nothing half-written stays."""
    trainer, tally = cases.trainer, cases.tally
    ways = {
        "lora": [], "archive": ["--method", "full"], "model": ["--method", "full", "--save-as", "model"],
        "adapter": ["--method", "full", "--save-as", "adapter"], "cache": ["--cache-limit", 0],
        "checkpoint": ["--checkpoint-every", 1],
    }  # fmt: skip
    for name, method in ways.items():
        for limit in (0, 3000, 15000):
            place = trainer.place()
            place.mkdir()

            def fewer(limit=limit):
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

            command = [
                str(trainer.tools.directory / "adapter-train"), str(trainer.bases.path("llama")), "--data",
                str(cases.data), "-o", str(place / "out"), "--length", "200", "--steps", "2", *map(str, method),
            ]  # fmt: skip
            run = subprocess.run(
                command, capture_output=True, text=True, timeout=120, check=False, preexec_fn=fewer)  # noqa: PLW1509
            label = f"refused full disk {name} {limit}"
            tally.check(run.returncode in (73, 74) and "error:" in run.stderr, f"{label}: it says so",
                        f"{run.returncode} {run.stderr}")  # fmt: skip
            left = os.listdir(place)
            tally.check(not left or left == ["out.checkpoint"], f"{label}: nothing half-written", str(left))
