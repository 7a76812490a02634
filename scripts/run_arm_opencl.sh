#!/usr/bin/env bash
# Runs the program of a Linux GPU target's artifact, unchanged, under qemu with Debian's own arm64
# OpenCL driver (PoCL), which compiles its kernels for the emulated processor:
#
#     scripts/run_arm_opencl.sh model-mali-g610.edge [RUNNER OPTION]...     (default: --self-test)
#
# Needs Debian 12, qemu-user, unzip, and root or user namespaces. Packages (about 100 MB) are
# unpacked into a folder in the user's cache; the system is not changed.
set -euo pipefail

die() {
    echo "run_arm_opencl: $*" >&2
    exit 1
}

cache=${XDG_CACHE_HOME:-$HOME/.cache}/edgeconv/arm-opencl
arm=$cache/arm     # what is of arm64
cross=$cache/cross # a linker of this machine that makes arm64 programs, which PoCL calls

# apt with lists, state and cache of its own, for arm64.
arm_apt() {
    apt-get -q -o APT::Architecture=arm64 -o APT::Architectures=arm64 \
        -o Dir::State::lists="$cache/lists" -o Dir::State::status="$cache/status" \
        -o Dir::Cache="$cache/apt" "$@"
}

download() {
    echo "run_arm_opencl: fetching Debian's arm64 OpenCL driver into $cache" >&2
    mkdir -p "$cache"/{lists,apt/archives,linker}/partial "$arm" "$cross"
    : >"$cache/status"
    arm_apt update
    arm_apt install -y --no-install-recommends --download-only pocl-opencl-icd ocl-icd-libopencl1
    (cd "$cache/linker" && apt-get -q download binutils-aarch64-linux-gnu)
    local package
    for package in "$cache"/apt/archives/*.deb; do dpkg -x "$package" "$arm"; done
    for package in "$cache"/linker/*.deb; do dpkg -x "$package" "$cross"; done
    # Debian's /lib is /usr/lib, which the packages still leave apart.
    mkdir -p "$cache/lib"
    cp -a "$arm/lib" "$cache/lib/"
    touch "$cache/ready"
}

# In a mount namespace of its own: /usr shows this machine's files and, below them, arm64's. qemu
# finds most files of the program in the folder by itself, but not those that PoCL only asks for,
# nor those that the linker opens, which is a program of this machine.
run() {
    mount -t overlay overlay -o "lowerdir=/usr:$cross/usr:$arm/usr:$cache/lib" /usr
    export POCL_CACHE_DIR=$cache/pocl EDGECONV_OPENCL_CACHE=$cache/kernels
    exec qemu-aarch64 -L "$arm" -cpu cortex-a76 "$@"
}

[ $# -ge 1 ] || die "usage: scripts/run_arm_opencl.sh ARTIFACT.edge [RUNNER OPTION]..."
if [ "$1" = --inside ]; then
    shift
    run "$@"
fi
[ -f "$1" ] || die "$1: no such artifact"
command -v qemu-aarch64 >/dev/null || die "apt-get install qemu-user"
command -v unzip >/dev/null || die "apt-get install unzip"
[ -e "$cache/ready" ] || download >&2

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
unzip -q "$1" -d "$folder"
[ -f "$folder/runner" ] || die "$1 holds no runner; a GPU target of a Linux board has one"
chmod +x "$folder/runner"
shift
[ $# -gt 0 ] || set -- --self-test
namespaces=(--mount)
[ "$(id -u)" -eq 0 ] || namespaces+=(--map-root-user)
unshare "${namespaces[@]}" "$BASH" "$0" --inside "$folder/runner" "$folder" "$@"
