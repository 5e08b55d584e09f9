"""The text that the example models are trained on: public-domain books from Debian packages.

`fetch(directory)` downloads the packages with apt-get, unpacks them without installing anything, and returns
{genre: (training bytes, held-out bytes)}. `chapters(directory)` then returns {name: bytes}: the little text of
examples/why-freeze.sh.
"""

import gzip
import re
import subprocess
from pathlib import Path

PACKAGES = ["jargon-text", "bible-kjv-text", "bible-kjv", "miscfiles"]
LICENCES = ["Apache-2.0", "Artistic", "CC0-1.0", "GFDL-1.3", "GPL-2", "GPL-3", "LGPL-2.1", "LGPL-3", "MPL-2.0"]
HELD_OUT = 4096
CHAPTERS = {"scripture-train": "jn1:1-jn2:11", "scripture-tune": "mt5:1-mt5:37"}


def _unpack(directory):
    directory.mkdir(parents=True, exist_ok=True)
    subprocess.run(["apt-get", "-q", "download", *PACKAGES], cwd=directory, check=True, capture_output=True)
    for package in sorted(directory.glob("*.deb")):
        subprocess.run(["dpkg-deb", "-x", package.name, "root"], cwd=directory, check=True)
    return directory / "root"


def _tidy(text):
    text = re.sub(r"[ \t]+$", "", text, flags=re.M)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _jargon(root):
    text = gzip.decompress((root / "usr/share/doc/jargon-text/jargon.txt.gz").read_bytes()).decode()
    starts = [m.start() for m in re.finditer("Welcome to the Jargon File", text)]
    return _tidy(re.sub(r"^ {1,3}", "", text[starts[1] :], flags=re.M))


def _scripture(root, passage="gen1:1-rev22:21"):
    command = [root / "usr/bin/bible", "-p", root / "usr/lib", "-f", passage]
    text = subprocess.run(command, check=True, capture_output=True).stdout.decode()
    return _tidy(re.sub(r"^\w+:\d+ ", "", text, flags=re.M))


def _law(root):
    state = root / "usr/share/state"
    constitution = _tidy(gzip.decompress((state / "us-constitution.gz").read_bytes()).decode())
    declaration = _tidy(gzip.decompress((state / "us-declaration.gz").read_bytes()).decode())
    licences = [_tidy(Path("/usr/share/common-licenses", n).read_text(errors="replace")) for n in LICENCES]
    return "\n".join([*licences, declaration, constitution])


def fetch(directory):
    """Training and held-out text of each genre, as UTF-8 bytes; the end of each text is held out."""
    root = _unpack(Path(directory))
    texts = {"jargon": _jargon(root), "scripture": _scripture(root), "law": _law(root)}
    split = {}
    for genre, text in texts.items():
        data = text.encode()
        cut = data.rindex(b"\n", 0, len(data) - HELD_OUT) + 1
        split[genre] = (data[:cut], data[cut:])
    return split


def chapters(directory):
    """Two chapters of the scripture, as UTF-8 bytes; what `fetch` unpacked must be there."""
    root = Path(directory) / "root"
    return {name: _scripture(root, passage).encode() for name, passage in CHAPTERS.items()}
