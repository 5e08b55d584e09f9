"""What archive.py's measurements say about each claim, one line for each."""

import statistics

NAMES = {True: "yes", False: "NO ", None: "   "}
BF16, F32, MERGED = 66.3, 82.8, 100 / 2.118
PACKS, UNPACKS, FAST, SMALL, MEMORY = 5, 4, 1.0, 8e6, 200


def line(verdict, claim, text):
    print(f"  {NAMES[verdict]}  {claim:62} {text}")


def percent(item, result):
    return 100 * result.size / item.path.stat().st_size


def ratios(ours, theirs, what, at=1):
    """How many times as fast as a rival, round by round: median, least, most. `at` 0 leaves out the `fsync` that follows."""
    pairs = zip(getattr(theirs, what), getattr(ours, what))
    values = [rival[at] / own[at] for rival, own in pairs]
    return statistics.median(values), min(values), max(values)


def show(values):
    return "{:.2f} ({:.2f} to {:.2f})".format(*values)


def sizes(item, results):
    """Smaller than every rival, and than a fixed share."""
    rivals = {name: percent(item, r) for name, r in results.items() if not name.startswith("pack ")}
    best = min(rivals, key=rivals.get)
    own = percent(item, results["pack default"]) if "pack default" in results else None
    text = f"{own:.4f} %, " if own else ""
    verdict = own < rivals[best] if own else None
    line(verdict, f"{item.name}: smaller than every rival", f"{text}least of the rivals {rivals[best]:.4f} % ({best})")
    limit = {"bf16": BF16, "f32": F32}.get(item.dtype) if not item.base else MERGED
    if own and limit:
        line(own <= limit, f"{item.name}: at most {limit:.1f} %", f"{own:.4f} %")
    if own:
        more = 100 * (results["pack fast"].size / results["pack default"].size - 1)
        best = 100 * (results["pack best"].size / results["pack default"].size - 1)
        line(more <= FAST, f"{item.name}: fast within {FAST:g} % of default", f"{more:+.3f} % (best {best:+.3f} %)")


def speeds(item, results):
    """How many times as fast as gzip and ZipNN; files that take hardly longer than starting a program do not count."""
    if "pack fast" not in results or item.base or item.path.stat().st_size < SMALL:
        return
    fast = results["pack fast"]
    for what, verb, least in (("pack", "packs", PACKS), ("unpack", "unpacks", UNPACKS)):
        if "gzip -1" in results:
            rival = results["gzip -1"]
            values, plain = ratios(fast, rival, what), ratios(fast, rival, what, at=0)
            text = f"{show(values)}; {plain[0]:.2f} without `fsync` of gzip's output"
            line(values[0] >= least, f"{item.name}: fast {verb} {least} times as fast as gzip -1", text)
        for rival in ("zipnn", "zipnn in memory", "zipnn 1 thread"):
            if rival in results:
                each = {level: ratios(results[f"pack {level}"], results[rival], what) for level in ("fast", "default")}
                text = ", ".join(f"{level} {show(values)}" for level, values in each.items())
                line(None, f"{item.name}: {verb} so many times as fast as {rival}", text)


def print_claims(report, peaks):
    print("\nClaims")
    for item, _, results in report:
        sizes(item, results)
    for item, _, results in report:
        speeds(item, results)
    for level, (pack, unpack) in peaks.items():
        text = f"pack {pack:.0f} MB, unpack {unpack:.0f} MB"
        line(max(pack, unpack) <= MEMORY, f"1 GiB, {level}: at most {MEMORY} MB of memory", text)
