#!/usr/bin/env bash
# Builds AdapterKit and runs its main job on the data beside this script: look at an adapter, check that it fits its
# base, merge it, and show that the result is the base plus the adapter.
set -euo pipefail
cd "$(dirname "$0")/.."
. Tests/setup.sh

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
run() { printf '$ %s\n' "$*"; "$@"; }

say "Building (release mode; the first time takes a minute or two)"
swift build -c release --static-swift-stdlib 2>&1 | tail -n 1
bin=$(swift build -c release --static-swift-stdlib --show-bin-path)
PATH=$bin:$PATH

data=examples/data
out=$(mktemp -d "${TMPDIR:-/tmp}/adapterkit.XXXXXX")
trap 'rm -rf "$out"' EXIT

say "1. What is this adapter?"
run adapter-inspect "$data/adapter-law"

say "2. Does it fit the base?"
run adapter-verify --deep "$data/base" "$data/adapter-law"

say "3. Merge it"
run adapter-merge "$data/base" "$data/adapter-law" -o "$out/merged"
ls -l "$out/merged" | tail -n +2

say "4. Is the merged model the base plus the adapter?"
echo "Computed once more, weight by weight, in double precision:"
run adapter-verify "$data/base" "$data/adapter-law" --merged "$out/merged"
if command -v python3 >/dev/null 2>&1; then
    echo
    echo "Against the digests of the weights that a float64 merge in Python gave:"
    run python3 examples/check_digests.py "$out/merged" law
    if python3 -c 'import torch, transformers, safetensors' 2>/dev/null; then
        echo
        echo "As a model: the answers of the merged model, and losses on text it has not seen:"
        run python3 examples/check_merged.py "$out/merged" law
    fi
fi

say "Done. The tools are in $bin"
