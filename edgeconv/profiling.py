"""Measures the steps of an artifact on a device, one by one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgeconv.artifact import Artifact
from edgeconv.bench import device_notes
from edgeconv.devices import Device, open_session
from edgeconv.errors import DeviceError


@dataclass(frozen=True)
class StepProfile:
    """One step's time.

    Attributes:
        name: as in the plan.
        family: kernel family.
        backend: "cpu" or "opencl".
        reason: why the CPU computes a step of a GPU's network; empty elsewhere.
        macs: multiply-accumulates of one run.
        median_ms: of all runs; of an OpenCL step, from the kernel's start to its end on the device.
    """

    name: str
    family: str
    backend: str
    reason: str
    macs: int
    median_ms: float


@dataclass(frozen=True)
class ProfileReport:
    """Times of all steps in the plan's order, and the median of whole runs."""

    model: str
    target: str
    device: str
    device_description: str
    emulated: bool
    threads: int
    repeat: int
    median_ms: float
    steps: tuple[StepProfile, ...]
    notes: tuple[str, ...] = ()


def profile(
    artifact: Artifact,
    *,
    device: str | Device | None = None,
    threads: int | None = None,
    warmup: int = 3,
    repeat: int = 20,
) -> ProfileReport:
    """Time the steps of `repeat` runs on golden case 0, after `warmup` untimed ones.

    `threads` is the manifest's number where it is None. Raises UsageError for senseless numbers,
    DeviceError where the device fails or reports other steps than the plan's.
    """
    session = open_session(artifact, device)
    threads = artifact.manifest.threads if threads is None else threads
    report = session.profile(threads, warmup, repeat)
    steps = artifact.plan.steps
    if [time.name for time in report.steps] != [step.name for step in steps]:
        raise DeviceError(
            f"{session.device.name}: the runner reported other steps than the plan's: "
            "compile the model again with this edgeconv."
        )
    return ProfileReport(
        model=artifact.manifest.model.name,
        target=artifact.manifest.target.name,
        device=session.device.name,
        device_description=session.device.description,
        emulated=session.device.emulated,
        threads=threads,
        repeat=repeat,
        median_ms=float(np.median(report.runs_ms)),
        steps=tuple(
            StepProfile(
                name=step.name,
                family=step.family,
                backend=step.backend.value,
                reason=step.reason,
                macs=step.macs,
                median_ms=float(np.median(time.ms)),
            )
            for step, time in zip(steps, report.steps, strict=True)
        ),
        notes=tuple(device_notes(session.device, threads)),
    )
