"""Loads a bottleneck adapter with the library `adapters`, and prints the loss of some examples as JSON.

    python Tests/Interop/train_adapters.py BASE ADAPTER EXAMPLES.safetensors

This needs a Python that has `adapters` 1.3, which wants an older transformers than the other tests.
"""

import json
import logging
import sys

import adapters
import torch
import transformers
from safetensors.torch import load_file


def main(base, adapter, examples):
    words = []

    class Listener(logging.Handler):
        """Keeps what the library says of keys."""

        def emit(self, record):
            text = record.getMessage()
            if "missing" in text or "unexpected" in text or "not found" in text or "not be loaded" in text:
                words.append(text)

    logger = logging.getLogger("adapters")
    logger.setLevel(logging.INFO)
    logger.addHandler(Listener())
    model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, attn_implementation="eager")
    adapters.init(model)
    info = {}
    name = model.load_adapter(adapter, use_safetensors=True, set_active=True, loading_info=info)
    model.eval()
    keys = words + [f"{kind}: {info[kind]}" for kind in ("missing_keys", "unexpected_keys") if info.get(kind)]
    stored = load_file(f"{adapter}/adapter.safetensors")
    for key, value in model.state_dict().items():
        if f".adapters.{name}." in key and (key not in stored or not torch.equal(stored.pop(key), value)):
            keys.append(f"not as in the file: {key}")
    keys += [f"not in the model: {key}" for key in stored]
    tensors = load_file(examples)
    labels = tensors["labels"]
    with torch.no_grad():
        logits = model(
            input_ids=tensors["input_ids"].long(), attention_mask=tensors["attention_mask"].long(), use_cache=False
        ).logits
    targets = labels[:, 1:].reshape(-1)
    loss = torch.nn.functional.cross_entropy(
        logits[:, :-1].reshape(-1, logits.shape[-1]), targets, ignore_index=-100, reduction="mean"
    )
    print(json.dumps({"keys": keys, "loss": float(loss)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
