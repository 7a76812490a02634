"""A network's kernels, bytes and times: edgeconv's, and those of dlight's schedules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median
from time import perf_counter

import edgeconv
from benchmarks.case import build
from benchmarks.gpu.dlight import dlight_schedules
from benchmarks.gpu.traffic import by_tiles, moved, needed
from edgeconv.artifact import Artifact
from edgeconv.devices import open_session
from edgeconv.devices.session import Session
from edgeconv.errors import EdgeconvError

_ROUNDS = 5
# Where one run takes seconds, fewer turns do: no more begin after so many times the time asked for.
_PATIENCE = 5
# Beside a run as long as this, what the first one does once is little.
_NEEDS_NO_WARMING_S = 5


@dataclass(frozen=True)
class Measured:
    """One artifact on this machine's driver.

    Attributes:
        kernels: launches of a run, one a step.
        layouts: of them, those that only change a layout.
        moved, needed: bytes of the kernels' operands, and the least of those.
        tiles: bytes of `moved` that Winograd's transformed tiles and weights add.
        arena, bound: bytes of the intermediate tensors, and the least of those.
        error: largest error in parts of its tolerance.
        ms: median time of a run; 0 where it is wrong or fails.
        reason: why it fails.
    """

    kernels: int
    layouts: int
    moved: int
    needed: int
    tiles: int
    arena: int
    bound: int
    error: float = 0.0
    ms: float = 0.0
    reason: str = ""


def compare(
    source: str, target: str, seconds: float, *, winograd: bool
) -> tuple[Measured, Measured, str]:
    """Return edgeconv's, with or without Winograd's algorithm, dlight's, and the driver's name.

    They are timed in turns, five each, of about `seconds` together, fewer where a run takes much
    longer. What is wrong is not timed.
    """
    artifacts = [_compile(source, target, winograd=winograd)]
    with dlight_schedules():
        artifacts.append(_compile(source, target, winograd=False))
    sessions = [open_session(artifact, "opencl") for artifact in artifacts]
    found = [_checked(session) for session in sessions]
    right = [i for i, measured in enumerate(found) if not measured.reason]
    runs: dict[int, list[float]] = {i: [] for i in right}
    driver = ""
    latest = perf_counter() + _PATIENCE * seconds
    for turn in range(_ROUNDS):
        if turn and perf_counter() > latest:
            break
        for i in right:
            driver, times = _turn(sessions[i], seconds / _ROUNDS)
            runs[i] += times
    ours, theirs = (replace(m, ms=median(runs[i])) if i in runs else m for i, m in enumerate(found))
    return ours, theirs, driver


def _turn(session: Session, seconds: float) -> tuple[str, Sequence[float]]:
    """Return the driver's name and the times of the runs that fit, one at least."""
    first = session.bench(warmup=0, repeat=1)
    if first.runs_ms[0] > _NEEDS_NO_WARMING_S * 1e3:
        return first.device, first.runs_ms
    fitting = min(max(int(seconds * 1e3 / first.runs_ms[0]), 1), 200)
    return first.device, session.bench(warmup=1, repeat=fitting).runs_ms


def _checked(session: Session) -> Measured:
    """Return everything but the time."""
    plan = session.artifact.plan
    measured = Measured(
        kernels=len(plan.steps),
        layouts=sum(step.family == "layout" for step in plan.steps),
        moved=moved(plan),
        needed=needed(plan),
        tiles=by_tiles(plan),
        arena=plan.arena_bytes,
        bound=plan.arena_lower_bound,
    )
    try:
        test = session.self_test()
    except EdgeconvError as error:
        return replace(measured, reason=f"failed: {error}")
    outputs = [output for case in test.cases for output in case.outputs]
    largest = max(output.max_rel / output.tolerance for output in outputs)
    reason = "" if test.passed else f"wrong: {largest:.1f} times the tolerance"
    return replace(measured, error=largest, reason=reason)


def _compile(source: str, target: str, *, winograd: bool) -> Artifact:
    kind, name = source.split(":", 1)
    if kind == "zoo":
        return edgeconv.compile(source, target=target, winograd=winograd)
    from benchmarks.layers import LAYERS, example_inputs

    layer = next(layer for layer in LAYERS if layer.name == name)
    examples = example_inputs(layer.shapes)
    return edgeconv.compile(build(source), examples, target=target, winograd=winograd)
