#!/usr/bin/env bash
# Sets up `build/arm` for `make bench-arm`: QEMU's plugin, and a Debian arm64 file tree with Python
# and the runtimes' wheels, which run under qemu-user. Safe to run again.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/apt.sh

build=build/arm
root=$build/rootfs
site=$build/site-packages
mkdir -p "$build"

missing=()
command -v mmdebstrap >/dev/null || missing+=(mmdebstrap)
command -v qemu-aarch64 >/dev/null || missing+=(qemu-user)
[ ${#missing[@]} -eq 0 ] || apt_install "${missing[@]}"

cflags=(-std=c11 -D_GNU_SOURCE -O2 -Wall -Wextra -fPIC -shared -fvisibility=hidden)
gcc "${cflags[@]}" -o "$build/count.so" benchmarks/arm/plugin/*.c -lpthread
.venv/bin/python -m ziglang cc -target aarch64-linux-gnu.2.28 -O2 -shared \
    -o "$build/libmarks.so" benchmarks/arm/marks.c

if [ ! -x "$root/usr/bin/python3.11" ]; then
    say "unpacking Debian's arm64 packages into $root"
    mode=unshare
    [ "$(id -u)" -ne 0 ] || mode=root
    rm -rf "$root"
    mmdebstrap --quiet --variant=extract --mode=$mode --architectures=arm64 \
        --include=python3,libpython3.11-stdlib,libstdc++6,libgomp1,zlib1g,libatomic1 \
        bookworm "$root"
fi

# One folder of its own for each runtime: nothing is shared but NumPy.
platforms=()
for version in 2_39 2_35 2_34 2_31 2_28 2_27 2_24 2_17 2014; do
    platforms+=(--platform "manylinux${version/#2_/_2_}_aarch64")
done
while read -r name packages; do
    [ "$(cat "$site/$name/.packages" 2>/dev/null)" != "$packages" ] || continue
    say "unpacking arm64 wheels for $name: $packages"
    rm -rf "${site:?}/$name"
    # shellcheck disable=SC2086  # several packages
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --progress-bar off \
        --no-deps --only-binary=:all: --python-version 3.11 --implementation cp \
        --abi cp311 --abi abi3 --abi none "${platforms[@]}" \
        --target "$site/$name" numpy==2.4.6 $packages
    echo "$packages" >"$site/$name/.packages"
done < <(.venv/bin/python -m benchmarks.arm.boards packages)
