"""Make the golden tokenizers: `python Tests/Golden/tokenizer_files.py`; needs the `tokenizers` library, 10 seconds. See README.md.

For each style vocabularies/NAME/tokenizer.json, trained on generated text, and cases.json: texts and the library's ids (`ids`); those
without what the template adds (`plain`) and the text that they are decoded to, with special tokens (`decoded`) and without
(`skipped`), where these differ from the ids and the text.
"""

import json
from pathlib import Path

import tokenizer_styles as styles
import tokenizers

HERE = Path(__file__).resolve().parent / "vocabularies"
SIZE = 520
TEXTS = [
    "", " ", "\n", "a", "Hello world", "  two  spaces ", "tabs\tand\r\nlines\n\n\n", "I'M sure they'Ll say it's 'ſ fine; we’ve",
    "1234567 12.5 ٣٤٥ Ⅷ½", "naïve résumé re\u0301sume\u0301", "e\u0301tude étude", "a\u0323\u0302 a\u0302\u0323 \u212b \ufb01",
    "\u1100\u1161\u11a8 각 \u1112\u1161\u11ab글", "中文字符，日本語のテキスト。한국어 글", "שלום עולם مرحبا बहुत ไทยภาษา", "👍🏽 👨‍👩‍👧‍👦 🏳️‍🌈 🇩🇪 1️⃣",
    "\u00a0\u3000\u2003\u200b\u2028\u0085\x0b\x1f\0end", "x  \n y\n\n  z   ", "def f(x):\n    return {'a': x ** 2}\n",
    "<|endoftext|>", "one<|endoftext|>two", "<|begin_of_text|>again<|eot_id|>", "<|im_start|>user\nhi<|im_end|>\n",
    "<tool_call>{}</tool_call>", "<tool_call", "\U00016d40\U000105c0 \U0001e4f0\ua7cb \u1c89", "\U0010ffff\ufffe\u0378", "[[:punct:]] $+<=>^`|~",
]


def trained(style):
    generate = styles.generator(f"golden {style}")
    words = styles.vocabulary(generate, 150)
    corpus = [styles.text(generate, words, 300) for _ in range(400)]
    tokenizer = styles.train(style, corpus, SIZE)
    texts = TEXTS + [styles.text(generate, words, 100) for _ in range(20)] + ["".join(generate.choices(styles.PIECES, k=6)) for _ in range(20)]
    if style == "llama3":
        # Whole tokens that no merge makes.
        texts += [token for token in sorted(tokenizer.get_vocab()) if token.isalpha() and token.isascii() and len(token) > 2][:40]
    return tokenizer, texts


def written(style, tokenizer):
    """The file; GPT-2's is of the old form, with merges as text and no type."""
    document = json.loads(tokenizer.to_str())
    if style == "gpt2":
        model = document["model"]
        del model["type"], document["pre_tokenizer"]["use_regex"]
        model["merges"] = ["#version: 0.2"] + [" ".join(merge) for merge in model["merges"]]
        model["unk_token"] = model["continuing_subword_prefix"] = model["end_of_word_suffix"] = ""
    return json.dumps(document, ensure_ascii=style == "qwen2", separators=(",", ":")) + "\n"


def main():
    for style in styles.STYLES:
        tokenizer, texts = trained(style)
        directory = HERE / style
        directory.mkdir(parents=True, exist_ok=True)
        text = written(style, tokenizer)
        (directory / "tokenizer.json").write_text(text, encoding="utf-8")
        library = tokenizers.Tokenizer.from_str(text)
        rows = []
        for text in texts:
            ids = library.encode(text).ids
            row = {"text": text, "ids": ids}
            plain = library.encode(text, add_special_tokens=False).ids
            decoded = library.decode(ids, skip_special_tokens=False)
            skipped = library.decode(ids, skip_special_tokens=True)
            if plain != ids:
                row["plain"] = plain
            if decoded != text:
                row["decoded"] = decoded
            if skipped != text:
                row["skipped"] = skipped
            rows.append(row)
        header = f'{{"tokenizers": "{tokenizers.__version__}", "cases": [\n'
        body = ",\n".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in rows)
        (directory / "cases.json").write_text(f"{header}{body}\n]}}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
