#!/usr/bin/env bash
# Little data, the question that started this project: what is gained and lost by freezing the base?
#
# One base, trained on one domain (examples/data/base on the Jargon File), gets 6 KB of another (two chapters of the
# King James Bible), by full fine-tuning, the last layers alone, LoRA, bottlenecks and a prefix. For each: what is
# trained, what it costs, what is learned of the training text, what of other chapters (held out), and what is forgotten
# of the base's own domain. Three seeds; about five minutes on two cores after the build.
#
# The learning rates come from a search with one seed, which `examples/why-freeze.sh rates` makes again: rates of 1, 3, 10,
# ... times a power of ten, until the best lay between two others. The best has the lowest loss, at any look, on a third
# chapter (text/scripture-tune.txt), which is neither trained on nor held out here. Ranks and sizes are the tool's defaults,
# and were not searched.
set -euo pipefail
cd "$(dirname "$0")/.."
. examples/build.sh

seeds=3
steps=70 # ten ways through the text
out=.build/why-freeze

# name | label | learning rate | rates that were tried | options
methods=(
    "full|all weights|1e-4|3e-5 1e-4 3e-4 1e-3|--method full --layers all"
    "last2|the last 2 layers|3e-4|1e-4 3e-4 1e-3 3e-3|--method full --layers last:2"
    "last1|the last layer|3e-4|1e-4 3e-4 1e-3 3e-3|--method full --layers last:1"
    "loraall|LoRA, all layers|3e-3|3e-4 1e-3 3e-3 1e-2|--method lora --layers all"
    "lorahalf|LoRA, last 2 layers|3e-3|3e-4 1e-3 3e-3 1e-2|--method lora --layers last:2"
    "bottle|bottleneck, all layers|3e-3|1e-3 3e-3 1e-2|--method bottleneck --layers all"
    "prefix|prefix, all layers|1e-1|3e-2 1e-1 3e-1|--method prefix --layers all"
)

say "Building adapter-train: the first time takes three to seven minutes on two cores"
build adapter-train
build why-freeze-example
PATH=$(swift build -c release --static-swift-stdlib --show-bin-path):$PATH

# train NAME SEED RATE HELD-OUT OPTION...: one training. Two threads on any machine: another number gives other last bits.
train() {
    local file="$out/$1-$2" seed=$2 rate=$3 held=$4
    shift 4
    if ! { time adapter-train examples/data/base --data examples/data/text/scripture-train.txt "$@" \
        --validation "$held" --validate-every 7 --retain examples/data/text/jargon.txt --steps "$steps" \
        --learning-rate "$rate" --seed "$seed" --length 128 --threads 2 --quiet -o "$file" --report "$file.json" \
        --metrics "$file.jsonl" >/dev/null 2>"$out/errors"; } 2>"$file.cpu"; then
        cat "$out/errors" >&2
        exit 1
    fi
}

labels=()
TIMEFORMAT='%U %S' LC_NUMERIC=C
if [ "${1:-}" = rates ]; then
    out+=-rates
    rm -rf "$out"
    mkdir -p "$out"
    say "Searching the learning rates: the losses that are called held-out are those of the third chapter"
    for method in "${methods[@]}"; do
        IFS='|' read -r name label _ rates options <<<"$method"
        printf '  %s, learning rates %s\n' "$label" "$rates"
        for rate in $rates; do
            # shellcheck disable=SC2086 # the options are several words
            train "$name-$rate" 1 "$rate" examples/data/text/scripture-tune.txt $options
            labels+=("$name-$rate=$label, $rate")
        done
    done
    seeds=1
else
    rm -rf "$out"
    mkdir -p "$out"
    say "Training ${#methods[@]} ways, $seeds seeds each"
    for method in "${methods[@]}"; do
        IFS='|' read -r name label rate _ options <<<"$method"
        labels+=("$name=$label")
        printf '  %s, learning rate %s\n' "$label" "$rate"
        for seed in $(seq "$seeds"); do
            # shellcheck disable=SC2086 # the options are several words
            train "$name" "$seed" "$rate" examples/data/text/scripture.txt $options
        done
    done
fi

say "What came out"
why-freeze-example "$out" "$seeds" "${labels[@]}"
echo "Pictures: $out/bars.svg, $out/curves.svg"
