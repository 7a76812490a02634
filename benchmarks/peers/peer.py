"""What a runtime has to offer in order to be compared."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from time import perf_counter

from benchmarks.case import Array, Case


class Session(ABC):
    """A model, loaded for a number of threads, with its inputs bound."""

    @abstractmethod
    def run(self) -> None:
        """Infer once. Copies of inputs and outputs that the runtime can avoid are left out."""

    @abstractmethod
    def outputs(self) -> list[Array]:
        """Return the outputs, in order, of an inference on the golden inputs."""

    def times_ms(self, count: int) -> list[float]:
        """Infer `count` times and return each one's milliseconds."""
        times = []
        for _ in range(count):
            start = perf_counter()
            self.run()
            times.append((perf_counter() - start) * 1e3)
        return times

    def peak_bytes(self) -> int | None:
        """Return the peak of resident memory; None lets the process itself be measured."""
        return None


class Peer(ABC):
    """A runtime; it is imported within the methods only, which run in its own environment.

    Attributes:
        title: its name, for people.
        packages: what its environment holds, pinned; empty where edgeconv's own serves.
        bare_packages: packages that are installed without their dependencies.
    """

    title: str
    packages: tuple[str, ...] = ()
    bare_packages: tuple[str, ...] = ()

    @abstractmethod
    def version(self) -> str:
        """Return the installed version."""

    @abstractmethod
    def convert(self, case: Case, folder: Path) -> None:
        """Write the case's model, in the runtime's own form, into an empty folder.

        Whatever it raises is reported as the reason why the runtime cannot take the model.
        """

    @abstractmethod
    def load(self, case: Case, folder: Path, threads: int) -> Session:
        """Load what `convert` wrote; may raise as it does."""
