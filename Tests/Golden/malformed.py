"""Write safetensors files that are wrong, or legal but odd, into malformed/ with a table of verdicts.

`verdicts.json` lists for each file what it is, what the reference library says (asked when this runs) and what
AdapterKit should say. Ours is stricter where a file could be read in two ways.
"""

import json
import re
import shutil
import struct
import tempfile
from importlib.metadata import version
from pathlib import Path

from safetensors import safe_open

HERE = Path(__file__).resolve().parent
F32 = '"dtype":"F32","shape":[2],"data_offsets":[0,8]'
ONE = '{"a":{%s}}' % F32
DATA8 = bytes(range(8))
HUGE = 4294967296
ACCEPT, REFUSE = "accept", "refuse"


def raw(header, data=DATA8, length=None, pad=True):
    """The bytes of a file with this header (text or bytes) and data, and perhaps a lying length."""
    text = header if isinstance(header, bytes) else header.encode()
    if pad:
        text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(dtype="F32", shape="[2]", begin=0, end=8, name="a"):
    """One entry of a header, shape as text so that it can be anything."""
    return f'"{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{begin},{end}]}}'


def obj(*entries):
    return "{" + ",".join(entries) + "}"


def lengths():
    yield "empty-file", "no bytes at all", b"", REFUSE
    yield "seven-bytes", "shorter than the length field", b"\0" * 7, REFUSE
    yield "length-only", "length 8, nothing after it", struct.pack("<Q", 8), REFUSE
    yield "length-zero", "header length 0", raw(b"", b"", 0), REFUSE
    yield "length-zero-with-data", "header length 0, then data", raw(b"", DATA8, 0), REFUSE
    yield "length-cap-plus-one", "header length 100,000,001", raw(ONE, length=100_000_001), REFUSE
    yield "length-cap", "header length 100,000,000, file ends early", raw(ONE, length=100_000_000), REFUSE
    yield "length-max", "header length 2^64-1", raw(ONE, length=2**64 - 1), REFUSE
    yield "length-sign", "header length 2^63", raw(ONE, length=2**63), REFUSE
    yield "length-wraps", "header length 2^64-8: adding 8 wraps to 0", raw(ONE, length=2**64 - 8), REFUSE
    yield "length-one-over", "header length one more than there is", raw(ONE, b"", 57), REFUSE
    yield "length-short", "header length cuts the JSON", raw(ONE, length=40), REFUSE


def texts():
    yield "not-utf8", "header is not UTF-8", raw(b'{"\xff":{' + F32.encode() + b"}}"), REFUSE
    yield "overlong-utf8", "overlong UTF-8 in a name", raw(b'{"\xc0\xaf":{' + F32.encode() + b"}}"), REFUSE
    yield "surrogate-utf8", "a surrogate encoded as UTF-8", raw(b'{"\xed\xa0\x80":{' + F32.encode() + b"}}"), REFUSE
    yield "lone-surrogate", "a lone surrogate escape in a name", raw('{"\\ud800":{%s}}' % F32), REFUSE
    yield "bom", "a byte order mark before the object", raw(b"\xef\xbb\xbf" + ONE.encode()), REFUSE
    yield "not-json", "header is no JSON", raw("hello world"), REFUSE
    yield "json-array", "header is an array", raw("[]", b""), REFUSE
    yield "json-null", "header is null", raw("null", b""), REFUSE
    yield "json-number", "header is a number", raw("7", b""), REFUSE
    yield "json-string", "header is a string", raw('"x"', b""), REFUSE
    yield "two-objects", "a second object after the first", raw("{}{}", b""), REFUSE
    yield "trailing-text", "text after the object", raw(ONE + " x"), REFUSE
    yield "trailing-comma", "a comma before the closing brace", raw('{"a":{%s},}' % F32), REFUSE
    yield "comment", "a comment", raw("/**/" + ONE), REFUSE
    yield "single-quotes", "single quotes", raw(ONE.replace('"', "'")), REFUSE
    yield "unclosed", "the object never ends", raw(ONE[:-1]), REFUSE
    yield "control-in-string", "a raw control character in a string", raw('{"a\x01":{%s}}' % F32), REFUSE
    yield "nul-padding", "NUL bytes after the object", raw(ONE.encode() + b"\0" * 8, pad=False), REFUSE
    yield "bad-escape", "an escape JSON does not have", raw('{"a\\x":{%s}}' % F32), REFUSE
    yield "deep-nesting", "ten thousand opening brackets", raw("[" * 10_000, b""), REFUSE
    yield "deep-in-entry", "deep nesting in an unknown field", raw(
        '{"a":{%s,"x":%s}}' % (F32, "[" * 2000 + "]" * 2000)), REFUSE  # fmt: skip


def spaces():
    yield "leading-space", "space before the object", raw(" " + ONE), ACCEPT
    yield "leading-newline", "newline before the object", raw("\n" + ONE), ACCEPT
    yield "trailing-newlines", "newlines and tabs as padding", raw(ONE + "\n\t\r\n"), ACCEPT
    yield "inner-space", "white space everywhere JSON allows it", raw(
        ONE.replace(":", " :\n ").replace(",", " ,\t ")), ACCEPT  # fmt: skip
    yield "unaligned-header", "a header length that 8 does not divide", raw(
        ONE + " " * (9 - len(ONE) % 8), pad=False), ACCEPT  # fmt: skip
    yield "long-padding", "5000 spaces of padding", raw(ONE + " " * 5000), ACCEPT


def keys():
    both = '{"a":{%s},"a":{%s}}' % (F32, F32)
    other = obj(entry(), entry("I32"))
    yield "duplicate-tensor", "the same name twice, the same entry", raw(both), REFUSE
    yield "duplicate-tensor-differs", "the same name twice, different types", raw(other), REFUSE
    escaped = '{"a":{%s},"\\u0061":{%s}}' % (F32, F32)
    yield "duplicate-escaped", "the same name twice, once escaped", raw(escaped), REFUSE
    meta = '"__metadata__":{"k":"v"}'
    yield "duplicate-metadata", "__metadata__ twice", raw("{%s,%s,%s}" % (meta, meta, ONE[1:-1])), REFUSE
    yield "duplicate-metadata-key", "one key twice in __metadata__", raw(
        '{"__metadata__":{"k":"v","k":"w"},%s}' % ONE[1:-1]), REFUSE  # fmt: skip
    yield "duplicate-field", "dtype twice in one entry", raw('{"a":{"dtype":"F32",%s}}' % F32), REFUSE
    yield "unknown-field", "an unknown field in an entry", raw('{"a":{%s,"extra":1}}' % F32), REFUSE
    for field in ("dtype", "shape", "data_offsets"):
        left = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
        del left[field]
        yield f"missing-{field.replace('_', '-')}", f"no {field}", raw(json.dumps({"a": left})), REFUSE
    yield "entry-is-array", "an entry as an array", raw('{"a":["F32",[2],[0,8]]}'), REFUSE
    yield "entry-is-null", "an entry that is null", raw('{"a":null}', b""), REFUSE


def metadata():
    def with_meta(value):
        return raw('{"__metadata__":%s,%s}' % (value, ONE[1:-1]))

    yield "metadata-null", "__metadata__ is null", with_meta("null"), ACCEPT
    yield "metadata-empty", "__metadata__ is {}", with_meta("{}"), ACCEPT
    yield "metadata-last", "__metadata__ after the tensors", raw('{%s,"__metadata__":{"k":"v"}}' % ONE[1:-1]), ACCEPT
    yield "metadata-number", "a number in __metadata__", with_meta('{"k":1}'), REFUSE
    yield "metadata-nested", "an object in __metadata__", with_meta('{"k":{"a":"b"}}'), REFUSE
    yield "metadata-null-value", "null in __metadata__", with_meta('{"k":null}'), REFUSE
    yield "metadata-array", "__metadata__ is an array", with_meta("[]"), REFUSE
    yield "metadata-string", "__metadata__ is a string", with_meta('"k"'), REFUSE
    yield "metadata-tensor", "__metadata__ looks like a tensor", raw('{"__metadata__":{%s}}' % F32), REFUSE


def types():
    for bad in ("f32", "Q4", "float32", "", "F32 ", "BF32", "F8"):
        name = f"dtype-{bad.strip() or 'empty'}{'-space' if bad.endswith(' ') else ''}"
        yield name, f"dtype {bad!r}", raw(obj(entry(bad))), REFUSE
    yield "dtype-number", "dtype is a number", raw(ONE.replace('"F32"', "32")), REFUSE
    yield "dtype-null", "dtype is null", raw(ONE.replace('"F32"', "null")), REFUSE
    for label, shape in [
        ("negative", "[-2]"), ("float", "[2.0]"), ("exponent", "[2e0]"), ("string", '["2"]'), ("null", "[null]"),
        ("nested", "[[2]]"), ("bool", "[true]"), ("leading-zero", "[02]"), ("plus", "[+2]"), ("minus-zero", "[-0]"),
        ("too-large", "[18446744073709551616]"), ("huge", "[1" + "0" * 400 + "]"), ("object", "{}"), ("plain", "2"),
    ]:  # fmt: skip
        yield f"shape-{label}", f"shape {shape[:30]}", raw(obj(entry(shape=shape))), REFUSE
    yield "scalar", "shape [] is one element", raw(obj(entry(shape="[]", end=4)), DATA8[:4]), ACCEPT
    yield "rank-64", "64 dimensions", raw(obj(entry(shape="[" + "1," * 63 + "2]"))), ACCEPT
    yield "rank-65", "65 dimensions", raw(obj(entry(shape="[" + "1," * 64 + "2]"))), REFUSE
    yield "rank-10000", "10,000 dimensions", raw(obj(entry(shape="[" + "1," * 9999 + "2]"))), REFUSE


def sizes():
    big = f"[{HUGE},{HUGE}]"
    yield "overflow-product", "2^32 x 2^32 elements", raw(obj(entry(shape=big))), REFUSE
    yield "overflow-bits", "2^61 elements of 4 bytes: the bits overflow", raw(obj(entry(shape=f"[{2**61}]"))), REFUSE
    yield "overflow-wraps", "2^62 + 2 elements of 4 bytes: wraps to 8 bytes", raw(
        obj(entry(shape=f"[{2**62 + 2}]"))), REFUSE  # fmt: skip
    yield "larger-than-file", "a terabyte claimed", raw(obj(entry(shape=f"[{2**38}]", end=2**40))), REFUSE
    yield "zero-first", "a 0 before dimensions whose product overflows", raw(
        obj(entry(shape=f"[0,{HUGE},{HUGE},{HUGE}]", end=0)), b""), REFUSE  # fmt: skip
    yield "zero-last", "a 0 after dimensions whose product overflows", raw(
        obj(entry(shape=f"[{HUGE},{HUGE},{HUGE},0]", end=0)), b""), REFUSE  # fmt: skip
    yield "size-short", "fewer bytes than the shape needs", raw(obj(entry(end=7)), DATA8[:7]), REFUSE
    yield "size-long", "more bytes than the shape needs", raw(obj(entry(end=9)), DATA8 + b"x"), REFUSE
    yield "scalar-empty", "a scalar without bytes", raw(obj(entry(shape="[]", end=0)), b""), REFUSE
    yield "zero-with-bytes", "an empty tensor with bytes", raw(obj(entry(shape="[0]"))), REFUSE
    yield "f4-odd", "three elements of 4 bits", raw(obj(entry("F4", "[3]", 0, 2)), b"12"), REFUSE
    yield "f4-even", "four elements of 4 bits", raw(obj(entry("F4", "[4]", 0, 2)), b"12"), ACCEPT
    yield "f6-odd", "two elements of 6 bits", raw(obj(entry("F6_E2M3", "[2]", 0, 2)), b"12"), REFUSE
    yield "f6-even", "four elements of 6 bits", raw(obj(entry("F6_E2M3", "[4]", 0, 3)), b"123"), ACCEPT
    yield "bool-not-0-1", "a BOOL of value 7: values are not checked", raw(obj(entry("BOOL", "[8]"))), ACCEPT


def offsets():
    second = entry(name="b", begin=8, end=16)
    data = DATA8 * 2
    yield "empty-object", "no tensors", raw("{}", b""), ACCEPT
    yield "empty-object-data", "no tensors but data", raw("{}"), REFUSE
    yield "trailing-byte", "one byte after the last tensor", raw(ONE, DATA8 + b"x"), REFUSE
    yield "trailing-zip", "a ZIP end record after the last tensor", raw(ONE, DATA8 + b"PK\5\6" + bytes(18)), REFUSE
    yield "missing-byte", "one byte missing", raw(ONE, DATA8[:7]), REFUSE
    yield "missing-all", "no data at all", raw(ONE, b""), REFUSE
    yield "gap", "a hole between two tensors", raw(obj(entry(), entry(name="b", begin=12, end=20)), bytes(20)), REFUSE
    yield "gap-first", "data does not start at 0", raw(obj(entry(begin=4, end=12)), bytes(12)), REFUSE
    yield "overlap", "two tensors overlap", raw(obj(entry(), entry(name="b", begin=4, end=12)), bytes(12)), REFUSE
    yield "shared", "two tensors on the same bytes", raw(obj(entry(), entry(name="b"))), REFUSE
    yield "reversed", "end before begin", raw(obj(entry(begin=8, end=0))), REFUSE
    yield "one-offset", "one offset", raw(ONE.replace("[0,8]", "[8]")), REFUSE
    yield "three-offsets", "three offsets", raw(ONE.replace("[0,8]", "[0,8,8]")), REFUSE
    yield "offset-float", "an offset as 8.0", raw(ONE.replace("[0,8]", "[0,8.0]")), REFUSE
    yield "offset-negative", "a negative offset", raw(ONE.replace("[0,8]", "[-8,0]")), REFUSE
    yield "offset-max", "offsets near 2^64", raw(ONE.replace("[0,8]", f"[{2**64 - 9},{2**64 - 1}]")), REFUSE
    yield "offset-too-large", "an offset of 2^64", raw(ONE.replace("[0,8]", f"[0,{2**64}]")), REFUSE
    yield "order-by-name", "the header's order is not the data's", raw(obj(second, entry()), data), ACCEPT
    empty = entry(shape="[0]", begin=8, end=8, name="e")
    yield "empty-between", "an empty tensor between two others", raw(obj(entry(), empty, second), data), ACCEPT
    inside = entry(shape="[0]", begin=4, end=4, name="e")
    yield "empty-inside", "an empty tensor inside another", raw(obj(entry(), inside)), REFUSE
    beyond = entry(shape="[0]", begin=99, end=99, name="e")
    yield "empty-beyond", "an empty tensor after the end", raw(obj(entry(), beyond)), REFUSE
    many = obj(*(entry(name=f"t{i}") for i in range(10)))
    yield "ten-on-one", "ten tensors on one range", raw(many), REFUSE


def names():
    for label, name in [
        ("empty", ""), ("nul", "\\u0000"), ("escape", "\\u001b[31m"), ("newline", "a\\nb"), ("traversal", "../../x"),
        ("bidi", "\\u202e"), ("long", "n" * 4000), ("surrogate-pair", "\\ud834\\udd1e"), ("solidus", "a\\/b"),
    ]:  # fmt: skip
        yield f"name-{label}", f"a tensor named {name[:24]!r}", raw(obj(entry(name=name))), ACCEPT


def values():
    yield "nan", "a NaN in the data: never checked by headers", raw(ONE, struct.pack("<2f", float("nan"), 1.0)), ACCEPT


def reference_verdict(path):
    """What the reference library says of a file."""
    try:
        with safe_open(str(path), "np") as opened:
            opened.keys()
        return "accepted"
    except Exception as error:  # noqa: BLE001 the message is the answer
        message = str(error).replace(str(path), "FILE")[:300]
        return re.sub("offset for tensor `.*`", "offset for tensor `...`", message)  # which one it names is random


def main():
    target = HERE / "malformed"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    table = []
    for group in (lengths, texts, spaces, keys, metadata, types, sizes, offsets, names, values):
        for name, what, data, ours in group():
            path = target / f"{name}.safetensors"
            assert not path.exists(), name
            path.write_bytes(data)
            with tempfile.TemporaryDirectory() as scratch:
                copy = Path(scratch) / "file.safetensors"
                copy.write_bytes(data)
                theirs = reference_verdict(copy)
            table.append({"name": path.name, "group": group.__name__, "what": what, "reference": theirs, "ours": ours})
    document = {"reference": f"safetensors {version('safetensors')}", "files": table}
    (target / "verdicts.json").write_text(json.dumps(document, indent=1, ensure_ascii=True) + "\n")
    differ = [t["name"] for t in table if (t["reference"] == "accepted") != (t["ours"] == ACCEPT)]
    print(f"{len(table)} files, {sum(t['ours'] == ACCEPT for t in table)} to accept; we differ on: {', '.join(differ)}")


if __name__ == "__main__":
    main()
