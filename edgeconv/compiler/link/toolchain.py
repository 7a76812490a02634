"""C compilers for a target: `zig cc` for Linux, the user's NDK for Android's own C library."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from edgeconv.errors import ToolchainError

ANDROID_API_LEVEL = 24
_MESSAGE_CHARS = 4000


@dataclass(frozen=True)
class CCompiler:
    """A compiler and linker for one target.

    Attributes:
        cc: its command, with the flags that choose the target.
        ar: the archiver's command.
        version: what else tells it from other compilers.
        build: the command that builds a program as `cc` does, with its C library, by as many jobs
            as it is told; empty where the C library is there.
    """

    cc: tuple[str, ...]
    ar: tuple[str, ...]
    version: str
    build: tuple[str, ...] = ()

    def compile(self, arguments: Sequence[str], folder: Path) -> None:
        """Run the compiler in `folder`; raises ToolchainError with its messages."""
        _run([*self.cc, *arguments], folder)

    def compile_objects(self, sources: Iterable[str], flags: Sequence[str], folder: Path) -> None:
        """Compile each source to an object of its name in `folder`; raises ToolchainError.

        One call a source: given several, zig makes a single object of them.
        """

        def compile_one(source: str) -> None:
            self.compile([*flags, "-c", source, "-o", f"{Path(source).stem}.o"], folder)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(compile_one, sources))

    def archive(self, library: str, members: Sequence[str], folder: Path) -> None:
        """Write a static library without times and owners; raises ToolchainError."""
        _run([*self.ar, "rcsD", library, *members], folder)


def zig(triple: str, cpu: str) -> CCompiler:
    """Return `zig cc` for a triple and CPU in zig's notation; raises ToolchainError without it.

    The CPU matters on 32-bit ARM only. zig builds the C library once for each CPU, which takes
    up to a minute (see `c_library`), and neither that nor the runtime gains by a newer one (kernels
    come as objects), so that all 64-bit boards of one architecture share the oldest.
    """
    if triple.startswith(("aarch64-", "x86_64-")):
        cpu = "baseline"
    try:
        package = metadata.distribution("ziglang")
    except metadata.PackageNotFoundError:
        raise ToolchainError(
            "linking needs the package ziglang; install the compiler: "
            "pip install 'edgeconv[compiler]'"
        ) from None
    # Not `python -m ziglang`, which starts an interpreter for every call.
    command = str(package.locate_file("ziglang/zig"))
    chosen = ("-target", triple, f"-mcpu={cpu}")
    return CCompiler(
        cc=(command, "cc", *chosen),
        ar=(command, "ar"),
        version=f"zig {package.version}",
        build=(
            command,
            "build-exe",
            *chosen,
            "-O",
            "ReleaseFast",
            "-fPIC",
            "-fstrip",
            "-fno-unwind-tables",
            "-lc",
        ),
    )


@contextmanager
def c_library(compiler: CCompiler) -> Iterator[None]:
    """Have the compiler build its C library while the body runs; wait for both, unless that fails.

    zig builds the C library with the first program that is linked for a target, from more than a
    thousand files of musl, or stubs of glibc, and keeps it in the user's cache. `zig cc` does it in
    one job fewer than there are cores; `zig build-exe`, which finds and leaves the same entries of
    that cache, can be told how many. Where the library is there already, that takes a moment. What
    fails here fails again, and is reported, where something is linked.
    """
    if not compiler.build:
        yield
        return
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        Path(folder, "empty.c").write_text("int main(void) { return 0; }\n")
        jobs = f"-j{2 * len(os.sched_getaffinity(0)) + 2}"  # it does two fewer, which wait at times
        try:
            process = subprocess.Popen(
                [*compiler.build, jobs, "empty.c"],
                cwd=folder,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError:
            yield
            return
        try:
            yield
            process.wait()
        except BaseException:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise


def android_ndk(triple: str, cpu: str) -> CCompiler | None:
    """Return the compiler of the NDK in $ANDROID_NDK_HOME, or None where that is not set.

    Raises ToolchainError when there is no such compiler in that folder.
    """
    home = os.environ.get("ANDROID_NDK_HOME")
    if not home:
        return None
    pattern = f"toolchains/llvm/prebuilt/*/bin/{triple}{ANDROID_API_LEVEL}-clang"
    found = sorted(Path(home).glob(pattern))
    if not found:
        raise ToolchainError(
            f"ANDROID_NDK_HOME={home} holds no {pattern}; set it to the folder of an Android NDK"
        )
    clang = found[0]
    return CCompiler(
        cc=(str(clang), f"-mcpu={cpu.replace('_', '-')}"),
        ar=(str(clang.with_name("llvm-ar")),),
        version=home,
    )


def _run(command: Sequence[str], folder: Path) -> None:
    try:
        result = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, errors="replace", check=False
        )
    except OSError as error:
        raise ToolchainError(f"cannot run {command[0]}: {error.strerror}") from None
    if result.returncode != 0:
        messages = (result.stderr or result.stdout).strip()[-_MESSAGE_CHARS:]
        raise ToolchainError(
            f"{' '.join(command[:5])} ... failed with exit code {result.returncode}:\n{messages}"
        )
