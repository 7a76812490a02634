"""The other end of `benchmarks.worker`: starts a runtime's process and asks it."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any, Self

from benchmarks import peers

ROOT = Path(__file__).parents[1]
ENVIRONMENTS = ROOT / "build" / "peers"
_MESSAGE_CHARS = 4000
_FROM_OUTSIDE = (signal.SIGINT, signal.SIGKILL, signal.SIGTERM)


class PeerError(Exception):
    """The runtime's reason for not doing what it was asked, or how its process ended."""


class KilledError(PeerError):
    """Somebody else ended the runtime's process: a person, or the system for want of memory."""


def interpreter(peer: str) -> Path:
    """Return the Python that runs a peer: of its own environment where it has one."""
    if not peers.load(peer).packages:
        return Path(sys.executable)
    return ENVIRONMENTS / peer / "bin" / "python"


class Process:
    """A peer's process with one case; a context that ends it.

    It is stopped (SIGSTOP) but while it answers, so that threads which wait actively for the next
    run do not take the processor from the others.
    """

    def __init__(self, peer: str, case: Path, folder: Path) -> None:
        """Start it."""
        self._messages = tempfile.TemporaryFile()  # noqa: SIM115 (closed in __exit__)
        python = interpreter(peer)
        self._process = subprocess.Popen(
            [python, "-m", "benchmarks.worker", peer, case, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._messages,
            cwd=ROOT,
        )
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        """Return the process itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()
        self._messages.close()

    def ask(self, timeout_s: float, **command: Any) -> dict[str, Any]:
        """Return the answer to a command; raises PeerError with the reason where it fails."""
        self.send(**command)
        return self.receive(timeout_s)

    def send(self, **command: Any) -> None:
        """Let the process work on a command."""
        assert self._process.stdin is not None
        self._signal(signal.SIGCONT)
        with suppress(BrokenPipeError):  # it has ended; `receive` says how
            self._process.stdin.write(json.dumps(command).encode() + b"\n")
            self._process.stdin.flush()

    def receive(self, timeout_s: float) -> dict[str, Any]:
        """Return the answer to the command that was sent; raises PeerError as `ask`."""
        answer: dict[str, Any] = json.loads(self._line(timeout_s))
        self._signal(signal.SIGSTOP)
        if "error" in answer:
            raise PeerError(answer["error"])
        return answer

    def _line(self, timeout_s: float) -> bytes:
        assert self._process.stdout is not None
        pipe = self._process.stdout.fileno()
        text, end = b"", monotonic() + timeout_s
        while not text.endswith(b"\n"):
            if not select.select([pipe], [], [], max(0.0, end - monotonic()))[0]:
                self._process.kill()
                raise PeerError(f"it did not answer within {timeout_s:.0f} s")
            part = os.read(pipe, 1 << 16)
            if not part:
                raise self._end()
            text += part
        return text

    def _signal(self, number: signal.Signals) -> None:
        if self._process.poll() is None:
            self._process.send_signal(number)

    def _end(self) -> PeerError:
        """Return how the process ended, with what it wrote last."""
        code = self._process.wait()
        kind = KilledError if -code in _FROM_OUTSIDE else PeerError
        how = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
        self._messages.seek(0)
        text = self._messages.read().decode("utf-8", "replace").strip()
        return kind(f"its process ended with {how}: {text[-_MESSAGE_CHARS:]}")
