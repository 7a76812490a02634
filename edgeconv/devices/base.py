"""The interface of a device: where files are put, where programs run."""

from __future__ import annotations

import subprocess
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeconv.artifact import Artifact
from edgeconv.errors import DeviceError

RUN_TIMEOUT_S = 1800.0
"""Seconds that one program may take on a device before it is given up."""


@dataclass(frozen=True)
class Completed:
    """How a program ended: exit code (negative or above 128: a signal) and what it wrote."""

    code: int
    stdout: bytes
    stderr: bytes

    @property
    def message(self) -> str:
        """The last lines of the error text, for a message."""
        lines = self.stderr.decode("utf-8", "replace").strip().splitlines()
        return "; ".join(line.strip() for line in lines[-5:])


class Device(ABC):
    """Something that runs an artifact's runner.

    Every method raises DeviceError, naming the device and what to do, where it cannot do its work.

    Attributes:
        name: as the user writes it, such as "local" or "ssh://pi@board".
        description: one line for reports.
        emulated: whether an emulator computes: right results, meaningless times.
    """

    name: str
    description: str
    emulated: bool = False

    def adapt(self, artifact: Artifact) -> Artifact:
        """Return what runs there in the place of an artifact: the artifact itself, or a twin."""
        return artifact

    @abstractmethod
    def push(self, folder: Path) -> str:
        """Put a folder's files on the device and return its path there.

        Files that are there already, by SHA-256, are not sent again.
        """

    @abstractmethod
    def execute(self, argv: Sequence[str], timeout_s: float = RUN_TIMEOUT_S) -> Completed:
        """Run a program of the device to its end."""

    @abstractmethod
    def pull(self, remote: str, names: Sequence[str], folder: Path) -> None:
        """Copy the named files of a pushed folder into a local folder."""

    @abstractmethod
    def remove(self, remote: str) -> None:
        """Delete what `push` put on the device for a folder that was only needed once."""


def call(
    argv: Sequence[str], *, name: str, timeout_s: float, advice: str, data: bytes | None = None
) -> Completed:
    """Run a program of this machine on behalf of the device `name`.

    `data` goes to its standard input. Raises DeviceError, with `advice`, where it cannot be
    started, and where it takes longer than `timeout_s`.
    """
    try:
        done = subprocess.run(
            argv,
            input=data,
            stdin=subprocess.DEVNULL if data is None else None,
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise DeviceError(
            f"{name}: `{argv[0]}` did not end in {timeout_s:g} seconds and was stopped. "
            "Is the device reachable and not busy? Fewer repeats take less time."
        ) from None
    except OSError as error:
        raise DeviceError(f"{name}: cannot start `{argv[0]}`: {error.strerror}. {advice}") from None
    return Completed(done.returncode, done.stdout, done.stderr)
