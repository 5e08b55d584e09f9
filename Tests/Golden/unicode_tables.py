"""Make the Unicode tables of Sources/Tokenization from what the live `tokenizers` library does.

    python Tests/Golden/unicode_tables.py

needs `tokenizers`, a Python whose `unicodedata` is as new as the library's normaliser, and the system's libonig. Writes

- StandIns+Table.swift: the library's wheels hold a newer Oniguruma (Unicode 16) than Debian's (Unicode 14). For each character that
  the two class differently, an older one of the same length in UTF-8 that the system's library classes as the newer one is;
- Normalization+Table.swift: combining classes, decompositions and compositions, each as the library's NFD and NFC have it
  (they are of Unicode 9); `unicodedata` only says what to ask for.
"""

import collections
import ctypes
import unicodedata
from pathlib import Path

from tokenizers import Regex, normalizers
from tokenizers.pre_tokenizers import Split

HERE = Path(__file__).resolve().parent
SOURCES = HERE.parent.parent / "Sources" / "Tokenization"
SCALARS = [c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
CATEGORIES = "Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Co".split()
SCRIPTS = "Han Hiragana Katakana Latin Greek Cyrillic Arabic Hebrew Thai Hangul Devanagari".split()
POSIX = "alpha word upper lower digit".split()
PROBES = [rf"\p{{{name}}}" for name in CATEGORIES + SCRIPTS] + [f"[[:{name}:]]" for name in POSIX]
HEADER = "// Made by Tests/Golden/unicode_tables.py; not to be edited by hand.\n\n"


class Region(ctypes.Structure):
    _fields_ = [("allocated", ctypes.c_int), ("count", ctypes.c_int), ("begin", ctypes.POINTER(ctypes.c_int)),
                ("end", ctypes.POINTER(ctypes.c_int)), ("root", ctypes.c_void_p), ("list", ctypes.c_void_p)]


class SystemOniguruma:
    """Which characters the system's Oniguruma has in a class."""

    def __init__(self):
        self.library = ctypes.CDLL("libonig.so.5")
        self.text = "".join(map(chr, SCALARS)).encode()
        self.buffer = ctypes.create_string_buffer(self.text)
        self.starts = {}
        at = 0
        for scalar in SCALARS:
            self.starts[at] = scalar
            at += len(chr(scalar).encode())
        self.starts[at] = 0x110000

    def symbol(self, name):
        return ctypes.c_void_p(ctypes.addressof(ctypes.c_char.in_dll(self.library, name)))

    def members(self, pattern):
        source = f"(?:{pattern})+".encode()
        compiled, info = ctypes.c_void_p(), ctypes.create_string_buffer(64)
        buffer = ctypes.create_string_buffer(source)
        start = ctypes.addressof(buffer)
        code = self.library.onig_new(
            ctypes.byref(compiled), ctypes.c_void_p(start), ctypes.c_void_p(start + len(source)), 0,
            self.symbol("OnigEncodingUTF8"), self.symbol("OnigSyntaxOniguruma"), info)
        if code:
            raise SystemExit(f"{pattern}: Oniguruma says {code}")
        region, found, at = Region(), set(), 0
        base = ctypes.addressof(self.buffer)
        end = ctypes.c_void_p(base + len(self.text))
        while self.library.onig_search(
                compiled, ctypes.c_void_p(base), end, ctypes.c_void_p(base + at), end, ctypes.byref(region), 0) >= 0:
            found.update(range(self.starts[region.begin[0]], self.starts[region.end[0]]))
            at = region.end[0]
        return found - set(range(0xD800, 0xE000))


def library_members(pattern):
    """Which characters the library has in a class."""
    kept = set()
    for piece, _ in Split(Regex(f"(?:{pattern})+"), "removed").pre_tokenize_str("".join(map(chr, SCALARS))):
        kept.update(map(ord, piece))
    return set(SCALARS) - kept


def signatures(members):
    result = collections.defaultdict(set)
    for pattern in PROBES:
        for scalar in members(pattern):
            result[scalar].add(pattern)
    return {scalar: frozenset(found) for scalar, found in result.items()}


def reduced(signature, level):
    """A signature without what matters least: case, then scripts as well."""
    if level >= 1:
        signature = signature - {"[[:lower:]]", "[[:upper:]]"}
    return signature - {rf"\p{{{name}}}" for name in SCRIPTS} if level >= 2 else signature


def stand_ins():
    ours, theirs = signatures(SystemOniguruma().members), signatures(library_members)
    nothing = frozenset()
    candidates = [{}, {}, {}]
    for scalar in SCALARS:
        mine = ours.get(scalar, nothing)
        if mine == theirs.get(scalar, nothing):
            for level in range(3):
                # The last one: rarely a character that a pattern names.
                candidates[level][reduced(mine, level), len(chr(scalar).encode())] = scalar
    ranges = []
    for scalar in SCALARS:
        wanted, mine = theirs.get(scalar, nothing), ours.get(scalar, nothing)
        stand_in = None
        for level in range(3):
            if reduced(wanted, level) == reduced(mine, level):
                break
            stand_in = candidates[level].get((reduced(wanted, level), len(chr(scalar).encode())))
            if stand_in:
                break
        else:
            raise SystemExit(f"nothing stands in for {scalar:X}: {sorted(wanted)}")
        if level:
            print(f"{scalar:X}: no older character has all of {', '.join(sorted(wanted))}")
        if not stand_in:
            continue
        if ranges and ranges[-1][1] == scalar - 1 and ranges[-1][2] == stand_in:
            ranges[-1][1] = scalar
        else:
            ranges.append([scalar, scalar, stand_in])
    return ranges


def lines(items, width=112):
    """Items separated by spaces, in lines of Swift's multi-line string."""
    rows = [""]
    for item in items:
        if len(rows[-1]) + len(item) + 1 > width:
            rows.append("")
        rows[-1] += (" " if rows[-1] else "") + item
    return "".join(f"        {row}\n" for row in rows)


def swift_string(summary, name, items):
    return f'    /// {summary}\n    static let {name} = """\n{lines(items)}        """\n'


def one_step(scalar):
    text = unicodedata.decomposition(chr(scalar))
    return [] if not text or text.startswith("<") else [int(part, 16) for part in text.split()]


def normalization():
    nfc, nfd = normalizers.NFC(), normalizers.NFD()
    classes, decompositions, compositions = {}, [], []
    for scalar in SCALARS:
        character = chr(scalar)
        combining = unicodedata.combining(character)
        # An iota subscript (240) and an overlay (1) stay apart from what the library does not know as a mark.
        if combining and nfd.normalize_str(f"a\u0345{character}\u0334") == unicodedata.normalize(
                "NFD", f"a\u0345{character}\u0334"):
            classes[scalar] = combining
        parts = one_step(scalar)
        if not parts or nfd.normalize_str(character) == character:
            continue
        composed = nfc.normalize_str("".join(map(chr, parts))) == character
        entry = f"{scalar:X}=" + "+".join(f"{part:X}" for part in parts)
        (compositions if composed else decompositions).append(entry)
    check_classes(nfd, classes)
    ranges = []
    for scalar, combining in classes.items():
        if ranges and ranges[-1][1] == scalar - 1 and ranges[-1][2] == combining:
            ranges[-1][1] = scalar
        else:
            ranges.append([scalar, scalar, combining])
    return [f"{a:X}-{b:X}={c}" for a, b, c in ranges], decompositions, compositions


def check_classes(nfd, classes):
    """The classes order marks as the library does: each mark against one of each class."""
    one_of = {combining: scalar for scalar, combining in classes.items() if not one_step(scalar)}
    for scalar, combining in classes.items():
        if one_step(scalar):
            continue
        for other, mark in one_of.items():
            for a, b, first in ((scalar, mark, combining <= other), (mark, scalar, other <= combining)):
                got = nfd.normalize_str("a" + chr(a) + chr(b))
                if got != ("a" + chr(a) + chr(b) if first else "a" + chr(b) + chr(a)):
                    raise SystemExit(f"class of {scalar:X} is not {combining}")


def main():
    found = [f"{a:X}-{b:X}={c:X}" for a, b, c in stand_ins()]
    text = HEADER + "extension StandIns {\n"
    text += swift_string("First and last character of a range, and the one that stands in for each.", "table", found)
    (SOURCES / "StandIns+Table.swift").write_text(text + "}\n")
    classes, decompositions, compositions = normalization()
    text = HEADER + "extension Normalization {\n"
    text += swift_string("First and last character of a range, and their combining class.", "classTable", classes)
    text += "\n" + swift_string("A character and what it is decomposed into, never to be composed again.",
                                "singletonTable", decompositions)
    text += "\n" + swift_string("A character and the two that it is composed of.", "pairTable", compositions)
    (SOURCES / "Normalization+Table.swift").write_text(text + "}\n")


if __name__ == "__main__":
    main()
