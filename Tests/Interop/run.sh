#!/usr/bin/env bash
# Runs the interop tests on the tools in the directory $1, in a virtual environment that is made once.
# ADAPTERKIT_PYTHON names a Python that has the libraries already, ADAPTERKIT_ADAPTERS_PYTHON one that has `adapters`;
# ADAPTERKIT_INTEROP=full runs all cases in all dtypes.
set -euo pipefail
cd "$(dirname "$0")/../.."
bin=$1
skip() {
    echo "SKIPPED: interop tests: $*"
    finish
    exit 0
}

mode=--quick
all=
[ "${ADAPTERKIT_INTEROP:-}" = full ] && mode= && all=--full

# One processor for each part.
export OMP_NUM_THREADS=1
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
names=()
# part NAME COMMAND...: runs a part beside others, one for each processor; `finish` shows what they printed.
part() {
    local name=$1
    shift
    names+=("$name")
    while [ "$(jobs -rp | wc -l)" -ge "$(nproc)" ]; do sleep 0.2; done
    { "$@" && echo passed >"$logs/$name.status"; } >"$logs/$name" 2>&1 &
}
finish() {
    wait || true
    local failed=0 name
    for name in "${names[@]}"; do
        echo "-- $name"
        cat "$logs/$name"
        [ -e "$logs/$name.status" ] || failed=1
    done
    return $failed
}

# Crashes need strace, but none of the libraries.
if command -v python3 >/dev/null 2>&1; then
    command -v strace >/dev/null 2>&1 || (. Tests/setup.sh && install strace) || true
    part crash python3 Tests/Interop/crash.py --bin "$bin" $mode
fi

python=${ADAPTERKIT_PYTHON:-}
if [ -z "$python" ]; then
    . Tests/setup.sh
    command -v python3 >/dev/null 2>&1 && python3 -c 'import ensurepip' 2>/dev/null || install python3 python3-venv || true
    command -v python3 >/dev/null 2>&1 || skip "there is no python3"
    venv=${XDG_CACHE_HOME:-$HOME/.cache}/adapterkit/venv-torch2.13-peft0.21
    python=$venv/bin/python
    if [ ! -e "$venv/complete" ]; then
        rm -rf "$venv"
        mkdir -p "$(dirname "$venv")"
        python3 -m venv "$venv" >/dev/null 2>&1 || skip "python3 cannot make virtual environments"
        echo "Installing torch, PEFT, transformers and safetensors into $venv ..."
        timeout 900 "$python" -m pip install --quiet 'torch==2.13.*' 'peft==0.21.*' 'transformers==5.23.*' \
            'safetensors==0.8.*' numpy >"$venv/pip.log" 2>&1 || skip "PyPI did not give the libraries (see $venv/pip.log)"
        touch "$venv/complete"
    fi
fi
for name in run combine archive extract swap undo train generate tokenizer serving; do
    part "$name" "$python" -W ignore "Tests/Interop/$name.py" --bin "$bin" $mode
done
part families "$python" -W ignore Tests/Interop/families.py --bin "$bin" $all
finish
