"""Runs programs under qemu with the counting plugin."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.arm.boards import BOARDS, BUILD, ROOT, Board, prefix
from benchmarks.case import Case
from edgeconv.artifact import Artifact

_GUEST_RUNS = 2
_LINE_BYTES = 64


class EmulationError(Exception):
    """A program failed under the emulator."""


@dataclass(frozen=True)
class Counts:
    """What one inference executes, counted.

    Attributes:
        insns: instructions.
        fma_insns: of them, fused multiply-adds of vectors.
        macs: multiply-accumulates, padded lanes included.
        load_bytes, store_bytes: moved between registers and memory.
        l1d_misses, l2_misses: lines, in the model of the board's caches.
        memory_bytes: moved between the last cache and memory.
    """

    insns: float
    fma_insns: float
    macs: float
    load_bytes: float
    store_bytes: float
    l1d_misses: float
    l2_misses: float
    memory_bytes: float

    def fitted_ms(self, board: Board) -> float:
        """Return an estimate of the time on the board, one thread; `board.fit` has its errors."""
        fit = board.fit
        cycles = fit.per_insn * self.insns + fit.per_l1d_miss * self.l1d_misses
        return (cycles + fit.per_memory_byte * self.memory_bytes) / board.frequency_hz * 1e3


def artifact_counts(case: Case, board: str, limit_s: float) -> Counts:
    """Count one inference of an artifact, in its own runner: what a second run adds.

    Raises EmulationError where it fails, or one of two programs takes longer than `limit_s`.
    """
    folder = Artifact.load(case.artifact).unpack()

    def total(runs: int) -> Counts:
        command = [str(folder / "runner"), str(folder), "--threads", "1", "--warmup", "0"]
        lines, _ = emulate([*command, "--repeat", str(runs)], board, "all", limit_s=limit_s)
        return counts_of(lines[-1])

    once, twice = total(1), total(2)
    return _combine([twice, once], lambda values: values[0] - values[1])


def guest_counts(
    case: Case, converted: Path, peer: str, board: str, limit_s: float
) -> tuple[Counts, float]:
    """Count one inference of a peer's arm64 package; return the largest relative error too.

    The first marked inference warms caches up and is left out; of the others, it is the mean.
    Raises EmulationError where it fails, or takes longer than `limit_s`.
    """
    site = BUILD / "site-packages" / peer
    environment = {"PYTHONPATH": f"{site}:{ROOT}", "MARKS": str(BUILD / "libmarks.so")}
    folder = prefix(board)
    command = [str(folder / "usr" / "bin" / "python3.11"), "-m", "benchmarks.arm.guest", peer]
    command += [str(case.folder), str(converted), str(_GUEST_RUNS)]
    lines, output = emulate(command, board, "regions", environment, folder, limit_s=limit_s)
    regions = [counts_of(line) for line in lines if line["what"] == "region"][1:]
    if not regions:
        raise EmulationError(f"{peer}: no marked region was counted")
    mean = _combine(regions, lambda values: sum(values) / len(values))
    return mean, float(output.split()[-1])


def emulate(
    command: Sequence[str],
    board: str,
    cache: str,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    *,
    limit_s: float,
) -> tuple[list[dict[str, Any]], str]:
    """Return the plugin's lines, the whole run's last, and what the program printed.

    `cache` is "all" or "regions": which accesses the model of the caches sees. Raises
    EmulationError, after `limit_s` at the latest.
    """
    about = BOARDS[board]
    # The same numbers each time: fixed addresses and hashes, and no helper threads.
    fixed = {"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1", "LD_BIND_NOW": "1"}
    fixed |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as name:
        out = Path(name) / "counts"
        plugin = f"{BUILD / 'count.so'},out={out},cache={cache},{about.caches}"
        emulator = ["setarch", "-R", "qemu-aarch64", "-cpu", about.cpu, "-plugin", plugin]
        emulator += [] if folder is None else ["-L", str(folder)]
        for key, value in {**fixed, **(environment or {})}.items():
            emulator += ["-E", f"{key}={value}"]
        try:
            done = subprocess.run(
                [*emulator, *command],
                capture_output=True,
                text=True,
                errors="replace",
                cwd=ROOT,
                env={**os.environ, **fixed},
                timeout=limit_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise EmulationError(f"it took longer than {limit_s:.0f} s") from None
        if done.returncode != 0:
            raise EmulationError(f"exit code {done.returncode}: {done.stderr.strip()[-2000:]}")
        return [json.loads(line) for line in out.read_text().splitlines()], done.stdout


def counts_of(line: Mapping[str, Any]) -> Counts:
    """Return what a line of the plugin says."""
    memory = line["memory"]
    last = "l3" if memory["l3_miss"] else "l2"
    return Counts(
        insns=line["insns"],
        fma_insns=line["classes"]["fma_vector"],
        macs=line["macs"],
        load_bytes=line["load_bytes"],
        store_bytes=line["store_bytes"],
        l1d_misses=memory["l1d_miss"],
        l2_misses=memory["l2_miss"],
        memory_bytes=_LINE_BYTES * (memory[f"{last}_miss"] + memory[f"{last}_writeback"]),
    )


def _combine(counts: Sequence[Counts], how: Callable[[list[float]], float]) -> Counts:
    fields = Counts.__dataclass_fields__
    return Counts(**{name: how([getattr(c, name) for c in counts]) for name in fields})
