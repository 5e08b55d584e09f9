#!/usr/bin/env bash
# Builds AdapterKit, and goes once through everything on the data beside this script: train an adapter on the base, look
# at it, check it, merge it, exchange it in a model in use, pack it, and write text with it.
set -euo pipefail
cd "$(dirname "$0")/.."
. examples/build.sh

say "Building in release mode: the first time takes three to seven minutes on two cores"
build
bin=$(swift build -c release --static-swift-stdlib --show-bin-path)
PATH=$bin:$PATH

data=examples/data
base=$data/base
out=.build/quickstart
rm -rf "$out"
mkdir -p "$out"

say "1. Train an adapter: 6 KB of scripture, for a base that knows the Jargon File"
run adapter-train "$base" --data "$data/text/scripture-train.txt" -o "$out/adapter" --layers all --learning-rate 3e-3 \
    --epochs 6 --validation "$data/text/scripture.txt" --retain "$data/text/jargon.txt"
echo "Held-out text: what was learned. The base's own text: what was forgotten."

say "2. What is this adapter?"
run adapter-inspect "$out/adapter"

say "3. Does it fit the base?"
run adapter-verify --deep "$base" "$out/adapter"

say "4. Merge it into the base, and compute every weight again in double precision to compare"
run adapter-merge "$base" "$out/adapter" -o "$out/merged"
run adapter-verify "$base" "$out/adapter" --merged "$out/merged"

say "5. Exchange adapters in a model in use, and get the base back to the last bit"
cp -r "$base" "$out/served"
run adapter-swap "$out/served" use "$out/adapter"
run adapter-swap "$out/served" use "$data/adapter-law:0.5"
run adapter-swap "$out/served" base
for file in "$base"/*.safetensors; do cmp "$file" "$out/served/${file##*/}"; done
echo "The weights are those of the base."

say "6. Pack it into one file that knows its base; the tools use it as it is"
run adapter-pack "$out/adapter" --bind "$base" -o "$out/scripture.adapter"
run adapter-verify "$base" "$out/scripture.adapter"

say "7. What does the model write, without the adapter and with it?"
for adapter in "" "$out/adapter"; do
    run adapter-generate "$base" ${adapter:+"$adapter"} --prompt "And he said" --max-tokens 150 --temperature 0.7 --seed 1
done

say "Last: is a merge right? An adapter from PEFT, against what a float64 merge in Python gave"
run adapter-merge "$base" "$data/adapter-law" -o "$out/law"
if command -v python3 >/dev/null 2>&1; then
    run python3 examples/check_digests.py "$out/law" law
    if python3 -c 'import torch, transformers, safetensors' 2>/dev/null; then
        echo "As a model: the answers of the merged model, and losses on text it has not seen:"
        run python3 examples/check_merged.py "$out/law" law
    fi
else
    run adapter-verify "$base" "$data/adapter-law" --merged "$out/law"
fi

say "Done. Everything is in $out, the tools are in $bin"
printf 'To use them by name: export PATH="%s:$PATH"\n' "$bin"
