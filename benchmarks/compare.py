"""Times the runtimes in turns, case by case."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import peers
from benchmarks.case import Case
from benchmarks.machine import Disturbance, Watch
from benchmarks.prepare import BUILD
from benchmarks.process import KilledError, PeerError, Process
from edgeconv.bench import Times, summarise

OURS = "edgeconv"
ROUNDS = 5
_MIN_ROUNDS = 2
_VERY_SLOW = 3.0  # times of the time for a peer
_MAX_RUNS = 300  # in one turn
_WRONG = 1e-3
"""A larger error, relative to the largest output, is wrong in fp32 with any fast algorithm."""
_CONVERT_S = 900.0
_LOAD_S = 300.0
_RUN_S = 120.0


@dataclass
class Measured:
    """One runtime on one case with one number of threads.

    Attributes:
        status: "ok"; "wrong" where the outputs are; "refused" where the model cannot be converted;
            "failed" where it cannot be loaded or run.
        version: of the runtime.
        reason: what the runtime said, where it is neither ok nor wrong.
        times: of single runs; None unless it ran.
        runs: how many were timed.
        error: largest max |got - want| / max |want| of the outputs, against PyTorch.
        peak_bytes: resident memory at most, beyond that of a bare interpreter for those in Python.
        model_bytes: size of the converted model.
        convert_s: duration of the conversion.
    """

    status: str = "ok"
    version: str = ""
    reason: str = ""
    times: Times | None = None
    runs: int = 0
    error: float = math.nan
    peak_bytes: int = 0
    model_bytes: int = 0
    convert_s: float = math.nan


@dataclass
class Comparison:
    """All runtimes on one case with one number of threads."""

    case: Case
    threads: int
    disturbance: Disturbance
    peers: dict[str, Measured] = field(default_factory=dict)

    def ratios(self) -> dict[str, float]:
        """Return by peer its median over ours; above 1, edgeconv is faster."""
        ours = self.peers[OURS]
        if ours.status != "ok" or ours.times is None:
            return {}
        return {
            name: measured.times.median_ms / ours.times.median_ms
            for name, measured in self.peers.items()
            if name != OURS and measured.status == "ok" and measured.times is not None
        }

    def fastest(self) -> tuple[str, float] | None:
        """Return the fastest peer and its ratio; None where none runs the case, or we do not."""
        return min(self.ratios().items(), key=lambda item: item[1], default=None)


def converted(case: Case, name: str) -> tuple[Path, Measured]:
    """Return the folder of a peer's own form of a case, and what converting gave.

    Both are kept for as long as the model, the peer's file and its packages stay the same.
    """
    folder = BUILD / "converted" / name / case.name
    outcome = folder / "outcome.json"
    key = _conversion_key(case, name)
    if outcome.is_file():
        kept = json.loads(outcome.read_text())
        if kept.pop("key") == key:
            return folder / "model", Measured(**kept)
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "model").mkdir(parents=True)
    found: dict[str, Any] = {}
    try:
        with Process(name, case.folder, folder / "model") as process:
            answer = process.ask(_CONVERT_S, do="convert")
            found = {"convert_s": answer["seconds"], "version": answer["version"]}
            files = [path for path in (folder / "model").rglob("*") if path.is_file()]
            found["model_bytes"] = sum(path.stat().st_size for path in files)
    except KilledError as error:  # it says nothing about the model: tried again the next time
        return folder / "model", Measured(status="failed", reason=str(error))
    except PeerError as error:
        found = {"status": "refused", "reason": str(error)}
    outcome.write_text(json.dumps({"key": key, **found}))
    return folder / "model", Measured(**found)


def _conversion_key(case: Case, name: str) -> str:
    digest = hashlib.sha256()
    module = peers.load(name)
    for path in (
        case.artifact if name == OURS else case.onnx,
        Path(peers.__path__[0]) / f"{name}.py",
    ):
        digest.update(path.read_bytes())
    digest.update(repr((module.packages, module.bare_packages, case.source)).encode())
    return digest.hexdigest()


def compare(case: Case, names: Sequence[str], threads: int, seconds: float) -> Comparison:
    """Time the peers on a case, about `seconds` each, in rounds of short turns."""
    found: dict[str, Measured] = {}
    with ExitStack() as stack:
        started: dict[str, Process] = {}
        for name in names:
            folder, found[name] = converted(case, name)
            if found[name].status == "ok":
                started[name] = stack.enter_context(Process(name, case.folder, folder))
        # At the same time: importing the runtimes takes longer than timing them.
        for process in started.values():
            process.send(do="load", threads=threads)
        running = {
            name: process
            for name, process in started.items()
            if is_loaded(process, case, name, found[name])
        }
        watch = Watch([process.pid for process in running.values()])
        take_turns(running, found, seconds)
        disturbance = watch.disturbance()
    return Comparison(case, threads, disturbance, found)


def is_loaded(process: Process, case: Case, name: str, measured: Measured) -> bool:
    """Wait for the model to be loaded, check its outputs; tell whether it can be timed."""
    try:
        answer = process.receive(_LOAD_S)
    except PeerError as error:
        measured.status, measured.reason = "failed", str(error)
        return False
    measured.error = max(answer["errors"])
    limits = case.tolerances if name == OURS else [max(_WRONG, t) for t in case.tolerances]
    if not all(error <= limit for error, limit in zip(answer["errors"], limits, strict=True)):
        measured.status = "wrong"
        measured.reason = f"largest relative error {measured.error:.2g}"
    return True


def take_turns(
    running: dict[str, Process],
    found: dict[str, Measured],
    seconds: float,
    rounds: int = ROUNDS,
) -> None:
    """Time each process for a while, in so many rounds, and fill in what was found."""
    times: dict[str, list[float]] = {name: [] for name in running}
    plans: dict[str, tuple[int, int]] = {}
    for round_ in range(-1, rounds):
        for name, process in running.items():
            if found[name].status == "failed" or (round_ >= 0 and round_ >= plans[name][0]):
                continue
            try:
                if round_ < 0:  # warm-up, and a first idea of the duration
                    runs = process.ask(_RUN_S, do="run", count=1)["ms"]
                    plans[name] = plan(runs[0] / 1e3, seconds, rounds)
                    times[name] += runs if plans[name][0] == 0 else []
                else:
                    times[name] += _turn(process, plans[name][1])
            except PeerError as error:
                found[name].status, found[name].reason = "failed", str(error)
    for name, process in running.items():
        if found[name].status != "failed":
            found[name].peak_bytes = process.ask(_RUN_S, do="memory")["peak_bytes"]
            found[name].times = summarise(times[name])
            found[name].runs = len(times[name])


def _turn(process: Process, count: int) -> list[float]:
    """Return the times of one turn's runs."""
    # The first of short runs finds the caches filled with others' data; in long ones it is little.
    extra = 1 if count > 1 else 0
    times: list[float] = process.ask(_RUN_S, do="run", count=count + extra)["ms"]
    return times[extra:]


def plan(run_s: float, seconds: float, rounds: int = ROUNDS) -> tuple[int, int]:
    """Return rounds and runs in each, so that a peer takes about `seconds`; slow ones take longer.

    No rounds: a single run takes so long that the first one, after the one whose outputs were
    compared, has to do.

    >>> plan(0.01, 1.0)
    (5, 20)
    >>> plan(2.0, 1.0)
    (2, 1)
    >>> plan(9.0, 1.0)
    (0, 1)
    """
    if run_s > _VERY_SLOW * seconds:
        return 0, 1
    runs = int(seconds / rounds / run_s)
    if runs >= 1:
        return rounds, min(runs, _MAX_RUNS)
    return max(_MIN_ROUNDS, min(rounds, int(seconds / run_s))), 1
