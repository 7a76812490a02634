"""`edgeconv doctor`: what is installed, what is missing, and what to type."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec

from rich.text import Text

from edgeconv.cli import console
from edgeconv.cli.console import bytes_text
from edgeconv.cli.options import Json, Quiet, Verbose
from edgeconv.errors import DeviceError
from edgeconv.files import cache_dir
from edgeconv.opencl import opencl_devices, used_device
from edgeconv.target import Target, list_targets

CACHE_BYTES = 512 << 20
_EXTRA = re.compile(r"""extra\s*==\s*['"](\w+)['"]""")


@dataclass(frozen=True)
class Check:
    """One thing that was looked for.

    Attributes:
        part: what needs it: "base", "compiler", "zoo", "emulator", "gpu", "device".
        name: the thing.
        state: "ok", "missing", "broken", "wrong version", "not writable" or "disk full".
        found: the version or place that was found, else empty.
        remedy: what to type where the state is not "ok".
    """

    part: str
    name: str
    state: str
    found: str
    remedy: str = ""


def doctor(json: Json = False, quiet: Quiet = False, verbose: Verbose = False) -> None:
    """Tell what is installed, what is missing, and what to type."""
    checks = [
        _python(),
        *_packages(),
        *_zig(),
        *_emulators(list_targets()),
        *_transports(),
        _opencl(),
        _cache(),
    ]
    console.emit({"ok": all(check.state == "ok" for check in checks), "checks": checks})

    listing = console.table("part", "needs", "state", "found", "what to type")
    for check in checks:
        state = Text(check.state, style="green" if check.state == "ok" else "yellow")
        listing.add_row(check.part, check.name, state, check.found, check.remedy)
    console.show(listing)
    lacking = sorted({check.part for check in checks if check.state != "ok"})
    if lacking:
        console.show(f"Incomplete: {', '.join(lacking)}. What does not need them works.")
    else:
        console.show("Everything is there.")


def _python() -> Check:
    return Check("base", "Python >= 3.11", "ok", f"{platform.python_version()} {sys.executable}")


def _packages() -> Iterator[Check]:
    """Yield a check for every package that this edgeconv's metadata asks for."""
    for text in requires("edgeconv") or []:
        requirement, _, marker = (part.strip() for part in text.partition(";"))
        extra = _EXTRA.search(marker)
        part = extra[1] if extra else "base"
        if part != "dev":
            yield _package(part, requirement)


def _package(part: str, requirement: str) -> Check:
    name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
    remedy = "pip install edgeconv" if part == "base" else f"pip install 'edgeconv[{part}]'"
    try:
        found = version(name)
    except PackageNotFoundError:
        return Check(part, requirement, "missing", "", remedy)
    if not _satisfies(requirement, found):
        return Check(part, requirement, "wrong version", found, f"pip install '{requirement}'")
    return Check(part, requirement, "ok", found)


def _satisfies(requirement: str, found: str) -> bool:
    try:
        from packaging.requirements import Requirement
    except ModuleNotFoundError:  # comes with the compiler's packages; only those have upper bounds
        return True
    return Requirement(requirement).specifier.contains(found, prereleases=True)


def _zig() -> Iterator[Check]:
    if find_spec("ziglang") is None:
        return  # reported as a package already
    answer = _first_line([sys.executable, "-m", "ziglang", "version"])
    remedy = "pip install --force-reinstall ziglang"
    yield Check(
        "compiler", "zig runs", "ok" if answer else "missing", answer, remedy * (not answer)
    )


def _emulators(targets: list[Target]) -> Iterator[Check]:
    emulated: dict[str, list[str]] = {}
    for target in targets:
        if target.emulator is not None and not target.native:
            emulated.setdefault(target.emulator.program, []).append(target.name)
    for program, names in emulated.items():
        yield _program("emulator", program, f"for {', '.join(names)}", "apt-get install qemu-user")


def _transports() -> Iterator[Check]:
    yield _program("device", "ssh", "for ssh:// devices", "apt-get install openssh-client")
    yield _program("device", "adb", "for adb:// devices", "apt-get install adb")


def _opencl() -> Check:
    """Look for a device that runs the kernels of GPU targets."""
    remedy = "apt-get install pocl-opencl-icd ocl-icd-libopencl1"
    try:
        device = used_device(opencl_devices())
    except DeviceError as error:
        return Check("gpu", "an OpenCL driver", "broken", str(error), remedy)
    if device is None:
        return Check("gpu", "an OpenCL driver", "missing", "", remedy)
    limits = ", ".join(f"{name} {_toml(value)}" for name, value in asdict(device.limits).items())
    return Check("gpu", "an OpenCL driver", "ok", f"{device.description}: {limits}")


def _toml(value: int) -> str:
    """Return a value as it stands in a target file."""
    return str(value).lower()


def _cache() -> Check:
    """Look for a writable cache folder with some room: a compiled network takes tens of MiB."""
    folder = cache_dir("")
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    found = f"{folder}, {bytes_text(free)} free"
    if not os.access(existing, os.W_OK):
        return Check("base", "cache folder", "not writable", found, "export XDG_CACHE_HOME=FOLDER")
    if free < CACHE_BYTES:
        return Check("base", "cache folder", "disk full", found, "export XDG_CACHE_HOME=FOLDER")
    return Check("base", "cache folder", "ok", found)


def _program(part: str, program: str, purpose: str, remedy: str) -> Check:
    path = shutil.which(program)
    if path is None:
        return Check(part, f"{program} ({purpose})", "missing", "", remedy)
    found = _first_line([path, "-V" if program == "ssh" else "--version"])
    return Check(part, f"{program} ({purpose})", "ok", found or path)


def _first_line(command: list[str]) -> str:
    """Return the first line that a program prints; empty where it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return next(iter((done.stdout + done.stderr).splitlines()), "").strip()
