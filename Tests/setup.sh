#!/usr/bin/env bash
# Makes sure that what the build needs is there: a Swift toolchain, and libcrypto, zlib, OpenBLAS and Oniguruma with their headers.
# Sourced by examples/build.sh and Tests/run.sh.

if ! command -v swift >/dev/null 2>&1; then
    echo "There is no Swift toolchain on the PATH. AdapterKit needs Swift 6.3 or newer:" >&2
    echo "get it for your system at https://www.swift.org/install and try again." >&2
    exit 69
fi

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# install PACKAGE...: installs Debian packages that are missing, and says so.
install() {
    local missing=() package
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return
    if ! command -v apt-get >/dev/null 2>&1; then
        echo "Please install these with your system's package manager: ${missing[*]}" >&2
        return 1
    fi
    if [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null 2>&1; then
        echo "Please install these as root, then try again: apt-get install ${missing[*]}" >&2
        return 1
    fi
    echo "Installing ${missing[*]} ..."
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}" >/dev/null 2>&1 ||
        { as_root apt-get update >/dev/null &&
            as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}" >/dev/null; }
}

install libssl-dev zlib1g-dev libopenblas-dev libonig-dev pkg-config
