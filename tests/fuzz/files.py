"""Damaged artifacts and model files: each is taken or refused, never a crash, a hang or code."""

import argparse
import queue
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

from fuzz.file_kinds import KINDS

WORKER = (sys.executable, "-m", "fuzz.file_worker")
TESTS = Path(__file__).parents[1]
LIMIT_S = 60.0  # for one case
START_LIMIT_S = 600.0  # for a worker's start, which on a new machine builds a C library
SEEDS_PER_KIND = 1 << 32


def run_files(
    kind: str, seed: int, count: int, seconds: float = float("inf")
) -> tuple[Counter[str], list[str]]:
    """Run the cases `seed` to `seed + count`, at most for some seconds after the worker's start.

    Returns how often each outcome came, and the failures with their seeds. Raises RuntimeError
    where the worker cannot even start.
    """
    outcomes: Counter[str] = Counter()
    failures: list[str] = []
    end = seed + count
    while seed < end and seconds > 0:
        for outcome, took in _worker_outcomes(kind, seed, end):
            outcomes[outcome.partition(":")[0]] += 1
            if outcome.startswith("FAILED"):
                failures.append(f"{kind} seed {seed}: {outcome}")
            seed += 1
            seconds -= took
            if seconds <= 0:
                break
    return outcomes, failures


def _worker_outcomes(kind: str, seed: int, end: int) -> Iterator[tuple[str, float]]:
    """Yield the outcomes of one process, in order, and the seconds that each took.

    The last is the process's death, if it dies early.
    """
    command = [*WORKER, kind, str(seed), str(end)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=TESTS) as worker:
        try:
            lines = _lines(worker)
            if next(lines).strip() != "ready":
                raise RuntimeError(f"{kind}: the worker did not start; see its messages")
            started = time.monotonic()
            for line in lines:
                if not line:
                    break
                ended = time.monotonic()
                yield line.removeprefix("case ").strip(), ended - started
                started = time.monotonic()
                seed += 1
            if seed < end:
                yield f"FAILED: ended the process: {worker.wait(LIMIT_S)}", 0.0
        except queue.Empty:
            yield "FAILED: took too long", LIMIT_S
        finally:
            worker.kill()


def _lines(worker: "subprocess.Popen[str]") -> Iterator[str]:
    """Yield the process's lines, then ""; raises queue.Empty where one takes too long."""
    assert worker.stdout is not None
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read(stream: IO[str]) -> None:
        with suppress(ValueError):  # closed, since the time is over
            for line in stream:
                lines.put(line)
        lines.put("")

    threading.Thread(target=read, args=(worker.stdout,), daemon=True).start()
    yield lines.get(timeout=START_LIMIT_S)
    while True:
        yield lines.get(timeout=LIMIT_S)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--count", type=int, default=1000, help="cases of each kind")
    parser.add_argument("--seed", type=int, help="first case (default: by the clock)")
    parser.add_argument("--kind", choices=list(KINDS), help="only this kind of file")


def main(options: argparse.Namespace) -> int:
    first = options.seed if options.seed is not None else time.time_ns() % SEEDS_PER_KIND
    print(f"seed {first}", flush=True)
    failed = False
    for kind in [options.kind] if options.kind else KINDS:
        outcomes, failures = run_files(kind, first, options.count)
        listed = ", ".join(f"{count} {what}" for what, count in sorted(outcomes.items()))
        print(f"{kind}: {listed}", flush=True)
        for failure in failures:
            print(f"  {failure}\n  repeat: fuzz files --kind {kind} --count 1 --seed N", flush=True)
        failed |= bool(failures)
    return int(failed)
