"""A live test of adapter-pack and adapter-unpack.

    python Tests/Interop/archive.py --bin .build/release [--quick] [--seed N] [--only TEXT]

Packs random files and directories, tensors of all dtypes, models, adapters and fine-tunings; what comes back must be the same
bytes, from adapter-unpack and from the reference decoder (formats/archive_decoder.py). Archives of an independent writer are
unpacked, the other tools work on archives in place, and damaged and hostile ones are refused. `--only` takes the sections whose
name contains the text. Ends with 'N passed, N failed'; exit status 1 if anything failed. If the libraries cannot be imported it
says 'skipped' and exits 0.
"""

import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))
from combine import main  # noqa: E402

TOOLS = ("adapter-pack", "adapter-unpack", "adapter-inspect", "adapter-verify", "adapter-merge", "adapter-combine")


def round_trips(quick):
    """What is packed comes back."""
    import archive_trips as trips
    import archive_ways as ways

    return {
        "trees": trips.trees(40 if quick else 2000), "files": trips.files(60 if quick else 4000),
        "dtypes": trips.dtypes(quick), "models and adapters": trips.models_and_adapters, "special directories": trips.special,
        "small files": trips.small_files, "bad names": trips.bad_names, "threads": trips.threads, "pipes": ways.streams,
        "selections": ways.selections, "usage": ways.usage,
    }  # fmt: skip


def with_bases(quick):
    """Archives that need a base, and adapters that are bound to one."""
    import archive_adapters as adapters
    import archive_bases as bases

    table = {f"base {dtype}": bases.fine_tuned(dtype) for dtype in ("bf16", "f16", "f32")}
    table |= {"random bases": bases.random_bases(20 if quick else 1500), "whole files": bases.whole_files}
    for name, dtype, weights in (
        ("recipe bf16", "bf16", (1.0,)), ("recipe of two", "f32", (0.5, -1.25)), ("recipe f16", "f16", (0.3, 1.0, 2.0)),
    ):  # fmt: skip
        table[name] = bases.recipe(name, dtype, weights)
    table |= {f"in place: {kind}": adapters.in_place(kind) for kind in (adapters.KINDS[:3] if quick else adapters.KINDS)}
    table |= {f"binding {kind}": adapters.binding(kind) for kind in ("two", "wide-bfloat16")}
    return table | {"digests": adapters.digests}


def wrong_ones(quick):
    """The decoder and the writer, and archives that are wrong."""
    import archive_bombs as bombs
    import archive_damage as damage
    import archive_hostile as hostile
    import archive_own as own

    table = {"decoder": own.decoder(15 if quick else 1000), "own archives": own.agree(40 if quick else 3000)}
    table["damage in place"] = damage.in_place(30 if quick else 3000)
    table |= {f"damage: {make.__name__}": damage.damage(make, not quick) for make in (damage.small, damage.coded)}
    table |= {f"hostile {name}": hostile.section(name, quick) for name in hostile.SECTIONS}
    return table if quick else table | {"large": bombs.large}


def sections(options):
    """What there is to run: a name and a function for each section."""
    table = round_trips(options.quick) | with_bases(options.quick) | wrong_ones(options.quick)
    return [(name, function) for name, function in table.items() if options.only in name]


if __name__ == "__main__":
    sys.exit(main(__doc__, TOOLS, sections))
