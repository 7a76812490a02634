"""What ssh and adb share: a shell elsewhere; files are compared by hash before they are sent."""

from __future__ import annotations

import hashlib
import shlex
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path

from edgeconv.devices.base import RUN_TIMEOUT_S, Completed, Device
from edgeconv.errors import DeviceError

TRANSFER_TIMEOUT_S = 600.0


class RemoteDevice(Device):
    """A device whose files are not this machine's."""

    @abstractmethod
    def shell(self, script: str, timeout_s: float, data: bytes | None = None) -> Completed:
        """Run a script by the device's shell; raises DeviceError where it cannot be reached."""

    @abstractmethod
    def root(self) -> str:
        """Return the device's folder for edgeconv's files."""

    @abstractmethod
    def send(self, folder: Path, names: Sequence[str], remote: str) -> None:
        """Copy files of a local folder into an existing folder of the device."""

    def push(self, folder: Path) -> str:
        """Send what the device does not hold already."""
        remote = f"{self.root()}/{folder.name}"
        names = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
        listed = " ".join(map(shlex.quote, names))
        self.check(f"mkdir -p {shlex.quote(remote)}", "make a folder")
        there = self.shell(
            f"cd {shlex.quote(remote)} && sha256sum {listed} 2>/dev/null", TRANSFER_TIMEOUT_S
        )
        known = _parse_sums(there.stdout)
        missing = [name for name in names if known.get(name) != _sha256(folder / name)]
        if missing:
            self.send(folder, missing, remote)
        return remote

    def execute(self, argv: Sequence[str], timeout_s: float = RUN_TIMEOUT_S) -> Completed:
        """Run a program of the device, each argument quoted for its shell."""
        return self.shell(shlex.join(argv), timeout_s)

    def remove(self, remote: str) -> None:
        """Delete a folder below `root`."""
        self.check(f"rm -rf {shlex.quote(remote)}", "delete a folder")

    def check(self, script: str, what: str, data: bytes | None = None) -> bytes:
        """Run a script that has to succeed and return its output."""
        done = self.shell(script, TRANSFER_TIMEOUT_S, data)
        if done.code != 0:
            raise DeviceError(
                f"{self.name}: cannot {what}: `{script[:200]}` ended with {done.code}: "
                f"{done.message or 'no message'}. Is there space left, and may this user write?"
            )
        return done.stdout


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _parse_sums(text: bytes) -> dict[str, str]:
    """Return hash by name from `sha256sum`'s lines, "HASH  NAME"."""
    pairs = (line.split(maxsplit=1) for line in text.decode("utf-8", "replace").splitlines())
    return {pair[1].lstrip("*"): pair[0] for pair in pairs if len(pair) == 2}
