"""How the stored names of parameters become those that transformers has in memory, as a Swift table.

    python Tests/Golden/renames.py Sources/Adapters

writes StoredNames.swift and StoredNames+More.swift there.

Builds every model class that architectures.py can build, those that have a conversion mapping with all their layers,
and asks for the names under which `save_pretrained` stores their parameters: both as from new and with the prefixes
that a loaded checkpoint may have had. From these pairs it looks for replacements of whole parts of names, whose use in
order turns every stored name into that in memory and, if possible, leaves names in memory as they are. Experts that are
stored one by one keep their number and last parts, as `mlp.experts.0.w1.weight`. Prints to stderr which names cannot be
had so, and which weights are not stored as they are. Takes ten minutes, and needs what architectures.py needs; with
timm, scipy and pillow it builds more classes.
"""

import contextlib
import copy
import re
import signal
import sys
import textwrap
from collections import Counter, defaultdict
from difflib import SequenceMatcher
from functools import lru_cache
from pathlib import Path

import torch
import transformers
from architectures import SECONDS, Late, build, classes, parts
from transformers.conversion_mapping import PrefixChange, get_model_conversion_mapping
from transformers.core_model_loading import WeightConverter, WeightRenaming, apply_converters, apply_renamings

HEAD = """\
/// Made by Tests/Golden/renames.py from transformers {version}; do not edit.
///
/// How names of parameters in checkpoints become those in memory. A pair replaces the first run of whole parts that is
/// equal to its left side; one with ^ only a run at the start; * is any number, the same on both sides. The pairs of a
/// row are used in order, each once. A class with a row of its own takes that instead of its model type's.
///
/// A row is "types: pairs"; its further lines are indented.
enum StoredNames {
    static let rows: [(types: Substring, pairs: Substring)] = lines.map { row in
        let parts = row.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        return (parts[0], parts.count > 1 ? parts[1] : "")
    }

    /// The rows, each with its lines joined.
    private static var lines: [Substring] {
        var result: [String] = []
        for line in (text + "\\n" + more).split(separator: "\\n") {
            if line.first == " " { result[result.count - 1] += line } else { result.append(String(line)) }
        }
        return result.map { $0[...] }
    }

    private static let text = \"\"\"
{rows}
        \"\"\"
}
"""
MORE = """\
// Made by Tests/Golden/renames.py from transformers {version}; do not edit.

extension StoredNames {
    /// The second half of the rows.
    static let more = \"\"\"
{rows}
        \"\"\"
}
"""

# What the configs of some model types, and those within them, need so that they can be built.
FIXES = {
    "aya_vision": {"num_attention_heads": 16}, "beit": {"out_indices": [3, 5, 7, 11]},
    "deepseek_ocr2": {"mlp_layer_types": ["dense"] + ["sparse"] * 99},
    "emu3": {"vocabulary_map": {"<|extra_200|>": 1, "<image>": 2}}, "esm": {"vocab_size": 33, "pad_token_id": 1},
    "hunyuan_v1_moe": {"head_dim": 128}, "hunyuan_vl": {"head_dim": 128},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * 32},
}  # fmt: skip
EXAMPLES = 6  # of names that differ by numbers only
VAGUE = ("weight", "bias")  # parts of which no replacement may consist, except at the start


def whole(cls):
    """The class with all its layers, without data; cut like everywhere where that fails or takes too long."""
    try:
        signal.alarm(SECONDS)
        config = cls.config_class()
        for part in parts(config):
            for key, value in FIXES.get(cls.config_class.model_type, {}).items():
                setattr(part, key, value)
        with torch.device("meta"):
            return cls(config)
    except Exception:  # noqa: BLE001 there are many reasons why a class cannot be built
        signal.alarm(SECONDS)
        return build(cls)


def shapes(names):
    """Names, those that differ by numbers only once."""
    return " ".join(dict.fromkeys(re.sub(r"\b\d+\b", "#", n) for n in names))


def examples(names):
    """The first names of those that differ by numbers only, and the last."""
    groups = defaultdict(list)
    for name in names:
        groups[shapes([name])].append(name)
    return [n for g in groups.values() for n in dict.fromkeys(g[:EXAMPLES] + g[-2:])]


def stored(model, hasPrefixes):
    """Names as stored and in memory, and notes on weights that are stored otherwise."""
    found = get_model_conversion_mapping(model, add_legacy=False)
    reverse = [c.reverse_transform() for c in found[::-1] if hasPrefixes or not isinstance(c, PrefixChange)]
    converters = [c for c in reverse if isinstance(c, WeightConverter)]
    renamings = [c for c in reverse if isinstance(c, WeightRenaming)]
    shifts = [c for c in renamings if hasattr(c, "offset")]
    state, pairs, groups, notes = model.state_dict(), {}, defaultdict(list), []
    for name in examples(sorted(state)):
        key, pattern = apply_converters(name, converters)
        if pattern is not None:
            groups[key].append(name)
        elif any(c.rename_source_key(name)[1] for c in shifts):
            notes.append(f"{shapes([name])} is stored under another number")
        else:
            pairs.setdefault(apply_renamings(name, renamings), name)
    for key, names in groups.items():
        converter = copy.deepcopy(next(c for c in converters if c.rename_source_key(names[0])[1] is not None))
        for name in names:
            converter.add_tensor(key, name, converter.rename_source_key(name)[1], state[name])
        try:
            result = converter.convert(key, model=model, config=model.config)
        except Exception as error:  # noqa: BLE001 some need real data
            result = {p: error for p in converter.target_patterns}
        targets = examples([apply_renamings(n, renamings) for n in result])
        what = " ".join(f"{type(o).__name__}({', '.join(map(str, vars(o).values()))})" for o in converter.operations)
        notes.append(f"{shapes(names)} is stored as {shapes(targets)} by {what}")
        for target in targets if "Modulelist" in what else ():
            _, dot, rest = target.partition(".experts.")
            parent = names[0].rpartition(".")[0]
            if dot and rest[0].isdigit() and parent.endswith(".experts"):
                pairs.setdefault(target, f"{parent}.{rest}")
    return pairs, notes


def survey():
    """By model type and class: the names in memory by those stored that must be right and that should be; and notes."""
    seen, notes = defaultdict(dict), []
    for name, cls in classes():
        try:
            signal.alarm(SECONDS)
            model = whole(cls) if cls.config_class.model_type in FIXES else build(cls)
            model = whole(cls) if get_model_conversion_mapping(model, add_legacy=False) else model
            kind = model.config.model_type or type(model.config).__name__
            pairs, more = stored(model, hasPrefixes=False)
            tied = set(getattr(model, "all_tied_weights_keys", None) or {})
            should = {s: m for s, m in pairs.items() if m in tied}
            for s, m in stored(model, hasPrefixes=True)[0].items():
                isTwice = any(n > max(1, m.split(".").count(p)) for p, n in Counter(s.split(".")).items())
                if s not in pairs and not isTwice:  # as several changes of prefixes may give
                    should[s] = m
            seen[kind][name] = {s: m for s, m in pairs.items() if m not in tied}, should
            notes += [f"{kind}: {n}" for n in more]
            notes += [f"{kind}: {type(m).__name__} is transposed" for m in model.modules()
                      if getattr(m, "is_transposed", False)]  # fmt: skip
        except Exception as error:  # noqa: BLE001 there are many reasons why a class cannot be built
            notes.append(f"{name} is not built: {type(error).__name__} {' '.join(str(error).split())[:90]}")
        finally:
            signal.alarm(0)
    return seen, notes


def replaced(pair, name):
    """The name, as a tuple of parts, after one replacement."""
    isAtStart, old, new = pair
    for i in range(1 if isAtStart else len(name) - len(old) + 1):
        run = name[i : i + len(old)]
        if run == old:
            return name[:i] + new + name[i + len(old) :]
        if "*" in old and len(run) == len(old) and all(p == q or p == "*" and q.isdigit() for p, q in zip(old, run)):
            numbers = iter([q for p, q in zip(old, run) if p == "*"])
            return name[:i] + tuple(next(numbers) if p == "*" else p for p in new) + name[i + len(old) :]
    return name


def renamed(pairs, name):
    for pair in pairs:
        name = replaced(pair, name)
    return name


@lru_cache(None)
def distance(a, b):
    """How many parts must be taken out and put in."""
    row = [0] * (len(b) + 1)
    for x in a:
        new = [0]
        for j, y in enumerate(b):
            new.append(row[j] + 1 if x == y else max(row[j + 1], new[j]))
        row = new
    return len(a) + len(b) - 2 * row[-1]


@lru_cache(None)
def candidates(name, target):
    """Replacements that bring a name nearer to its target, with up to three parts around what changes."""
    result = set()
    blocks = [b[1:] for b in SequenceMatcher(None, name, target, autojunk=False).get_opcodes() if b[0] != "equal"]
    for x, first in enumerate(blocks):
        for y, last in list(enumerate(blocks))[x:]:
            before = first[0] - (blocks[x - 1][1] if x else 0)
            after = (blocks[y + 1][0] if y + 1 < len(blocks) else len(name)) - last[1]
            for left, right in [(i, j) for i in range(min(before, 3) + 1) for j in range(min(after, 3) + 1)]:
                old, new = name[first[0] - left : last[1] + right], target[first[2] - left : last[3] + right]
                if any(p.endswith("_" + q) for p in old for q in new if q.isdigit()):
                    continue  # the number of a layer, as `norm_5` for `layers.5.norm`
                numbers, more = [[i for i, p in enumerate(side) if p.isdigit()] for side in (old, new)]
                ways = [(old, new)]
                if numbers and [old[i] for i in numbers] == [new[i] for i in more[: len(numbers)]]:
                    ways.append([tuple("*" if i in at[: len(numbers)] else p for i, p in enumerate(side))
                                 for side, at in ((old, numbers), (new, more))])  # fmt: skip
                for isAtStart in (False, True) if left == first[0] else (False,):
                    if isAtStart and old or new and any(p not in VAGUE and not p.isdigit() for p in old):
                        result |= {(isAtStart, *way) for way in ways}
    return result


def cost(pair):
    """How long and special a replacement is. Numbers are mostly those of layers, of which other models have more."""
    isAtStart, old, new = pair
    isPrefixed = not isAtStart and len(new) >= len(old) and new[0] != old[0]
    return len(old) + len(new) + isAtStart / 2 + isPrefixed + 5 * sum(p.isdigit() for p in old) + old.count("*")


def search(names):
    """Replacements, those with the greatest effect first, that never touch what must stay or change otherwise."""
    state, result = Counter(names), []
    while True:
        best, places, meant = None, defaultdict(set), dict(state.keys())
        for pair in state:
            for part in pair[0]:
                places[part].add(pair)
        for pair in {p for name, target in state if name != target for p in candidates(name, target)}:
            gain = 0
            for name, target in set.intersection(*(places[p] for p in pair[1] if p != "*")):
                new = replaced(pair, name)
                if new != name:
                    nearer = distance(name, target) - distance(new, target)
                    if nearer < distance(*pair[1:]) or meant.get(new, target) != target:
                        break
                    gain += nearer * state[name, target]
            else:
                rank = gain - cost(pair) / 3, -cost(pair), pair
                best = rank if gain > 0 and (best is None or rank > best) else best
        if best is None:
            return result
        result.append(best[2])
        state = Counter((renamed(result, name), target) for name, target in names)


def pairs_for(names):
    """Replacements for all names, stored and in memory, and the pairs of names that they get wrong."""
    groups = defaultdict(list)
    for pair in names:
        groups[shapes(".".join(n) for n in pair)].append(pair)
    sample = [p for g in groups.values() for p in g[:2]]
    while True:
        found = search(sample)
        wrong = [p for p in names if renamed(found, p[0]) != p[1]]
        more = [p for p in wrong if p not in sample][:20]
        if not more:
            return found, wrong
        sample += more


def tasks(seen):
    """Model types, and classes that differ from theirs, with their names as stored and in memory."""
    for kind, has in sorted(seen.items()):
        groups = []
        for name in sorted(has, key=lambda n: ("For" not in n, not n.endswith("Model"), n)):
            must, should = has[name]
            group = next((g for g in groups if all(g[1].get(s, m) == m for s, m in must.items())), None)
            if group is None:
                groups.append(group := ([], {}, {}))
            group[0].append(name)
            group[1].update(must)
            group[2].update(should)
        if all(s == m for g in groups for d in g[1:] for s, m in d.items()):
            continue
        for names, must, should in groups:
            both = {tuple(s.split(".")): tuple(m.split(".")) for s, m in (should | must).items()}
            same = {m: m for s, m in both.items() if s[-1:] != m[-2:-1]}  # but for what gets `.weight` at its end
            yield kind if names is groups[0][0] else " ".join(names), list((same | both).items())


def text(pairs):
    return " ".join(f"{'^' * a}{'.'.join(old)}={'.'.join(new)}" for a, old, new in pairs)


def row(kinds, words):
    """A row of the table in lines, all but the first indented."""
    return textwrap.fill(
        f"{' '.join(kinds)}: {words}".rstrip(), 114, initial_indent=" " * 8, subsequent_indent=" " * 10,
        break_on_hyphens=False, break_long_words=False)  # fmt: skip


def pages(rows, version):
    """The two Swift files, with half of the lines each, by name."""
    middle = sum(r.count("\n") + 1 for r in rows) // 2
    first, lines = [], 0
    while lines < middle:
        first.append(rows[len(first)])
        lines += first[-1].count("\n") + 1
    halves = {"StoredNames.swift": (HEAD, first), "StoredNames+More.swift": (MORE, rows[len(first) :])}
    return {
        name: page.replace("{version}", version).replace("{rows}", "\n".join(half))
        for name, (page, half) in halves.items()
    }


def main():
    signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(Late()))
    transformers.utils.logging.set_verbosity_error()
    with contextlib.redirect_stdout(sys.stderr):  # transformers prints some of its errors
        seen, notes = survey()
    rows, table = [], defaultdict(list)
    for kind, names in tasks(seen):
        pairs, wrong = pairs_for(names)
        rows.append((kind, pairs, [n for n in names if n not in wrong]))
        notes += [f"{kind} HAS NOT {'.'.join(s)} as {'.'.join(m)}" for s, m in wrong]
        notes += [f"{kind} has {text([p])}" for p in pairs if any(q.isdigit() for q in p[1])]
    right = {text(p): {k for k, _, names in rows if all(renamed(p, s) == m for s, m in names)} for _, p, _ in rows}
    for kind, pairs, _ in rows:  # the fewest rows: those of other types are taken if as right and not much longer
        near = [t for t in right if kind in right[t] and len(t) < 1.5 * len(text(pairs))]
        table[max(near, key=lambda t: (len(right[t]), -len(t), t), default=text(pairs))].append(kind)
    ordered = sorted(table.items(), key=lambda r: (-len(r[1]), r[1]))
    for name, page in pages([row(kinds, words) for words, kinds in ordered], transformers.__version__).items():
        Path(sys.argv[1], name).write_text(page)
    print(f"{sum(map(len, seen.values()))} classes", *dict.fromkeys(notes), sep="\n  ", file=sys.stderr)


if __name__ == "__main__":
    main()
