"""edgeconv itself: the artifact's own runner, as `edgeconv bench` times it."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.case import Array, Case
from benchmarks.peers.peer import Peer, Session

_WARMUP = 2


class Edgeconv(Peer):
    """Runs the artifact."""

    title = "edgeconv"

    def version(self) -> str:
        """Return the version of these sources."""
        return metadata.version("edgeconv")

    def convert(self, case: Case, folder: Path) -> None:
        """Keep what a device needs: the artifact without its golden arrays."""
        import zipfile

        with zipfile.ZipFile(case.artifact) as source:
            for name in source.namelist():
                if not name.startswith("golden/"):
                    source.extract(name, folder)

    def load(self, case: Case, folder: Path, threads: int) -> Session:
        """Open the artifact on this machine."""
        from edgeconv.artifact import Artifact
        from edgeconv.devices import open_session

        del folder  # the runner works in the user's cache, as for everyone
        return _Session(case, open_session(Artifact.load(case.artifact), "local"), threads)


class _Session(Session):
    """The runner is a program: each series of runs is one process, with runs of its own before."""

    def __init__(self, case: Case, session: Any, threads: int) -> None:
        self._case, self._session, self._threads = case, session, threads
        self._peak = 0

    def run(self) -> None:
        self.times_ms(1)

    def times_ms(self, count: int) -> list[float]:
        report = self._session.bench(self._threads, _WARMUP, count)
        self._peak = max(self._peak, report.peak_rss_bytes)
        return list(report.runs_ms)

    def outputs(self) -> list[Array]:
        inputs = dict(zip(self._case.inputs, self._case.golden()[0], strict=True))
        outputs = self._session.run(inputs, self._threads)
        return [outputs[name] for name in self._case.outputs]

    def peak_bytes(self) -> int:
        return self._peak
