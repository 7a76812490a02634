"""Targets: what a board's processor is, read from a TOML file and validated.

This module only needs the standard library, so that a board can read its own description.
"""

from __future__ import annotations

import platform
import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from edgeconv.errors import UsageError
from edgeconv.resources import resource_dir


@dataclass(frozen=True)
class Cpu:
    """The processor, as the schedules see it.

    Attributes:
        cores: number of cores that a run may use.
        frequency_mhz: highest clock; 0 where unknown.
        vector_bits: width of one SIMD register.
        vector_registers: number of architectural SIMD registers.
        fma_lanes_per_cycle: fp32 multiply-accumulates that one core finishes in a cycle.
        l1d_kib: first-level data cache of one core, KiB.
        l2_kib: second-level cache that one core can use, KiB.
        memory_mib: the board's memory, MiB; 0 where unknown.
    """

    cores: int
    frequency_mhz: int
    vector_bits: int
    vector_registers: int
    fma_lanes_per_cycle: int
    l1d_kib: int
    l2_kib: int
    memory_mib: int = 0


@dataclass(frozen=True)
class Llvm:
    """What TVM's LLVM back end needs: triple, CPU, feature flags, float ABI ("hard" on armv7)."""

    triple: str
    cpu: str
    features: tuple[str, ...] = ()
    float_abi: str = ""


@dataclass(frozen=True)
class Toolchain:
    """What `zig cc` needs: triples of the shared library and of the static runner, and the CPU."""

    shared: str
    static: str
    cpu: str


@dataclass(frozen=True)
class Emulator:
    """User-mode emulator of the target: program, CPU model."""

    program: str
    cpu: str


@dataclass(frozen=True)
class Target:
    """A validated target description.

    `native` is true where this machine runs the target's programs itself.
    """

    name: str
    description: str
    llvm: Llvm
    toolchain: Toolchain
    cpu: Cpu
    emulator: Emulator | None = None
    native: bool = field(default=False, compare=False)

    @property
    def lanes(self) -> int:
        """Float32 values in one SIMD register."""
        return self.cpu.vector_bits // 32
