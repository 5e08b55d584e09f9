"""A model of a disk: what may be on it after a crash, from a trace of the system calls that a program made.

`Trace` runs a command under strace and turns its calls into changes of names (creating, linking, renaming, removing),
changes of bytes, and waits for the disk. `Disk` replays them and keeps, after each call, what is sure to last:

- the bytes of a file after fsync of that file, or syncfs;
- a change of names after fsync of each directory in which something gets a name by it (or loses one, if nothing gets
  one), or syncfs.

Everything else may or may not have reached the disk. Two assumptions are made of it: one system call's change of names is
there whole or not at all (a rename or exchange between two directories is one transaction in ext4, XFS, Btrfs and
tmpfs), and the changes in one directory keep their order. What the file system promises beyond that is the choice of
`ordered` (all changes of names keep their order, as in one journal) or `scattered` (each directory on its own, so that
a later change in one may be there without an earlier one in another). Bytes that nobody waited for may be lost, be zeros,
be there in part, or be there.
"""

import hashlib
import json
import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

# What changes files, and what is needed to know which file a descriptor means. A call that changes files in a way that is
# not modelled here is an error: the model would be wrong without saying so.
MODELLED = """
    openat mkdirat linkat renameat renameat2 unlinkat pwrite64 write copy_file_range ftruncate fallocate fsync fdatasync
    syncfs close fcntl dup
""".split()
REFUSED = """
    open creat mkdir link symlink symlinkat rename unlink rmdir pwritev pwritev2 writev sendfile splice truncate sync
    dup2 dup3 chdir fchdir mknod mknodat io_uring_setup setxattr fsetxattr utimensat chmod
""".split()
# Modes and owners (fchmodat, fchownat) are no part of the model: recovery does not go by them.
HARMLESS = {"sync_file_range", "mmap"}
CALL = re.compile(r"^(\d+) +(\w+)\((.*)\) += (-?\d+|\?|0x[0-9a-f]+)")
UNFINISHED = re.compile(r"^(\d+) +(.*) <unfinished \.\.\.>$")
RESUMED = re.compile(r"^(\d+) +<\.\.\. \w+ resumed>(.*)$")


@dataclass
class Node:
    """A file or a directory, whatever its names are."""

    is_directory: bool
    data: bytes = b""
    synced: bytes | None = None
    modified: int = 0


@dataclass
class Point:
    """The disk after one system call."""

    label: str
    changes: int
    sure: frozenset
    files: dict


@dataclass
class Disk:
    """All names and bytes below one directory, as the calls change them."""

    root: Path
    nodes: dict = field(default_factory=dict)
    changes: list = field(default_factory=list)
    points: list = field(default_factory=list)
    numbers: dict = field(default_factory=dict)
    first: dict = field(default_factory=dict)
    now: dict = field(default_factory=dict)
    sure: set = field(default_factory=set)
    waited: dict = field(default_factory=dict)
    untouchable: set = field(default_factory=set)
    # What is not believed when somebody waits for it, "names" or "bytes": to see whether the test would notice.
    deaf: str = ""

    def __post_init__(self):
        self.nodes[0] = Node(True)
        self.now = {0: {}}
        self._read(self.root, 0, {})
        self.first = {key: dict(names) for key, names in self.now.items()}
        self.untouchable = set(self.nodes)
        self._remember(self.root, 0)
        self._point("start")

    def _read(self, path, number, seen):
        for entry in sorted(os.scandir(path), key=lambda e: e.name):
            inode = entry.inode()
            if inode not in seen:
                seen[inode] = len(self.nodes)
                isDirectory = entry.is_dir(follow_symlinks=False)
                data = b"" if isDirectory else Path(entry.path).read_bytes()
                self.nodes[seen[inode]] = Node(isDirectory, data, data)
                if isDirectory:
                    self.now[seen[inode]] = {}
                    self._read(entry.path, seen[inode], seen)
            self.now[number][entry.name] = seen[inode]

    def _remember(self, path, number):
        """Notes the real number and time of each file that is there just now."""
        for name, child in self.now[number].items():
            status = os.lstat(Path(path) / name)
            if self.numbers.setdefault(str(status.st_ino), child) != child:
                raise ValueError("a number was used for two files in turn: run again")
            self.nodes[child].modified = status.st_mtime_ns
            if self.nodes[child].is_directory:
                self._remember(Path(path) / name, child)

    def finished(self):
        """Holds the model against the real files, and learns the numbers of the new ones."""
        self._remember(self.root, 0)
        real = {
            str(path.relative_to(self.root)): None if path.is_dir() else path.read_bytes()
            for path in self.root.rglob("*")
        }
        modelled = {path: None if node.is_directory else node.data for path, _, node in self.walk(self.now)}
        if real != modelled:
            odd = sorted(path for path in real.keys() | modelled.keys() if real.get(path, 0) != modelled.get(path, 0))
            raise ValueError(f"the model of the disk differs from the real files: {odd}")

    def walk(self, tables, number=0, prefix=""):
        """Paths, numbers and nodes of everything that has a name."""
        for name, child in sorted(tables.get(number, {}).items()):
            yield prefix + name, child, self.nodes[child]
            if self.nodes[child].is_directory:
                yield from self.walk(tables, child, prefix + name + "/")

    # What calls do

    def new(self, is_directory):
        number = len(self.nodes)
        self.nodes[number] = Node(is_directory)
        if is_directory:
            self.now[number] = {}
        return number

    def change(self, label, *effects):
        """One change of names: directories, names in them, and what they lead to from now on (or nothing)."""
        self.changes.append(effects)
        self._apply(self.now, effects)
        self._point(label)

    @staticmethod
    def _apply(tables, effects):
        for directory, name, value in effects:
            if value is None:
                tables.setdefault(directory, {}).pop(name, None)
            else:
                tables.setdefault(directory, {})[name] = value

    def write(self, label, number, data):
        if number in self.untouchable and not label.startswith("lock"):
            raise ValueError(f"writes to a file that was there before: {label}")
        self.nodes[number].data = data
        self._point(label)

    def sync(self, label, number):
        node = self.nodes[number]
        if not node.is_directory and self.deaf != "bytes":
            node.synced = node.data
        elif node.is_directory and self.deaf != "names":
            self.waited[number] = len(self.changes)
            self._settle()
        self._point(label)

    def sync_all(self, label):
        for node in self.nodes.values():
            node.synced = node.data
        self.sure |= set(range(len(self.changes)))
        self._point(label)

    def _settle(self):
        """Which changes are sure: every directory that gets a name by them was waited for, and so is all before them."""
        open_ends = set()
        for at, effects in enumerate(self.changes):
            touched = {directory for directory, _, _ in effects}
            gaining = {directory for directory, _, value in effects if value is not None} or touched
            if touched & open_ends or any(at >= self.waited.get(directory, 0) for directory in gaining):
                open_ends |= touched
            else:
                self.sure.add(at)

    def _point(self, label):
        files = {n: (node.synced, node.data) for n, node in self.nodes.items() if not node.is_directory}
        self.points.append(Point(label, len(self.changes), frozenset(self.sure), files))

    # What may be left

    def tables(self, kept):
        """The names when these changes, in their order, have reached the disk."""
        tables = {key: dict(names) for key, names in self.first.items()}
        for at in kept:
            self._apply(tables, self.changes[at])
        return tables

    def ordered(self, point):
        """Every prefix of the changes of names that has all that is sure."""
        least = max(point.sure, default=-1) + 1
        return [range(count) for count in range(least, point.changes + 1)]

    def scattered(self, point, rng):
        """A random choice of changes that keeps the order within each directory."""
        chance, closed, kept = rng.choice([0.3, 0.6, 0.9]), set(), []
        sure = point.sure
        for at in range(point.changes):
            touched = {directory for directory, _, _ in self.changes[at]}
            if at in sure or (not touched & closed and rng.random() < chance):
                kept.append(at)
            else:
                closed |= touched
        return kept


WAYS = {
    "lost": lambda synced, data: synced or b"",
    "zeros": lambda synced, data: bytes(len(data)),
    "torn": lambda synced, data: data[: len(data) // 2] + bytes(len(data) - len(data) // 2),
    "there": lambda synced, data: data,
}


@dataclass
class State:
    """One thing that may be on the disk after a crash."""

    disk: Disk
    tables: dict
    contents: dict
    label: str

    def items(self):
        return self.disk.walk(self.tables)

    def key(self, is_ignored=lambda path: False):
        """Equal for equal disks; contents of paths that are ignored do not count."""
        digest = hashlib.sha256()
        for path, number, node in self.items():
            content = b"" if node.is_directory or is_ignored(path) else self.contents[number]
            digest.update(f"{path}\0{number}\0{len(content)}\0".encode() + content)
        return digest.digest()

    def make(self, target):
        """Makes the files below `target`. Numbers of files in the state of swaps become those that the new files have."""
        target.mkdir(parents=True)
        made, documents = {}, []
        for path, number, node in self.items():
            place = target / path
            if node.is_directory:
                place.mkdir()
            elif number in made:
                os.link(made[number], place)
            else:
                place.write_bytes(self.contents[number])
                if place.name in ("state.json", "journal.json"):
                    documents.append(place)
            made[number] = place
        new = {n: str(os.lstat(place).st_ino) for n, place in made.items()}
        translated = {old: new.get(n, str(10**15 + n)) for old, n in self.disk.numbers.items()}
        for place in documents:
            try:
                document = json.loads(place.read_bytes())
            except ValueError:
                continue  # not written whole: the tool must cope
            place.write_text(json.dumps(translate(document, translated)))
        for number, place in made.items():
            if not self.disk.nodes[number].is_directory:
                os.utime(place, ns=(self.disk.nodes[number].modified,) * 2)


def translate(value, numbers):
    """A JSON document with other numbers of files."""
    if isinstance(value, list):
        return [translate(item, numbers) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: numbers.get(item, item) if key in ("inode", "live", "new") and isinstance(item, str) else translate(item, numbers)
        for key, item in value.items()
    }


class Trace:
    """A command's system calls, replayed on a model of the disk below `root`."""

    def __init__(self, root, command, log, deaf=""):
        self.disk = Disk(Path(root), deaf=deaf)
        self.open = {}
        names = ",".join("?" + name for name in MODELLED + REFUSED + sorted(HARMLESS))
        done = subprocess.run(
            ["strace", "-f", "-xx", "-s", "1000000000", "-e", "trace=" + names, "-e", "signal=none", "-o", log, *command],
            capture_output=True, text=True, cwd="/",
        )  # fmt: skip
        self.code, self.text = done.returncode, done.stdout + done.stderr
        for name, arguments, result in self._calls(log):
            self._call(name, arguments, result)
        self.disk.finished()

    @staticmethod
    def _calls(log):
        """Name, arguments and result of each call that succeeded, in the order in which they ended."""
        begun = {}
        with open(log) as lines:
            for line in lines:
                line = line.rstrip("\n")
                if match := UNFINISHED.match(line):
                    begun[match[1]] = match[2]
                    continue
                if match := RESUMED.match(line):
                    line = f"{match[1]} {begun.pop(match[1])}{match[2]}"
                match = CALL.match(line)
                if match and match[4].lstrip("-").isdigit() and int(match[4]) >= 0:
                    yield match[2], match[3].split(", "), int(match[4])

    def _path(self, descriptor, text):
        """Directory, last name, and what is there (or nothing); nothing at all outside of the root."""
        path = bytes.fromhex(text.strip('"').replace("\\x", "")).decode()
        if path.startswith("/") or descriptor == "AT_FDCWD":
            root = str(self.disk.root)
            if path != root and not path.startswith(root + "/"):
                return None
            number, path = 0, path[len(root) :]
        else:
            number = self.open.get(int(descriptor))
            if number is None or isinstance(number, str):
                return None
        parts = [part for part in path.split("/") if part not in ("", ".")]
        if ".." in parts:
            return None  # only ever passed through, upwards
        for part in parts[:-1]:
            number = self.disk.now[number][part]
        return (number, parts[-1], self.disk.now[number].get(parts[-1])) if parts else (number, "", number)

    def _call(self, name, a, result):
        if name in REFUSED:
            # Nothing outside matters, but these could be anywhere.
            raise ValueError(f"the model of the disk does not know {name}({', '.join(a)[:200]})")
        getattr(self, "_" + name, lambda *_: None)(a, result)

    def _mmap(self, a, result):
        if "MAP_SHARED" in a[3] and "PROT_WRITE" in a[2] and isinstance(self.open.get(int(a[4])), int):
            raise ValueError("the model of the disk does not know writing by mmap")

    def _openat(self, a, result):
        found = self._path(a[0], a[1])
        if found is None:
            # An input elsewhere: what is copied from it is read when it is needed.
            above = self.open.get(int(a[0]), "") if a[0] != "AT_FDCWD" else ""
            name = bytes.fromhex(a[1].strip('"').replace("\\x", "")).decode()
            self.open[result] = os.path.join(above, name) if isinstance(above, str) else name
            return
        directory, name, number = found
        if number is None:
            number = self.disk.new(False)
            self.disk.change(f"create {name}", (directory, name, number))
        elif "O_TRUNC" in a[2]:
            self.disk.write(f"truncate {name}", number, b"")
        self.open[result] = number

    def _close(self, a, result):
        self.open.pop(int(a[0]), None)

    def _fcntl(self, a, result):
        if a[1].startswith("F_DUPFD"):
            self._dup(a, result)

    def _dup(self, a, result):
        if int(a[0]) in self.open:
            self.open[result] = self.open[int(a[0])]

    def _mkdirat(self, a, result):
        if found := self._path(a[0], a[1]):
            self.disk.change(f"mkdir {found[1]}", (found[0], found[1], self.disk.new(True)))

    def _linkat(self, a, result):
        source, target = self._path(a[0], a[1]), self._path(a[2], a[3])
        self.disk.change(f"link {target[1]}", (target[0], target[1], source[2]))

    def _unlinkat(self, a, result):
        if found := self._path(a[0], a[1]):
            self.disk.change(f"remove {found[1]}", (found[0], found[1], None))

    def _renameat(self, a, result):
        source, target = self._path(a[0], a[1]), self._path(a[2], a[3])
        if len(a) > 4 and "EXCHANGE" in a[4]:
            effects = (source[0], source[1], target[2]), (target[0], target[1], source[2])
            self.disk.change(f"exchange {source[1]} and {target[1]}", *effects)
        else:
            effects = (source[0], source[1], None), (target[0], target[1], source[2])
            self.disk.change(f"rename {source[1]} to {target[1]}", *effects)

    _renameat2 = _renameat

    def _at(self, descriptor):
        number = self.open.get(int(descriptor))
        return number if isinstance(number, int) else None

    def _name(self, number):
        names = [name for table in self.disk.now.values() for name, child in table.items() if child == number]
        return names[0] if names else "a file without a name" if number else "the parent"

    def _put(self, what, number, offset, data):
        old = self.disk.nodes[number].data
        old += bytes(max(0, offset - len(old)))
        name = self._name(number)
        label = f"lock: {what}" if name == "lock" else f"{what} {name} at {offset}"
        self.disk.write(label, number, old[:offset] + data + old[offset + len(data) :])

    def _pwrite64(self, a, result):
        if (number := self._at(a[0])) is not None:
            data = bytes.fromhex(a[1].strip('"').replace("\\x", ""))
            self._put("write", number, int(a[3]), data[:result])

    def _write(self, a, result):
        if self._at(a[0]) is not None:
            raise ValueError("the model of the disk does not know writing without a position")

    def _copy_file_range(self, a, result):
        if (number := self._at(a[2])) is None:
            return
        start, offset = (int(re.match(r"\[(\d+)", text)[1]) for text in (a[1], a[3]))
        source = self.open[int(a[0])]
        data = self.disk.nodes[source].data if isinstance(source, int) else Path(source).read_bytes()
        self._put("copy", number, offset, data[start : start + result])

    def _ftruncate(self, a, result):
        if (number := self._at(a[0])) is not None:
            name, data, size = self._name(number), self.disk.nodes[number].data, int(a[1])
            label = "lock: truncate" if name == "lock" else f"truncate {name}"
            self.disk.write(label, number, data[:size] + bytes(max(0, size - len(data))))

    def _fallocate(self, a, result):
        if (number := self._at(a[0])) is not None:
            data = self.disk.nodes[number].data
            size = int(a[2]) + int(a[3])
            self.disk.write(f"allocate {self._name(number)}", number, data + bytes(max(0, size - len(data))))

    def _fsync(self, a, result):
        if (number := self._at(a[0])) is not None:
            self.disk.sync(f"sync {self._name(number)}", number)

    _fdatasync = _fsync

    def _syncfs(self, a, result):
        self.disk.sync_all("sync all")
