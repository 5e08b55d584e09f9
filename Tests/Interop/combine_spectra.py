"""Truncations: `resize` and `svd` beside numpy's SVD, on spectra of all kinds."""

import json

import build
import combine_cases
import combine_checks as checks
import models
import numpy as np
import reference
from combine_oracle import deltas, rank_for, spectrum, total
from tensorfile import read_file, write_file

RANK = 16
SHAPES = {"tall": (48, 20), "wide": (20, 64), "small": (6, 10)}
MATRICES = [combine_cases.LINEAR[0], combine_cases.LINEAR[4], combine_cases.LINEAR[6]]


def orthonormal(generator, rows, columns):
    """Orthonormal columns where there is room, else rows."""
    q = np.linalg.qr(generator.normal(size=(max(rows, columns), min(rows, columns))))[0]
    return q if rows >= columns else q.T


def plain(g, m, n):
    """Random numbers."""
    return g.normal(size=(m, RANK)), g.normal(size=(RANK, n))


def duplicated(g, m, n):
    """Half of the columns of B, and a few rows of A, are copies."""
    b, a = plain(g, m, n)
    b[:, RANK // 2 :] = b[:, : RANK // 2]
    a[3] = a[2]
    return b, a


def opposed(g, m, n):
    """The second half of the rank takes the first half away, but for a little."""
    b, a = plain(g, m, n)
    b[:, RANK // 2 :], a[RANK // 2 :] = -b[:, : RANK // 2], a[: RANK // 2]
    b[:, -1] *= 1.01
    return b, a


def repeated(g, m, n):
    """All singular values are one (as many as there is room for)."""
    return orthonormal(g, m, RANK), orthonormal(g, RANK, n)


def clusters(g, m, n):
    """Singular values in clusters, so that a truncation cuts through one."""
    return orthonormal(g, m, RANK) * np.repeat([8.0, 4.0, 2.0, 1.0], RANK // 4), orthonormal(g, RANK, n)


def graded(g, m, n):
    """Each singular value a tenth of the one before."""
    return orthonormal(g, m, RANK) * 10.0 ** -np.arange(RANK), orthonormal(g, RANK, n)


def balanced(g, m, n):
    """Columns of B from 1e-20 to 1e20, and the rows of A that undo it."""
    b, a = plain(g, m, n)
    scales = 10.0 ** np.linspace(-20, 20, RANK)
    return b * scales, a / scales[:, None]


def unbalanced(g, m, n):
    """Columns of B from 1e-20 to 1e20."""
    b, a = plain(g, m, n)
    return b * 10.0 ** np.linspace(-20, 20, RANK), a


def nothing(g, m, n):
    """B is zero, as before training."""
    b, a = plain(g, m, n)
    return 0 * b, a


def alone(g, m, n):
    """One row and one column only."""
    b, a = np.zeros((m, RANK)), np.zeros((RANK, n))
    b[1, 2], a[2, 3] = 3.0, -0.5
    return b, a


def tiny(g, m, n):
    """The product is far below the least float32, the factors are not."""
    b, a = plain(g, m, n)
    return b * 1e-25, a * 1e-25


def huge(g, m, n):
    """The product is far above the largest float32, the factors are not."""
    b, a = plain(g, m, n)
    return b * 1e25, a * 1e25


KINDS = [plain, duplicated, opposed, repeated, clusters, graded, balanced, unbalanced, nothing, alone, tiny, huge]


def write(directory, modules, alpha=RANK, **config):
    """An adapter directory of float32 factors {path: (B, A)}."""
    directory.mkdir(parents=True)
    tensors = {}
    for path, (b, a) in modules.items():
        for half, values in (("A", a), ("B", b)):
            tensors[checks.key(path, half)] = ("F32", values.shape, values.astype("<f4").tobytes())
    write_file(directory / "adapter_model.safetensors", tensors, {"format": "pt"})
    document = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": "base", "r": RANK,
        "lora_alpha": alpha, "target_modules": sorted({p.rpartition(".")[2] for p in modules}),
    } | config  # fmt: skip
    (directory / "adapter_config.json").write_text(json.dumps(document))
    return directory


def modules(kind, seed):
    """One module of each shape."""
    generator = np.random.default_rng(build.seed_of(kind.__name__, seed))
    return {
        f"model.layers.0.{leaf}": kind(generator, *shape) for leaf, shape in zip(MATRICES, SHAPES.values(), strict=True)
    }


def truncated(tally, tools, label, method, pairs, output, rank, dtype):
    """One truncation to `rank`: its error, and what the report says of it."""
    report = output.with_suffix(".json")
    report.unlink(missing_ok=True)
    options = ["--rank", rank, "--report", report]
    options += ["--dtype", dtype] if dtype != "float32" else []
    if not checks.made(tally, tools, label, method, pairs, output, *options):
        return
    target = total(pairs)
    checks.directory(tally, label, output)
    rounding = checks.FLOAT64 if dtype == "float64" else checks.FLOAT32
    checks.optimal(tally, label, target, output, rank, rounding)
    checks.reported(tally, label, target, output, json.loads(report.read_text()))


def spectrum_case(tally, tools, kind, directory, seed, quick):
    """One kind of spectrum: one adapter alone, and less another."""
    first = write(directory / "first", modules(kind, seed))
    second = write(directory / "second", modules(plain if kind is alone else kind, seed + 1), alpha=4)
    for dtype in ("float32", "float64"):
        if dtype == "float64" and kind in (tiny, huge) and quick:
            continue
        for rank in (5, 16) if quick else (1, 5, 8, 16, 24):
            label = f"spectra: {kind.__name__} {dtype} rank {rank}"
            truncated(tally, tools, f"{label} resize", "resize", [(first, 1.0)], directory / "out", rank, dtype)
            pairs = [(first, 1.0), (second, -0.7)]
            truncated(tally, tools, f"{label} svd", "svd", pairs, directory / "out", rank, dtype)


def short_types(tally, tools, size, directory, seed):
    """bfloat16 and float16: the error is the optimum and the rounding of the factors, and is reported as stored."""
    first = write(directory / "first", modules(plain, seed))
    for dtype, name, unit in (("bfloat16", "BF16", 2**-8), ("float16", "F16", 2**-10)):
        report, label = directory / f"{dtype}.json", f"spectra: {dtype}"
        options = ["--rank", 6, "--dtype", dtype, "--report", report]
        if not checks.made(tally, tools, label, "resize", [(first, 1.0)], directory / "out", *options):
            continue
        stored = read_file(directory / "out" / "adapter_model.safetensors")
        tally.check({s.dtype for s in stored.values()} == {name}, f"{label}: stored so")
        target = total([(first, 1.0)])
        checks.optimal(tally, label, target, directory / "out", 6, 2 * unit)
        checks.reported(tally, label, target, directory / "out", json.loads(report.read_text()))


LIMITS = [
    {"energy": 0.5}, {"energy": 0.9}, {"energy": 0.999}, {"ratio": 1.7}, {"ratio": 12.0}, {"rank": 3, "energy": 0.98},
    {"rank": 9, "ratio": 3.0}, {"energy": 0.8, "ratio": 1.5}, {"rank": 7, "energy": 0.7, "ratio": 4.0},
]  # fmt: skip


def chosen(tally, tools, size, directory, seed):
    """--energy and --ratio choose numpy's rank: the largest that a module needs, or with --per-module each its own."""
    made = {}
    for number, kind in enumerate((plain, graded, clusters, nothing)):
        for path, pair in modules(kind, seed + number).items():
            made[path.replace("layers.0", f"layers.{number}")] = pair
    pairs = [(write(directory / "first", made, alpha=24), 0.8)]
    target = total(pairs)
    values = {path: spectrum(matrix) for path, matrix in target.items()}
    for limits in LIMITS:
        given = [x for k, v in limits.items() for x in (f"--{k}", v)]
        own = {path: rank_for(v, **limits) for path, v in values.items()}
        for more in ([], ["--per-module"]):
            label = f"spectra: {' '.join(map(str, given + more))}"
            report, output = directory / "report.json", directory / "out"
            report.unlink(missing_ok=True)
            if not checks.made(tally, tools, label, "svd", pairs, output, *given, *more, "--report", report):
                continue
            checks.directory(tally, label, output, per_module=bool(more))
            wanted = own if more else dict.fromkeys(own, max(own.values()))
            adapter = reference.Adapter(output)
            found = {path: len(parts["lora_A"]) for path, parts in adapter.modules.items()}
            wrong = {p: (found.get(p), w) for p, w in wanted.items() if found.get(p) != w and values[p][0] > 0}
            tally.check(not wrong, f"{label}: numpy's ranks", f"(found, wanted): {wrong}")
            document = json.loads(report.read_text())
            kept = {m["path"]: m["rank"] for m in document["modules"]}
            # Under a common rank a module may keep what it needs only, or all that there is room for.
            odd = {p: k for p, k in kept.items() if values[p][0] > 0 and not own[p] <= k <= wanted[p]}
            tally.check(not odd, f"{label}: kept ranks", f"{odd}, needed {own}")
            checks.optimal(tally, label, target, output, kept)
            checks.reported(tally, label, target, output, document)


def per_module(tally, tools, size, directory, seed):
    """PEFT loads patterns of rank and alpha right, also where one path ends or begins like another."""
    base, output = directory / "base", directory / "out"
    size = models.Size(**(vars(size) | {"layers": 12, "hidden": 32, "heads": 2, "inter": 40}))
    models.save(models.randomise(models.llama(size), seed), base, "f32")
    settings = [
        {"target_modules": combine_cases.LINEAR, "r": 6, "lora_alpha": 9, "rank_pattern": {"q_proj": 3, "1.mlp.up_proj": 9}},
        {"target_modules": ["q_proj", "up_proj"], "r": 2, "lora_alpha": 4, "use_rslora": True},
    ]
    pairs = [
        (combine_cases.adapter(models.llama, s, size, base, directory / f"adapter{i}", seed + i), w)
        for i, (s, w) in enumerate(zip(settings, (1.0, -0.5), strict=True))
    ]
    for limits in ({"energy": 0.7}, {"ratio": 2.0, "rank": 4}):
        label = f"spectra: per module, {limits}"
        given = [x for k, v in limits.items() for x in (f"--{k}", v)]
        if not checks.made(tally, tools, label, "svd", pairs, output, *given, "--per-module"):
            continue
        checks.directory(tally, label, output, per_module=True)
        target = total(pairs)
        own = {path: rank_for(spectrum(matrix), **limits) for path, matrix in target.items()}
        checks.optimal(tally, label, target, output, own)
        merged = checks.written(base, reference.merge(base, [(output, 1.0)]), directory / "merged")
        checks.loads(tally, label, models.llama, size, base, output, merged)
        checks.verifies(tally, tools, label, base, output)
        checks.merges(tally, tools, label, base, [(output, 1.0)], output, directory)


def lossless(tally, tools, size, directory, seed):
    """Truncation to the full rank of convolutions, Conv1D, embeddings and experts loses nothing; `linear` likewise."""
    for name in ("conv2d", "conv3d", "gpt2", "embedding", "lora-bias", "experts-both", "experts-transposed"):
        item = next(c for c in combine_cases.ALL if c.name == name)
        base, adapters = combine_cases.make(item, size, directory / name, seed)
        pairs = list(zip(adapters, item.weights, strict=True))
        merged = checks.written(base, reference.merge(base, pairs), directory / "merged")
        for method in ("svd", "linear"):
            label, output = f"spectra: lossless {name} {method}", directory / "out"
            if checks.made(tally, tools, label, method, pairs, output, "--rank", 12):
                checks.same_deltas(tally, label, deltas(output), total(pairs))
                checks.loads(tally, label, item.model, size, base, output, merged)


def same_document(tally, tools, size, directory, seed):
    """--json prints what --report writes, and the document says what was asked for."""
    first = write(directory / "first", modules(plain, seed))
    report, label = directory / "report.json", "spectra: document"
    pairs = [(first, 1.0), (write(directory / "second", modules(graded, seed)), 0.25)]
    answer = checks.combine(tools, "svd", pairs, directory / "out", "--rank", 4, "--report", report, "--json")
    if not tally.check(answer.code == 0, f"{label}: adapter-combine", answer.text):
        return
    document, printed = json.loads(report.read_text()), json.loads(answer.out)
    tally.check(document == printed, f"{label}: --json is --report", f"{answer.out[:300]}")
    told = {k: document.get(k) for k in ("schema", "version", "method", "rank", "dtype")}
    wanted = {"schema": "adapterkit.combine", "version": 1, "method": "svd", "rank": 4, "dtype": told["dtype"]}
    tally.check(told == wanted and "32" in str(told["dtype"]), f"{label}: what it is", str(told))
    named = [(a["path"], a["weight"]) for a in document["adapters"]]
    tally.check(named == [(str(p), w) for p, w in pairs], f"{label}: adapters", str(named))
    tensors = (directory / "out" / "adapter_model.safetensors").stat().st_size
    everything = sum(p.stat().st_size for p in (directory / "out").iterdir())
    tally.check(document["bytes"] in (tensors, everything), f"{label}: bytes", str(document["bytes"]))
    ranks = {m["rank_in"] for m in document["modules"]}
    tally.check(ranks == {2 * RANK}, f"{label}: stacked rank", str(ranks))


def cases(quick):
    """The names and functions of this section."""
    table = [
        (f"spectra: {kind.__name__}", lambda *a, kind=kind: spectrum_case(*a[:2], kind, a[3], a[4], quick)) for kind in KINDS
    ]
    return table + [
        ("spectra: short types", short_types), ("spectra: chosen ranks", chosen), ("spectra: per module", per_module),
        ("spectra: lossless", lossless), ("spectra: document", same_document),
    ]  # fmt: skip
