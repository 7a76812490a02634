"""How much sooner edgeconv is done with more threads: times with each number, taken in turns."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks.case import Case
from benchmarks.compare import OURS, Measured, converted, is_loaded, take_turns
from benchmarks.machine import Disturbance, Watch
from benchmarks.process import Process
from edgeconv.bench import Times

# The ratio of two medians is as uncertain as both: more and shorter turns than a comparison's.
_ROUNDS = 20
_TIMES_AS_LONG = 4


@dataclass(frozen=True)
class Scaling:
    """edgeconv's times of runs on a case, by number of threads, fewest first."""

    case: Case
    disturbance: Disturbance
    times: dict[int, Times]

    def speedups(self) -> dict[int, tuple[float, float]]:
        """Return how many times as fast as with the fewest threads: by medians, by least times."""
        first, *_ = self.times.values()
        return {
            threads: (first.median_ms / times.median_ms, first.min_ms / times.min_ms)
            for threads, times in self.times.items()
        }


def scale(case: Case, threads: Sequence[int], seconds: float) -> Scaling | None:
    """Time a case with each number of threads for four times `seconds`, in rounds of short turns.

    Returns None where any of them fails or is wrong: a comparison says why.
    """
    folder, outcome = converted(case, OURS)
    names = {str(count): count for count in sorted(threads)}
    found = {name: Measured(status=outcome.status, version=outcome.version) for name in names}
    if outcome.status != "ok":
        return None
    with ExitStack() as stack:
        running: dict[str, Process] = {}
        for name, count in names.items():
            process = stack.enter_context(Process(OURS, case.folder, folder))
            process.send(do="load", threads=count)
            if is_loaded(process, case, OURS, found[name]):
                running[name] = process
        watch = Watch([process.pid for process in running.values()])
        take_turns(running, found, _TIMES_AS_LONG * seconds, _ROUNDS)
        disturbance = watch.disturbance()
    if any(measured.status != "ok" for measured in found.values()):
        return None
    timed = ((count, found[name].times) for name, count in names.items())
    return Scaling(case, disturbance, {count: times for count, times in timed if times is not None})
