"""Which classes of transformers tie their output head to their input embedding, as a Swift table.

    python Tests/Golden/architectures.py > Sources/Adapters/TiedArchitectures.swift

Builds every model class on the meta device with its default config, cut to two layers, asks it for its tied weights
and for the names under which `save_pretrained` stores them. Of classes that cannot be built so, what
the class itself declares is taken, if it is plain. Takes two minutes, and needs transformers 5.23 and torch, without network.
"""

import copy
import os
import re
import signal
import sys
import textwrap
import warnings
from collections import defaultdict

os.environ["HF_HUB_OFFLINE"] = "1"
warnings.filterwarnings("ignore")
import torch  # noqa: E402
import transformers  # noqa: E402
from transformers.conversion_mapping import PrefixChange, get_model_conversion_mapping  # noqa: E402
from transformers.core_model_loading import WeightConverter, WeightRenaming, apply_converters, apply_renamings  # noqa: E402
from transformers.models.auto import modeling_auto  # noqa: E402

LAYERS = ("num_hidden_layers", "n_layer", "num_layers", "encoder_layers", "decoder_layers", "n_layers",
          "num_decoder_layers", "encoder_num_hidden_layers")  # fmt: skip
SECONDS = 60  # for one class: some default configs are of whole clusters' size

HEADER = """\
// Made by Tests/Golden/architectures.py from transformers {version}; do not edit.

/// The output heads that transformers' model classes tie to their input embeddings, by the names of the checkpoint.
enum TiedArchitectures {
    /// One set of ties and the classes that have it.
    struct Row: Sendable {
        /// The head's weight in the checkpoint.
        var head: String
        /// The same in memory, where that is another name.
        var memory = ""
        /// The end of the embedding's name.
        var embedding: String
        /// Other tensors that are tied together with the head, as target=source.
        var companions = ""
        /// Whether the embedding is used in more places than these two.
        var isSharedFurther = false
        var classes: String
    }

    static let rows: [Row] = [
"""


class Late(Exception):
    """A class that took too long."""


def classes():
    """All model classes that transformers' automatic classes can give."""
    names = set()
    for table in dir(modeling_auto):
        if table.startswith("MODEL_") and table.endswith("_MAPPING_NAMES"):
            for value in getattr(modeling_auto, table).values():
                names.update(value if isinstance(value, (tuple, list)) else [value])
    return [(n, getattr(transformers, n)) for n in sorted(names) if getattr(transformers, n, None) is not None]


def parts(config):
    """The config and those within it."""
    yield config
    for value in list(vars(config).values()):
        if isinstance(value, transformers.PretrainedConfig):
            yield from parts(value)


def shrink(config):
    """Two layers, where the config says so in a usual way."""
    for part in parts(config):
        for key in LAYERS:
            if isinstance(getattr(part, key, None), int) and getattr(part, key) > 2:
                setattr(part, key, 2)
        if isinstance(getattr(part, "layer_types", None), list):
            part.layer_types = part.layer_types[:2]


def build(cls):
    """The class with its embeddings tied, without data; as a whole where it cannot be cut."""
    for cut in (True, False):
        config = copy.deepcopy(cls.config_class())
        for part in parts(config):
            part.tie_word_embeddings = True
        try:
            if cut:
                shrink(config)
            with torch.device("meta"):
                return cls(config)
        except Late:
            raise
        except Exception:  # noqa: BLE001 many ways to fail; the second try tells
            if not cut:
                raise
    return None


def on_disk(model, name):
    """The name under which a parameter is saved, or None where it is not saved as it is."""
    found = get_model_conversion_mapping(model, add_legacy=False)
    reverse = [c.reverse_transform() for c in found[::-1] if not isinstance(c, PrefixChange)]
    converters = [c for c in reverse if isinstance(c, WeightConverter)]
    if apply_converters(name, converters)[1] is not None:
        return None
    return apply_renamings(name, [c for c in reverse if isinstance(c, WeightRenaming)])


def row(model):
    """The tie of head and embedding, or None if there is none."""
    tied = dict(getattr(model, "all_tied_weights_keys", None) or {})
    modules = dict(model.named_modules())
    is_embedding = {n for n, m in modules.items() if isinstance(m, torch.nn.Embedding)}
    pairs = {t: s for t, s in tied.items() if s.removesuffix(".weight") in is_embedding}
    heads = [t for t in pairs if t.endswith(".weight") and t.removesuffix(".weight") not in is_embedding]
    if len(heads) != 1:
        return None
    head, embedding = heads[0], pairs[heads[0]]
    module = head.rpartition(".")[0]
    others = {t: s for t, s in tied.items() if t != head and t.startswith(module + ".")}
    shared = len(tied) > 1 + len(others)
    names = {n: on_disk(model, n) for n in (head, embedding, *others, *others.values())}
    if None in names.values():
        return None
    companions = " ".join(f"{names[t]}={names[s]}" for t, s in sorted(others.items()))
    end = ".".join(names[embedding].split(".")[-2:])
    return names[head], head if names[head] != head else "", end, companions, shared


def declared(cls):
    """The tie that a class declares, if it is of one head and one embedding."""
    keys = getattr(cls, "_tied_weights_keys", None)
    if not isinstance(keys, dict) or len(keys) != 1:
        return None
    head, embedding = next(iter(keys.items()))
    if not re.fullmatch(r"[\w.]+\.weight", head) or not re.fullmatch(r"[\w.]+\.weight", embedding):
        return None
    return head, "", ".".join(embedding.split(".")[-2:]), "", False


def main():
    signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(Late()))
    transformers.utils.logging.set_verbosity_error()
    rows, failed = defaultdict(list), []
    for name, cls in classes():
        signal.alarm(SECONDS)
        try:
            found = row(build(cls))
        except Exception as error:  # noqa: BLE001 there are many reasons why a class cannot be built
            found = declared(cls)
            failed.append(f"{name}: {type(error).__name__}")
        finally:
            signal.alarm(0)
        if found:
            rows[found].append(name)
    print(HEADER.replace("{version}", transformers.__version__), end="")
    for (head, memory, embedding, companions, shared), names in sorted(rows.items(), key=lambda r: (-len(r[1]), r[0])):
        fields = [f'head: "{head}"', f'memory: "{memory}"' if memory else "", f'embedding: "{embedding}"',
                  f'companions: "{companions}"' if companions else "", "isSharedFurther: true" if shared else ""]  # fmt: skip
        print("        Row(")
        head_line, *rest = [f for f in fields[:3] if f], *[[f] for f in fields[3:] if f]
        for line in (head_line, *rest):
            print(f"            {', '.join(line)},")
        print('            classes: """')
        for line in textwrap.wrap(" ".join(names), 98):
            print(f"                {line}")
        print('                """),')
    print("    ]\n}")
    print(f"{sum(map(len, rows.values()))} classes, {len(failed)} not built", *failed, sep="\n  ", file=sys.stderr)


if __name__ == "__main__":
    main()
