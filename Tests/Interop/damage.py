"""Ways in which an adapter can fail to fit: adapter-verify must say so and name the tensor."""

import json
import shutil
from dataclasses import dataclass

import build
import cases
import models
import numpy as np
from tensorfile import read_file, write_file

Q, V = "model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.v_proj"
PREFIX = "base_model.model."
CASE = cases.Case("damage", "", models.llama, ({"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"]},))


@dataclass(frozen=True)
class Damage:
    """One change to a good adapter, what the answer must name, and how to ask."""

    name: str
    change: object
    names: str
    deep: bool = False
    codes: tuple = (1,)


class Files:
    """A copy of a good adapter, to be changed and written back."""

    def __init__(self, directory):
        self.directory = directory
        stored = read_file(directory / "adapter_model.safetensors")
        self.tensors = {name: (s.dtype, s.shape, s.data) for name, s in stored.items()}
        self.config = json.loads((directory / "adapter_config.json").read_text())

    def key(self, module, half):
        return f"{PREFIX}{module}.lora_{half}.weight"

    def array(self, key):
        dtype, shape, data = self.tensors[key]
        return np.frombuffer(data, "<f4").reshape(shape).copy()

    def put(self, key, values):
        self.tensors[key] = ("F32", values.shape, values.astype("<f4").tobytes())

    def save(self):
        write_file(self.directory / "adapter_model.safetensors", self.tensors, {"format": "pt"})
        (self.directory / "adapter_config.json").write_text(json.dumps(self.config, indent=2))


def _drop(module, half):
    return lambda f: f.tensors.pop(f.key(module, half))


def _swap(f):
    a, b = f.key(V, "A"), f.key(V, "B")
    f.tensors[a], f.tensors[b] = f.tensors[b], f.tensors[a]


def _transpose(halves):
    def change(f):
        for half in halves:
            f.put(f.key(V, half), np.ascontiguousarray(f.array(f.key(V, half)).T))

    return change


def _shrink(halves):
    def change(f):
        for half in halves:
            values = f.array(f.key(Q, half))
            f.put(f.key(Q, half), values[:-1] if half == "A" else np.ascontiguousarray(values[:, :-1]))

    return change


def _rename(old, new):
    def change(f):
        f.tensors = {k.replace(old, new): v for k, v in f.tensors.items()}

    return change


def _add(key, shape=(4, 4)):
    return lambda f: f.put(key, np.ones(shape))


def _value(half, value):
    def change(f):
        values = f.array(f.key(Q, half))
        values[1, 1] = value
        f.put(f.key(Q, half), values)

    return change


def _zero(f):
    f.put(f.key(Q, "B"), np.zeros_like(f.array(f.key(Q, "B"))))


def _integers(f):
    _, shape, data = f.tensors[f.key(Q, "A")]
    f.tensors[f.key(Q, "A")] = ("I32", shape, data)


def _twice(f):
    f.tensors[f"{PREFIX}{Q}.lora_A.default.weight"] = f.tensors[f.key(Q, "A")]


def _set(**changes):
    return lambda f: f.config.update(changes)


def _bias(f):
    f.config["lora_bias"] = True
    for key in [k for k in f.tensors if k.endswith("lora_B.weight")]:
        f.put(key.replace(".weight", ".bias"), np.ones(f.tensors[key][1][0]))


def _magnitude(f):
    f.put(f"{PREFIX}{Q}.lora_magnitude_vector", np.ones(f.tensors[f.key(Q, "B")][1][0]))


ALL = [
    Damage("missing B", _drop(Q, "B"), Q),
    Damage("missing A", _drop(V, "A"), V),
    Damage("swapped halves", _swap, V),
    Damage("both halves transposed", _transpose("AB"), V),
    Damage("A transposed", _transpose("A"), V),
    Damage("rank differs from the config", _shrink("AB"), Q),
    Damage("rank of A differs from B", _shrink("A"), Q),
    Damage("rank in the config", _set(r=7), Q),
    Damage("foreign tensor", _add(PREFIX + "model.layers.0.gate.weight"), "model.layers.0.gate.weight"),
    Damage("unknown half", _add(f"{PREFIX}{Q}.lora_C.weight"), "lora_C"),
    Damage("module that the base lacks", _rename("layers.1.", "layers.91."), "layers.91"),
    Damage("renamed leaf", _rename("q_proj", "query"), "query"),
    Damage("tensor outside target_modules", _set(target_modules=["q_proj"]), "v_proj"),
    Damage("target without tensors: a warning", _set(target_modules=["q_proj", "v_proj", "o_proj"]), "o_proj",
           codes=(0,)),
    Damage("target that no module has: a note", _set(target_modules=["q_proj", "v_proj", "nothing_proj"]),
           "nothing_proj", codes=(0,)),
    Damage("rank_pattern that matches nothing", _set(rank_pattern={"nothing_proj": 4}), "nothing_proj"),
    Damage("alpha_pattern that matches nothing", _set(alpha_pattern={"nothing_proj": 4}), "nothing_proj"),
    Damage("excluded, but there", _set(exclude_modules=["v_proj"]), "v_proj"),
    Damage("modules_to_save without tensor", _set(modules_to_save=["lm_head"]), "lm_head"),
    Damage("integers", _integers, Q, codes=(1, 65)),
    Damage("the same half under two names", _twice, Q, codes=(1, 65)),
    Damage("lora_bias on a layer without bias", _bias, "lora_B.bias"),
    Damage("use_dora without magnitudes", _set(use_dora=True), Q),
    Damage("a magnitude without use_dora", _magnitude, "lora_magnitude_vector"),
    Damage("a magnitude of wrong size", lambda f: (_set(use_dora=True)(f), _add(
        f"{PREFIX}{Q}.lora_magnitude_vector", (3,))(f)), "lora_magnitude_vector"),
    Damage("an unknown init that changes the base", _set(init_lora_weights="pissa"), "init_lora_weights"),
    Damage("NaN", _value("A", np.nan), Q, deep=True),
    Damage("infinity", _value("B", np.inf), Q, deep=True),
    Damage("B is all zero: a warning", _zero, Q, deep=True, codes=(0,)),
]  # fmt: skip


def _verify(tally, tools, label, base, adapter, names, codes=(1,), deep=False):
    answer = tools.run("adapter-verify", base, adapter, *(["--deep"] if deep else []))
    wanted = " or ".join(map(str, codes))
    tally.check(answer.code in codes, f"{label}: exit {wanted}", f"exit {answer.code}: {answer.text}")
    tally.check(names in answer.text, f"{label}: names {names}", answer.text)


def _merge_refused(tally, tools, label, base, adapter, output):
    answer = tools.merge(base, [(adapter, 1.0)], output)
    refuses = answer.code not in (0, 70) and 0 < answer.code < 128
    tally.check(refuses, f"{label}: adapter-merge refuses", f"exit {answer.code}: {answer.text}")
    left = [p.name for p in output.parent.iterdir() if p.name.startswith(output.name)] if output.parent.exists() else []
    tally.check(not left, f"{label}: adapter-merge leaves nothing", str(left))


def run(tally, tools, size, directory, seed):
    """Damage a good adapter in each way; then offer it to wrong bases."""
    base = directory / "base"
    models.save(models.randomise(models.llama(size), seed), base, "bf16")
    good = directory / "good"
    build.make_adapter(CASE, CASE.lora[0], size, base, good, "bf16", seed + 1)
    answer = tools.run("adapter-verify", base, good, "--deep")
    tally.check(answer.code == 0, "the undamaged adapter fits", answer.text)
    for number, damage in enumerate(ALL):
        bad = directory / f"bad{number}"
        shutil.copytree(good, bad)
        files = Files(bad)
        damage.change(files)
        files.save()
        label = f"damage: {damage.name}"
        _verify(tally, tools, label, base, bad, damage.names, damage.codes, damage.deep)
        if damage.codes != (0,) and not damage.deep:
            _merge_refused(tally, tools, label, base, bad, directory / f"out{number}")
    narrow = models.Size(**(vars(size) | {"hidden": size.hidden // 2, "heads": size.heads // 2}))
    shallow = models.Size(**(vars(size) | {"layers": 1}))
    for label, other, names in [("a narrower base", narrow, Q), ("a base with fewer layers", shallow, "layers.1")]:
        wrong = directory / label.replace(" ", "-")
        models.save(models.randomise(models.llama(other), seed), wrong, "bf16")
        _verify(tally, tools, f"damage: {label}", wrong, good, names)
    wrong = directory / "gpt2"
    models.save(models.randomise(models.gpt2(size), seed), wrong, "bf16")
    _verify(tally, tools, "damage: a base of another kind", wrong, good, Q)


def refused(tally, tools, golden, directory):
    """The golden adapters that no file-level merge can take."""
    for path in sorted(golden.glob("*/case.json")):
        about = json.loads(path.read_text())
        base, adapter = path.parent / about["base"], path.parent / about["adapter"]
        label = f"refused: {about['name']}"
        answer = tools.run("adapter-verify", base, adapter)
        tally.check(answer.code in (1, 65, 66), f"{label}: adapter-verify", f"exit {answer.code}: {answer.text}")
        _merge_refused(tally, tools, label, base, adapter, directory / f"refused-{about['name']}")
