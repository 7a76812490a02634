"""Targets: what a board's processor is, read from a TOML file and validated.

This module only needs the standard library, so that a board can read its own description.
"""

from __future__ import annotations

import enum
import re
import tomllib
from dataclasses import asdict, dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from edgeconv.errors import UsageError
from edgeconv.files import read_whole
from edgeconv.host import describe_host, runs
from edgeconv.plan import CPU_ALIGNMENT, GPU_ALIGNMENT
from edgeconv.resources import resource_dir
from edgeconv.strict import MismatchError, read


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
        l2_shared: whether the cores have the second-level cache in common.
        l3_kib: third-level cache of all cores, KiB; 0 where there is none, or unknown.
    """

    cores: int
    frequency_mhz: int
    vector_bits: int
    vector_registers: int
    fma_lanes_per_cycle: int
    l1d_kib: int
    l2_kib: int
    memory_mib: int = 0
    l2_shared: bool = False
    l3_kib: int = 0


@dataclass(frozen=True)
class Llvm:
    """What TVM's LLVM back end needs: triple, CPU, feature flags, float ABI ("hard" on armv7)."""

    triple: str
    cpu: str
    features: tuple[str, ...] = ()
    float_abi: str = ""


@dataclass(frozen=True)
class Toolchain:
    """What `zig cc` needs: triples of the shared library and of the static runner, and the CPU.

    Without `static` the runner is linked as the library is. It is always left out where `[gpu]` is
    there: drivers are shared libraries, which a static runner cannot open.
    """

    shared: str
    cpu: str
    static: str = ""

    @property
    def runner(self) -> str:
        """The runner's triple."""
        return self.static or self.shared


class Api(enum.StrEnum):
    """How programs reach a GPU."""

    OPENCL = "opencl"


@dataclass(frozen=True)
class Gpu:
    """A graphics processor, as the schedules see it.

    Attributes:
        api: how programs reach it.
        max_workgroup: most work-items of a work-group.
        wave: work-items that run in lockstep.
        local_kib: local memory of a work-group that is faster than global memory, KiB; 0 for none,
            also where the driver lays local memory in global memory, as Mali's does.
        registers: 32-bit registers that a work-item may use while at least half of the work-items
            that a compute unit can hold are still resident.
        compute_units: shader cores.
        fma_lanes_per_cycle: fp32 multiply-adds that a core starts in a cycle.
        macs_per_byte: fp32 multiply-adds that it does at its peak in the time in which memory
            delivers a byte at its own.
        image_texels: most texels (of four elements) of an image that kernels read a buffer through
            (the texture path); 0 where plain buffers are as fast.
        half_arithmetic: whether the driver has `cl_khr_fp16`.
        unified_memory: whether it shares the processor's memory.
    """

    api: Api
    max_workgroup: int
    wave: int
    local_kib: int
    registers: int
    compute_units: int
    fma_lanes_per_cycle: int
    macs_per_byte: int
    image_texels: int
    half_arithmetic: bool
    unified_memory: bool


@dataclass(frozen=True)
class Emulator:
    """User-mode emulator of the target: program, CPU model."""

    program: str
    cpu: str


@dataclass(frozen=True)
class Target:
    """A validated target description.

    With `gpu`, kernels run there; `llvm`, `toolchain` and `cpu` are then the host's, which also
    computes the steps that the GPU cannot. `native` is true where this machine runs the target's
    programs itself.
    """

    name: str
    description: str
    llvm: Llvm
    toolchain: Toolchain
    cpu: Cpu
    emulator: Emulator | None = None
    gpu: Gpu | None = None
    native: bool = field(default=False, compare=False, metadata={"stored": False})

    @property
    def lanes(self) -> int:
        """Float32 values in one SIMD register."""
        return self.cpu.vector_bits // 32

    @property
    def alignment(self) -> int:
        """Bytes, of which offsets in arena and weights are multiples."""
        return CPU_ALIGNMENT if self.gpu is None else GPU_ALIGNMENT

    def to_json(self) -> dict[str, Any]:
        """Return the description as plain dicts, as `parse_target` and the manifest take it."""
        data = asdict(self)
        del data["native"]  # a fact about the machine that reads it
        return data


_WIDTHS = (64, 128, 256, 512)
_RANGES = {  # smallest and largest sensible value of each number
    "cpu.cores": (1, 1024),
    "cpu.frequency_mhz": (0, 10_000),
    "cpu.vector_registers": (8, 64),
    "cpu.fma_lanes_per_cycle": (1, 256),
    "cpu.l1d_kib": (1, 4096),
    "cpu.l2_kib": (1, 262_144),
    "cpu.l3_kib": (0, 4_194_304),
    "cpu.memory_mib": (0, 67_108_864),
    "gpu.max_workgroup": (16, 4096),
    "gpu.wave": (1, 128),
    "gpu.local_kib": (0, 1024),
    "gpu.registers": (16, 256),
    "gpu.compute_units": (1, 1024),
    "gpu.fma_lanes_per_cycle": (1, 1024),
    "gpu.macs_per_byte": (1, 1024),
    "gpu.image_texels": (0, 2**31 - 1),
}
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*")
_TRIPLE = re.compile(r"[a-z0-9_]+(-[a-z0-9_.]+){1,3}")


def load_target(name_or_path: str) -> Target:
    """Return the validated target of a name in `targets/` or of a TOML file.

    A path is anything with a slash or the ending ".toml". Raises UsageError: an unknown name
    (with the known ones), or a file that is unreadable, no TOML, or holds an unknown, missing,
    mistyped or out-of-range key (with file, key and what is expected there).
    """
    if "/" in name_or_path or name_or_path.endswith(".toml"):
        return _load_file(Path(name_or_path))
    path = resource_dir("targets") / f"{name_or_path}.toml"
    if not path.is_file():
        names = sorted(file.stem for file in resource_dir("targets").glob("*.toml"))
        close = get_close_matches(name_or_path, names, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise UsageError(
            f"unknown target {name_or_path!r}.{hint} Known: {', '.join(names)}; "
            "a description of your own is given as a path, such as ./my-board.toml."
        )
    return _load_file(path)


def list_targets() -> list[Target]:
    """Return the targets in `targets/`, sorted by name; raises UsageError as `load_target`."""
    return [_load_file(path) for path in sorted(resource_dir("targets").glob("*.toml"))]


def parse_target(data: dict[str, Any], where: str) -> Target:
    """Return the target that `data` describes, as `Target.to_json` or a TOML file gives it.

    `where` names the origin in messages. Raises UsageError.
    """
    try:
        target = read(Target, data)
        _check(target)
    except MismatchError as error:
        raise UsageError(f"{where}: {error}") from None
    return replace(target, native=_runs_here(target))


def _runs_here(target: Target) -> bool:
    # Drivers of phones need Android's C library; without one, the runner is static.
    android = target.gpu is not None and "android" in target.toolchain.shared
    llvm = target.llvm
    return not android and runs(llvm.triple, llvm.cpu, llvm.features)


def _load_file(path: Path) -> Target:
    try:
        data = tomllib.loads(read_whole(path).decode("utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: cannot read the target file: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not a TOML file: {error}") from None
    detect = data.pop("detect", False)
    if type(detect) is not bool:
        raise UsageError(f"{path}: detect: expected true or false, found {detect!r}")
    if detect:  # what the file states goes before what this machine reports
        for section, found in describe_host().items():
            given = data.get(section, {})
            data[section] = {**found, **given} if isinstance(given, dict) else given
    return parse_target(data, str(path))


def _check(target: Target) -> None:
    if not _NAME.fullmatch(target.name):
        raise MismatchError(
            "name", f"expected lower-case letters, digits, '-', found {target.name!r}"
        )
    for path, triple in (
        ("llvm.triple", target.llvm.triple),
        ("toolchain.shared", target.toolchain.shared),
        ("toolchain.static", target.toolchain.runner),
    ):
        if not _TRIPLE.fullmatch(triple):
            raise MismatchError(
                path, f"expected a triple such as aarch64-linux-gnu, found {triple!r}"
            )
    for i, feature in enumerate(target.llvm.features):
        if not re.fullmatch(r"[+-][a-z0-9_.-]+", feature):
            raise MismatchError(
                f"llvm.features[{i}]", f"expected +NAME or -NAME as LLVM has it, found {feature!r}"
            )
    if target.llvm.float_abi not in ("", "hard", "soft"):
        raise MismatchError(
            "llvm.float_abi", f"expected '', 'hard' or 'soft', found {target.llvm.float_abi!r}"
        )
    if target.cpu.vector_bits not in _WIDTHS:
        raise MismatchError(
            "cpu.vector_bits",
            f"expected one of {', '.join(map(str, _WIDTHS))}, found {target.cpu.vector_bits}",
        )
    for path, (low, high) in _RANGES.items():
        section, name = path.split(".")
        described = getattr(target, section)
        value = low if described is None else getattr(described, name)
        if not low <= value <= high:
            raise MismatchError(path, f"expected {low} to {high}, found {value}")
    if target.gpu is not None and target.toolchain.static:
        raise MismatchError("toolchain.static", "not used with [gpu]; leave it out")
