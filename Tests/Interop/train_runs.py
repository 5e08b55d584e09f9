"""Forms of data, the course of a run, and that the same command gives the same bytes: whole, in pieces, and after a kill."""

import json
import os
import signal
import subprocess
import time

import torch
import transformers
from safetensors.torch import load_file, save_file

from train_checks import LENGTHS, Lora, close_gradients, close_losses, plain_name, start
from train_methods import contents, texts
from train_models import LAYERS, Course, Examples, gradients, load, mean_loss, quiet, sums, trained

PAIRS = [("The capital of X is", " Y."), ("2+2=", "4"), ("", "nothing before"), ("a longer prompt of more bytes: ", "é")]


def data_forms(trainer, seed, only, quick):
    """Text, prompts, prepared ids in several types: all are the targets that they should be."""
    if only not in "data forms":
        return
    tally = trainer.tally
    model = trainer.bases.model("llama-bytes")
    lora = ["--layers", "all", "--length", 64, "--no-shuffle", "--threads", 1, "--batch", 100]
    wanted = Written(trainer, model)
    lines = trainer.place(".jsonl")
    lines.write_text("\n".join(json.dumps({"prompt": p, "completion": c}) for p, c in PAIRS) + "\n\n")
    prompts = [(list(p.encode()), list(c.encode()) + [2]) for p, c in PAIRS]
    wanted.check("data: prompts and completions", lines, lora, [(p + c, len(p)) for p, c in prompts])
    lines = trainer.place(".jsonl")
    lines.write_text("\r\n".join(json.dumps({"text": p + c}, ensure_ascii=False) for p, c in PAIRS))
    wanted.check("data: lines of text", lines, lora, [(p + c, 0) for p, c in prompts])
    text = trainer.place(".txt")
    stream = ("So it goes on and on. " * 9).encode()
    text.write_bytes(stream)
    blocks = [(list(stream[at : at + 65]), 0) for at in range(0, len(stream) - 1, 64)]
    wanted.check("data: plain text in blocks", text, lora, blocks)
    stream_file = trainer.place(".safetensors")
    save_file({"input_ids": torch.tensor(list(stream), dtype=torch.uint8)}, str(stream_file))
    wanted.check("data: a stream of ids", stream_file, lora, blocks)
    same_ids(trainer, seed)
    short = [*lora[:3], 6, *lora[4:], "--truncate"]
    close = trainer.gradients("data: --truncate", "llama-bytes", lines, *short)
    cut = [(ids[:7], 0) for ids, _ in [(p + c, 0) for p, c in prompts]]
    if close:
        close_losses(tally, "data: --truncate cuts each line", [close[0]], [wanted.loss(cut)])


class Written:
    """What PyTorch says of ids whose first ones are no targets."""

    def __init__(self, trainer, model):
        self.trainer, self.model = trainer, model

    def loss(self, sequences):
        """The mean loss of the ids of all sequences, but for the first ones."""
        total = count = 0
        for ids, prompt in sequences:
            labels = torch.tensor([[-100] * prompt + ids[prompt:]])
            ids = torch.tensor([ids])
            with torch.no_grad():
                loss, targets = sums(self.model, Examples(ids, labels, torch.ones_like(ids)))
            total, count = total + float(loss), count + targets
        return total / count

    def check(self, label, path, options, sequences):
        """The tool's loss is PyTorch's."""
        found = self.trainer.gradients(label, "llama-bytes", path, *options)
        if found:
            close_losses(self.trainer.tally, label, [found[0]], [self.loss(sequences)])


def same_ids(trainer, seed):
    """JSON lines, integer types and padding say the same thing, to the last bit."""
    examples = trainer.bases.examples("llama", seed, LENGTHS)
    options = ["--layers", "all", "--targets", "linear", *Course().options]
    paths = [examples.lines(trainer.place(".jsonl"))]
    padded = torch.where(examples.mask == 1, examples.ids, 3)
    for ids, mask in [(torch.uint8, torch.bool), (torch.int16, torch.int64), (torch.int64, torch.uint8)]:
        path = trainer.place(".safetensors")
        mask = examples.mask.to(torch.uint8 if mask is torch.bool else mask)
        save_file({"input_ids": padded.to(ids), "labels": examples.labels, "attention_mask": mask}, str(path))
        paths.append(path)
    found = [trainer.gradients("data: ids", "llama", path, *options) for path in paths]
    same = all(f and f[0] == found[0][0] and all(torch.equal(f[1][n], found[0][1][n]) for n in f[1]) for f in found)
    trainer.tally.check(same, "data: lines and integer types give the same bits")


# MARK: Courses


COURSES = {
    "cosine": Course(steps=10, warmup=3, schedule="cosine", rate=5e-3),
    "linear": Course(steps=10, warmup=2, schedule="linear", rate=5e-3),
    "warm constant": Course(steps=8, warmup=4, rate=5e-3),
    "cosine without warm-up": Course(steps=9, schedule="cosine"),
    "clipped": Course(clip=0.3, rate=5e-3),
    "hardly clipped": Course(clip=2.0, rate=5e-3),
    "other betas": Course(betas=(0.7, 0.95), epsilon=1e-4, rate=1e-2, decay=2.0),
    "accumulated": Course(batch=2, accumulate=2),
    "one by one": Course(batch=1, accumulate=4),
    "all at once": Course(batch=30, steps=4),
}


def courses(trainer, seed, only, quick):
    """Schedules, clipping, accumulation and AdamW's numbers as transformers and PyTorch have them."""
    lora = Lora(layers=(1, 3), targets=("q_proj", "down_proj"), dora=True)
    results = {}
    for name, course in COURSES.items():
        label = f"course {name}"
        if only not in label or (quick and name not in ("cosine", "clipped", "accumulated")):
            continue
        examples, data, held, held_file = texts(trainer, "llama", seed)
        peft = start(trainer.bases.model("llama"), lora, seed)
        first = trainer.place()
        with quiet():
            peft.save_pretrained(first)
        done = trainer.train(
            label, "llama", data, *lora.options, "--from", first, *course.options, validation=held_file)
        if not done:
            continue
        wanted = course.run(peft, examples)
        results[name] = done
        close_losses(trainer.tally, f"{label}: losses", done.losses, [w[0] for w in wanted])
        rates = [line["learning_rate"] for line in done.steps]
        close_losses(trainer.tally, f"{label}: learning rates", rates, [w[2] for w in wanted], 1e-9)
        norms = [line["gradient_norm"] for line in done.steps]
        off = max(abs(a - w[1]) / w[1] for a, w in zip(norms, wanted, strict=True))
        trainer.tally.check(off <= 1e-3, f"{label}: gradient norms", f"{off:.1e} apart")
        close_losses(trainer.tally, f"{label}: afterwards", [done.report["validation_after"]], [mean_loss(peft, held)])
    if {"accumulated", "one by one"} <= results.keys():
        a, b = (load_file(str(results[n].output / "adapter_model.safetensors")) for n in ("accumulated", "one by one"))
        trainer.tally.check(all(torch.equal(a[n], b[n]) for n in a), "course: parts of a step change nothing")
    if not quick:
        slow_layers(trainer, seed, only)


def slow_layers(trainer, seed, only):
    """--layer-decay and --unfreeze-every against PyTorch's parameter groups."""
    for name, extra in {"layer decay": ["--layer-decay", 0.5], "unfreezing": ["--unfreeze-every", 3]}.items():
        for base in ("llama", "llama-tied"):
            label = f"course {name} {base}"
            if only not in label:
                continue
            course = Course(rate=2e-3, layer_decay=0.5 if name == "layer decay" else 1.0)
            examples, data, _, _ = texts(trainer, base, seed)
            done = trainer.train(
                label, base, data, "--method", "full", "--layers", "all", "--save-as", "model", *course.options, *extra)
            if not done:
                continue
            model = trainer.bases.model(base)
            if name == "layer decay":
                wanted = [step[0] for step in course.run(model, examples)]
            else:
                wanted = unfrozen(model, course, examples, 3, tied=base == "llama-tied")
            close_losses(trainer.tally, f"{label}: losses", done.losses, wanted)


def unfrozen(model, course, examples, every, tied):
    """Losses when one more layer from the top learns every so many steps; the embedding comes with the lowest.

    One that is the head as well learns from the beginning, but as the head only.
    """
    table = model.get_input_embeddings()
    named = trained(model)
    optimizer = course.optimizer(named)
    losses = []
    for step, part in enumerate(course.parts(len(examples))):
        optimizer.zero_grad()
        hook = table.register_forward_hook(lambda _, __, y: y.detach()) if step < (LAYERS - 1) * every else None
        loss, count = sums(model, examples.part(part))
        (loss / count).backward()
        if hook:
            hook.remove()
        for name, value in named:
            parts = name.split(".")
            depth = LAYERS - 1 - int(parts[parts.index("layers") + 1]) if "layers" in parts else 0
            if "embed_tokens" in name and not tied:
                depth = LAYERS - 1
            if step < depth * every:
                value.grad = None
        optimizer.step()
        losses.append(float(loss.detach()) / count)
    return losses


# MARK: Dropout


def dropout(trainer, seed, only, quick):
    """Dropout takes inputs of A with its probability, keeps the mean, and is off where text is only looked at."""
    if only not in "dropout":
        return
    tally = trainer.tally
    for dora in (True,) if quick else (False, True):
        label = "dropout " + ("dora" if dora else "lora")
        lora = Lora(layers=(1, 3), targets=("v_proj", "gate_proj"), dora=dora)
        examples, data, held, held_file = texts(trainer, "llama", seed)
        # B is zero, so that what other modules drop changes nothing here: by each mask the gradient of B is linear.
        with quiet():
            peft = start(trainer.bases.model("llama"), lora, seed)
            for name, value in peft.named_parameters():
                if "lora_B" in name:
                    value.data.zero_()
                if "magnitude" in name:
                    layer = peft.get_submodule(name.split(".lora_magnitude")[0])
                    value.data = layer.weight.norm(dim=1)
            first = trainer.place()
            peft.save_pretrained(first)
        options = [*lora.options, "--from", first, "--length", 200, "--threads", 1, "--no-shuffle", "--batch", 2]
        plain = trainer.gradients(label, "llama", data, *options)
        count, probability = (16 if quick else 60), 0.4
        runs = [trainer.gradients(label, "llama", data, *options, "--dropout", probability, "--seed", 7 + n) for n in range(count)]
        if not plain or not all(runs):
            continue
        _, own = gradients(peft, examples.part(slice(0, 2)))
        close_gradients(tally, f"{label}: without", plain[1], {plain_name(n): g for n, g in own.items()})
        tally.check(all(abs(run[0] - plain[0]) < 1e-5 for run in runs), f"{label}: with B zero the loss is the base's")
        for name, value in plain[1].items():
            if "lora_A" in name:
                continue
            stack = torch.stack([run[1][name] for run in runs])
            spread = float(stack.var(dim=0).sum().sqrt())
            off = float((stack.mean(dim=0) - value).norm())
            expected = spread / count**0.5
            tally.check(0.4 < off / expected < 1.8, f"{label}: the mean of {name} is that without",
                        f"{off:.2e} off, {expected:.2e} expected")  # fmt: skip
        different = len({tuple(run[1][next(iter(plain[1]))].flatten().tolist()) for run in runs})
        again = trainer.gradients(label, "llama", data, *options, "--dropout", probability, "--seed", 7)
        name = next(n for n in plain[1] if "lora_B" in n)
        tally.check(torch.equal(again[1][name], runs[0][1][name]), f"{label}: the same seed, the same bits")
        tally.check(different > 0, f"{label}: seeds differ")
        if not quick:
            variance(tally, label, trainer, data, options, probability)
        looked = trainer.train(
            label, "llama", data, *options, "--dropout", 0.9, "--steps", 2, "--learning-rate", 1e-2, validation=held_file)
        if looked:
            with quiet():
                from peft import PeftModel

                loaded = PeftModel.from_pretrained(trainer.bases.model("llama"), str(looked.output)).eval()
            close_losses(tally, f"{label}: none on held-out text", [looked.report["validation_after"]], [mean_loss(loaded, held)])


def variance(tally, label, trainer, data, options, probability):
    """The spread of B's gradient grows as p / (1 − p) says."""
    spreads = []
    for p in (0.2, 0.6):
        runs = [trainer.gradients(label, "llama", data, *options, "--dropout", p, "--seed", 100 + n) for n in range(30)]
        name = next(n for n in runs[0][1] if "lora_B" in n)
        spreads.append(float(torch.stack([r[1][name] for r in runs]).var(dim=0).sum()))
    wanted = (0.6 / 0.4) / (0.2 / 0.8)
    ratio = spreads[1] / spreads[0]
    tally.check(0.6 < ratio / wanted < 1.7, f"{label}: the spread grows with p", f"{ratio:.2f}, not {wanted:.2f}")


# MARK: The same bytes


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
        found = trainer.loss("llama", held_file, "--from", done.output, *method) if name == "lora" else trainer.loss(done.output, held_file)
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
            finite = all(v.isfinite().all() for p in (place / "out").glob("*.safetensors") for v in load_file(str(p)).values())
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


__all__ = ["courses", "data_forms", "dropout", "killed", "load", "looks", "same_bytes"]
