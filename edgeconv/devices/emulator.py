"""The target's processor, emulated on this machine by qemu-user."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from edgeconv.devices.base import RUN_TIMEOUT_S, Completed, call
from edgeconv.devices.local import LocalDevice
from edgeconv.errors import DeviceError, UsageError
from edgeconv.target import Target


class EmulatorDevice(LocalDevice):
    """Runs the target's programs here, instruction by instruction; times mean nothing."""

    emulated = True

    def __init__(self, target: Target) -> None:
        """Take the emulator that the target names.

        Raises UsageError where it names none, DeviceError where it is not installed.
        """
        if target.emulator is None:
            raise UsageError(
                f"target {target.name!r} names no emulator: run on a device (`--device local`, "
                "ssh://USER@HOST or adb), or, if it has a GPU, `--device opencl`."
            )
        program, cpu = target.emulator.program, target.emulator.cpu
        self.name = "emulator"
        self.description = f"{program} -cpu {cpu} (emulated)"
        self._prefix = (program, "-cpu", cpu)
        if shutil.which(program) is None:
            raise DeviceError(f"emulator: `{program}` is not installed. {_ADVICE}")

    def execute(self, argv: Sequence[str], timeout_s: float = RUN_TIMEOUT_S) -> Completed:
        """Run a program of the target."""
        command = (*self._prefix, *argv)
        return call(command, name=self.name, timeout_s=timeout_s, advice=_ADVICE)


_ADVICE = "Install it: `apt-get install qemu-user`."
