"""A live test of adapter-convert: each library loads what was converted for it, and computes what the source's does.

    python Tests/Interop/convert.py --bin .build/release [--quick] [--seed N] [--only TEXT]

Random adapters by PEFT become those of mlx-lm, llama.cpp, kohya and LyCORIS, diffusers, and PEFT again; files of the
other dialects, made by the table of Tests/Golden/dialects.py, become PEFT's. There and back the function is the same,
and bytes where nothing was folded. What a dialect cannot say is refused. Ends with 'N passed, N failed'.
"""

import json
import os
import shutil
import sys
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path

from tools import Tally, Tools, command_line

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "Golden")]
sys.dont_write_bytecode = True
os.environ["HF_HUB_OFFLINE"] = "1"
warnings.filterwarnings("ignore")
EXACT, SINGLE = 1e-6, 3e-6  # libraries in float64, and in float32
CANNOT = {"mlx": {"bias"}, "gguf": {"bias", "dora"}, "kohya": {"bias", "embedding"}, "peft": set()}
NAMES = {"gguf": "out.gguf", "kohya": "out.safetensors", "diffusers": "out.safetensors"}

UNLOADED = ("text_encoder", "dora", "diffusers")  # transformers begins with magnitudes of its own there


@dataclass
class Bench:
    """What all checks share."""

    tools: Tools
    tally: Tally
    work: Path

    def convert(self, source, target, output, *options):
        """Run adapter-convert; its document, or None with a failed check."""
        answer = self.tools.run("adapter-convert", source, "-o", output, "--to", target, "--json", *options)
        fine = self.tally.check(answer.code == 0, f"{Path(source).name} to {target}", answer.text)
        return json.loads(answer.out) if fine else None

    def refused(self, label, source, target, output, *options):
        """Exit status 1, a reason, and nothing written; --allow-lossy says what it leaves out."""
        beside = set(output.parent.iterdir())
        answer = self.tools.run("adapter-convert", source, "-o", output, "--to", target, *options)
        self.tally.check(
            answer.code == 1 and answer.err.strip() and set(output.parent.iterdir()) == beside,
            f"{label}: refused by {target}, and nothing is written", f"exit {answer.code}: {answer.text}",
        )  # fmt: skip
        return answer

    def near(self, label, found, wanted, tolerance):
        """Weights or logits are the same."""
        from convert_loaders import distance

        found, wanted = [x if isinstance(x, dict) else {"logits": x} for x in (found, wanted)]
        apart = distance(found, wanted)
        self.tally.check(apart <= tolerance, label, f"{apart:.3g} apart; {sorted(set(found) ^ set(wanted))[:4]}")

    def merged(self, label, base, adapter, wanted, tolerance=EXACT):
        """adapter-merge gives these weights."""
        from dialect_cases import changes, read_base

        output = self.work / "merged"
        shutil.rmtree(output, ignore_errors=True)
        answer = self.tools.merge(base, [(adapter, 1.0)], output)
        if self.tally.check(answer.code == 0, f"{label}: adapter-merge", answer.text):
            self.near(label, changes(base, read_base(output)), wanted, tolerance)


def tensors(path):
    """Dtype, shape and bytes by name, of the file or the directory's one file."""
    from tensorfile import read_file

    path = Path(path)
    path = path if path.is_file() else next(path.glob("*.safetensors"))
    return {n: (s.dtype, s.shape, s.data) for n, s in read_file(path).items()}


def same(bench, label, one, other):
    """The same tensors, byte for byte; copies of the base's embeddings, which PEFT saves, are not converted."""
    one, other = [{n: t for n, t in tensors(x).items() if ".base_layer." not in n} for x in (one, other)]
    wrong = sorted(n for n in one.keys() | other.keys() if one.get(n) != other.get(n))
    bench.tally.check(not wrong, f"{label}: the same tensors", f"{wrong[:4]}")


def library(target, kind, base, output):
    """The merged weights by the target's own library, and how exact that is."""
    import convert_loaders as loaders

    if target == "peft":
        return loaders.merged_language(kind, base, output), EXACT
    if target == "mlx":
        return loaders.merged_mlx(base, output), SINGLE
    if target == "gguf":
        return loaders.merged_gguf(kind, base, output), EXACT
    return loaders.merged_lycoris(base, output, {("lycoris", ""): loaders.model_of(kind, base)}), EXACT


def language(bench, sort, seed):
    """One adapter of a language model, to everything that language models have."""
    import convert_cases as cases
    import convert_loaders as loaders
    import dialect_models

    choice = cases.generator(seed, sort)
    kind, size = cases.language_base(sort, choice)
    base, adapter = bench.work / "base", bench.work / "adapter"
    dialect_models.make_model(kind, base, size, seed)
    settings, dtype = cases.language_settings(sort, choice), choice.choice(["f32", "f32", "bf16", "f16"])
    cases.language_adapter(kind, settings, base, adapter, dtype, seed)
    wanted = loaders.merged_language(kind, base, adapter)
    tokens = [[choice.randrange(3, size.vocab) for _ in range(8)]]
    answer = loaders.logits(loaders.peft_model(loaders.model_of(kind, base), adapter), tokens)
    bench.merged(f"{sort}: merged", base, adapter, wanted)
    for target, cannot in CANNOT.items():
        label, output = f"{sort} ({dtype} {kind}) {target}", bench.work / NAMES.get(target, "out")
        fold = ["--fold"] if target == "peft" else []
        if sort in cannot:
            lossy(bench, label, adapter, target, output, base)
        elif document := bench.convert(adapter, target, output, "--base", base, *fold):
            try:
                found, tolerance = library(target, kind, base, output)
                bench.near(f"{label}: its library's weights", found, wanted, tolerance)
                function(bench, label, target, kind, base, output, tokens, answer)
            except Exception as error:
                bench.tally.check(False, f"{label}: its library loads it", f"{type(error).__name__}: {error}")
            back(bench, label, base, adapter, output, document, wanted)
        remove(output)


def function(bench, label, target, kind, base, output, tokens, answer):
    """The logits with the adapter in place, where the library has a model to put it in."""
    import convert_loaders as loaders
    from peft.tuners.lora import LoraLayer

    if target == "mlx" and kind == "llama":  # mlx-lm's Qwen2 rotates by another default than transformers'
        bench.near(f"{label}: logits", loaders.mlx_logits(base, output, tokens), answer, 1e-4)
    elif target == "peft":
        model = loaders.peft_model(loaders.model_of(kind, base), output)
        bench.near(f"{label}: logits", loaders.logits(model, tokens), answer, 1e-6)
        config = json.loads((output / "adapter_config.json").read_text())
        scale = {m.scaling["default"] for m in model.modules() if isinstance(m, LoraLayer)}
        bench.tally.check(
            not config["use_rslora"] and max(scale) - min(scale) <= 1e-12, f"{label}: one scale", f"{scale}"
        )


def back(bench, label, base, adapter, output, document, wanted):
    """Converted back to PEFT: the same merge, and the same bytes if no scale was folded and no rank filled up."""
    again = bench.work / "again"
    remove(again)
    if bench.convert(output, "peft", again, "--base", base):
        bench.merged(f"{label}: there and back", base, again, wanted)
        if document["copied"] == len(document["modules"]) and not document["folded"]:
            same(bench, f"{label}: there and back", adapter, again)
    remove(again)


def lossy(bench, label, adapter, target, output, base):
    """Refused, and with --allow-lossy written without what cannot be said."""
    bench.refused(label, adapter, target, output, "--base", base)
    if document := bench.convert(adapter, target, output, "--base", base, "--allow-lossy"):
        dropped = document["dropped"]
        fine = dropped and all(entry["loss"] > 0 for entry in dropped)
        bench.tally.check(fine, f"{label}: --allow-lossy says what is dropped", f"{dropped}")


def component(bench, name, sort, seed):
    """One adapter by PEFT for a part of a pipeline, to kohya's and diffusers' file and back."""
    import convert_cases as cases
    import convert_loaders as loaders
    import dialect_pipelines as pipelines
    from dialect_models import SMALL

    choice = cases.generator(seed, f"{name} {sort}")
    base, adapter = bench.work / "base", bench.work / "adapter"
    pipelines.make("sd1", base, SMALL, seed)
    dtype = choice.choice(["f32", "bf16", "f16"])
    settings = cases.component_settings(name, sort, choice)
    cases.component_adapter(loaders.component_of("sd1", base, name), settings, adapter, dtype, seed)
    wanted = loaders.merged_component("sd1", base, name, adapter)
    options = ["--base", base, "--component", name]
    for target in ("diffusers", "kohya", "peft"):
        label, output = f"{name} {sort} ({dtype}) {target}", bench.work / NAMES.get(target, "out")
        extra = ["--fold"] if target == "peft" else []
        if document := bench.convert(adapter, target, output, *options, *extra):
            if (name, sort, target) != UNLOADED:
                bench.near(f"{label}: its library's weights", *pipeline_weights(target, name, base, output, wanted))
            again = bench.work / "again"
            if bench.convert(output, "peft", again, *options):
                bench.near(
                    f"{label}: there and back", loaders.merged_component("sd1", base, name, again), wanted, EXACT
                )
                if document["copied"] == len(document["modules"]) and not document["folded"]:
                    same(bench, label, adapter, again)
            remove(again)
        remove(output)
    for target in ("mlx", "gguf"):
        bench.refused(f"{name} {sort}", adapter, target, bench.work / NAMES.get(target, "out"), *options)


def pipeline_weights(target, name, base, output, wanted):
    """What the target's library makes of a file for Stable Diffusion 1; what is wanted; how near they should be.

    LyCORIS is asked about kohya's files: diffusers leaves out their DoRA, and alphas that attention does not share.
    """
    import convert_loaders as loaders

    if target == "peft":
        return loaders.merged_component("sd1", base, name, output), wanted, EXACT
    if target == "kohya":
        prefix = "lora_unet" if name == "unet" else "lora_te"
        parts = {(prefix, f"{name}/"): loaders.component_of("sd1", base, name)}
        return loaders.merged_lycoris(base, output, parts), wanted, EXACT
    return loaders.merged_diffusers("sd1", base, output), wanted, SINGLE


def convolutions(bench, seed):
    """LoRA of convolutions and of a linear layer: MLX refuses the first, and takes the second if loss is allowed."""
    import convert_cases as cases
    import dialect_models

    base, adapter = bench.work / "base", bench.work / "adapter"
    dialect_models.make_model("conv2d", base, dialect_models.SMALL, seed)
    settings = {"r": 2, "lora_alpha": 3, "target_modules": ["first", "third", "head"]}
    cases.language_adapter("conv2d", settings, base, adapter, "f32", seed)
    lossy(bench, "convolutions", adapter, "mlx", bench.work / "out", base)
    bench.refused("convolutions", adapter, "gguf", bench.work / "out.gguf", "--base", base)


def remove(path):
    """A file or a directory, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def jobs(options):
    """Names of checks and what does them."""
    import convert_cases as cases
    import convert_sources as sources

    found = [(f"language {sort}", lambda b, sort=sort: language(b, sort, options.seed)) for sort in cases.SORTS]
    for name in ("unet", "text_encoder"):
        for sort in ("plain", "patterns", "dora"):
            work = lambda b, name=name, sort=sort: component(b, name, sort, options.seed)
            found.append((f"{name} {sort}", work))
    found.append(("convolutions", lambda b: convolutions(b, options.seed)))
    return found + sources.jobs(options)


def run(options):
    """Everything; returns the exit status."""
    tools = Tools(options.bin)
    if not os.access(tools.directory / "adapter-convert", os.X_OK):
        print(f"not built: adapter-convert in {options.bin}", file=sys.stderr)
        return 1
    tally = Tally(verbose=options.verbose)
    print(f"seed {options.seed}", flush=True)
    for name, work in jobs(options):
        if options.only not in name:
            continue
        print(name, flush=True)
        with tempfile.TemporaryDirectory() as scratch:
            try:
                work(Bench(tools, tally, Path(scratch)))
            except Exception as error:
                tally.check(False, f"{name}: the library's half", f"{type(error).__name__}: {error}")
    return tally.report()


def main():
    options = command_line(__doc__, "fewer files of other dialects", "only checks whose name contains this")
    if options is None:
        return 0
    import importlib

    for name in ("diffusers", "gguf", "lycoris", "mlx_lm"):
        try:
            importlib.import_module(name)
        except ImportError as error:
            print(f"skipped: {error}")
            return 0
    import build

    build.quiet()
    return run(options)


if __name__ == "__main__":
    sys.exit(main())
