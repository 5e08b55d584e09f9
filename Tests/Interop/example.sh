#!/usr/bin/env bash
# Runs the example's main job with the tools in the directory $1, and holds the result against the example's digests.
set -euo pipefail
cd "$(dirname "$0")/../.."
bin=$1
out=$(mktemp -d "${TMPDIR:-/tmp}/adapterkit.XXXXXX")
trap 'rm -rf "$out"' EXIT
for name in law scripture; do
    "$bin/adapter-inspect" --quiet "examples/data/adapter-$name" >/dev/null
    "$bin/adapter-verify" --quiet --deep examples/data/base "examples/data/adapter-$name"
    "$bin/adapter-merge" --quiet examples/data/base "examples/data/adapter-$name" -o "$out/$name"
    "$bin/adapter-verify" --quiet examples/data/base "examples/data/adapter-$name" --merged "$out/$name"
    if command -v python3 >/dev/null 2>&1; then python3 examples/check_digests.py "$out/$name" "$name"; fi
done
