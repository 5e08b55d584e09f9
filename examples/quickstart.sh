#!/usr/bin/env bash
# Builds AdapterKit and runs its main job on the data beside this script: look at an adapter, check that it fits its
# base, merge it, and show that the result is the base plus the adapter.
set -euo pipefail
cd "$(dirname "$0")/.."
. Tests/setup.sh

if [ -t 1 ]; then bold=$'\033[1m' plain=$'\033[0m'; else bold='' plain=''; fi
say() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
run() { printf '$ %s\n' "$*"; "$@"; }

say "Building in release mode: the first time takes two to three minutes on two cores"
log=$(mktemp)
if ! swift build -c release --static-swift-stdlib 2>&1 | tee "$log" | while read -r line; do
    if [ -t 1 ] && [[ $line == "["*"] "* ]]; then printf '\r%s\033[K' "${line:0:78}"; fi
done; then
    cat "$log"
    exit 1
fi
if [ -t 1 ]; then printf '\r\033[K'; fi
tail -n 1 "$log"
rm -f "$log"
bin=$(swift build -c release --static-swift-stdlib --show-bin-path)
PATH=$bin:$PATH

data=examples/data
out=.build/quickstart
rm -rf "$out"
mkdir -p "$out"

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

say "Done. The merged model is in $out/merged, the tools are in $bin"
printf 'To use them by name: export PATH="%s:$PATH"\n' "$bin"
