"""What this machine's processor is, read from /proc and /sys; the `host` target."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Set
from pathlib import Path
from typing import Any

from edgeconv.errors import UsageError

# The x86-64 psABI's micro-architecture levels, by the names of /proc/cpuinfo.
_X86_LEVELS: tuple[tuple[int, frozenset[str]], ...] = (
    (2, frozenset(["cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3"])),
    (3, frozenset(["avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"])),
    (4, frozenset(["avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"])),
)
# Vector bits, registers and fp32 multiply-accumulates per cycle of each level; level 4 counts
# two 512-bit units, as most servers have.
_X86_VECTORS = {1: (128, 16, 4), 2: (128, 16, 4), 3: (256, 16, 16), 4: (512, 32, 32)}
# LLVM's names of ARM features, and /proc/cpuinfo's.
_ARM_FLAGS = {
    "+neon": "asimd",
    "+lse": "atomics",
    "+rdm": "asimdrdm",
    "+fullfp16": "asimdhp",
    "+dotprod": "asimddp",
}


def cpu_info() -> dict[str, str]:
    """Return the first processor's fields of /proc/cpuinfo; empty where there is none."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return {}
    lines = (line.split(":", 1) for line in text.split("\n\n")[0].splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in lines}


def cpu_flags() -> frozenset[str]:
    """Return the processor's feature names as /proc/cpuinfo spells them."""
    info = cpu_info()
    return frozenset((info.get("flags") or info.get("Features") or "").split())


def x86_level(flags: Set[str]) -> int:
    """Return the x86-64 level (1 to 4) that a processor with these flags reaches."""
    level = 1
    for number, needed in _X86_LEVELS:
        if not needed <= flags:
            break
        level = number
    return level


def runs(triple: str, cpu: str, features: tuple[str, ...]) -> bool:
    """Tell whether this machine itself runs programs of an LLVM triple, CPU and features."""
    machine, arch = platform.machine(), triple.split("-", maxsplit=1)[0]
    if not sys.platform.startswith("linux"):
        return False
    if arch == "x86_64" and machine == "x86_64":
        level = cpu.removeprefix("x86-64-v") if cpu != "x86-64" else "1"
        return level.isdigit() and int(level) <= x86_level(cpu_flags())
    if arch == "aarch64" and machine == "aarch64":
        flags = cpu_flags()
        return all(_ARM_FLAGS.get(name) in flags for name in features if name.startswith("+"))
    return arch.startswith("arm") and machine in ("armv7l", "armv8l")


def describe_host() -> dict[str, Any]:
    """Return the `llvm`, `toolchain` and `cpu` tables of this machine, as a TOML file has them.

    Raises UsageError where the machine is no x86-64 or aarch64 Linux.
    """
    machine = platform.machine()
    if not sys.platform.startswith("linux") or machine not in ("x86_64", "aarch64"):
        raise UsageError(
            f"target 'host': this machine is {sys.platform} on {machine}; edgeconv describes "
            "x86-64 and aarch64 Linux only. Give a target file instead (see `edgeconv targets`)."
        )
    flags = cpu_flags()
    features: list[str] = []
    if machine == "x86_64":
        level = x86_level(flags)
        suffix = "" if level == 1 else f"-v{level}"
        cpu, zig_cpu = f"x86-64{suffix}", f"x86_64{suffix.replace('-', '_')}"
        bits, registers, macs = _X86_VECTORS[level]
        if bits == 512 and _halves_512():
            macs //= 2
    else:
        cpu = zig_cpu = "generic"
        features = ["+neon"]
        bits, registers, macs = 128, 32, 8
    return {
        "llvm": {"triple": f"{machine}-linux-gnu", "cpu": cpu, "features": features},
        "toolchain": {
            "shared": f"{machine}-linux-gnu.2.28",
            "cpu": zig_cpu,
        },
        "cpu": {
            "cores": len(os.sched_getaffinity(0)),
            "frequency_mhz": _frequency_mhz(),
            "vector_bits": bits,
            "vector_registers": registers,
            "fma_lanes_per_cycle": macs,
            "l1d_kib": _cache_kib(1, "Data") or 32,
            "l2_kib": _cache_kib(2, "Unified") or 256,
            "l3_kib": _cache_kib(3, "Unified"),
            "memory_mib": _memory_mib(),
        },
    }


def _halves_512() -> bool:
    """Tell whether 512-bit operations take two passes (AMD family 25, Zen 4)."""
    info = cpu_info()
    return info.get("vendor_id") == "AuthenticAMD" and info.get("cpu family") == "25"


def _frequency_mhz() -> int:
    # The "cpu MHz" of /proc/cpuinfo changes from moment to moment: it would change artifacts.
    text = _read("/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq")
    return int(text) // 1000 if text.isdigit() else 0


def _cache_kib(level: int, kind: str) -> int:
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        if _read(folder / "level") == str(level) and _read(folder / "type") == kind:
            size = _read(folder / "size")
            if size.endswith("K") and size[:-1].isdigit():
                return int(size[:-1])
            if size.endswith("M") and size[:-1].isdigit():
                return int(size[:-1]) * 1024
    return 0


def _memory_mib() -> int:
    for line in _read("/proc/meminfo").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) // 1024
    return 0


def _read(path: str | Path) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
