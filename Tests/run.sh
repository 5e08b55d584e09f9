#!/usr/bin/env bash
# Installs what is needed, builds with warnings as errors, and runs all tests.
# The interop tests with the live Python libraries run where PyPI answers, and say so where they are skipped.
set -euo pipefail
cd "$(dirname "$0")/.."
. Tests/setup.sh

export ADAPTERKIT_WARNINGS=error
step() { printf '\n== %s\n' "$*"; }

step "Format"
swift format lint --strict --recursive Sources Tests Package.swift

# What the interop tests need is fetched meanwhile; they say why where that fails.
preparing=
if [ -z "${ADAPTERKIT_PYTHON:-}" ]; then
    bash Tests/Interop/run.sh --prepare >/dev/null 2>&1 &
    preparing=$!
fi

step "Build (debug)"
swift build --build-tests 2>&1 | tail -n 3

# The release build has few files to compile at a time, so it runs beside the tests, in a directory of its own.
log=$(mktemp)
trap 'rm -f "$log"' EXIT
release=(-c release --static-swift-stdlib --scratch-path .build/tools)
swift build "${release[@]}" >"$log" 2>&1 &
building=$!

step "Test (debug: the tests can make system calls fail)"
swift test --skip-build 2>&1 | awk '!/^◇/ && (!/^✔/ || /^✔ Test run with/)'

step "Build (release)"
wait "$building" || { cat "$log"; exit 1; }
tail -n 1 "$log"
bin=$(swift build "${release[@]}" --show-bin-path)

step "Example"
bash Tests/Interop/example.sh "$bin"

step "Interop with PEFT, transformers, diffusers and others"
[ -z "$preparing" ] || wait "$preparing" || true
bash Tests/Interop/run.sh "$bin"
