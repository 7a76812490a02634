"""Batches of seeds on several processes; a batch that breaks is halved until one seed is left."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait

import torch

from fuzz.batch import Outcome, run_batch
from fuzz.config import draw_config, family_of

Batch = tuple[int, ...]
# Takes seeds, a target, and the core to compile on.
Runner = Callable[[Batch, str, int], list[Outcome]]

# A machine with other work takes long; what takes longer than this hangs.
PATIENCE = 300.0
PATIENCE_PER_SEED = 20.0


class Worker:
    """One process with its batch; a crash of what was compiled takes only the process."""

    def __init__(self, target: str, core: int, runner: Runner) -> None:
        self.core, self.batch, self.usable = core, Batch(), True
        self._deadline = 0.0
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, target, core, runner), daemon=True
        )
        self._process.start()
        theirs.close()

    def give(self, batch: Batch) -> None:
        self.batch = batch
        self._deadline = time.monotonic() + PATIENCE + PATIENCE_PER_SEED * len(batch)
        self.pipe.send(batch)

    @property
    def late(self) -> bool:
        return time.monotonic() > self._deadline

    def take(self) -> list[Outcome] | None:
        """Return the batch's outcomes; None where the batch or the whole process broke."""
        try:
            outcomes: list[Outcome] | None = self.pipe.recv()
        except (EOFError, OSError):
            self.usable = False
            return None
        return outcomes

    def end(self) -> None:
        self._process.kill()
        self._process.join()
        self.pipe.close()


def run_batches(
    batches: Sequence[Batch], target: str, processes: int, runner: Runner = run_batch
) -> Iterator[Outcome]:
    """Yield the outcome of every seed, in any order."""
    todo = deque(batches)
    cores = itertools.cycle(sorted(os.sched_getaffinity(0)))
    count = min(processes, len(todo))
    free = [Worker(target, core, runner) for core in itertools.islice(cores, count)]
    busy: list[Worker] = []
    try:
        while todo or busy:
            while todo and free:
                worker = free.pop()
                worker.give(todo.popleft())
                busy.append(worker)
            ready = wait([worker.pipe for worker in busy], timeout=5)
            for worker in [w for w in busy if w.pipe in ready or w.late]:
                busy.remove(worker)
                outcomes = worker.take() if worker.pipe in ready else None
                if worker.usable and worker.pipe in ready:
                    free.append(worker)
                else:
                    worker.end()
                    free.append(Worker(target, worker.core, runner))
                if outcomes is not None:
                    yield from outcomes
                elif len(worker.batch) == 1:
                    yield _broken(worker.batch[0])
                else:
                    middle = len(worker.batch) // 2
                    todo.extendleft([worker.batch[middle:], worker.batch[:middle]])
    finally:
        for worker in free + busy:
            worker.end()


def _serve(pipe: Connection, target: str, core: int, runner: Runner) -> None:
    """Answer batches with outcomes, or None where a batch of several seeds broke."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 2)
    with contextlib.suppress(EOFError):
        while True:
            batch = pipe.recv()
            try:
                answer: list[Outcome] | None = runner(batch, target, core)
            except Exception:
                answer = None
            pipe.send(answer)


def _broken(seed: int) -> Outcome:
    """Say that a single configuration ended its process, or never ended."""
    reason = "the process died, or gave no answer in time"
    try:
        config = draw_config(seed)
    except Exception as error:
        return Outcome(seed, family_of(seed), "", "failed", reason=f"drawing it: {error!r}")
    return Outcome(seed, config.family, config.text, "failed", reason=reason)
