"""Which names of modules with a two-dimensional weight belong to embeddings, as a Swift table.

    python Tests/Golden/embedding_names.py > Sources/Adapters/EmbeddingNames.swift

A file does not say whether `name.weight` is an embedding, a linear layer or neither (a mixture's router). This looks at
every module of every model class that architectures.py can build, by its name in memory and by the name under which
`save_pretrained` stores it. A name is told by its last part, or by its last two where the last one is not enough.
Prints to stderr what it found: counts of model types, names that look like embeddings and are none, names that are
both. Takes two minutes, and needs what architectures.py needs.
"""

import signal
import sys
import textwrap
from collections import defaultdict

import torch
import transformers
from architectures import SECONDS, Late, build, classes
from transformers.conversion_mapping import PrefixChange, get_model_conversion_mapping
from transformers.core_model_loading import WeightConverter, WeightRenaming, apply_converters, apply_renamings
from transformers.pytorch_utils import Conv1D

HEADER = """\
// Made by Tests/Golden/embedding_names.py from transformers {version}; do not edit.

/// What modules with a two-dimensional weight are, by their names in the model classes of transformers.
enum EmbeddingNames {"""

TABLES = {
    "embeddings": ("embedding", True, "Last parts of names that are always embeddings."),
    "embeddingEndings": ("embedding", False, "Last two parts, without numbers, of other names that are embeddings."),
    "others": ("other", True, "Last parts of names that are always neither embeddings nor linear layers."),
    "otherEndings": ("other", False, "Last two parts of other names that are neither, in some model at least."),
}

FOOTER = """
    private static func words(_ text: String) -> Set<String> {
        Set(text.split(whereSeparator: \\.isWhitespace).map(String.init))
    }
}"""


def kind(module):
    """What a module is. PEFT adapts the others only as `target_parameters`, which any linear layer can be too."""
    if isinstance(module, torch.nn.Embedding) or type(module).__name__.endswith("Embedding"):
        return "embedding"
    isLinear = isinstance(module, (torch.nn.Linear, Conv1D)) or type(module).__name__ == "QuantLinear"
    return "linear" if isLinear else "other"


def modules(model):
    """The kinds and names of the modules with a two-dimensional weight, in memory and as stored."""
    found = get_model_conversion_mapping(model, add_legacy=False)
    reverse = [c.reverse_transform() for c in found[::-1] if not isinstance(c, PrefixChange)]
    converters = [c for c in reverse if isinstance(c, WeightConverter)]
    renamings = [c for c in reverse if isinstance(c, WeightRenaming)]
    for name, module in model.named_modules():
        weight = getattr(module, "weight", None)
        if not name or not isinstance(weight, torch.Tensor) or weight.ndim != 2:
            continue
        yield kind(module), name
        if apply_converters(name + ".weight", converters)[1] is None:
            yield kind(module), apply_renamings(name + ".weight", renamings).removesuffix(".weight")


def ending(name):
    """The last two parts of a name, without numbers."""
    return ".".join([p for p in name.split(".") if not p.isdigit()][-2:])


def survey():
    """The types of models for every last part, ending and kind."""
    seen, built, failed = defaultdict(lambda: defaultdict(lambda: defaultdict(set))), 0, []
    for name, cls in classes():
        signal.alarm(SECONDS)
        try:
            model = build(cls)
            for what, path in modules(model):
                end = ending(path)
                seen[end.rpartition(".")[2]][end][what].add(model.config.model_type or type(model.config).__name__)
            built += 1
        except Exception as error:  # noqa: BLE001 there are many reasons why a class cannot be built
            failed.append(f"{name}: {type(error).__name__}")
        finally:
            signal.alarm(0)
    return seen, built, failed


def main():
    signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(Late()))
    transformers.utils.logging.set_verbosity_error()
    seen, built, failed = survey()
    tables, notes = defaultdict(list), []
    for leaf, ends in sorted(seen.items()):
        kinds = {k for has in ends.values() for k in has}
        types = {k: set().union(*(has.get(k, ()) for has in ends.values())) for k in sorted(kinds)}
        if kinds != {"linear"} or "emb" in leaf:
            notes.append(f"{leaf}: " + ", ".join(f"{k} in {len(t)}" for k, t in types.items()))
        if len(kinds) == 1:
            tables[kinds.pop(), True].append(leaf)
            continue
        for end, has in sorted(ends.items()):
            notes += [f"  {end}: {k} in {' '.join(sorted(t))}"[:200] for k, t in sorted(has.items())]
            for k in has:
                if k == "other" or len(has) == 1:
                    tables[k, False].append(end)
            if "embedding" in has and len(has) > 1:
                notes.append(f"  {end} IS NOT TOLD BY TWO PARTS")
    print(HEADER.replace("{version}", transformers.__version__))
    for name, (what, isAlways, comment) in TABLES.items():
        print(f'    /// {comment}\n    static let {name} = words(\n        """')
        for line in textwrap.wrap(" ".join(tables[what, isAlways]), 108, break_on_hyphens=False):
            print(f"        {line}")
        print('        """)\n')
    print(FOOTER.removeprefix("\n"))
    print(f"{built} classes, {len(failed)} not built", *failed, *notes, sep="\n  ", file=sys.stderr)


if __name__ == "__main__":
    main()
