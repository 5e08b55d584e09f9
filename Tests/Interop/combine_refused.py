"""What adapter-combine must refuse: with the right exit code, a problem that says why, and nothing written."""

import json
import shutil

import combine_cases
import combine_checks as checks
import models
import numpy as np
from combine_spectra import plain
from combine_spectra import modules as made_modules
from combine_spectra import write


def edited(source, target, **changes):
    """A copy of an adapter with changes to its config."""
    shutil.copytree(source, target)
    path = target / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return target


def refused(tally, tools, label, directory, arguments, codes, problem=None, tool="adapter-combine"):
    """One command line that must fail; `problem` is the code that its document must name."""
    label = f"refusals: {label}"
    before = {p: p.stat().st_mtime_ns for p in directory.rglob("*")}
    answer = tools.run(tool, *arguments, "--json")
    tally.check(answer.code in codes, f"{label}: exit {codes}", f"exit {answer.code}: {answer.text}")
    tally.check("error:" in answer.err, f"{label}: says so", answer.text)
    after = {p: p.stat().st_mtime_ns for p in directory.rglob("*")}
    left = sorted(str(p.relative_to(directory)) for p in set(before) ^ set(after))
    tally.check(not left, f"{label}: writes nothing", str(left[:4]))
    if left and answer.code == 0:
        shutil.rmtree(directory / "out", ignore_errors=True)  # so that the next one is refused for its own reason
    changed = [str(p) for p in before if before[p] != after.get(p) and p.is_file()]
    tally.check(not changed, f"{label}: changes nothing", str(changed[:4]))
    try:
        document = json.loads(answer.out)
    except ValueError as error:
        tally.check(False, f"{label}: prints a document", f"{error}: {answer.out[:200]}")
        return
    told = [p["code"] for p in document.get("problems", [])]
    tally.check(document.get("schema") == "adapterkit.problems" and told, f"{label}: problems", answer.out[:300])
    if problem:
        tally.check(problem in told, f"{label}: code {problem}", str(told))


def allowed(tally, tools, label, directory, arguments):
    """The same, once the user says that it is meant so."""
    shutil.rmtree(directory / "out", ignore_errors=True)
    answer = tools.run("adapter-combine", *arguments)
    tally.check(answer.code == 0, f"refusals: {label} is possible", f"exit {answer.code}: {answer.text}")
    shutil.rmtree(directory / "out", ignore_errors=True)


def usage(tally, tools, size, directory, seed):
    """Command lines that make no sense."""
    a, b = (write(directory / name, made_modules(plain, seed + i)) for i, name in enumerate("ab"))
    out = ["-o", directory / "out"]
    table = {
        "no method": [], "no adapter": ["stack", *out], "no output": ["stack", a, b], "unknown method": ["sum", a, b, *out],
        "a weight that is no number": ["stack", f"{a}:much", b, *out],
        "a weight that is not finite": ["stack", f"{a}:nan", *out],
        "svd without a rank": ["svd", a, b, *out], "resize without a rank": ["resize", a, *out],
        "resize of two": ["resize", a, b, "--rank", 2, *out], "subtract of one": ["subtract", a, *out],
        "rank 0": ["svd", a, "--rank", 0, *out], "a rank that is no number": ["svd", a, "--rank", "x", *out],
        "energy above 1": ["svd", a, "--energy", 1.5, *out], "energy 0": ["svd", a, "--energy", 0, *out],
        "ratio below 1": ["svd", a, "--ratio", 0.5, *out], "ties without density": ["ties", a, b, *out],
        "dare-linear without density": ["dare-linear", a, b, *out], "dare-ties without density": ["dare-ties", a, b, *out],
        "magnitude-prune without density": ["magnitude-prune", a, b, *out],
        "density above 1": ["ties", a, b, "--density", 1.2, *out], "density 0": ["dare-linear", a, b, "--density", 0, *out],
        "unknown place": ["ties", a, b, "--density", 0.5, "--on", "weights", *out],
        "unknown sign": ["ties", a, b, "--density", 0.5, "--sign", "most", *out],
        "unknown dtype": ["stack", a, b, "--dtype", "int8", *out], "threads 0": ["stack", a, b, "--threads", 0, *out],
        "unknown option": ["stack", a, b, "--densty", 0.5, *out],
    }  # fmt: skip
    for label, arguments in table.items():
        refused(tally, tools, label, directory, arguments, (64,))


def files(tally, tools, size, directory, seed):
    """Outputs that exist, adapters that are not there or are damaged."""
    a, b = (write(directory / name, made_modules(plain, seed + i)) for i, name in enumerate("ab"))
    line = ["stack", a, b, "-o", directory / "out"]
    refused(tally, tools, "a missing adapter", directory, ["stack", a, directory / "none", *line[-2:]], (66,))
    empty = directory / "empty"
    empty.mkdir()
    refused(tally, tools, "an empty directory", directory, ["stack", a, empty, *line[-2:]], (66,))
    lacks = directory / "no-tensors"
    shutil.copytree(a, lacks)
    (lacks / "adapter_model.safetensors").unlink()
    refused(tally, tools, "a config without tensors", directory, ["stack", a, lacks, *line[-2:]], (66,))
    for label, name, cut in (("tensors", "adapter_model.safetensors", -7), ("a header", "adapter_model.safetensors", 20),
                             ("a config", "adapter_config.json", -3)):  # fmt: skip
        bad = directory / f"truncated-{label.replace(' ', '-')}"
        shutil.copytree(a, bad)
        (bad / name).write_bytes((a / name).read_bytes()[:cut])
        refused(tally, tools, f"{label}, cut short", directory, ["stack", b, bad, *line[-2:]], (65,))
    (directory / "out").mkdir()
    (directory / "out" / "precious").write_text("x")
    refused(tally, tools, "an output that exists", directory, line, (73,))
    refused(tally, tools, "an output in no directory", directory, [*line[:-1], directory / "nowhere" / "out"], (73,))
    refused(tally, tools, "an input as output", directory, ["stack", a, b, "--force", "-o", a], (64, 73))
    shutil.rmtree(directory / "out")
    answer = checks.combine(tools, "stack", [(a, 1.0), (b, 1.0)], directory / "out")
    tally.check(answer.code == 0, "refusals: a first run", answer.text)
    refused(tally, tools, "the output of a first run", directory, line, (73,))
    answer = checks.combine(tools, "stack", [(a, 1.0), (b, 2.0)], directory / "out", "--force")
    tally.check(answer.code == 0, "refusals: --force replaces", f"exit {answer.code}: {answer.text}")
    hidden = [p.name for p in directory.iterdir() if p.name.startswith(".")]
    tally.check(not hidden, "refusals: --force leaves nothing behind", str(hidden))


def kinds(tally, tools, size, directory, seed):
    """Adapters whose sum is not defined, or surely not meant."""
    out = ["-o", directory / "out"]
    good = write(directory / "good", made_modules(plain, seed))
    refused(tally, tools, "A less A", directory, ["subtract", good, good, *out], (1,), "zero-delta")
    allowed(tally, tools, "A less A", directory, ["subtract", good, good, *out, "--allow", "zero-delta"])
    other = edited(good, directory / "other-base", base_model_name_or_path="another/model")
    refused(tally, tools, "different bases", directory, ["stack", good, other, *out], (1,), "different-base")
    allowed(tally, tools, "different bases", directory, ["stack", good, other, *out, "--allow", "different-base"])
    other = made_modules(plain, seed + 1)
    path = next(iter(other))
    for label, index, axis in (("inputs", 1, 1), ("outputs", 0, 0)):
        shapes = dict(other)
        pair = list(shapes[path])
        pair[index] = np.delete(pair[index], 0, axis)
        shapes[path] = tuple(pair)
        wrong = write(directory / f"other-{label}", shapes)
        for method, more in (("stack", []), ("svd", ["--rank", 3]), ("ties", ["--density", 0.5])):
            label_ = f"other numbers of {label}, {method}"
            refused(tally, tools, label_, directory, [method, good, wrong, *more, *out], (1,))
    table = {
        "another type": {"peft_type": "IA3"}, "an init that changes the base": {"init_lora_weights": "pissa"},
        "Arrow": {"arrow_config": {"top_k": 2}}, "a wrong rank": {"r": 5},
    }  # fmt: skip
    for label, changes in table.items():
        wrong = edited(good, directory / label.replace(" ", "-"), **changes)
        refused(tally, tools, label, directory, ["stack", good, wrong, *out], (1,))
    nan = made_modules(plain, seed + 2)
    nan[path][0][1, 1] = np.nan
    wrong = write(directory / "nan", nan)
    refused(tally, tools, "NaN", directory, ["svd", good, wrong, "--rank", 3, *out], (1, 65))


def trained(tally, tools, size, directory, seed):
    """What PEFT saves beside factors, where two adapters differ in it; and DoRA."""
    base = directory / "base"
    models.save(models.randomise(models.llama_classifier(size), seed), base, "f32")

    def adapter(name, number, **options):
        settings = {"target_modules": ["q_proj"], "r": 2, "lora_alpha": 4, "task_type": "SEQ_CLS"} | options
        return combine_cases.adapter(models.llama_classifier, settings, size, base, directory / name, seed + number)

    out = ["-o", directory / "out"]
    plain_, dora = adapter("plain", 1), adapter("dora", 2, use_dora=True)
    for method, more in (("stack", []), ("svd", ["--rank", 2]), ("ties", ["--density", 0.5])):
        refused(tally, tools, f"DoRA, {method}", directory, [method, plain_, dora, *more, *out], (1,), "dora")
    refused(tally, tools, "DoRA, resize", directory, ["resize", dora, "--rank", 1, *out], (1,), "dora")
    first, second = (adapter(f"saved{i}", 3 + i, modules_to_save=["score"]) for i in range(2))
    refused(tally, tools, "two saved heads", directory, ["stack", first, second, *out], (1,))
    same = directory / "same-head"
    shutil.copytree(first, same)
    allowed(tally, tools, "twice the same saved head", directory, ["stack", first, same, *out])
    head = adapter("lora-head", 7, target_modules=["score"], task_type=None)  # PEFT saves heads of this task whole
    refused(tally, tools, "a saved head and a delta for it", directory, ["stack", first, head, *out], (1,))
    rows = [adapter(f"rows{i}", 5 + i, trainable_token_indices=[3, 4 + i]) for i in range(2)]
    refused(tally, tools, "two sets of token rows", directory, ["stack", *rows, *out], (1,))


def cases():
    """The names and functions of this section."""
    return [
        ("refusals: usage", usage), ("refusals: files", files), ("refusals: kinds", kinds), ("refusals: trained", trained),
    ]  # fmt: skip
