"""Measures run times of an artifact on a device, alone or side by side with ONNX Runtime."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeconv.artifact import Array, Artifact
from edgeconv.devices import Device, RunnerReport, Session, open_session
from edgeconv.devices.local import LocalDevice
from edgeconv.errors import ToolchainError, UsageError
from edgeconv.verify import exported_model

if TYPE_CHECKING:
    from onnx import ModelProto

EMULATED = "emulated, not a speed"
_ROUNDS = 5
_SPREAD = 1.5
"""A 90th percentile this many times the minimum says that something disturbed the runs."""


@dataclass(frozen=True)
class Times:
    """Times of single runs, in milliseconds."""

    median_ms: float
    p90_ms: float
    min_ms: float


@dataclass(frozen=True)
class Rival:
    """Another runtime on the same inputs, threads and machine.

    `speedup` is its median over ours: above 1, edgeconv is faster.
    """

    name: str
    version: str
    times: Times
    speedup: float


@dataclass(frozen=True)
class BenchReport:
    """Run times of an artifact on a device.

    Attributes:
        load_ms: from the program's start until the model can run.
        peak_rss_bytes: the runner's peak resident memory.
        notes: what the reader has to know: emulated, a busy machine, spread times.
    """

    model: str
    target: str
    device: str
    device_description: str
    emulated: bool
    threads: int
    warmup: int
    repeat: int
    times: Times
    load_ms: float
    peak_rss_bytes: int
    against: Rival | None = None
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain dicts and lists; the times stand at the top, as `median_ms` and so on."""
        data = asdict(self)
        data.update(data.pop("times"))
        if data["against"] is not None:
            data["against"].update(data["against"].pop("times"))
        data["notes"] = list(self.notes)
        return data


def bench(
    artifact: Artifact,
    *,
    device: str | Device | None = None,
    threads: int | None = None,
    warmup: int = 3,
    repeat: int = 20,
    against: str | None = None,
    model: ModelProto | None = None,
) -> BenchReport:
    """Time `repeat` runs on golden case 0, after `warmup` untimed ones.

    `threads` is the manifest's number where it is None. With `against="onnxruntime"`, short
    series of both alternate on this machine, with the same threads and inputs; ONNX Runtime runs
    `model`, by default the exported model that compiling left in the cache.

    Raises UsageError for senseless numbers, a comparison that is not on this machine itself or
    lacks the model, ToolchainError where ONNX Runtime is missing, DeviceError where the device
    fails.
    """
    session = open_session(artifact, device)
    if warmup < 0 or repeat < 1:
        raise UsageError(f"expected warmup >= 0 and repeat >= 1, found {warmup} and {repeat}.")
    threads = artifact.manifest.threads if threads is None else threads
    notes = device_notes(session.device, threads)
    if against is None:
        reports = [session.bench(threads, warmup, repeat)]
        rival = None
    else:
        _check_rival(against, session.device)
        reports, rival = _side_by_side(session, threads, warmup, repeat, model)
    times = summarise([ms for report in reports for ms in report.runs_ms])
    notes += _spread_note("the", times) if not session.device.emulated else []
    if rival is not None:
        notes += _spread_note("ONNX Runtime's", rival.times)
    return BenchReport(
        model=artifact.manifest.model.name,
        target=artifact.manifest.target.name,
        device=session.device.name,
        device_description=session.device.description,
        emulated=session.device.emulated,
        threads=threads,
        warmup=warmup,
        repeat=repeat,
        times=times,
        load_ms=float(np.median([report.load_ms for report in reports])),
        peak_rss_bytes=max(report.peak_rss_bytes for report in reports),
        against=rival,
        notes=tuple(notes),
    )


def _check_rival(against: str, device: Device) -> None:
    if against != "onnxruntime":
        raise UsageError(f"against {against!r}: expected onnxruntime.")
    if device.emulated:
        raise UsageError(
            f"{device.description}: times under an emulator are {EMULATED}, so there is nothing "
            "to compare. Bench on a board (`--device ssh://USER@HOST`), or compile for `host`."
        )
    if not isinstance(device, LocalDevice):
        raise UsageError(
            f"{device.name}: ONNX Runtime is timed on this machine only, and the artifact runs "
            "elsewhere. Install edgeconv on the board and bench there with `--device local`."
        )


def _side_by_side(
    session: Session, threads: int, warmup: int, repeat: int, model: ModelProto | None
) -> tuple[list[RunnerReport], Rival]:
    """Alternate short series, so that a disturbance of the machine meets both alike."""
    inputs = session.artifact.golden_cases()[0][0]
    runtime, version = _onnxruntime(session.artifact, threads, model)
    reports, theirs = [], []
    for count in _split(repeat):
        reports.append(session.bench(threads, warmup, count))
        theirs += _run_rival(runtime, inputs, warmup, count)
    ours = summarise([ms for report in reports for ms in report.runs_ms])
    times = summarise(theirs)
    return reports, Rival("onnxruntime", version, times, times.median_ms / ours.median_ms)


def _onnxruntime(artifact: Artifact, threads: int, model: ModelProto | None) -> tuple[Any, str]:
    try:
        import onnxruntime

        model = exported_model(artifact) if model is None else model
    except ImportError as error:
        raise ToolchainError(
            f"the comparison needs a package that is missing here ({error.name}): "
            "`pip install edgeconv[compiler]`."
        ) from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    runtime = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return runtime, onnxruntime.__version__


def _run_rival(runtime: Any, inputs: Mapping[str, Array], warmup: int, count: int) -> list[float]:
    # Bound once, as the runner's are, so that Python's handling of arrays is not timed.
    binding = runtime.io_binding()
    for name, array in inputs.items():
        binding.bind_cpu_input(name, array)
    for output in runtime.get_outputs():
        binding.bind_output(output.name)
    times = []
    for _ in range(warmup + count):
        start = perf_counter()
        runtime.run_with_iobinding(binding)
        times.append((perf_counter() - start) * 1e3)
    return times[warmup:]


def _split(repeat: int) -> list[int]:
    """Split runs into rounds of nearly equal length."""
    rounds = min(_ROUNDS, repeat)
    return [repeat // rounds + (i < repeat % rounds) for i in range(rounds)]


def summarise(runs_ms: Sequence[float]) -> Times:
    """Return the statistics of at least one run."""
    return Times(
        median_ms=float(np.median(runs_ms)),
        p90_ms=float(np.percentile(runs_ms, 90)),
        min_ms=float(np.min(runs_ms)),
    )


def device_notes(device: Device, threads: int) -> list[str]:
    """Return what a reader of times on this device has to know."""
    if device.emulated:
        return [EMULATED]
    if not isinstance(device, LocalDevice):
        return []
    load, cores = os.getloadavg()[0], len(os.sched_getaffinity(0))
    notes = []
    if load > cores / 2:
        notes.append(f"busy machine: load average {load:.1f} on {cores} cores before the start")
    if threads > cores:
        notes.append(f"{threads} threads share {cores} cores")
    return notes


def _spread_note(whose: str, times: Times) -> list[str]:
    if times.p90_ms <= _SPREAD * times.min_ms:
        return []
    ratio = times.p90_ms / times.min_ms
    return [f"{whose} times spread: the 90th percentile is {ratio:.1f} times the minimum"]
