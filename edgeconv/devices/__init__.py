"""Devices that run artifacts: this machine, an emulator, ssh, adb; one interface for all."""

from __future__ import annotations

from edgeconv.artifact import Artifact
from edgeconv.devices.adb import AdbDevice
from edgeconv.devices.base import Completed, Device
from edgeconv.devices.emulator import EmulatorDevice
from edgeconv.devices.local import LocalDevice
from edgeconv.devices.report import RunnerReport, SelfTest, StepTime
from edgeconv.devices.session import Session, check_inputs
from edgeconv.devices.ssh import SshDevice
from edgeconv.devices.twin import TwinDevice
from edgeconv.errors import UsageError
from edgeconv.target import Target

__all__ = [
    "Completed",
    "Device",
    "RunnerReport",
    "SelfTest",
    "Session",
    "StepTime",
    "check_inputs",
    "open_device",
    "open_session",
]


def open_device(spec: str | None, target: Target) -> Device:
    """Return the device of a specification; boards are not contacted yet.

    `spec` is "local", "emulator", "opencl", "ssh://[USER@]HOST[:PORT]", "adb" or "adb:SERIAL"; None
    is this machine where it runs the target's programs, else the target's emulator, which for a
    GPU is "opencl". Raises UsageError for anything else, DeviceError where the emulator or an
    OpenCL driver is not installed.
    """
    if spec is None:
        spec = "local" if target.native else "emulator" if target.gpu is None else "opencl"
    if spec == "local":
        return LocalDevice()
    if spec == "emulator":
        return EmulatorDevice(target)
    if spec == "opencl":
        return TwinDevice(target)
    if spec.startswith("ssh://"):
        return SshDevice(spec)
    if spec == "adb" or spec.startswith("adb:"):
        return AdbDevice(spec)
    raise UsageError(
        f"unknown device {spec!r}: expected local, emulator, opencl, ssh://USER@HOST, adb or "
        "adb:SERIAL."
    )


def open_session(artifact: Artifact, device: str | Device | None = None) -> Session:
    """Return a session of an artifact on a device, given as such or as `open_device` takes it."""
    if not isinstance(device, Device):
        device = open_device(device, artifact.manifest.target)
    return Session(artifact, device)
