"""The machine that measures: its multiply-accumulate peak, and what else runs on it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from edgeconv.compiler.link.toolchain import zig
from edgeconv.host import cpu_info
from edgeconv.target import load_target

_SOURCE = Path(__file__).with_name("peak.c")
_BUSY_CORES = 0.1
_BUSY_STEAL = 0.02


def description() -> dict[str, object]:
    """Return the processor's name, and what this process may use of it."""
    info = cpu_info()
    return {
        "processor": info.get("model name", info.get("CPU part", "unknown")),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": os.uname().release,
    }


def peak_gflops(folder: Path, threads: int) -> float:
    """Return the fp32 multiply-accumulate peak of that many threads, measured.

    `folder` takes the program. Raises ToolchainError where it cannot be compiled.
    """
    target = load_target("host")
    program = folder / "peak"
    folder.mkdir(parents=True, exist_ok=True)
    flags = [f"-mcpu={target.toolchain.cpu}", f"-DVECTOR_BYTES={target.cpu.vector_bits // 8}"]
    flags += ["-std=gnu11", "-O2", "-ffp-contract=fast", "-pthread"]
    zig(target.toolchain.runner, target.toolchain.cpu).compile(
        [*flags, str(_SOURCE), "-o", str(program.absolute())], folder
    )
    done = subprocess.run([program, str(threads)], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[0])


@dataclass(frozen=True)
class Disturbance:
    """What others took of the machine while something was measured.

    Attributes:
        load_average: over the minute before the end, the measured processes included.
        other_cores: cores that other processes kept busy, on average.
        steal: part of the cores' time that the hypervisor gave to other machines.
    """

    load_average: float
    other_cores: float
    steal: float

    @property
    def busy(self) -> bool:
        """Whether the times may have suffered."""
        return self.other_cores > _BUSY_CORES or self.steal > _BUSY_STEAL


class Watch:
    """Watches the machine from its making on; `own` are the measured processes."""

    def __init__(self, own: Iterable[int]) -> None:
        """Start."""
        self._own = (*own, os.getpid())
        self._start = self._read()

    def disturbance(self) -> Disturbance:
        """Return what happened since the start."""
        now = self._read()
        elapsed, busy, steal, own = (b - a for a, b in zip(self._start, now, strict=True))
        cores = os.cpu_count() or 1
        return Disturbance(
            load_average=os.getloadavg()[0],
            other_cores=max(0.0, busy - own) / max(elapsed, 1) * cores,
            steal=steal / max(elapsed, 1),
        )

    def _read(self) -> tuple[int, int, int, int]:
        """Return the ticks of all cores so far: in all, busy, stolen, of the measured processes."""
        fields = [int(word) for word in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
        idle, steal = fields[3] + fields[4], fields[7]
        own = sum(_process_ticks(pid) for pid in self._own)
        return sum(fields), sum(fields) - idle - steal, steal, own


def _process_ticks(pid: int) -> int:
    """Return the processor time of a process and of its children that have ended, in ticks."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0  # it has ended
    return sum(int(word) for word in text.rsplit(")", 1)[1].split()[11:15])
