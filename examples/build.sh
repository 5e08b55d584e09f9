#!/usr/bin/env bash
# Installs what is missing, and builds AdapterKit in release mode. Sourced by the other scripts, in the repository's root.
. Tests/setup.sh

if [ -t 1 ]; then bold=$'\033[1m' plain=$'\033[0m'; else bold='' plain=''; fi
say() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }

# run COMMAND...: shows a command as it would be typed, and runs it.
run() {
    local word line='$'
    for word; do
        if [[ $word == *' '* ]]; then line+=" '$word'"; else line+=" $word"; fi
    done
    printf '%s\n' "$line"
    "$@"
}

# build [PRODUCT]: builds everything, or one product; shows a line of progress, and the whole log if it fails.
build() {
    local log
    log=$(mktemp)
    if ! swift build -c release --static-swift-stdlib ${1:+--product "$1"} 2>&1 | tee "$log" | while read -r line; do
        if [ -t 1 ] && [[ $line == "["*"] "* ]]; then printf '\r%s\033[K' "${line:0:78}"; fi
    done; then
        cat "$log"
        exit 1
    fi
    if [ -t 1 ]; then printf '\r\033[K'; fi
    tail -n 1 "$log"
    rm -f "$log"
}
