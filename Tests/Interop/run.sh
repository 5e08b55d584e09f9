#!/usr/bin/env bash
# Runs the interop tests on the tools in the directory $1, in a virtual environment that is made once.
# ADAPTERKIT_PYTHON names a Python that has the libraries already; ADAPTERKIT_INTEROP=full runs all cases in all dtypes.
set -euo pipefail
cd "$(dirname "$0")/../.."
bin=$1
skip() {
    echo "SKIPPED: interop tests: $*"
    exit 0
}

mode=--quick
all=
[ "${ADAPTERKIT_INTEROP:-}" = full ] && mode= && all=--full

# Crashes need strace, but none of the libraries.
if command -v python3 >/dev/null 2>&1; then
    command -v strace >/dev/null 2>&1 || (. Tests/setup.sh && install strace) || true
    python3 Tests/Interop/crash.py --bin "$bin" $mode
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
"$python" -W ignore Tests/Interop/run.py --bin "$bin" $mode
"$python" -W ignore Tests/Interop/families.py --bin "$bin" $all
"$python" -W ignore Tests/Interop/combine.py --bin "$bin" $mode
"$python" -W ignore Tests/Interop/extract.py --bin "$bin" $mode
"$python" -W ignore Tests/Interop/archive.py --bin "$bin" $mode
"$python" -W ignore Tests/Interop/serving.py --bin "$bin" $mode
"$python" -W ignore Tests/Interop/swap.py --bin "$bin" $mode
"$python" -W ignore Tests/Interop/undo.py --bin "$bin" $mode
# ADAPTERKIT_ADAPTERS_PYTHON names a Python that has the library "adapters" too, for bottlenecks.
"$python" -W ignore Tests/Interop/train.py --bin "$bin" $mode
