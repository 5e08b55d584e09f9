"""Small byte-level BPE tokenizers in the style of GPT-2, Llama 3 and Qwen2, and generated text in many languages.

The expressions are those that the models' own files have.
"""

import json
import random

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
STYLES = ("gpt2", "llama3", "qwen2")

# First and last letter, and how long words are; 1 to 3 for scripts that put no spaces.
SCRIPTS = [
    ((0x61, 0x7A), (1, 9)), ((0x61, 0x7A), (1, 9)), ((0xE0, 0xFF), (2, 7)), ((0x100, 0x17F), (2, 7)),
    ((0x430, 0x44F), (2, 9)), ((0x3B1, 0x3C9), (2, 9)), ((0x5D0, 0x5EA), (2, 6)), ((0x627, 0x64A), (2, 7)),
    ((0x905, 0x939), (2, 5)), ((0xE01, 0xE2E), (3, 12)), ((0x4E00, 0x4F00), (1, 6)), ((0x3041, 0x3096), (1, 6)),
    ((0x30A1, 0x30FA), (2, 6)), ((0xAC00, 0xAD00), (1, 5)), ((0x10D0, 0x10F0), (2, 8)), ((0x1200, 0x1240), (2, 5)),
]
PIECES = [
    "'s", "'S", "'re", "'LL", "n't", "'ſ", "’s", "don't", "WE'VE", "I'M", "o'clock", "'", "''", "0", "7", "42", "1,234.56", "٣٤",
    "Ⅷ", "½", "१२३", "2024-02-29", " ", "  ", "   ", "\t", "\n", "\r\n", "\n\n", " \n ", "\u00a0", "\u3000", "\u2003", "\u200b",
    "\u2028", "\u0085", "\x0b", "\x1f", "\0", "e\u0301", "a\u0323\u0302", "\u0302\u0323", "ạ\u0302", "Å", "\u212b", "ﬁ", "\u0345\u0334",
    "각", "\u1100\u1161\u11a8", "\u1100\u1161", "\uac00\u11a8", "\u11a8", "क\u093c", "\u0958", "👍🏽", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪🇫🇷",
    "1️⃣", "😀", "㋿", "豈", "\ufa0e", "𝔸", "𐍈", "𠀀", "\U0001e900", "ß", "ǅ", "İ", "ı", "…", "—", "«»", "!?", "://", "_", "__init__", "{}", "();",
    "x += 1;", "<|endoftext|", "\ufeff", "\ufffd", "\U0010ffff", "\u0378", "\U00016d40", "\U000105c0", "\ua7cb", "\U0001e4f0",
]


def word(generate):
    (first, last), (shortest, longest) = generate.choice(SCRIPTS)
    return "".join(chr(generate.randint(first, last)) for _ in range(generate.randint(shortest, longest)))


def vocabulary(generate, count=600):
    """Words that come back, the first ones often."""
    return [word(generate) for _ in range(count)]


def text(generate, words, length):
    """About `length` characters: words, capitals, punctuation, numbers, space of all kinds, odd pieces."""
    out, size = [], 0
    while size < length:
        kind = generate.random()
        if kind < 0.72:
            piece = words[min(int(generate.expovariate(12 / len(words))), len(words) - 1)]
            piece = generate.choice([piece, piece, piece, piece.capitalize(), piece.upper()])
            piece = generate.choice([" ", " ", " ", " ", ""]) + piece
        elif kind < 0.84:
            piece = generate.choice([", ", ". ", ".\n", "; ", ": ", "! ", "? ", " - ", ' "', '" ', " (", ") ", "\n\n", "。", "、"])
        elif kind < 0.90:
            piece = " " + str(generate.randrange(10 ** generate.randint(1, 9)))
        else:
            piece = generate.choice(PIECES)
        out.append(piece)
        size += len(piece)
    return "".join(out)


def train(style, corpus, size):
    """A tokenizer of a style, trained on a list of texts; its merges are pairs, as the library saves them."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=style == "llama3"))
    if style == "gpt2":
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        special = ["<|endoftext|>"]
    else:
        pattern = Regex(LLAMA3 if style == "llama3" else QWEN2)
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
            pre_tokenizers.Split(pattern, "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
        special = []
    if style == "qwen2":
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=special, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False, min_frequency=2)
    tokenizer.train_from_iterator(corpus, trainer)
    return finish(style, tokenizer)


def finish(style, tokenizer):
    """Adds what the style has around its model."""
    if style == "gpt2":
        tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    elif style == "llama3":
        tokenizer = whole_words(tokenizer)
        tokenizer.add_special_tokens(
            ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"])
        begin = tokenizer.token_to_id("<|begin_of_text|>")
        tokenizer.post_processor = processors.Sequence([
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(
                single="<|begin_of_text|> $A", pair="<|begin_of_text|> $A <|begin_of_text|>:1 $B:1",
                special_tokens=[("<|begin_of_text|>", begin)])])
    else:
        tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
        tokenizer.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
        tokenizer.add_tokens([
            AddedToken("<tool_call>", normalized=False), AddedToken("</tool_call>", normalized=False),
            AddedToken("résumé", normalized=True), AddedToken("e\u0301tude", normalized=True)])
    return tokenizer


def whole_words(tokenizer):
    """Takes one merge in nine away, if nothing is made of its product: such tokens are found whole only."""
    document = json.loads(tokenizer.to_str())
    merges = document["model"]["merges"]
    parts = {part for merge in merges for part in merge}
    document["model"]["merges"] = [
        merge for rank, merge in enumerate(merges) if rank % 9 or merge[0] + merge[1] in parts]
    return Tokenizer.from_str(json.dumps(document))


def flagged(tokenizer):
    """Adds tokens with every flag, special and not, and of more than letters."""
    def token(content, bits):
        return AddedToken(
            content, single_word=bool(bits & 1), lstrip=bool(bits & 2), rstrip=bool(bits & 4), normalized=bool(bits & 8),
            special=bool(bits & 16))

    tokenizer.add_tokens([token(f"<f{bits}>", bits) for bits in range(32)])
    tokenizer.add_tokens([token(f"wörd{bits}", bits) for bits in range(32)])
    tokenizer.add_tokens([token("e\u0301\u0323", 8), token("각.", 6), token("<f", 0), token("<f1><f2>", 16), token("_", 1)])
    return tokenizer


def spaced(tokenizer):
    """Adds tokens of white space, none of which strips: the library panics where both come together."""
    contents = [" ", "  ", "\n\n\n", "\t", "\u00a0", " x"]
    tokenizer.add_tokens([AddedToken(content, single_word=at % 2 == 1, normalized=at % 3 == 0) for at, content in enumerate(contents)])
    return tokenizer


def generator(seed):
    return random.Random(seed)
