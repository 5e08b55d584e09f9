"""Random changes of adapters in live models: is what a server loads always what a fresh merge would be?

    python Tests/Interop/swap.py --bin .build/release [--quick] [--seed N] [--only TEXT]

For each family a tiny model is saved by transformers, in one dtype and sharded, and adapters of several kinds by PEFT.
Then adapter-swap changes them in a random order: one or several, with weights, kept or not, the base in between, kept
generations forgotten. After each step the model has the files of `adapter-merge` onto the pristine base, byte for byte,
transformers loads it, and its logits are exactly those of that merge; what the merge refuses, the swap refuses, and the
model stays as it was. In the end the pristine base is back. Ends with 'N passed, N failed'.
"""

import json
import os
import random
import shutil
import sys
import tempfile
import warnings
from dataclasses import dataclass, field
from pathlib import Path

from tools import command_line

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "Golden")]
sys.dont_write_bytecode = True
os.environ["HF_HUB_OFFLINE"] = "1"
warnings.filterwarnings("ignore")

# Classes, whether embeddings are tied (None: as the class has it), dtypes, and the kinds of adapters (see families.py).
FAMILIES = [
    ("LlamaForCausalLM", False, ["bf16", "f32", "f16"], ["all-linear", "all-linear", "dora", "embedding", "save-head", "grow"]),
    ("LlamaForCausalLM", True, ["bf16", "f16"], ["all-linear", "all-linear", "dora", "head", "save-embedding", "tokens", "grow-head"]),
    ("GPT2LMHeadModel", None, ["f32", "bf16"], ["all-linear", "all-linear", "dora", "bias", "embedding"]),
    ("MixtralForCausalLM", None, ["bf16"], ["all-linear", "all-linear", "dora", "save-both"]),
    ("Qwen2MoeForCausalLM", None, ["f16", "bf16"], ["all-linear", "all-linear", "bias", "head"]),
    ("BertForMaskedLM", None, ["f32", "f16"], ["all-linear", "all-linear", "dora", "bias", "save-embedding"]),
]
INSIDE = ".adapterkit-swap"
WEIGHTS = [1.0, 1.0, 0.5, -0.25, 1.5]


@dataclass
class Subject:
    """A model that is swapped, its pristine copy, and what fresh merges of it are."""

    label: str
    cls: type
    directory: Path
    tools: object
    tally: object
    batch: dict
    adapters: list
    merges: dict = field(default_factory=dict)

    @property
    def pristine(self):
        return self.directory / "pristine"

    @property
    def model(self):
        return self.directory / "model"

    def fresh(self, operands):
        """Files and logits of the merge with these operands; nothing if it is refused."""
        if operands not in self.merges:
            out = self.pristine
            if operands:
                out = self.directory / "fresh"
                answer = self.tools.run("adapter-merge", self.pristine, *operands, "-o", out)
                if answer.code != 0:
                    self.merges[operands] = None
                    return None
            self.merges[operands] = files(out), self.logits(out, "fresh merge")
            if operands:
                shutil.rmtree(out)
        return self.merges[operands]

    def logits(self, path, what):
        """What transformers computes from the files at `path`; nothing if it cannot load them as they should be."""
        import families

        try:
            model, about = self.cls.from_pretrained(path, dtype="auto", output_loading_info=True)
            odd = {k: sorted(map(str, v))[:3] for k, v in about.items() if v and k != "error_msgs"}
            self.tally.check(not odd, f"{self.label}: {what} loads whole", str(odd))
            return families.logits(model.eval(), self.batch)
        except Exception as error:  # noqa: BLE001
            self.tally.check(False, f"{self.label}: {what} loads", f"{type(error).__name__}: {str(error)[:300]}")
            return None


def files(path):
    """The bytes of all files below a directory, without the state of swaps."""
    every = {str(p.relative_to(path)): p for p in path.rglob("*") if p.is_file()}
    return {name: file.read_bytes() for name, file in every.items() if not name.startswith(INSIDE + "/")}


def make(tally, tools, family, directory, seed, rng):
    """A model and its adapters."""
    import families
    import models
    import torch
    import transformers
    from peft import LoraConfig, get_peft_model

    name, tied, dtypes, kinds = family
    cls, dtype = getattr(transformers, name), rng.choice(dtypes)
    torch.manual_seed(seed)
    model = cls(families.configure(cls, tied)).eval()
    families.randomise(model, seed)
    batch = families.inputs(model, seed)
    pristine = directory / "pristine"
    models.save(model, pristine, dtype, max_shard_size="12KB")
    (pristine / "tokenizer.json").write_text("{}\n")
    adapters = []
    for at, kind in enumerate(kinds):
        model = cls.from_pretrained(pristine, dtype=torch.float32).eval()
        found = families.settings(kind, model)
        if found is None:
            continue
        options, more = found
        if more:
            model.resize_token_embeddings(96 + more, mean_resizing=False)
        try:
            wrapped = get_peft_model(model, LoraConfig(r=2 + at, lora_alpha=4, use_rslora=at == 1, **options))
        except ValueError:
            continue  # PEFT has no DoRA of fused experts
        families.fill(wrapped, seed + at)
        adapters.append(directory / f"{kind}-{at}")
        wrapped.save_pretrained(adapters[-1])
    shutil.copytree(pristine, directory / "model")
    if rng.random() < 0.3:
        # As where nothing can be made beside the model: files are exchanged one by one.
        (directory / "model" / INSIDE).mkdir()
    label = f"{name}{ {True: ' tied', False: ' untied', None: ''}[tied] } {dtype}"
    return Subject(label, cls, directory, tools, tally, batch, adapters)


def operands(subject, rng):
    """One adapter or several, with weights."""
    chosen = rng.sample(subject.adapters, min(len(subject.adapters), rng.choice([1, 1, 1, 2, 2, 3])))
    weights = [rng.choice(WEIGHTS) for _ in chosen]
    return tuple(str(path) if weight == 1.0 else f"{path}:{weight}" for path, weight in zip(chosen, weights, strict=True))


def step(subject, rng, earlier, was):
    """One random change; returns the operands that are in the model after it."""
    tally = subject.tally
    action = rng.choices(["use", "again", "base", "forget"], [6, 3, 2, 1])[0]
    if action == "forget":
        arguments, wanted = ["forget", "--all"], was
    elif action == "base":
        arguments, wanted = ["base"], ()
    else:
        wanted = rng.choice(earlier) if action == "again" and earlier else operands(subject, rng)
        # Most weights and many pairs are refused beside whole tensors or DoRA; once in a while is enough of that.
        while subject.fresh(wanted) is None and rng.random() < 0.9:
            wanted = operands(subject, rng)
        arguments = ["use", *wanted] + rng.choice([[], [], ["--keep"], ["--keep", "--limit", "1MB"], ["--keep", "--limit", "1"]])
    short = " ".join(word.replace(str(subject.directory) + "/", "") for word in arguments)
    label = f"{subject.label}: {short}"
    answer = subject.tools.run("adapter-swap", subject.model, *arguments, "--threads", rng.choice([1, 2, 3]))
    if (merge := subject.fresh(wanted)) is None:
        tally.check(answer.code == 1, f"{label}: refused as the merge is", f"exit {answer.code}: {answer.text}")
        wanted = was
        merge = subject.fresh(wanted)
    elif action == "forget" and answer.code == 1:
        tally.check("was never swapped" in answer.err or "base-needed" in answer.err, label, answer.text)
    else:
        if not tally.check(answer.code == 0, label, f"exit {answer.code}: {answer.text}"):
            return was
        if action == "use":
            earlier.append(wanted)
    found = files(subject.model)
    differ = sorted(n for n in found.keys() | merge[0].keys() if found.get(n) != merge[0].get(n))
    tally.check(not differ, f"{label}: the files of a fresh merge", f"differ: {differ[:4]}")
    logits = subject.logits(subject.model, short)
    if logits is not None and merge[1] is not None:
        tally.check(bool((logits == merge[1]).all()), f"{label}: the logits of a fresh merge")
    return wanted


def family_case(tally, tools, family, steps, seed):
    """One model, and a walk."""
    rng = random.Random(f"{seed} {family[:2]}")
    directory = Path(tempfile.mkdtemp())
    try:
        subject = make(tally, tools, family, directory, seed, rng)
        print(f"{subject.label}, {len(subject.adapters)} adapters", flush=True)
        now, earlier = (), []
        for _ in range(steps):
            now = step(subject, rng, earlier, now)
            status = tools.run("adapter-swap", subject.model, "status", "--deep", "--json")
            told = json.loads(status.out or "{}").get("live") or {"adapters": []}
            names = [Path(adapter["path"]).name for adapter in told["adapters"]]
            wanted = [Path(word.rpartition(":")[0] or word).name for word in now]
            fine = status.code == 0 and names == wanted
            tally.check(fine, f"{subject.label}: status", f"{names}, but {wanted} were due; {status.text}")
        refusals = sum(merge is None for merge in subject.merges.values())
        answer = tools.run("adapter-swap", subject.model, "base")
        fine = answer.code == 0 and files(subject.model) == files(subject.pristine)
        tally.check(fine, f"{subject.label}: the pristine base in the end", answer.text)
        print(f"  {len(subject.merges)} different merges, {refusals} of them refused", flush=True)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def run(options):
    """Everything; returns the exit status."""
    import build
    from tools import Tally, Tools

    build.quiet()
    tools, tally = Tools(options.bin), Tally(verbose=options.verbose)
    print(f"seed {options.seed}", flush=True)
    for family in FAMILIES:
        if options.only in family[0]:
            family_case(tally, tools, family, 8 if options.quick else 60, options.seed)
    return tally.report()


def main():
    options = command_line(__doc__, "fewer steps for each model", "only classes whose name contains this")
    if options is None:
        return 0
    return run(options)


if __name__ == "__main__":
    sys.exit(main())
