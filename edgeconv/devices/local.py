"""This machine as a device."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path

from edgeconv.devices.base import RUN_TIMEOUT_S, Completed, Device, call


class LocalDevice(Device):
    """Runs programs here, in place: nothing is copied."""

    def __init__(self) -> None:
        """Make the device "local"."""
        self.name = "local"
        self.description = f"this machine ({platform.machine()})"

    def push(self, folder: Path) -> str:
        """Return the folder itself."""
        return str(folder.absolute())

    def execute(self, argv: Sequence[str], timeout_s: float = RUN_TIMEOUT_S) -> Completed:
        """Run a program of this machine."""
        advice = (
            f"The artifact may be for another processor than this {platform.machine()}: use "
            "`--device emulator` or a board's, or compile for `--target host`."
        )
        return call(argv, name=self.name, timeout_s=timeout_s, advice=advice)

    def pull(self, remote: str, names: Sequence[str], folder: Path) -> None:
        """Copy files, unless they are where they should be."""
        if Path(remote) != folder.absolute():
            for name in names:
                (folder / name).write_bytes((Path(remote) / name).read_bytes())

    def remove(self, remote: str) -> None:
        """Do nothing: the folder is the caller's."""
