"""One runtime's process: `python -m benchmarks.worker PEER CASE_FOLDER CONVERTED_FOLDER`.

It runs in the runtime's own environment. Commands come as JSON objects, one a line, on stdin, and
each is answered by one on stdout:

    {"do": "convert"}               {"seconds": 1.2, "version": "1.32.0"}
    {"do": "load", "threads": 2}    {"errors": [2e-7]}
    {"do": "run", "count": 10}      {"ms": [0.51, ...]}
    {"do": "memory"}                {"peak_bytes": 12345678}

`errors` are max |got - want| / max |want| of each output against PyTorch's. What fails is answered
with {"error": "ValueError: ..."}.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks import peers
from benchmarks.case import Case
from benchmarks.peers.peer import Session
from edgeconv.metrics import compare


class Worker:
    """Answers commands about one case."""

    def __init__(self, peer: str, case: Path, folder: Path) -> None:
        """Keep where things are; nothing of the runtime is imported yet."""
        self._peer = peers.load(peer)
        self._case = Case.load(case)
        self._folder = folder
        self._session: Session | None = None
        self._bare_bytes = status_bytes("VmRSS")

    def answer(self, command: dict[str, Any]) -> dict[str, Any]:
        """Carry a command out."""
        match command:
            case {"do": "convert"}:
                return self._convert()
            case {"do": "load", "threads": threads}:
                return self._load(threads)
            case {"do": "run", "count": count}:
                return {"ms": self._loaded().times_ms(count)}
            case {"do": "memory"}:
                return {"peak_bytes": self._peak_bytes()}
        raise ValueError(f"unknown command {command}")

    def _convert(self) -> dict[str, Any]:
        start = perf_counter()
        self._peer.convert(self._case, self._folder)
        return {"seconds": perf_counter() - start, "version": self._peer.version()}

    def _load(self, threads: int) -> dict[str, Any]:
        self._session = self._peer.load(self._case, self._folder, threads)
        got, want = self._session.outputs(), self._case.golden()[1]
        errors = [compare(a, b).max_rel for a, b in zip(got, want, strict=True)]
        return {"errors": errors}

    def _loaded(self) -> Session:
        if self._session is None:
            raise ValueError("nothing is loaded")
        return self._session

    def _peak_bytes(self) -> int:
        own = self._loaded().peak_bytes()
        return status_bytes("VmHWM") - self._bare_bytes if own is None else own


def status_bytes(field: str) -> int:
    """Return a size of this process from /proc/self/status."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {field}")


def main() -> None:
    """Answer commands until stdin ends."""
    # Runtimes write to stdout too, also from C: that goes to stderr, the answers to a copy.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    worker = Worker(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
    for line in sys.stdin:
        try:
            answer = worker.answer(json.loads(line))
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
