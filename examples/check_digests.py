"""Compare every tensor of a merged checkpoint with the digest of what it must be. Needs nothing but Python.

    python3 examples/check_digests.py MERGED law
"""

import hashlib
import json
import struct
import sys
from pathlib import Path


def digests(directory):
    """SHA-256 of each tensor's bytes, straight from the files."""
    found = {}
    for path in sorted(Path(directory).glob("*.safetensors")):
        data = path.read_bytes()
        (length,) = struct.unpack("<Q", data[:8])
        for name, entry in json.loads(data[8 : 8 + length]).items():
            if name != "__metadata__":
                begin, end = (8 + length + at for at in entry["data_offsets"])
                found[name] = hashlib.sha256(data[begin:end]).hexdigest()
    return found


def main():
    merged, name = sys.argv[1:]
    table = Path(__file__).resolve().parent / "data" / "expected" / f"merged-{name}.sha256"
    expected = dict(reversed(line.split(maxsplit=1)) for line in table.read_text().splitlines())
    found = digests(merged)
    wrong = sorted(n for n in expected.keys() | found.keys() if expected.get(n) != found.get(n))
    print(f"{len(expected) - len(wrong)} of {len(expected)} tensors are equal to the last bit")
    for tensor in wrong:
        print(f"  differs: {tensor}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
