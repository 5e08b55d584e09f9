"""Running adapter-pack and adapter-unpack, and looking at what they made from all sides."""

import contextlib
import importlib.util
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open

REFUSED = (1, 65)
DECODER = Path(__file__).resolve().parents[2] / "formats" / "archive_decoder.py"
# A process's peak counts what its parent had in memory, so that a small process has to start the tool.
LAUNCH = """
import os, sys
null = os.open(os.devnull, os.O_RDWR)
about = [(os.POSIX_SPAWN_DUP2, null, 0)]
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=about)
_, status, usage = os.wait4(child, 0)
print("\\n" + str(os.waitstatus_to_exitcode(status)), usage.ru_maxrss, file=sys.stderr)
"""


@dataclass
class Run:
    """What one run of a tool gave; `peak` in KiB and `seconds` are there if they were measured."""

    code: int
    out: bytes
    err: str
    peak: int = 0
    seconds: float = 0.0

    def __str__(self):
        return f"exit {self.code}: {self.err.strip()[-300:]}"


def run(tools, name, *arguments, given=None, timeout=120):
    """Run one tool, whose output may be any bytes; `given` is its input."""
    command = [str(tools.directory / name), *map(os.fspath, map(_text, arguments))]
    about = {"input": given} if given is not None else {"stdin": subprocess.DEVNULL}
    try:
        done = subprocess.run(command, capture_output=True, timeout=timeout, **about)
    except subprocess.TimeoutExpired:
        return Run(-999, b"", f"not done after {timeout} seconds")
    return Run(done.returncode, done.stdout, done.stderr.decode(errors="replace"))


def _text(value):
    return value if isinstance(value, (str, bytes, os.PathLike)) else str(value)


def measured(tools, name, *arguments, timeout=60):
    """The same, with the largest memory and the time it took."""
    command = [sys.executable, "-I", "-S", "-c", LAUNCH, str(tools.directory / name), *map(os.fspath, map(_text, arguments))]
    start, pipe = time.monotonic(), subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, start_new_session=True) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # the tool too, which is a child of the child
            return Run(-999, b"", f"not done after {timeout} seconds", 0, timeout)
    text, _, numbers = err.decode(errors="replace").rstrip().rpartition("\n")
    code, peak = map(int, numbers.split())
    return Run(code, out, text, peak, time.monotonic() - start)


def limited(tools, files, name, *arguments):
    """Run one tool that may have few files open at once."""
    command = [str(tools.directory / name), *map(os.fspath, map(_text, arguments))]
    done = subprocess.run(["sh", "-c", f'ulimit -n {files} && exec "$@"', "sh", *command], capture_output=True, timeout=120)
    return Run(done.returncode, done.stdout, done.stderr.decode(errors="replace"))


def document(tally, label, answer, schema="adapterkit."):
    """The JSON document that a tool printed, or an empty one."""
    try:
        found = json.loads(answer.out)
        tally.check(found["schema"].startswith(schema), f"{label}: schema", str(found["schema"]))
        return found
    except (ValueError, KeyError, TypeError) as error:
        tally.check(False, f"{label}: prints a document", f"{error}: {answer} {answer.out[:200]!r}")
        return {}


def _decoder():
    spec = importlib.util.spec_from_file_location("archive_decoder", DECODER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def decoded(archive, out, base=None, decoder=[]):  # noqa: B006 loaded once
    """The exit status of the reference decoder, which runs in this process; and why."""
    decoder or decoder.append(_decoder())
    with contextlib.redirect_stderr(io.StringIO()) as told:
        try:
            return decoder[0].unpack(Path(archive), Path(out), Path(base) if base else None), told.getvalue()
        except SystemExit as stop:
            return 1, str(stop)
        except Exception as error:  # noqa: BLE001 whatever it trips over, it refuses
            return 1, f"{type(error).__name__}: {error}"


def tree(path):
    """All files with their bytes and all directories (None) of a directory, or the one file."""
    path = os.fsencode(path)
    if os.path.isfile(path):
        return {b"": Path(os.fsdecode(path)).read_bytes()}
    found = {}
    for here, directories, files in os.walk(path):
        for name in directories:
            found[os.path.relpath(os.path.join(here, name), path)] = None
        for name in files:
            with open(os.path.join(here, name), "rb") as file:
                found[os.path.relpath(os.path.join(here, name), path)] = file.read()
    return found


def differences(first, second):
    """Where two trees differ, in words; nothing if they are the same."""
    return [repr(n) for n in sorted(first.keys() | second.keys()) if first.get(n, b"/") != second.get(n, b"/")][:6]


def same(tally, label, wanted, path):
    """The tree at a path is the wanted one."""
    if not os.path.lexists(path):
        return tally.check(False, f"{label}: same bytes", "nothing is there")
    differ = differences(wanted, tree(path))
    return tally.check(not differ, f"{label}: same bytes", f"differ: {differ}")


def clean(path):
    """Remove what is at a path."""
    shutil.rmtree(path) if Path(path).is_dir() else Path(path).unlink(missing_ok=True)


def packed(tally, tools, label, source, archive, *options):
    """`adapter-pack` over what may be there; whether it succeeded."""
    clean(archive)
    answer = run(tools, "adapter-pack", source, "-o", archive, *options)
    return tally.check(answer.code == 0 and archive.is_file(), f"{label}: adapter-pack", str(answer))


def unpacked(tally, tools, label, archive, out, wanted, *options):
    """`adapter-unpack` gives the wanted tree."""
    clean(out)
    answer = run(tools, "adapter-unpack", archive, "-o", out, *options)
    fine = tally.check(answer.code == 0, f"{label}: adapter-unpack", str(answer))
    return fine and same(tally, f"{label}: adapter-unpack", wanted, out)


def decodes(tally, label, archive, out, wanted, base=None):
    """The reference decoder gives the wanted tree."""
    clean(out)
    code, told = decoded(archive, out, base)
    fine = tally.check(code == 0, f"{label}: decoder", told)
    return fine and same(tally, f"{label}: decoder", wanted, out)


def lists(tally, label, archive, paths):
    """The reference library opens an archive, and it has the tensors of the format page."""
    names = ["//__metadata__" if p == "__metadata__" else p for p in sorted(paths, key=str.encode)]
    try:
        with safe_open(str(archive), "np") as opened:
            shapes = {name: opened.get_slice(name) for name in opened.keys()}
            about = opened.metadata()
        odd = [n for n, s in shapes.items() if s.get_dtype() != "U8" or len(s.get_shape()) != 1]
        tally.check(not odd, f"{label}: all tensors are U8 with one dimension", str(odd[:4]))
        told = {n for n in shapes if not n.startswith("//input/")}
        tally.check(told == {*names, "//directory"}, f"{label}: a tensor for each file", f"{told ^ {*names, '//directory'}}")
        wanted = {"adapterkit.archive", "adapterkit.content", "adapterkit.directory"}
        tally.check(set(about or {}) == wanted and about["adapterkit.archive"] == "1", f"{label}: metadata", str(about))
    except Exception as error:  # noqa: BLE001 any refusal is a failure
        tally.check(False, f"{label}: safetensors opens the archive", str(error))
    order = [name for name in header(archive) if name != "__metadata__" and not name.startswith("//input/")]
    tally.check(order == [*names, "//directory"], f"{label}: order of the streams", str(order[:6]))


def header(archive):
    """The JSON header of an archive, its tensors in the order of their data."""
    with open(archive, "rb") as file:
        found = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    about = found.pop("__metadata__", None)
    order = sorted(enumerate(found.items()), key=lambda item: (item[1][1]["data_offsets"], item[0]))
    return {"__metadata__": about} | {name: entry for _, (name, entry) in order}


def round_trip(tally, tools, label, source, directory, *options, base=None):
    """Pack, look at the archive, unpack with the tool and with the decoder; whether the archive could be made."""
    archive, out, wanted = directory / "packed", directory / "out", tree(source)
    if not packed(tally, tools, label, source, archive, *options):
        return False
    needs = ["--base", base] if base else []
    paths = [os.fsdecode(p) for p, data in wanted.items() if data is not None]
    lists(tally, label, archive, paths if paths != [""] else [Path(source).name])
    unpacked(tally, tools, label, archive, out, wanted, *needs)
    decodes(tally, label, archive, directory / "decoded", wanted, base)
    clean(out)
    clean(directory / "decoded")
    return True
