"""The same command gives the same bytes: whole, in pieces, and after a kill; and looks at held-out text."""

import json
import os
import signal
import subprocess
import time

import torch
import transformers
from safetensors.torch import load_file

from train_checks import close_losses
from train_methods import contents, texts
from train_models import mean_loss, quiet
from train_runs import Written


METHODS = {
    "lora": ["--dropout", 0.1, "--layers", "last:1"],
    "dora": ["--dora", "--dropout", 0.2, "--layers", "last:2", "--targets", "linear"],
    "saved": ["--modules-to-save", "embed_tokens,norm", "--layers", "2"],
    "head": ["--modules-to-save", "lm_head", "--layers", "3", "--targets", "down_proj"],
    "bottleneck": ["--method", "bottleneck", "--layers", "last:2"],
    "prefix": ["--method", "prefix"],
    "full": ["--method", "full", "--layers", "last:2"],
    "slow": ["--method", "full", "--layers", "all", "--unfreeze-every", 4, "--layer-decay", 0.7, "--save-as", "model"],
}


def bytes_of(path):
    """All bytes of an output."""
    return contents(path) if path.is_dir() else path.read_bytes()


def same_bytes(trainer, seed, only, quick):
    """The same bytes when run twice, and with each way to keep frozen states."""
    for name, method in METHODS.items():
        label = f"bytes {name}"
        if only not in label or (quick and name not in ("dora", "full")):
            continue
        _, data, _, held_file = texts(trainer, "llama-bf16", seed)
        options = [*method, "--epochs", 3, "--batch", 4, "--length", 200, "--seed", 5, "--threads", 2]
        found = {}
        ways = [[], [], ["--no-cache"], ["--cache-limit", 0], ["--cache-limit", "20KB"]]
        for way in ways:
            place = trainer.place()
            place.mkdir()
            answer = trainer.run(
                "llama-bf16", data, *options, *way, "--validation", held_file, output=place / "out")
            if trainer.tally.check(answer.code == 0, f"{label} {way}: it trains", answer.text):
                found[f"{way} {len(found)}"] = bytes_of(place / "out")
                trainer.tally.check(os.listdir(place) == ["out"], f"{label} {way}: nothing is left", str(os.listdir(place)))
        trainer.tally.check(all(f == next(iter(found.values())) for f in found.values()), f"{label}: the same bytes")


def killed(trainer, seed, only, quick):
    """A run that is stopped and goes on gives the bytes of one that is not."""
    for number, (name, method) in enumerate(METHODS.items()):
        for kind in (signal.SIGTERM, signal.SIGKILL, signal.SIGINT):
            label = f"killed {name} {kind.name}"
            if only not in label or (quick and (name, kind.name) not in {("dora", "SIGKILL"), ("full", "SIGTERM")}):
                continue
            stop(trainer, label, method, kind, seed + number)


def stop(trainer, label, method, kind, seed):
    """Stops a run a few times, then lets it go on to its end."""
    tally = trainer.tally
    _, data, _, held_file = texts(trainer, "llama-bf16", seed)
    options = [
        *method, "--steps", 60, "--batch", 3, "--length", 200, "--seed", 5, "--threads", 1, "--validation", held_file,
        "--validate-every", 7, "--checkpoint-every", 4,
    ]  # fmt: skip
    one, two = trainer.place(), trainer.place()
    one.mkdir()
    two.mkdir()
    answer = trainer.run("llama-bf16", data, *options, "--metrics", one / "metrics", output=one / "out")
    if not tally.check(answer.code == 0, f"{label}: the whole run", answer.text):
        return
    path = trainer.bases.path("llama-bf16")
    command = [
        str(trainer.tools.directory / "adapter-train"), str(path), "--data", str(data), "-o", str(two / "out"),
        "--metrics", str(two / "metrics"), *map(str, options),
    ]  # fmt: skip
    stops = 0
    for wait in (9, 23, 40):
        resume = ["--resume"] if (two / "out.checkpoint").exists() else []
        again = ["--force"] if (two / "metrics").exists() and not resume else []
        with subprocess.Popen(command + resume + again, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as run:
            while run.poll() is None and lines(two / "metrics") < wait:
                time.sleep(0.002)
            run.send_signal(kind)
            err = run.stderr.read().decode()
            code = run.wait()
        if code == 0:
            break
        stops += 1
        wanted = {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGKILL: -9}[kind]
        tally.check(code == wanted, f"{label}: exit status {wanted}", f"{code}: {err}")
        tally.check(not (two / "out").exists(), f"{label}: no output yet")
        if kind != signal.SIGKILL:
            tally.check("--resume" in err, f"{label}: it says how to go on", err)
    if code != 0:
        resume = ["--resume"] if (two / "out.checkpoint").exists() else ["--force"]
        run = subprocess.run(command + resume, capture_output=True, text=True, timeout=120, check=False)
        tally.check(run.returncode == 0, f"{label}: it goes on to the end", run.stderr)
    tally.check(stops > 0, f"{label}: it was stopped")
    same = (two / "out").exists() and bytes_of(one / "out") == bytes_of(two / "out")
    tally.check(same, f"{label}: the bytes of a run that was not stopped")
    tally.check(steps_of(one / "metrics") == steps_of(two / "metrics"), f"{label}: the same metrics",
                f"{steps_of(one / 'metrics')}\n{steps_of(two / 'metrics')}"[-1500:])  # fmt: skip
    left = [n for n in os.listdir(two) if n not in ("out", "metrics")]
    tally.check(not left or kind == signal.SIGKILL, f"{label}: nothing is left", str(left))


def lines(path):
    """How many lines a file has."""
    return path.read_text().count("\n") if path.exists() else 0


def steps_of(path):
    """The lines of metrics, without what depends on time or stops."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows if "checkpoint" not in row]


# MARK: Looks


def looks(trainer, seed, only, quick):
    """Held-out text, early stopping, the base's own text, and a base from nothing."""
    if only in "early stopping":
        early(trainer, seed, quick)
    if only in "retained and share":
        retained(trainer, seed)
    if only in "divergence":
        diverged(trainer, seed)
    if only in "pretrain":
        pretrained(trainer, seed, quick)


def early(trainer, seed, quick):
    """It stops when held-out text gets no better, and what is written is the best."""
    tally = trainer.tally
    _, data, _, held_file = texts(trainer, "llama", seed)
    ways = {"lora": ["--layers", "all"], "full": ["--method", "full", "--layers", "all", "--save-as", "model"]}
    for name, method in list(ways.items())[: 1 if quick else 2]:
        label = f"early stopping {name}"
        done = trainer.train(
            label, "llama", data, *method, "--steps", 200, "--learning-rate", 5e-3, "--schedule", "constant",
            "--validate-every", 2, "--patience", 3, "--length", 200, validation=held_file)  # fmt: skip
        if not done:
            continue
        tally.check(done.report["stopped_early"] and done.report["steps_done"] < 200, f"{label}: it stops")
        best = done.report["best_validation"]
        tally.check(done.report["validation_after"] == best <= done.report["validation_before"], f"{label}: it says the best")
        base, given = ("llama", ["--from", done.output, *method]) if name == "lora" else (done.output, [])
        found = trainer.loss(base, held_file, *given)
        ok = isinstance(found, float) and abs(found - best) < 1e-5
        tally.check(ok, f"{label}: what is written is the best", f"{found}, not {best}")
        waited = done.report["steps_done"] - done.report["best_step"]
        tally.check(waited == 6, f"{label}: after three looks", f"{waited} steps")


def retained(trainer, seed):
    """--retain is the loss on that text before and after; --validation-share takes the end of the text."""
    examples, data, held, held_file = texts(trainer, "qwen2", seed)
    done = trainer.train(
        "retained", "qwen2", data, "--retain", held_file, "--steps", 5, "--length", 200, "--validation-share", 0.3,
        "--layers", "all")  # fmt: skip
    if not done:
        return
    model = trainer.bases.model("qwen2")
    close_losses(trainer.tally, "retained: before", [done.report["retained_before"]], [mean_loss(model, held)])
    share = examples.part(slice(7, 10))
    close_losses(trainer.tally, "share: before", [done.report["validation_before"]], [mean_loss(model, share)])
    with quiet():
        from peft import PeftModel

        loaded = PeftModel.from_pretrained(model, str(done.output)).eval()
    close_losses(trainer.tally, "retained: after", [done.report["retained_after"]], [mean_loss(loaded, held)])
    close_losses(trainer.tally, "share: after", [done.report["validation_after"]], [mean_loss(loaded, share)])


def diverged(trainer, seed):
    """Where numbers end, the tool says so, exits with 1 and writes nothing."""
    tally = trainer.tally
    _, data, _, _ = texts(trainer, "llama", seed)
    ways = {
        "full": ["--method", "full", "--layers", "all", "--save-as", "model"],
        "lora": ["--alpha", 1e6, "--rank", 1, "--layers", "all", "--targets", "linear"],
        "bottleneck": ["--method", "bottleneck", "--layers", "all"],
    }
    for name, method in ways.items():
        place = trainer.place()
        place.mkdir()
        answer = trainer.run(
            "llama", data, *method, "--learning-rate", 1000, "--steps", 300, "--warmup", 0, "--clip", 0, "--length", 200,
            output=place / "out")  # fmt: skip
        label = f"divergence {name}"
        if answer.code == 0:
            # Norms and AdamW can keep numbers in bounds; then what is written must be finite.
            files = [load_file(str(path)) for path in (place / "out").glob("*.safetensors")]
            finite = all(value.isfinite().all() for file in files for value in file.values())
            tally.check(finite, f"{label}: what is written is finite")
            continue
        tally.check(answer.code == 1 and "diverged" in answer.err, f"{label}: it says so", answer.text)
        tally.check(not os.listdir(place), f"{label}: nothing is written", str(os.listdir(place)))


def pretrained(trainer, seed, quick):
    """A base from nothing is what transformers loads, with the same loss."""
    tally = trainer.tally
    kinds = {"llama": {"tie_word_embeddings": True}, "qwen2": {}, "mistral": {"sliding_window": 4}}
    for kind, extra in list(kinds.items())[: 1 if quick else 3]:
        label = f"pretrain {kind}"
        folder = trainer.place()
        folder.mkdir()
        fields = {
            "model_type": kind, "vocab_size": 256, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64, "hidden_act": "silu",
            "rms_norm_eps": 1e-5, **extra,
        }  # fmt: skip
        (folder / "config.json").write_text(json.dumps(fields))
        text = folder / "corpus.txt"
        text.write_bytes(b"abcabcabdabcabcabd. " * 60)
        answer = trainer.tools.run(
            "adapter-train", "pretrain", folder / "config.json", "--data", text, "-o", folder / "base", "--steps", 30,
            "--learning-rate", 1e-2, "--length", 32, "--validation", text, "--json", "--seed", seed)  # fmt: skip
        if not tally.check(answer.code == 0, f"{label}: it trains", answer.text):
            continue
        report = json.loads(answer.out)
        model, info = transformers.AutoModelForCausalLM.from_pretrained(
            str(folder / "base"), dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
        keys = [*info["missing_keys"], *info["unexpected_keys"]]
        tally.check(not keys, f"{label}: transformers finds all keys", str(keys))
        stream = list(text.read_bytes())
        blocks = [(stream[at : at + 33], 0) for at in range(0, len(stream) - 1, 32)]
        found = Written(trainer, model.eval()).loss(blocks)
        close_losses(tally, f"{label}: transformers' loss", [found], [report["best_validation"]])
        tally.check(report["last_loss"] < 0.5 * report["first_loss"], f"{label}: it learns", answer.out)

