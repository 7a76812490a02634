"""A GPU's stand-in on this machine: the same kernels by this machine's OpenCL driver."""

from __future__ import annotations

from edgeconv.artifact import Artifact
from edgeconv.devices.local import LocalDevice
from edgeconv.errors import DeviceError, UsageError
from edgeconv.opencl import ADVICE, opencl_devices, used_device
from edgeconv.target import Target


class TwinDevice(LocalDevice):
    """Runs an artifact's emulation twin; times are this machine's, not the target's.

    It counts as emulated where the processor does a GPU's work, as with PoCL.
    """

    def __init__(self, target: Target) -> None:
        """Take this machine's OpenCL device.

        Raises UsageError where the target has no GPU, DeviceError where this machine has no driver.
        """
        if target.gpu is None:
            raise UsageError(
                f"target {target.name!r} has no GPU, so that its artifacts hold no OpenCL kernels: "
                "compile for one that has (`edgeconv targets`)."
            )
        found = opencl_devices()
        device = used_device(found)
        if device is None:
            there = ", ".join(f"{one.index} {one.description}" for one in found)
            raise DeviceError(
                f"opencl: no device fits EDGECONV_OPENCL_DEVICE; there are: {there}."
                if there
                else f"opencl: this machine has no OpenCL device. {ADVICE}"
            )
        self.name = "opencl"
        self.emulated = not device.gpu
        self.description = f"{device.description}, by OpenCL on this machine"
        if self.emulated:
            self.description += " (emulated)"

    def adapt(self, artifact: Artifact) -> Artifact:
        """Return the artifact's twin."""
        from edgeconv.compiler.twin import twin

        return twin(artifact)
