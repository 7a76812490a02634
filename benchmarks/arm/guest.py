"""Runs under qemu: `guest.py PEER CASE_FOLDER CONVERTED_FOLDER RUNS`, each run between marks."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

from benchmarks import peers
from benchmarks.case import Case
from edgeconv.metrics import compare


def main() -> None:
    """Print the largest relative error of the outputs, after the marked runs."""
    name, case_folder, folder, runs = sys.argv[1:]
    case = Case.load(Path(case_folder))
    session = peers.load(name).load(case, Path(folder), threads=1)
    marks = ctypes.CDLL(os.environ["MARKS"])
    for _ in range(int(runs)):
        marks.mark_begin()
        session.run()
        marks.mark_end()
    pairs = zip(session.outputs(), case.golden()[1], strict=True)
    print(max(compare(got, want).max_rel for got, want in pairs), flush=True)
    os._exit(0)  # some runtimes crash under qemu while they end


if __name__ == "__main__":
    main()
