"""A live test of `examples/tokenize` against the `tokenizers` library: the same ids, and the same text back.

    python Tests/Interop/tokenizer.py --bin .build/release [--quick] [--seed N]

Trains tokenizers in the style of GPT-2, Llama 3 and Qwen2 on generated text in many languages and compares, with and without
special tokens: every code point alone and between letters, random strings of awkward characters, generated and real text, added
tokens with every flag, other stages of pre-tokenizers, random ids back into text. Prints how long both take.
Ends with 'N passed, N failed'; exit status 1 if anything failed. If the library cannot be imported it says 'skipped' and exits 0.
"""

import argparse
import glob
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "Golden")]
sys.dont_write_bytecode = True
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RUST_BACKTRACE"] = "0"
try:
    import tokenizers
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(0)
import tokenizer_styles as styles

SCALARS = [c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]


class Run:
    """The counts, and how to ask the tool."""

    def __init__(self, binary, scratch):
        self.binary, self.scratch = binary, scratch
        self.passed = self.failed = 0
        self.tokens = 0

    def ask(self, tokenizer, lines, *options):
        path = self.scratch / "tokenizer.json"
        path.write_text(tokenizer if isinstance(tokenizer, str) else tokenizer.to_str(), encoding="utf-8")
        run = subprocess.run(
            [self.binary, str(path), "--lines", *options], input="".join(f"{line}\n" for line in lines).encode(),
            capture_output=True, timeout=1200, check=False)
        if run.returncode:
            raise SystemExit(f"tokenize-example ended with {run.returncode}: {run.stdout[-500:]!r} {run.stderr[-500:]!r}")
        return run.stdout.decode().split("\n")[:-1]

    def count(self, label, wrong, total):
        self.passed += total - len(wrong)
        self.failed += len(wrong)
        for line in wrong[:3]:
            print(f"FAILED: {label}: {line}")
        print(f"{label}: {total - len(wrong)} of {total}", flush=True)

    def encode(self, label, tokenizer, texts, special=True):
        """Every text gives the library's ids."""
        options = [] if special else ["--no-special"]
        found = self.ask(tokenizer, [json.dumps(text) for text in texts], *options)
        library = tokenizers.Tokenizer.from_str(tokenizer) if isinstance(tokenizer, str) else tokenizer
        wrong = []
        if len(found) != len(texts):
            wrong.append(f"{len(found)} lines for {len(texts)} texts")
        for text, line in zip(texts, found):
            ids = library.encode(text, add_special_tokens=special).ids
            self.tokens += len(ids)
            if line != " ".join(map(str, ids)):
                wrong.append(f"{text[:60]!r}: {line[:80]} but {ids[:20]}")
        self.count(label, wrong, len(texts))

    def decode(self, label, tokenizer, rows, skips):
        """Every list of ids gives the library's text."""
        options = ["--decode"] + (["--no-special"] if skips else [])
        found = self.ask(tokenizer, [" ".join(map(str, row)) for row in rows], *options)
        wrong = []
        for row, line in zip(rows, found, strict=True):
            wanted = tokenizer.decode(row, skip_special_tokens=skips)
            if json.loads(line) != wanted:
                wrong.append(f"{row[:20]}: {json.loads(line)[:80]!r} but {wanted[:80]!r}")
        self.count(label, wrong, len(rows))


def awkward(generate, words, count):
    """Short strings of pieces that pre-tokenizers and normalizers trip over."""
    marks = [c for c in range(0x300, 0x370)] + [0x5B0, 0x64B, 0x93C, 0x94D, 0xE38, 0xF71, 0xF74, 0x302A, 0x3099, 0x1D165, 0x1161, 0x11A8]
    spaces = [0x9, 0xA, 0xB, 0xC, 0xD, 0x20, 0x20, 0x85, 0xA0, 0x1680, 0x180E, 0x2003, 0x200B, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000]

    def piece():
        kind = generate.randrange(8)
        if kind == 0:
            return "".join(chr(generate.choice(marks)) for _ in range(generate.randint(1, 4)))
        if kind == 1:
            return "".join(chr(generate.choice(spaces)) for _ in range(generate.randint(1, 4)))
        if kind == 2:
            return chr(generate.choice(SCALARS))
        if kind == 3:
            return chr(generate.randint(0xAC00, 0xD7A3)) if generate.random() < 0.5 else chr(generate.randint(0x1100, 0x11FF))
        if kind == 4:
            return "'" + generate.choice(["s", "T", "re", "VE", "m", "Ll", "d", "x", "ſ"])
        if kind == 5:
            return generate.choice(words)[:3]
        return generate.choice(styles.PIECES)

    return ["".join(piece() for _ in range(generate.randint(1, 9))) for _ in range(count)]


def combining(generate, count):
    """Strings of characters that decompose, compose or combine."""
    import unicodedata

    pool = [c for c in SCALARS if unicodedata.combining(chr(c)) or unicodedata.decomposition(chr(c))]
    return ["".join(chr(generate.choice(pool)) if generate.random() < 0.8 else generate.choice("aeoAK \u0915\u05d0")
                    for _ in range(generate.randint(1, 8))) for _ in range(count)]


def added(generate, tokenizer, words, count):
    """Strings with added tokens in them, touching words, spaces and each other."""
    contents = [token.content for token in tokenizer.get_added_tokens_decoder().values()]

    def piece():
        return generate.choice([generate.choice(contents), generate.choice(contents), " ", "  ", "\n", "\u3000", "x", "_", "é", "e\u0301",
                                "\u0323", "1", "<", generate.choice(words), generate.choice(styles.PIECES)])

    return ["".join(piece() for _ in range(generate.randint(1, 10))) for _ in range(count)]


def real(limit):
    """Real text: sources of Python's library, East Asian samples among them, and the locales that the system has."""
    root = sysconfig.get_path("stdlib")
    paths = sorted(glob.glob(f"{root}/test/cjkencodings/*utf8.txt")) + sorted(glob.glob("/usr/share/i18n/locales/*"))
    paths += sorted(glob.glob(f"{root}/test/test_uni*.py") + glob.glob(f"{root}/*.py") + glob.glob(f"{root}/pydoc_data/*.py"))
    texts, size = [], 0
    for path in paths:
        try:
            texts.append(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError):
            continue
        size += len(texts[-1])
        if size > limit:
            break
    return texts


def stages(generate, tokenizer):
    """The same model behind other pre-tokenizers, normalizers, templates and decoders."""
    document = json.loads(tokenizer.to_str())
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}

    def made(name, **parts):
        return name, json.dumps({**document, **parts})

    def split(pattern, behaviour, invert=False, after=()):
        first = {"type": "Split", "pattern": pattern, "behavior": behaviour, "invert": invert}
        return {"type": "Sequence", "pretokenizers": [first, *after, byte_level]}

    for behaviour in ("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"):
        for invert in (False, True):
            for pattern in ({"Regex": r"\s+|\p{N}|[[:punct:]]"}, {"String": " "}, {"Regex": r"x*"}, {"Regex": r"\b|\p{P}(?<=[.!])"}):
                yield made(f"{behaviour} {invert} {pattern}", pre_tokenizer=split(pattern, behaviour, invert))
    for individual in (False, True):
        digits = {"type": "Digits", "individual_digits": individual}
        yield made(f"Digits {individual}", pre_tokenizer={"type": "Sequence", "pretokenizers": [digits, byte_level]})
        late = {"type": "Split", "pattern": {"Regex": "[0-9][0-9]"}, "behavior": "Isolated", "invert": False}
        first = {**byte_level, "use_regex": True, "add_prefix_space": True}
        yield made(f"late {individual}", pre_tokenizer={"type": "Sequence", "pretokenizers": [first, digits, late]})
    for prefix in (False, True):
        yield made(f"prefix {prefix}", pre_tokenizer={**byte_level, "use_regex": prefix, "add_prefix_space": True})
    yield made("prefix behind a split", pre_tokenizer={
        "type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, {**byte_level, "add_prefix_space": True}]})
    for form in ("NFC", "NFD"):
        yield made(form, normalizer={"type": "Sequence", "normalizers": [{"type": form}]})
    model = document["model"]
    some = {token: at for at, token in enumerate(sorted(model["vocab"], key=model["vocab"].get))}
    gone = {token for token in some if len(token) == 1 and generate.random() < 0.3}
    vocab = {token: at for at, token in enumerate([t for t in some if not gone & set(t)] + ["<unk>"])}
    merges = [m for m in model["merges"] if not gone & set("".join(m))]
    for unknown, fuse in ((None, False), ("<unk>", False), ("<unk>", True)):
        parts = {**model, "vocab": vocab, "merges": merges, "unk_token": unknown, "fuse_unk": fuse}
        yield made(f"unk {unknown} {fuse}", model=parts, added_tokens=[], post_processor=None)


def speed(run, tokenizer, label, text):
    """How long both take for a text, in one thread: the library's encode_batch of one, ours without loading."""
    path = run.scratch / "tokenizer.json"
    path.write_text(tokenizer.to_str(), encoding="utf-8")
    library = tokenizers.Tokenizer.from_file(str(path))

    def timed(work):
        best = 1e9
        for _ in range(3):
            start = time.perf_counter()
            work()
            best = min(best, time.perf_counter() - start)
        return best

    def ask(data):
        subprocess.run([run.binary, str(path)], input=data, stdout=subprocess.DEVNULL, check=True)

    data = text.encode()
    theirs = timed(lambda: library.encode(text))
    fast = timed(lambda: library.encode_batch_fast([text]))
    start = timed(lambda: ask(b""))
    ours = timed(lambda: ask(data))
    size = len(data) / 1e6
    print(f"{label}: {size:.1f} MB: library {theirs:.2f} s, without offsets {fast:.2f} s, ours {ours:.2f} s "
          f"(of these {start:.2f} s loading): {theirs / ours:.1f} and {fast / ours:.1f} times as fast", flush=True)


def compare(run, style, generate, scale):
    """Everything for one style; `scale` says how much of it."""
    def some(count):
        return max(1, int(count * scale))

    words = styles.vocabulary(generate)
    corpus = [styles.text(generate, words, 400) for _ in range(1500)]
    tokenizer = styles.train(style, corpus, 3000)
    run.encode(f"{style}: generated", tokenizer, corpus + [styles.text(generate, words, 20_000) for _ in range(some(30))])
    run.encode(f"{style}: without special", tokenizer, corpus[:500], special=False)
    run.encode(f"{style}: real", tokenizer, real(some(1_500_000)))
    run.encode(f"{style}: each code point", tokenizer, [chr(c) for c in SCALARS])
    run.encode(f"{style}: code points in context", tokenizer, [
        f"a{chr(c)}b {chr(c)} 1{chr(c)}{chr(c)}\u0301" for c in SCALARS] if scale > 1 else [
        f"a{chr(c)}b {chr(c)} 1{chr(c)}{chr(c)}\u0301" for c in generate.sample(SCALARS, some(100_000))])
    everything = "".join(map(chr, SCALARS))
    shuffled = "".join(map(chr, generate.sample(SCALARS, len(SCALARS))))
    run.encode(f"{style}: all code points as one text", tokenizer, [everything, shuffled, ""])
    run.encode(f"{style}: awkward", tokenizer, awkward(generate, words, some(40_000)))
    run.encode(f"{style}: combining", tokenizer, combining(generate, some(40_000)))
    rows = [[generate.randrange(tokenizer.get_vocab_size()) for _ in range(generate.randint(0, 12))] for _ in range(some(20_000))]
    for skips in (False, True):
        run.decode(f"{style}: decoder, skipping {skips}", tokenizer, rows, skips)
    longs = ["a" * some(1_000_000), "中文字" * some(100_000), "中" * some(350_000), " " * 100_000, "\n" * 50_000 + "x", "ab" * 50_000, "e\u0301" * 20_000, "0" * 50_000]
    run.encode(f"{style}: long runs", tokenizer, longs)
    if scale >= 1:
        speed(run, tokenizer, f"{style}: mixed", "".join(styles.text(generate, words, 100_000) for _ in range(30)))
        speed(run, tokenizer, f"{style}: real", "".join(real(3_000_000)))
    plain = tokenizer.to_str()
    spaced = styles.spaced(tokenizers.Tokenizer.from_str(plain))
    run.encode(f"{style}: added tokens of white space", spaced, added(generate, spaced, words, some(20_000)))
    flagged = styles.flagged(tokenizers.Tokenizer.from_str(plain))
    run.encode(f"{style}: added tokens", flagged, added(generate, flagged, words, some(40_000)))
    rows = [[generate.randrange(flagged.get_vocab_size()) if generate.random() < 0.3 else generate.randrange(
        flagged.get_vocab_size(with_added_tokens=False), flagged.get_vocab_size() + 2) for _ in range(8)] for _ in range(10_000)]
    for skips in (False, True):
        run.decode(f"{style}: decoder of added tokens, skipping {skips}", flagged, rows, skips)
    chosen = SCALARS if scale >= 1 else generate.sample(SCALARS, some(len(SCALARS)))
    run.encode(f"{style}: word characters", flagged, [f"<f1>{chr(c)}<f9> {chr(c)}<f3>" for c in chosen])
    flat = [chr(generate.choice(SCALARS)) + chr(generate.choice(SCALARS)) for _ in range(3000)]
    sample = awkward(generate, words, some(2000)) + [styles.text(generate, words, 300) for _ in range(200)] + flat
    for name, document in stages(generate, tokenizer):
        run.encode(f"{style}: {name}", document, sample)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--quick", action="store_true", help="one style, taken by the seed, and a tenth of most texts")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--only", help="one style")
    arguments = parser.parse_args()
    binary = str(Path(arguments.bin).resolve() / "tokenize-example")
    print(f"seed {arguments.seed}, tokenizers {tokenizers.__version__}")
    with tempfile.TemporaryDirectory() as scratch:
        run = Run(binary, Path(scratch))
        chosen = list(styles.STYLES)
        if arguments.quick and not arguments.only:
            chosen = [chosen[arguments.seed % len(chosen)]]
        for style in chosen:
            if arguments.only in (None, style):
                compare(run, style, styles.generator(f"{style} {arguments.seed}"), 0.1 if arguments.quick else 1)
    print(f"{run.tokens} tokens compared")
    print(f"tokenizer: {run.passed} passed, {run.failed} failed")
    sys.exit(0 if run.failed == 0 and run.passed else 1)


if __name__ == "__main__":
    main()
