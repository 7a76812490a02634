"""Batches of seeds on several processes; a batch that breaks is halved until one seed is left."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait

import torch

from fuzz.batch import Outcome, run_batch
from fuzz.config import RefusedError, draw_config

Batch = tuple[int, ...]
SECONDS_PER_SEED = 120


class Worker:
    """One process with its batch; a crash of what was compiled takes only the process."""

    def __init__(self, target: str, core: int) -> None:
        self.core = core
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, target, core), daemon=True)
        self.process.start()
        theirs.close()
        self.batch: Batch = ()

    def give(self, batch: Batch) -> None:
        self.batch = batch
        self.pipe.send(batch)

    def take(self) -> list[Outcome] | None:
        """Return the batch's outcomes; None where it broke."""
        try:
            outcomes: list[Outcome] | None = self.pipe.recv()
        except (EOFError, OSError):
            return None
        return outcomes

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


def run_batches(batches: Sequence[Batch], target: str, processes: int) -> Iterator[Outcome]:
    """Yield the outcome of every seed, in any order."""
    todo = deque(batches)
    cores = itertools.cycle(sorted(os.sched_getaffinity(0)))
    count = min(processes, len(todo))
    free = [Worker(target, core) for core in itertools.islice(cores, count)]
    busy: list[Worker] = []
    try:
        while todo or busy:
            while todo and free:
                worker = free.pop()
                worker.give(todo.popleft())
                busy.append(worker)
            patience = SECONDS_PER_SEED * max(len(worker.batch) for worker in busy)
            ready = wait([worker.pipe for worker in busy], patience)
            for worker in [w for w in busy if w.pipe in ready] if ready else list(busy):
                busy.remove(worker)
                outcomes = worker.take() if ready else None
                if (outcomes is None and not worker.process.is_alive()) or not ready:
                    worker.end()
                    free.append(Worker(target, worker.core))
                else:
                    free.append(worker)
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


def _serve(pipe: Connection, target: str, core: int) -> None:
    """Answer batches with outcomes, or None where a batch of several seeds broke."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 2)
    with contextlib.suppress(EOFError):
        while True:
            batch = pipe.recv()
            try:
                answer: list[Outcome] | None = run_batch(batch, target, core)
            except Exception:
                answer = None
            pipe.send(answer)


def _broken(seed: int) -> Outcome:
    """Say that a single configuration ended its process, or never ended."""
    reason = "the process died, or gave no answer in time"
    try:
        config = draw_config(seed)
    except RefusedError as error:
        return Outcome(seed, error.family, error.text, "failed", reason=reason)
    return Outcome(seed, config.family, config.text, "failed", reason=reason)
