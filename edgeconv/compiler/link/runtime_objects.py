"""Compiles the C runtime, once for each version of its source and each target."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from edgeconv.compiler.link.toolchain import CCompiler
from edgeconv.errors import UsageError
from edgeconv.files import cache_dir, write_new_folder

RUNTIME = Path(__file__).parents[2] / "runtime"

# The same for the generated program. _GNU_SOURCE: POSIX, and the affinity calls for pinning.
CFLAGS = (
    *("-std=c11", "-D_GNU_SOURCE", "-O2", "-g0", "-Wall", "-Wextra"),
    *("-fPIC", "-fvisibility=hidden", "-ffunction-sections", "-fdata-sections"),
    *("-fno-asynchronous-unwind-tables", "-fno-unwind-tables", "-fno-sanitize=all"),
    *("-Iinclude", "-Isrc"),
)


def copy_sources(folder: Path) -> None:
    """Put the runtime's `include/` and `src/` into `folder`, so that all paths are relative."""
    for name in ("include", "src"):
        shutil.copytree(RUNTIME / name, folder / name)


def library_objects(compiler: CCompiler, *, opencl: bool) -> dict[str, bytes]:
    """Return the object files of the runtime's library by name, with OpenCL or for the CPU only.

    They are kept in the user's cache. Raises ToolchainError.
    """
    return _objects(compiler, ("src", "src/opencl" if opencl else "src/cpu_only"))


def runner_objects(compiler: CCompiler) -> dict[str, bytes]:
    """Return the object files of the runner without the library; otherwise as those."""
    return _objects(compiler, ("src/runner",))


def runtime_version() -> str:
    """Return a hash of the runtime's sources."""
    digest = hashlib.sha256()
    for path in sorted(RUNTIME.glob("**/*.[ch]")):
        digest.update(f"\n{path.relative_to(RUNTIME)}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _objects(compiler: CCompiler, parts: tuple[str, ...]) -> dict[str, bytes]:
    """Return the objects of all sources in these folders."""
    key = hashlib.sha256(repr((compiler, CFLAGS, parts, runtime_version())).encode())
    kept = cache_dir("runtime") / key.hexdigest()[:32]
    if not kept.is_dir():
        return _compile(compiler, parts, kept)
    return {path.name: path.read_bytes() for path in sorted(kept.glob("*.o"))}


def _compile(compiler: CCompiler, parts: tuple[str, ...], kept: Path) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy_sources(folder)
        found = (path for part in parts for path in (folder / part).glob("*.c"))
        sources = [str(path.relative_to(folder)) for path in found]
        compiler.compile_objects(sources, CFLAGS, folder)
        objects = {path.name: path.read_bytes() for path in sorted(folder.glob("*.o"))}
    # A cache that cannot be written only costs time.
    with suppress(OSError, UsageError):
        write_new_folder(kept, objects)
    return objects
