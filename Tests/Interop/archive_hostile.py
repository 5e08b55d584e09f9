"""Archives that lie: all are refused, quickly, in little memory, and with nothing written anywhere."""

import archive_bombs
import archive_checks as checks
import archive_writer as writer
from archive_writer import Hooks, Part, Raw, Source, pack, sha256

MEMORY = 64 * 1024  # KiB
SECONDS = 5
GOOD = {"a.txt": b"hello, hello, hello, hello", "dir/b": b"\0" * 400, "w": [Part("rotated2", bytes(range(64)), 16)]}
HUGE = (2**62, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 10**30)

# How a path can lead elsewhere, or be something else on another system. Each must be refused as the path of a file.
PATHS = [
    "../x", "..", ".", "./x", "x/..", "x/.", "x/../y", "x/../../y", "a/./b", "/x", "//x", "///", "/", "a//b", "a/", "a\\b",
    "\\\\h\\x",
    "..\\x", "a\0b", "a\x01", "a\x1f", "a\x7f", "a\x80", "a\x9f", "a\rb", "a\tb", "a\nb", "a ", "a.", "a..", "dir./x",
    "dir /x", " ", "",
    "x" * 256, "é" * 128, "/".join(["d"] * 65), "/".join(["x" * 200] * 21), "//directory", "//input/0/x", "//other", "a\ud800b",
]  # fmt: skip
TOGETHER = {
    "case": ["name", "Name"], "case in a directory": ["d/name", "d/NAME"], "normalisation": ["\u00e9", "e\u0301"],
    "case and normalisation": ["\u00c9", "e\u0301"], "a file as a directory": ["a", "a/b"],
    "a file deep as one": ["a/b", "a/b/c/d"],
    "a file as a directory but for case": ["A", "a/b"],
}  # fmt: skip


def changed(old, new, count=1):
    """A hook that replaces text in the directory; it must be there."""

    def hook(lines):
        text = "\n".join(lines)
        assert old in text, old
        return text.replace(old, new, count).split("\n")

    return Hooks(lines=hook)


def inserted(line, before):
    """A hook that adds a line before the first one that begins so."""

    def hook(lines):
        at = next(i for i, other in enumerate(lines) if other.startswith(before))
        return lines[:at] + [line] + lines[at:]

    return Hooks(lines=hook)


def bad_paths():
    """Paths of files, of directories, and of both in one archive."""
    for path in PATHS:
        yield f"path {path[:20]!r} ({len(path)})", pack({path: b"hello", "z": b"1"})
        if path:
            yield f"single file {path[:20]!r} ({len(path)})", pack({path: b"hello"}, kind="file")
        yield f"directory {path[:20]!r} ({len(path)})", pack({"z": b"1"}, directories=[path])
    for label, paths in TOGETHER.items():
        yield f"together: {label}", pack({path: b"x" for path in paths})
    for label, files, directories in [
        ("a file and a directory", ["a"], ["a"]), ("a directory that is not empty", ["a/b"], ["a"]),
        ("a directory in a file", ["a"], ["a/b"]), ("directories by case", [], ["a", "A"]),
        ("a file and a directory by case", ["a"], ["A"]), ("a directory in an empty one", [], ["a", "a/b"]),
    ]:  # fmt: skip
        yield f"together: {label}", pack({path: b"x" for path in files}, directories=directories)
    yield "a directory twice", pack(GOOD, directories=["e"], hooks=inserted("directory e", "directory"))
    twice = Hooks(streams=lambda s: s[:1] + s, lines=lambda lines: lines[:3] + lines[3:5] + lines[3:])
    yield "a file twice", pack(GOOD, hooks=twice)
    yield "two files as a single one", pack(GOOD, kind="file")
    yield "no file as a single one", pack({}, kind="file")
    yield "a directory beside a single file", pack({"a": b"x"}, kind="file", directories=["d"])


def bad_lines():
    """Lines that are not as they should be."""
    digest = sha256(GOOD["a.txt"])
    table = {
        "version 2": ("archive 1", "archive 2"), "version 01": ("archive 1", "archive 01"),
        "another name": ("adapterkit-", "adapterkit"),
        "upper-case digest": (digest, digest.upper()), "a short digest": (digest, digest[:-1]),
        "a long digest": (digest, digest + "0"),
        "two spaces": ("file 26", "file  26"), "a leading zero": ("file 26", "file 026"),
        "a plus sign": ("file 26", "file +26"),
        "a negative size": ("file 26", "file -26"), "hexadecimal": ("file 26", "file 0x1a"),
        "a fraction": ("file 26", "file 26.0"),
        "a space at the end": ("input directory", "input directory "), "CRLF": ("input directory", "input directory\r"),
        "unknown input": ("input directory", "input symlink"), "an empty line": ("\nend", "\n\nend"),
        "an unknown line": ("\nend", "\nmode 7\nend"),
        "no end": ("\nend", ""), "end twice": ("\nend", "\nend\nend"),
        "a file after the end": ("\nend", f"\nend\nfile 0 {sha256(b'')} z"),
        "no content": ("content ", "contend "), "no input": ("\ninput directory", ""), "a NUL": ("\nend", "\nend\0"),
        "wrong content": ("content ", "content 0"), "a part of no file": ("\nfile 26", f"\npart bytes 1 {digest} 1 1\nfile 26"),
        "part without tokens": ("part bytes 26", "part bytes"),
        "no part": (f"part bytes 26 {digest}", f"part bytes 0 {digest}"),
        "non-ASCII digits": ("file 26", "file ２６"), "size too small": ("file 26", "file 25"),
        "size too large": ("file 26", "file 27"),
        "part too small": ("part bytes 26", "part bytes 25"), "part too large": ("part bytes 26", "part bytes 27"),
        "wrong digest of a file": (f"file 26 {digest}", f"file 26 {'0' * 64}"),
        "wrong digest of a part": (f"26 {digest} 65536", f"26 {'0' * 64} 65536"),
    }  # fmt: skip
    for label, (old, new) in table.items():
        yield f"lines: {label}", pack(GOOD, hooks=changed(old, new))
    for size in HUGE:
        yield f"lines: file of {size}", pack(GOOD, hooks=changed("file 26", f"file {size}"))
        yield f"lines: part of {size}", pack(GOOD, hooks=changed("part bytes 26", f"part bytes {size}"))
        yield f"lines: file and part of {size}", pack(GOOD, hooks=changed(" 26 ", f" {size} ", 2))
        yield f"lines: chunks of {size}", pack(GOOD, hooks=changed("65536", str(size)))
        yield f"lines: a plane of {size}", pack({"z": b"0" * 99}, hooks=changed(" 65536 ", f" 65536 {size}"))
    for label, lines in {
        "nothing": [], "end only": ["end"], "the first line twice": None, "files in another order": None, "binary": ["\0\1\2"],
    }.items():  # fmt: skip
        hook = {
            "the first line twice": lambda old: old[:1] + old,
            "files in another order": lambda old: old[:3] + old[5:7] + old[3:5] + old[7:],
        }.get(label, lambda old, lines=lines: lines)  # fmt: skip
        yield f"lines: {label}", pack(GOOD, hooks=Hooks(lines=hook))
    yield "lines: no line feed at the end", pack(GOOD, hooks=Hooks(directory=lambda text: text[:-1]))
    yield "lines: not UTF-8", pack(GOOD, hooks=Hooks(directory=lambda text: text.replace(b"a.txt", b"a.t\xff\xfe")))
    yield "lines: a byte order mark", pack(GOOD, hooks=Hooks(directory=lambda text: b"\xef\xbb\xbf" + text))
    yield "lines: sizes that wrap", pack({"z": [Part("bytes", b"12"), Part("bytes", b"34")]}, hooks=Hooks(lines=wrapped))


def wrapped(lines):
    """Parts whose sizes add up to the file's only modulo 2^64."""
    return [line.replace("bytes 2 ", f"bytes {2**63} ").replace("file 4 ", "file 0 ") for line in lines]


def bad_codes():
    """Codes that nobody knows, sources that are not there, sizes that are no multiples."""
    data, equal = bytes(range(64)), Source("tensor", "t", bytes(range(64)))
    for code in (
        "lzma", "byte", "bytes1", "bytes@0", "Bytes", "rotated", "rotated3", "rotated16", "rotated2@0", "rotated2.7", "raw", "",
        "joint", "joint1", "joint3", "joint16", "joint2@0", "joint2",
    ):  # fmt: skip
        hooks = changed("part bytes", f"part {code}")
        yield f"code {code!r}", pack({"z": data}, sources=[equal], hooks=hooks)
    for code in (
        "difference2", "difference2@1", "difference2@00", "difference2@-1", "difference2@18446744073709551616",
        "difference2.7@0",
        "grouped2@0", "grouped2.16@0", "grouped2.255@0", "grouped2.99999999999999999999@0", "grouped2.07@0", "grouped2.-1@0",
        "difference3@0", "difference0@0", "copy", "copy@1", "copy@0", "copy2@0", "merged", "merged@1", "merged@0",
    ):  # fmt: skip
        hooks = changed("part difference2@0", f"part {code}")
        yield f"code {code!r}", pack({"z": [Part("difference2@0", data)]}, sources=[equal], hooks=hooks)
    yield "copy with chunks", pack({"z": [Part("copy@0", data)]}, sources=[equal], hooks=changed(" 0\nend", " 64\nend"))
    yield "a copy of another size", pack({"z": [Part("copy@0", data)]}, sources=[Source("tensor", "t", data[:62])])
    yield "a source of another size", pack({"z": [Part("difference2@0", data)]}, sources=[Source("tensor", "t", data[:62])])
    yield "a size that is no multiple", pack({"z": [Part("bytes", data[:63])]}, hooks=changed("part bytes", "part rotated2"))
    for label, text in {"0": "0", "no multiple": "3", "above 16 MiB": str((1 << 24) + 2), "with a zero": "016"}.items():
        yield f"chunks: {label}", pack({"z": [Part("rotated2", data, 16)]}, hooks=changed(" 16 ", f" {text} "))
    yield (
        "a plane too few",
        pack({"z": [Part("rotated2", data, 16)]}, hooks=Hooks(lines=lambda s: [*s[:-2], s[-2].rpartition(" ")[0], "end"])),
    )
    yield (
        "a plane too many",
        pack({"z": [Part("rotated2", data, 16)]}, hooks=Hooks(lines=lambda s: [*s[:-2], s[-2] + " =00000001", "end"])),
    )
    yield (
        "an empty plane too many",
        pack({"z": [Part("bytes", data)]}, hooks=Hooks(lines=lambda s: [*s[:-2], s[-2] + " 0", "end"])),
    )
    some = {"z": [Part("bytes", data, stored=lambda plane: True)]}
    yield (
        "upper-case Adler",
        pack({"z": b"\xff" * 9999}, hooks=Hooks(lines=lambda s: [*s[:-2], s[-2].rpartition(" ")[0] + " =ABCDEF12", "end"])),
    )
    yield "a wrong Adler", pack(some, hooks=changed(" =", " =0"))
    yield "another Adler", pack(some, hooks=Hooks(lines=lambda s: [*s[:-2], s[-2].rpartition(" ")[0] + " =00000001", "end"]))


def bad_bases():
    """Sources without a base, bases without sources, sources that lead out of the base."""
    source = Source("tensor", "t", b"x" * 64)
    parts = {"z": [Part("copy@0", source.data)]}
    digest = sha256(source.data)
    yield (
        "sources without a base",
        pack(parts, sources=[source], hooks=Hooks(lines=lambda s: [x for x in s if not x.startswith("base")])),
    )
    yield "a base without sources", pack(GOOD, hooks=inserted(f'base {sha256(b"")} "b"', "file"))
    yield "a base twice", pack(parts, sources=[source], hooks=inserted(f'base {digest} "b"', "base"))
    yield (
        "another digest of the sources",
        pack(parts, sources=[source], hooks=inserted(f'source tensor 1 {digest} "u"', "file")),
    )
    yield "a source after a file", pack(GOOD, hooks=inserted(f'source tensor 1 {digest} "u"', "end"))
    yield "an unknown source", pack(parts, sources=[Source("socket", "t", source.data)])
    for name in ('"t', 't"', "t", '"\\x"', '"\\ud800"', '"t" ', '"a""b"', "{}", "1", "null", '"\t"', '""t'):
        yield f"a source named {name}", pack(parts, sources=[Source("tensor", Raw(name), source.data)])
        yield f"bound to {name}", pack(GOOD, bound=[(Raw(name), digest)])
    for path in ("../outside", "/etc/passwd", "a/../../outside", "sub/../config.json", "./config.json", "a\0b", "", "sub"):
        yield f"source file {path!r}", pack(parts, sources=[Source("file", path, source.data)])
    yield "bound config twice", pack(GOOD, bound=[(None, digest), (None, digest)])
    yield "bound config after a tensor", pack(GOOD, bound=[("t", digest)], hooks=inserted(f"bound config {digest}", "file"))
    for label, text in {
        "no object": "[]", "nothing in it": "{}", "not JSON": "{x}",
        "deep": '{"adapters":' + "[" * 200_000 + "]" * 200_000 + "}",
        "no such input": '{"dtype":null,"adapters":[{"input":7,"name":"a","weight":1}]}',
        "NaN": '{"dtype":null,"adapters":[{"input":0,"weight":NaN}]}',
        "a large weight": '{"dtype":null,"adapters":[{"input":0,"name":"a","weight":1e999}]}',
        "a negative input": '{"dtype":null,"adapters":[{"input":-1,"name":"a","weight":1}]}',
        "no adapters": '{"dtype":null,"adapters":[]}',
    }.items():  # fmt: skip
        merged = {"z": [Part("merged@0", source.data)]}
        yield f"recipe: {label}", pack(merged, sources=[source], recipe={}, hooks=changed("recipe {}", f"recipe {text}"))
    for path in (
        "//input/0/../x",
        "//input/x/a",
        "//input/00/a",
        "//input/0",
        "//input//a",
        "//inputs/0/a",
        "//input/-1/a",
        "//input/0/",
    ):
        recipe = {"dtype": None, "adapters": [{"input": 0, "name": "a", "weight": 1}]}
        yield f"input {path}", pack({"z": [Part("merged@0", source.data)], path: b"x"}, sources=[source], recipe=recipe)


SECTIONS = {"paths": bad_paths, "lines": bad_lines, "codes": bad_codes, "bases": bad_bases} | archive_bombs.SECTIONS


def section(name, quick=False):
    """All archives of one kind, each given to adapter-unpack, and some to the other tools."""

    def run(tally, tools, size, directory, seed):
        worst = {"KiB": (0, ""), "seconds": (0, "")}
        (scratch := directory / "scratch").mkdir()
        base = checks.Path(directory / "base")
        archive_base(base)
        for number, (label, whole) in enumerate(SECTIONS[name]()):
            # In a quick run, another third of them for each seed.
            if quick and number // 3 % 3 != seed % 3:
                continue
            archive = directory / "archive"
            archive.write_bytes(whole)
            answers = [refused(tally, tools, f"hostile: {label}", archive, base, directory, scratch)]
            if number % 3 == seed % 3:
                answers += harmless(tally, tools, f"hostile: {label}", archive, directory)
            for answer in answers:
                worst["KiB"] = max(worst["KiB"], (answer.peak, label))
                worst["seconds"] = max(worst["seconds"], (answer.seconds, label))
        print("  largest: " + ", ".join(f"{v:.6g} {k} ({label})" for k, (v, label) in worst.items()))

    return run


def archive_base(path):
    """A base that has what the archives above ask for, and something beside it that they must not reach."""
    import archive_own

    data = bytes(range(64))
    archive_own.write_base(path, [Source("tensor", "t", data), Source("file", "sub/x", b"x" * 64)], 1)
    (path / "outside").write_bytes(b"x" * 64)
    (path.parent / "outside").write_bytes(b"x" * 64)


def refused(tally, tools, label, archive, base, directory, scratch):
    """adapter-unpack refuses it, and nothing has changed anywhere."""
    before = checks.tree(directory)
    answer = checks.measured(tools, "adapter-unpack", archive, "-o", scratch / "out", "--base", base)
    tally.check(answer.code in checks.REFUSED and answer.err.strip(), f"{label}: exit {checks.REFUSED}", str(answer))
    limits(tally, label, answer)
    differ = checks.differences(before, checks.tree(directory))
    if not tally.check(not differ, f"{label}: nothing is written", str(differ)):
        checks.clean(scratch / "out")
    return answer


def limits(tally, label, answer):
    """Little memory, little time."""
    tally.check(answer.peak <= MEMORY, f"{label}: memory", f"{answer.peak} KiB")
    tally.check(answer.seconds <= SECONDS, f"{label}: time", f"{answer.seconds:.1f} s")


def harmless(tally, tools, label, archive, directory):
    """The other tools, and the other ways of reading, do not fall over it."""
    runs = [
        ("adapter-inspect", [archive]), ("adapter-unpack", [archive, "--list"]), ("adapter-unpack", [archive, "--test"]),
        ("adapter-unpack", [archive, "--manifest"]), ("adapter-unpack", [archive, "a.txt",
        "-o", directory / "scratch" / "out"]),
        ("adapter-verify", [directory / "base", archive]),
    ]  # fmt: skip
    answers = []
    for name, arguments in runs:
        answer = checks.measured(tools, name, *arguments)
        tally.check(0 <= answer.code < 128 and answer.code != 70, f"{label}: {name} {arguments[1:2]}", str(answer))
        limits(tally, f"{label}: {name} {arguments[1:2]}", answer)
        checks.clean(directory / "scratch" / "out")
        answers.append(answer)
    return answers


assert writer.content_digest({}) == sha256(b"")
