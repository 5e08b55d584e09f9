"""Forms of data, courses and dropout of the trainer against PyTorch and transformers."""

import json

import torch
from safetensors.torch import load_file, save_file

from train_checks import LENGTHS, Lora, close_gradients, close_losses, plain_name, start
from train_methods import texts
from train_models import LAYERS, Course, Examples, gradients, mean_loss, quiet, sums, trained

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
        dropping = [*options, "--dropout", probability]
        runs = [trainer.gradients(label, "llama", data, *dropping, "--seed", 7 + n) for n in range(count)]
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
            after = looked.report["validation_after"]
            close_losses(tally, f"{label}: none on held-out text", [after], [mean_loss(loaded, held)])


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
