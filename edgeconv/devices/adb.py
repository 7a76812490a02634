"""An Android device reached by `adb`; programs run in its shell, from /data/local/tmp."""

from __future__ import annotations

import shlex
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from edgeconv.devices.base import Completed, call
from edgeconv.devices.remote import TRANSFER_TIMEOUT_S, RemoteDevice
from edgeconv.errors import DeviceError, UsageError

_ADVICE = "Install it: `apt-get install adb`."
# What adb itself says, beside a program's exit code, when there is no device to talk to.
_UNREACHABLE = ("error: ", "adb: error:", "adb: no devices", "adb: device ", "adb: more than one")


class AdbDevice(RemoteDevice):
    """An Android device with USB debugging on: "adb" for the only one, or "adb:SERIAL"."""

    def __init__(self, spec: str) -> None:
        """Take the serial number; nothing is connected yet. Raises UsageError if it is empty."""
        serial = spec.removeprefix("adb").removeprefix(":")
        if spec.endswith(":") or serial.startswith("-"):
            raise UsageError(f"device {spec!r}: expected adb or adb:SERIAL (see `adb devices`).")
        self.name = spec
        self.description = f"Android device {serial}".strip() + " over adb"
        self._adb = ("adb", "-s", serial) if serial else ("adb",)

    def shell(self, script: str, timeout_s: float, data: bytes | None = None) -> Completed:
        """Run a script by the device's shell."""
        command = (*self._adb, "shell", script)
        done = call(command, name=self.name, timeout_s=timeout_s, advice=_ADVICE, data=data)
        if done.code != 0 and done.message.startswith(_UNREACHABLE):
            raise DeviceError(self._no_connection(done))
        return done

    def root(self) -> str:
        """Return the one folder where a shell may run programs."""
        return "/data/local/tmp/edgeconv"

    def send(self, folder: Path, names: Sequence[str], remote: str) -> None:
        """Send the files through one `adb push` of a folder that holds just them."""
        with tempfile.TemporaryDirectory() as stage:
            for name in names:
                (Path(stage) / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(folder / name, Path(stage) / name)
            self._transfer("push", f"{stage}/.", remote)
        if "runner" in names:
            self.check(f"chmod 755 {shlex.quote(remote)}/runner", "make the runner executable")

    def pull(self, remote: str, names: Sequence[str], folder: Path) -> None:
        """Fetch the files through one `adb pull`."""
        self._transfer("pull", *(f"{remote}/{name}" for name in names), str(folder))

    def _transfer(self, *command: str) -> None:
        done = call(
            (*self._adb, *command), name=self.name, timeout_s=TRANSFER_TIMEOUT_S, advice=_ADVICE
        )
        if done.code != 0:
            raise DeviceError(self._no_connection(done))

    def _no_connection(self, done: Completed) -> str:
        return (
            f"{self.name}: adb failed: {done.message or 'no message'}. Is the device listed by "
            "`adb devices` as `device`, USB debugging on and this computer allowed?"
        )
