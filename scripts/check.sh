#!/usr/bin/env bash
# Static checks: Python style and types, C warnings as errors.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=.venv/bin

echo "check: ruff"
"$bin/ruff" check --quiet .
"$bin/ruff" format --quiet --check . || {
    echo "check: some files are not formatted; run '$bin/ruff format .'" >&2
    exit 1
}

echo "check: mypy"
"$bin/mypy" --no-error-summary
"$bin/mypy" --no-error-summary scripts/*.py
"$bin/mypy" --no-error-summary --package benchmarks

echo "check: gcc"
mapfile -t sources < <(find edgeconv/runtime examples benchmarks -name '*.c' | sort)
[ ${#sources[@]} -gt 0 ] || {
    echo "check: no C source found" >&2
    exit 1
}
for source in "${sources[@]}"; do
    # Some warnings come from the optimiser, so compile for real.
    gcc -std=c11 -D_GNU_SOURCE -O2 -Wall -Wextra -Wpedantic -Wstrict-prototypes -Werror \
        -Iedgeconv/runtime/include -c "$source" -o /dev/null
done
