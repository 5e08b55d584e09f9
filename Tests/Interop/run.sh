#!/usr/bin/env bash
# Runs the interop tests on the tools in the directory $1, in a virtual environment that is made once.
# ADAPTERKIT_PYTHON names a Python that has the libraries already, ADAPTERKIT_DIALECTS_PYTHON one that also has those of the other
# dialects, ADAPTERKIT_ADAPTERS_PYTHON one that has `adapters`; ADAPTERKIT_INTEROP=full runs all cases in all dtypes.
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
    {
        local start=$SECONDS
        "$@" && echo passed >"$logs/$name.status"
        echo "($((SECONDS - start)) s)"
    } >"$logs/$name" 2>&1 &
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

cache=${XDG_CACHE_HOME:-$HOME/.cache}/adapterkit
libraries=('torch==2.13.*' 'peft==0.21.*' 'transformers==5.23.*' 'safetensors==0.8.*' numpy)
dialects=('diffusers==0.42.*' 'lycoris-lora==4.1.*' 'gguf==0.19.*' 'mlx[cpu]==0.32.*' 'mlx-lm==0.32.*')
main=$cache/venv-torch2.13-peft0.21
other=$cache/venv-torch2.13-diffusers0.42-mlx0.32
# environment DIRECTORY BESIDE PACKAGE...: makes a virtual environment, unless it is there, that also sees what is in BESIDE;
# says why if it cannot.
environment() {
    local venv=$1 beside=$2
    shift 2
    [ ! -e "$venv/complete" ] || return 0
    rm -rf "$venv"
    mkdir -p "$(dirname "$venv")"
    python3 -m venv "$venv" >/dev/null 2>&1 || { echo "python3 cannot make virtual environments" && return 1; }
    if [ -n "$beside" ]; then
        "$beside/bin/python" -c 'import site; print(site.getsitepackages()[0])' >"$(echo "$venv"/lib/python3*/site-packages)/beside.pth"
    fi
    echo "Installing $* into $venv ..." >&2
    timeout 900 "$venv/bin/python" -m pip install --quiet "$@" >"$venv/pip.log" 2>&1 ||
        { echo "PyPI did not give $* (see $venv/pip.log)" && return 1; }
    touch "$venv/complete"
}

# Both environments, and nothing else: a fresh machine makes them while it builds.
if [ "$bin" = --prepare ]; then
    . Tests/setup.sh
    command -v python3 >/dev/null 2>&1 && python3 -c 'import ensurepip' 2>/dev/null || install python3 python3-venv
    environment "$main" "" "${libraries[@]}" && environment "$other" "$main" "${dialects[@]}"
    exit
fi

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
    why=$(environment "$main" "" "${libraries[@]}") || skip "$why"
    python=$main/bin/python
fi
for name in run combine archive extract swap undo train generate tokenizer serving; do
    part "$name" "$python" -W ignore "Tests/Interop/$name.py" --bin "$bin" $mode
done

# Other dialects have libraries of their own; without them the rest is tested all the same.
dialects_python=${ADAPTERKIT_DIALECTS_PYTHON:-}
if [ -z "$dialects_python" ] && [ -z "${ADAPTERKIT_PYTHON:-}" ]; then
    why=$(environment "$other" "$main" "${dialects[@]}") && dialects_python=$other/bin/python ||
        echo "SKIPPED: interop tests of other dialects: $why"
fi
if [ -n "$dialects_python" ]; then
    for name in dialects convert; do
        part "$name" "$dialects_python" -W ignore "Tests/Interop/$name.py" --bin "$bin" $mode
    done
elif [ -n "${ADAPTERKIT_PYTHON:-}" ]; then
    echo "SKIPPED: interop tests of other dialects: ADAPTERKIT_DIALECTS_PYTHON names no Python that has the libraries"
fi
part families "$python" -W ignore Tests/Interop/families.py --bin "$bin" $all
finish
