"""The boards whose processors are emulated, and the runtimes' packages for them."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "arm"

# Wheels of the runtimes, with what they import; NumPy comes along.
PACKAGES = {
    "onnxruntime": (
        "onnxruntime==1.32.0",
        "flatbuffers==25.12.19",
        "protobuf==7.36.2",
        "packaging==26.3",
    ),
    "ncnn": ("ncnn==1.0.20261020",),
    "mnn": ("MNN==3.6.1",),
    "litert": ("ai-edge-litert==2.3.0", "backports.strenum==1.2.8", "typing_extensions==4.16.0"),
    "openvino": ("openvino==2026.4.1",),
}


@dataclass(frozen=True)
class Cache:
    """A data cache: bytes, and ways of associativity."""

    bytes: int
    ways: int

    def __str__(self) -> str:
        """Return it as the plugin takes it."""
        return f"{self.bytes}:{self.ways}"


@dataclass(frozen=True)
class Fit:
    """Cycles as a weighted sum of counts, fitted to published times of the board.

    The times are ncnn's own, one thread, of its benchmark networks, which were counted here with
    the same model files. The errors are relative, of the fit over these networks.
    """

    per_insn: float
    per_l1d_miss: float
    per_memory_byte: float
    networks: int
    mean_error: float
    worst_error: float


@dataclass(frozen=True)
class Board:
    """A board's processor.

    Attributes:
        target: edgeconv's target.
        cpu: QEMU's name of the core.
        part, variant, revision: as /proc/cpuinfo has them.
        features: likewise.
        l1d, l2, l3: data caches as one core sees them; no l3 is None.
        frequency_hz: highest clock.
        fit: from counts to cycles.
    """

    target: str
    cpu: str
    part: str
    variant: str
    revision: int
    features: str
    l1d: Cache
    l2: Cache
    l3: Cache | None
    frequency_hz: float
    fit: Fit

    @property
    def caches(self) -> str:
        """The caches as the plugin takes them."""
        text = f"l1={self.l1d},l2={self.l2}"
        return text if self.l3 is None else f"{text},l3={self.l3}"


BOARDS = {
    "pi4": Board(
        target="rasp4",
        cpu="cortex-a72",
        part="0xd08",
        variant="0x0",
        revision=3,
        features="fp asimd evtstrm crc32 cpuid",
        l1d=Cache(32 << 10, 2),
        l2=Cache(1 << 20, 16),
        l3=None,
        frequency_hz=1.8e9,
        fit=Fit(0.801, 15.11, 0.0, networks=17, mean_error=0.050, worst_error=0.155),
    ),
    "pi5": Board(
        target="rasp5",
        cpu="cortex-a76",
        part="0xd0b",
        variant="0x4",
        revision=1,
        features="fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm "
        "lrcpc dcpop asimddp",
        l1d=Cache(64 << 10, 4),
        l2=Cache(512 << 10, 8),
        l3=Cache(2 << 20, 16),
        frequency_hz=2.4e9,
        fit=Fit(0.4752, 0.0, 0.1146, networks=12, mean_error=0.054, worst_error=0.14),
    ),
}

_CORES = 4
_FILE_TREE = ("usr", "lib", "bin", "sbin", "etc", "var", "lib64")


def prefix(name: str) -> Path:
    """Make the folder that QEMU looks files up in first, and return it.

    It is Debian's file tree with the board's /proc/cpuinfo and /sys over it: runtimes choose
    kernels and block sizes by these, and some crash on those of another architecture.
    """
    board, folder = BOARDS[name], BUILD / "boards" / name
    shutil.rmtree(folder, ignore_errors=True)
    for entry in _FILE_TREE:
        there = BUILD / "rootfs" / entry
        if there.exists():
            folder.mkdir(parents=True, exist_ok=True)
            (folder / entry).symlink_to(there)
    _write(folder / "proc" / "cpuinfo", "".join(_cpuinfo(board, i) for i in range(_CORES)))
    cpus = folder / "sys" / "devices" / "system" / "cpu"
    for name_ in ("possible", "present", "online"):
        _write(cpus / name_, f"0-{_CORES - 1}")
    _write(cpus / "kernel_max", str(_CORES - 1))
    for core in range(_CORES):
        _describe_core(cpus / f"cpu{core}", board, core)
    return folder


def _cpuinfo(board: Board, core: int) -> str:
    fields = {
        "processor": core,
        "BogoMIPS": "108.00",
        "Features": board.features,
        "CPU implementer": "0x41",
        "CPU architecture": 8,
        "CPU variant": board.variant,
        "CPU part": board.part,
        "CPU revision": board.revision,
    }
    return "".join(f"{key}\t: {value}\n" for key, value in fields.items()) + "\n"


def _describe_core(folder: Path, board: Board, core: int) -> None:
    everyone = f"0-{_CORES - 1}"
    topology = {"physical_package_id": 0, "core_id": core, "core_siblings": "f"}
    topology |= {"core_siblings_list": everyone, "package_cpus_list": everyone}
    topology |= {"package_cpus": "f", "cluster_cpus": "f", "cluster_cpus_list": everyone}
    topology |= {"thread_siblings_list": core, "core_cpus_list": core}
    for name, value in topology.items():
        _write(folder / "topology" / name, str(value))
    kilohertz = int(board.frequency_hz / 1000)
    for name in ("cpuinfo_max_freq", "cpuinfo_min_freq", "scaling_cur_freq"):
        _write(folder / "cpufreq" / name, str(kilohertz))
    own, shared = str(core), everyone
    caches = [(1, "Data", board.l1d, own), (1, "Instruction", board.l1d, own)]
    caches.append((2, "Unified", board.l2, shared if board.l3 is None else own))
    if board.l3 is not None:
        caches.append((3, "Unified", board.l3, shared))
    for index, (level, kind, cache, cores) in enumerate(caches):
        facts = {"level": level, "type": kind, "size": f"{cache.bytes >> 10}K"}
        facts |= {"coherency_line_size": 64, "shared_cpu_list": cores}
        facts |= {"ways_of_associativity": cache.ways}
        for name, value in facts.items():
            _write(folder / "cache" / f"index{index}" / name, str(value))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text if text.endswith("\n") else text + "\n")


if __name__ == "__main__" and sys.argv[1:] == ["packages"]:
    for runtime, packages in PACKAGES.items():
        print(runtime, *packages)
