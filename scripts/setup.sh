#!/usr/bin/env bash
# Sets up `.venv` and the system packages that the project needs. Safe to run again: what is
# already there is left alone.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=.venv
stamp=$venv/.setup-stamp

source scripts/apt.sh

# Prints the path of a Python of at least 3.11.
find_python() {
    local name path
    for name in python3.11 python3; do
        path=$(command -v "$name") || continue
        if "$path" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$path"
            return
        fi
    done
    die "Python 3.11 or newer is needed; on Debian 12: apt-get install python3 python3-venv"
}

system_packages() {
    local missing=()
    command -v qemu-aarch64 >/dev/null && command -v qemu-arm >/dev/null || missing+=(qemu-user)
    # libc6-dev holds the C headers, which Debian's gcc only recommends.
    command -v gcc >/dev/null && [ -e /usr/include/stdio.h ] || missing+=(gcc libc6-dev)
    # An OpenCL driver of the processor, what loads it, and a checker of kernels, for the tests of
    # GPU targets.
    [ -e /etc/OpenCL/vendors/pocl.icd ] || missing+=(pocl-opencl-icd)
    "$python" -c 'import ctypes; ctypes.CDLL("libOpenCL.so.1")' 2>/dev/null ||
        missing+=(ocl-icd-libopencl1)
    command -v oclgrind >/dev/null || missing+=(oclgrind)
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        missing+=("python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv")
    fi
    [ ${#missing[@]} -eq 0 ] || apt_install "${missing[@]}"
}

fingerprint() {
    {
        cat pyproject.toml constraints.txt scripts/setup.sh scripts/apt.sh
        pwd
    } | sha256sum
}

pip_install() {
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --progress-bar off \
        --constraint constraints.txt "$@" ||
        die "pip could not install the Python packages; its message stands above"
}

python=$(find_python)
system_packages

key=$(fingerprint)
if [ -x "$venv/bin/python" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$key" ]; then
    exit 0
fi

if ! "$venv/bin/python" -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    say "creating $venv with $("$python" --version)"
    rm -rf "$venv"
    "$python" -m venv "$venv"
fi
say "installing the Python packages of constraints.txt (minutes the first time)"
# octconv is built from its sources, by setuptools; the one that comes with venv is too old.
pip_install hatchling editables setuptools
pip_install --no-build-isolation --editable '.[compiler,zoo,dev]'
"$venv/bin/edgeconv" --version >/dev/null || die "edgeconv is installed but does not start"
echo "$key" >"$stamp"
say "done; '$venv/bin/edgeconv doctor' tells what is installed"
