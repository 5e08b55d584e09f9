"""Archives that need a base: fine-tuned checkpoints, and models that adapters make of the base."""

import json
import random
import shutil

import archive_cases as cases
import archive_checks as checks
import archive_writer as writer
import models
import numpy as np
from tensorfile import encode_bf16, read_checkpoint

CONFIG = {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}


def stored(values, dtype):
    """Float64 values in a dtype, as bytes."""
    if dtype == "BF16":
        return encode_bf16(values).tobytes()
    return values.astype({"F16": "<f2", "F32": "<f4", "F64": "<f8"}[dtype]).tobytes()


def tuned(base, seed, noise=1e-3):
    """A fine-tuning of the tensors of a base: small noise, but for a third of them; one has another shape, one is new."""
    rng, result = np.random.default_rng(seed), {}
    for number, (name, old) in enumerate(base.items()):
        if number % 3 == 1:
            result[name] = (old.dtype, list(old.shape), old.data)
            continue
        values = old.values * (1 + 5 * noise * rng.normal(size=old.shape)) + noise * rng.normal(size=old.shape)
        result[name] = (old.dtype, list(old.shape), stored(values, old.dtype))
    first = next(name for name in result if "q_proj" in name)
    dtype, dims, data = result[first]
    result[first] = (dtype, [dims[0] * dims[1]], data)
    grown = next(name for name in result if "embed_tokens" in name)
    dtype, dims, data = result[grown]
    result[grown] = (dtype, [dims[0] + 2, dims[1]], data + data[: 2 * len(data) // dims[0]])
    result["new.weight"] = ("F32", [5], rng.normal(size=5).astype("<f4").tobytes())
    return result


def plain(tensors):
    """What `read_checkpoint` gives, as the writers take it."""
    return {name: (s.dtype, list(s.shape), s.data) for name, s in tensors.items()}


def flipped(source, target, name, bit=0):
    """A copy of a checkpoint with one bit of one tensor changed."""
    shutil.copytree(source, target)
    for path in sorted(target.glob("*.safetensors")):
        whole = bytearray(path.read_bytes())
        start = 8 + int.from_bytes(whole[:8], "little")
        entry = json.loads(whole[8:start]).get(name)
        if entry:
            begin, end = entry["data_offsets"]
            whole[start + (begin + end) // 2] ^= 1 << bit
            path.write_bytes(whole)
    return target


def sources(tally, tools, label, archive):
    """The names of the base's tensors that an archive needs, from its directory."""
    import zlib

    whole = archive.read_bytes()
    begin, end = checks.header(archive)["//directory"]["data_offsets"]
    start = 8 + int.from_bytes(whole[:8], "little")
    text = zlib.decompress(whole[start + begin : start + end]).decode()
    return [json.loads(line.split(" ", 4)[4]) for line in text.split("\n") if line.startswith("source tensor ")], text


def refused(tally, tools, label, archive, directory, arguments, codes):
    """adapter-unpack refuses, and nothing appears."""
    clean = sorted(p.name for p in directory.iterdir())
    answer = checks.run(tools, "adapter-unpack", archive, "-o", directory / "out", *arguments)
    tally.check(answer.code in codes and answer.err.strip(), f"{label}: exit {codes}", str(answer))
    left = sorted({p.name for p in directory.iterdir()} - set(clean))
    tally.check(not left, f"{label}: nothing is left", str(left))
    checks.clean(directory / "out")


def fine_tuned(dtype):
    """A base of transformers in one dtype, a fine-tuning of it in other shards, and bases that are not the one."""

    def section(tally, tools, size, directory, seed):
        label, base = f"base {dtype}", directory / "base"
        models.save(models.randomise(models.llama(size), seed), base, dtype, "60KB" if seed % 2 else None)
        shutil.copy(base / "config.json", base / "tokenizer.json")
        before = read_checkpoint(base)
        made = tuned(before, seed)
        source = cases.write_sharded(directory / "tuned", made, CONFIG, shards=3)
        shutil.copy(base / "tokenizer.json", source / "tokenizer.json")
        for level in ("fast", "default", "best"):
            checks.round_trip(tally, tools, f"{label} {level}", source, directory, "--base", base, "--level", level, base=base)
        archive, wanted, needs = directory / "packed", checks.tree(source), ["--base", base]
        if not archive.exists():
            return
        plain_size = archive.stat().st_size
        if checks.packed(tally, tools, label, source, archive):
            fine = plain_size < archive.stat().st_size
            tally.check(fine, f"{label}: is smaller with the base", f"{plain_size}, without {archive.stat().st_size}")
        if not checks.packed(tally, tools, label, source, archive, *needs):
            return
        (scratch := directory / "scratch").mkdir()
        other = cases.write_sharded(directory / "one", plain(before), CONFIG, shards=2 if seed % 2 == 0 else 1)
        shutil.copy(base / "tokenizer.json", other / "tokenizer.json")
        checks.unpacked(tally, tools, f"{label}: other shards", archive, scratch / "out", wanted, "--base", other)
        checks.clean(scratch / "out")
        wrong_bases(tally, tools, label, archive, base, before, scratch, wanted)
        same_threads(tally, tools, label, source, archive, needs, scratch)

    return section


def wrong_bases(tally, tools, label, archive, base, before, scratch, wanted):
    """One bit of a tensor that is needed; of one that is not; no base at all."""
    needed, _ = sources(tally, tools, label, archive)
    tally.check(len(needed) >= len(before) // 3, f"{label}: refers to tensors of the base", str(needed))
    apart = scratch.parent / "wrong"
    for number, name in enumerate([*needed[:2], *needed[-1:]]):
        wrong = flipped(base, apart, name, number)
        refused(tally, tools, f"{label}: {name} differs in a bit", archive, scratch, ["--base", wrong], (1,))
        code, told = checks.decoded(archive, scratch / "out", wrong)
        tally.check(code == 1, f"{label}: {name} differs in a bit: decoder", told)
        checks.clean(scratch / "out")
        answer = checks.run(tools, "adapter-unpack", archive, "--test", "--base", wrong)
        tally.check(answer.code == 1, f"{label}: {name} differs in a bit: --test", str(answer))
        checks.clean(apart)
    for name in [n for n in before if n not in needed][:1]:
        wrong = flipped(base, apart, name)
        checks.unpacked(
            tally, tools, f"{label}: {name}, not needed, differs", archive, scratch / "out", wanted, "--base", wrong
        )
        checks.clean(apart)
        checks.clean(scratch / "out")
    cases.write_sharded(apart, {n: t for n, t in plain(before).items() if n != needed[0]}, CONFIG)
    refused(tally, tools, f"{label}: {needed[0]} is missing", archive, scratch, ["--base", apart], (1, 66))
    checks.clean(apart)
    refused(tally, tools, f"{label}: no base", archive, scratch, [], (1, 64, 66))
    answer = checks.run(tools, "adapter-unpack", archive, "--list")
    tally.check(answer.code == 0, f"{label}: --list needs no base", str(answer))


def same_threads(tally, tools, label, source, archive, needs, scratch):
    """The archive does not depend on the number of threads."""
    wanted = archive.read_bytes()
    for number in (1, 2, 5):
        if checks.packed(tally, tools, f"{label}: {number} threads", source, scratch / "packed", *needs, "--threads", number):
            fine = (scratch / "packed").read_bytes() == wanted
            tally.check(fine, f"{label}: {number} threads: same archive")


def random_bases(count):
    """Small random tensors against random bases: other dtypes, other sizes, equal, empty and scalar ones."""

    def section(tally, tools, size, directory, seed):
        for number in range(count):
            rng = random.Random(f"bases {seed} {number}")
            base = {n: t for n, t in cases.tensors(rng, cases.WEIGHTS, 5000).items() if n} or {"w": ("F32", [1], b"1234")}
            made = {}
            for name, (dtype, dims, data) in base.items():
                noisy = bytearray(data)
                for i in range(0, len(noisy), rng.choice([2, 4, 7, 50])):
                    noisy[i] = (noisy[i] + rng.randrange(-2, 3)) & 255
                made[name] = rng.choice([
                    (dtype, dims, data), (dtype, dims, bytes(noisy)), (dtype, [*dims, 1], bytes(noisy)),
                    (dtype, dims, rng.randbytes(len(data))), ("U8", [len(data)], bytes(noisy)),
                ])  # fmt: skip
            for path in ("base", "tuned"):
                checks.clean(directory / path)
            old = cases.write_sharded(directory / "base", base, CONFIG, rng.randrange(1, len(base) + 1))
            new = cases.write_sharded(directory / "tuned", made, CONFIG, rng.randrange(1, len(made) + 1))
            level = rng.choice(["fast", "default", "best"])
            options = ["--base", old, "--level", level]
            checks.round_trip(tally, tools, f"random base {number} {level}", new, directory, *options, base=old)

    return section


def recipe(name, dtype, weights):
    """A model that adapter-merge makes; the archive has the adapters only, and unpacking merges again."""

    def section(tally, tools, size, directory, seed):
        import combine_cases

        lora = {"target_modules": list(combine_cases.LINEAR), "r": 2, "lora_alpha": 8}
        stored_as = (dtype,) * len(weights)
        item = combine_cases.Sum("recipe", models.llama, (lora,) * len(weights), weights, stored=stored_as, base=dtype)
        large = models.Size(hidden=128, inter=256, layers=2, heads=4, kv=2, vocab=64)
        base, adapters = combine_cases.make(item, large, directory, seed)
        pairs, merged = list(zip(adapters, weights, strict=True)), directory / "merged"
        answer = tools.merge(base, pairs, merged)
        if not tally.check(answer.code == 0, f"{name}: adapter-merge", answer.text):
            return
        archive, plainly, wanted = directory / "packed", directory / "plainly", checks.tree(merged)
        options = ["--base", base]
        for path, weight in pairs:
            options += ["--adapter", f"{path}" if weight == 1.0 else f"{path}:{weight}"]
        fine = checks.packed(tally, tools, name, merged, archive, *options)
        if not fine or not checks.packed(tally, tools, name, merged, plainly, "--base", base):
            return
        small, usual = archive.stat().st_size, plainly.stat().st_size
        tally.check(small < 0.5 * usual, f"{name}: is far smaller", f"{small} bytes, by differences {usual}")
        checks.unpacked(tally, tools, name, archive, directory / "out", wanted, "--base", base)
        checks.clean(directory / "out")
        code, told = checks.decoded(archive, directory / "out", base)
        tally.check(code == 2, f"{name}: the decoder says that it cannot merge", told)
        refuse_recipes(tally, tools, name, archive, base, directory)
        changed_models(tally, tools, name, merged, options, base, directory)
        same_recipes(tally, tools, name, merged, archive, options, directory)

    return section


def refuse_recipes(tally, tools, name, archive, base, directory):
    """A base in which one bit of a merged tensor differs, and none."""
    needed, text = sources(tally, tools, name, archive)
    tally.check("\npart merged@" in text, f"{name}: has merged parts")
    (scratch := directory / "scratch").mkdir()
    target = next((n for n in needed if "q_proj" in n), needed[0])
    wrong = flipped(base, directory / "wrong", target)
    refused(tally, tools, f"{name}: {target} differs in a bit", archive, scratch, ["--base", wrong], (1,))
    refused(tally, tools, f"{name}: no base", archive, scratch, [], (1, 64, 66))
    checks.clean(directory / "wrong")
    answer = checks.run(tools, "adapter-unpack", archive, "--test", "--base", base)
    tally.check(answer.code == 0, f"{name}: --test", str(answer))


def changed_models(tally, tools, name, merged, options, base, directory):
    """A model that is not quite what the adapters make still comes back."""
    for number, target in enumerate(("q_proj", "norm", "down_proj")):
        tensor = next(n for n in read_checkpoint(merged) if target in n)
        other = flipped(merged, directory / "changed", tensor, number)
        archive, label = directory / "changed.packed", f"{name}: {tensor} changed"
        if checks.packed(tally, tools, label, other, archive, *options):
            checks.unpacked(tally, tools, label, archive, directory / "out", checks.tree(other), "--base", base)
        checks.clean(directory / "changed")
        checks.clean(directory / "out")


def same_recipes(tally, tools, name, merged, archive, options, directory):
    """The archive does not depend on threads; unpacking it does not either."""
    other = directory / "other"
    for number in (1, 2, 5):
        if checks.packed(tally, tools, f"{name}: {number} threads", merged, other, *options, "--threads", number):
            tally.check(other.read_bytes() == archive.read_bytes(), f"{name}: {number} threads: same archive")
        more = ["--base", options[1], "--threads", number]
        checks.unpacked(tally, tools, f"{name}: {number} threads", archive, directory / "out", checks.tree(merged), *more)
        checks.clean(directory / "out")


def whole_files(tally, tools, size, directory, seed):
    """Bases and models that are one file each; files that are the base's; a file that the base has under another name."""
    rng = random.Random(f"files {seed}")
    data = {"w": ("F32", [900], cases.floats(rng, "F32", 900)), "v": ("BF16", [500], cases.floats(rng, "BF16", 500))}
    base = cases.write_sharded(directory / "base", data, CONFIG)
    source = cases.write_sharded(directory / "in", data, CONFIG)
    (base / "tokenizer.json").write_bytes(rng.randbytes(50_000))
    shutil.copy(base / "tokenizer.json", source / "tokenizer.json")
    shutil.copy(base / "model.safetensors", source / "copy.safetensors")
    checks.round_trip(tally, tools, "files: all the base's", source, directory, "--base", base, base=base)
    size = (directory / "packed").stat().st_size
    tally.check(size < 30_000, "files: all the base's: little is left", str(size))
    single = source / "model.safetensors"
    for label, given in (("in a directory", base), ("as a file", base / "model.safetensors")):
        archive, out = directory / "packed", directory / "out"
        if checks.packed(tally, tools, f"files: base {label}", single, archive, "--base", given):
            wanted = {b"": single.read_bytes()}
            checks.unpacked(tally, tools, f"files: base {label}", archive, out, wanted, "--base", given)
            checks.decodes(tally, f"files: base {label}", archive, directory / "decoded", wanted, given)
            tally.check(archive.stat().st_size < 3000, f"files: base {label}: little is left", str(archive.stat().st_size))
    needs = writer.content_digest({"model.safetensors": single.read_bytes()})
    found = checks.header(directory / "packed")["__metadata__"]["adapterkit.content"]
    tally.check(found == needs, "files: content digest of one file", found)
