"""Packed adapters in place of directories, adapters that are bound to a base, and digests as the shell computes them."""

import json
import random
import shlex
import shutil
import subprocess

import archive_bases
import archive_cases as cases
import archive_checks as checks
import combine_cases
from tensorfile import read_checkpoint, read_file

KINDS = ("two", "embedding", "bfloat16-files", "saved-head", "lora-bias", "token-rows", "experts-both", "gpt2")


def adapters(name, size, directory, seed):
    """A base and the adapters that PEFT made for it."""
    item = next(c for c in combine_cases.ALL if c.name == name)
    return item, *combine_cases.make(item, combine_cases.sized(item, size), directory, seed)


def without_paths(document):
    """A document without the paths of its inputs, and what only an archive has."""
    if isinstance(document, dict):
        names = ("path", "paths", "files", "file", "archive")
        return {key: without_paths(value) for key, value in document.items() if key not in names or isinstance(value, int)}
    return [without_paths(value) for value in document] if isinstance(document, list) else document


def same_documents(tally, tools, label, name, first, second):
    """A tool says the same of two inputs, but for where they are; its exit status is the same, too."""
    one, two = (checks.run(tools, name, *arguments, "--json") for arguments in (first, second))
    if not tally.check(one.code == two.code == 0, f"{label}: {name}", f"{one}; {two}"):
        return
    found = [without_paths(checks.document(tally, f"{label}: {name}", answer)) for answer in (one, two)]
    tally.check(found[0] == found[1], f"{label}: {name}: same document", "\n".join(list(apart(*found))[:6]))


def apart(one, two, where=""):
    """Where two documents differ, in words."""
    if isinstance(one, dict) and isinstance(two, dict):
        for key in sorted(one.keys() | two.keys()):
            yield from apart(one.get(key), two.get(key), f"{where}.{key}")
    elif isinstance(one, list) and isinstance(two, list) and len(one) == len(two):
        for i, pair in enumerate(zip(one, two, strict=True)):
            yield from apart(*pair, f"{where}[{i}]")
    elif one != two:
        yield f"{where}: {one!r}, {two!r}"


def in_place(kind):
    """Every tool takes an archive as it takes the directory."""

    def section(tally, tools, size, directory, seed):
        label = f"in place: {kind}"
        item, base, made = adapters(kind, size, directory, seed)
        packed = []
        for number, path in enumerate(made):
            (where := directory / f"p{number}").mkdir()
            packed.append(where / path.name)
            if not checks.packed(tally, tools, label, path, packed[-1]):
                return
        for path, archive in zip(made, packed, strict=True):
            for options in ([], ["--tensors"], ["--norms"], ["--norms", "--base", base]):
                same_documents(tally, tools, f"{label} {options}", "adapter-inspect", [path, *options], [archive, *options])
        if item.verifiable:
            for options in ([], ["--deep"]):
                first, second = [base, *made, *options], [base, *packed, *options]
                same_documents(tally, tools, f"{label} {options}", "adapter-verify", first, second)
            same_output(tally, tools, label, "adapter-merge", [base], item, made, packed, directory)
        for method in ("stack",):
            same_output(tally, tools, label, "adapter-combine", [method], item, made, packed, directory)

    return section


def same_output(tally, tools, label, name, first, item, made, packed, directory):
    """What a tool writes is the same."""
    outputs = []
    for number, inputs in enumerate((made, packed)):
        weighted = [str(p) if w == 1.0 else f"{p}:{w}" for p, w in zip(inputs, item.weights, strict=True)]
        outputs.append(directory / f"out{number}")
        answer = checks.run(tools, name, *first, *weighted, "-o", outputs[-1])
        tally.check(answer.code == 0, f"{label}: {name} {number}", str(answer))
    checks.same(tally, f"{label}: {name}", checks.tree(outputs[0]), outputs[1])
    for path in outputs:
        checks.clean(path)


def touched(base, adapter):
    """Names of the base's tensors that an adapter of plain layers changes, and of those that it does not."""
    keys = {
        k.removeprefix("base_model.model.").partition(".lora_")[0] for k in read_file(adapter / "adapter_model.safetensors")
    }
    names = list(read_checkpoint(base))
    return [n for n in names if n.removesuffix(".weight") in keys], [n for n in names if n.removesuffix(".weight") not in keys]


def binding(kind):
    """An adapter that is bound to its base fits this one and no other, as far as it changes it."""

    def section(tally, tools, size, directory, seed):
        label = f"binding {kind}"
        _, base, made = adapters(kind, size, directory, seed)
        archive = directory / "bound"
        if not checks.packed(tally, tools, label, made[0], archive, "--bind", base):
            return
        checks.unpacked(tally, tools, label, archive, directory / "out", checks.tree(made[0]))
        checks.decodes(tally, label, archive, directory / "decoded", checks.tree(made[0]))
        fits(tally, tools, label, base, archive, directory)
        changed, kept = touched(base, made[0])
        for number, name in enumerate([changed[0], changed[-1]]):
            other = archive_bases.flipped(base, directory / "other", name, number)
            does_not_fit(tally, tools, f"{label}: {name}", other, archive, name, directory)
            checks.clean(other)
        for name in (kept[0], kept[-1]):
            other = archive_bases.flipped(base, directory / "other", name)
            fits(tally, tools, f"{label}: {name}, untouched", other, archive, directory)
            checks.clean(other)
        configs(tally, tools, label, base, archive, directory)
        other = archive_bases.flipped(base, directory / "other", changed[0])
        answer = checks.run(tools, "adapter-pack", made[0], "-o", directory / "free")
        tally.check(answer.code == 0, f"{label}: without --bind", str(answer))
        fits(tally, tools, f"{label}: not bound", other, directory / "free", directory)

    return section


def fits(tally, tools, label, base, archive, directory):
    """adapter-verify and adapter-merge take the archive."""
    answer = checks.run(tools, "adapter-verify", base, archive)
    tally.check(answer.code == 0, f"{label}: adapter-verify takes it", str(answer))
    answer = checks.run(tools, "adapter-merge", base, archive, "-o", directory / "merged")
    tally.check(answer.code == 0, f"{label}: adapter-merge takes it", str(answer))
    checks.clean(directory / "merged")


def does_not_fit(tally, tools, label, base, archive, name, directory):
    """They refuse it and name the tensor."""
    answer = checks.run(tools, "adapter-verify", base, archive)
    tally.check(answer.code == 1, f"{label}: adapter-verify: exit 1", str(answer))
    tally.check(name in answer.err + answer.out.decode(), f"{label}: adapter-verify names it", str(answer))
    answer = checks.run(tools, "adapter-merge", base, archive, "-o", directory / "merged")
    tally.check(answer.code == 1, f"{label}: adapter-merge: exit 1", str(answer))
    tally.check(name in answer.err, f"{label}: adapter-merge names it", str(answer))
    left = [p.name for p in directory.iterdir() if "merged" in p.name]
    tally.check(not left, f"{label}: adapter-merge leaves nothing", str(left))
    checks.clean(directory / "merged")


def configs(tally, tools, label, base, archive, directory):
    """Where a config says the same in other words it is the same; where it does not, it is not."""
    config = json.loads((base / "config.json").read_text())
    turned = json.dumps(dict(reversed(config.items())), indent=7)
    same = {
        "turned round": turned, "renamed": json.dumps(config | {"_name_or_path": "elsewhere", "transformers_version": "9"}),
        "escaped": turned.replace('"model_type"', '"\\u006dodel_type"'),
    }  # fmt: skip
    other = {"a value": json.dumps(config | {"vocab_size_": 1}), "nested": json.dumps(config | {"a": {"_name_or_path": "x"}})}
    copy = directory / "configured"
    for what, text in same.items():
        shutil.copytree(base, copy)
        (copy / "config.json").write_text(text)
        fits(tally, tools, f"{label}: config {what}", copy, archive, directory)
        checks.clean(copy)
    for what, text in other.items():
        shutil.copytree(base, copy)
        (copy / "config.json").write_text(text)
        answer = checks.run(tools, "adapter-verify", copy, archive)
        tally.check(answer.code == 1 and "config" in answer.err, f"{label}: config, {what} more: exit 1", str(answer))
        checks.clean(copy)


def shell(command, where):
    """The first word that a shell command prints."""
    done = subprocess.run(["sh", "-c", command], cwd=where, capture_output=True)
    return done.stdout.decode().split(" ")[0] if done.returncode == 0 else done.stderr.decode()


CONTENT = r"find . -type f -printf '%P\0' | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum"
IDENTITY = "sha256sum adapter_config.json adapter_model.safetensors | sha256sum"


def digests(tally, tools, size, directory, seed):
    """The content digest and the adapter's identity are what the format page's commands print."""
    for number in range(12):
        rng = random.Random(f"digests {seed} {number}")
        files, empty = cases.random_tree(rng)
        files = {p: data for p, data in files.items() if not p.startswith("-")} | {"always": b"1"}
        checks.clean(directory / "in")
        source, archive = cases.write_tree(directory / "in", files, empty), directory / "packed"
        if checks.packed(tally, tools, f"digests {number}", source, archive):
            found = checks.header(archive)["__metadata__"]["adapterkit.content"]
            tally.check(found == shell(CONTENT, source), f"digests {number}: content", found)
    for kind in ("two", "saved-head", "bfloat16-files"):
        _, _, made = adapters(kind, size, directory / kind, seed)
        path, label = made[0], f"digests {kind}"
        (path / "README.md").write_text("not part of the identity")
        wanted, archive = shell(IDENTITY, path), directory / "packed"
        if not checks.packed(tally, tools, label, path, archive):
            continue
        found = checks.header(archive)["__metadata__"]["adapterkit.content"]
        tally.check(found == shell(CONTENT, path), f"{label}: content", found)
        for place in (path, path / "adapter_model.safetensors", archive):
            document = checks.document(tally, label, checks.run(tools, "adapter-inspect", place, "--json"))
            told = (document.get("items") or [{}])[0].get("identity")
            tally.check(told == wanted, f"{label}: identity of {place.name}", f"{told}, by {shlex.quote(IDENTITY)} {wanted}")
