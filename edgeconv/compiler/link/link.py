"""From kernels, plan and runtime to the programs and libraries of an artifact."""

from __future__ import annotations

import enum
import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from edgeconv.compiler.link.program_c import c_identifier, program_source
from edgeconv.compiler.link.runtime_objects import (
    CFLAGS,
    RUNTIME,
    copy_sources,
    library_objects,
    runner_objects,
)
from edgeconv.compiler.link.toolchain import CCompiler, android_ndk, c_library, zig
from edgeconv.errors import EdgeconvError, ToolchainError
from edgeconv.plan import Backend, Plan
from edgeconv.target import Target

_LOG = logging.getLogger(__name__)

LINK_FLAGS = ("-s", "-Wl,--gc-sections", "-Wl,--build-id=none")
STATIC_FLAGS = ("-static", "-lm", "-pthread")
_EXPORTS = "{ global: ec_*; edgeconv_program; local: *; };\n"


class Emit(enum.StrEnum):
    """What to link.

    `BUNDLE`: shared library, header and runner; `LIB`: shared library and header; `STATIC`: static
    library and header; `EXE`: runner.
    """

    BUNDLE = "bundle"
    LIB = "lib"
    STATIC = "static"
    EXE = "exe"


@dataclass(frozen=True)
class _Parts:
    """What goes into every product."""

    model: str
    program: str
    kernels: Mapping[str, bytes]
    opencl: bool
    static_runner: bool


@contextmanager
def c_libraries(target: Target, emit: Emit) -> Iterator[None]:
    """Build the C libraries that `link` takes while the body runs; raises ToolchainError."""
    toolchain, makers = target.toolchain, _MAKERS[emit]
    triples = {toolchain.runner} if _runner in makers else set()
    triples |= {toolchain.shared} if _shared_library in makers else set()
    with ExitStack() as stack:
        for triple in sorted(triples):
            if "android" not in triple:
                stack.enter_context(c_library(zig(triple, toolchain.cpu)))
        yield


def link(
    plan: Plan,
    *,
    model: str,
    target: Target,
    kernels: Mapping[str, bytes],
    weights_sha256: bytes,
    golden_cases: int,
    emit: Emit,
    opencl_sources: Sequence[str] = (),
    half_arithmetic: bool = False,
) -> dict[str, bytes]:
    """Return the linked entries of an artifact: name to content, the same for equal arguments.

    Args:
        plan: the network.
        model: its name, in any characters; a static library's entry point is
            `edgeconv_program_MODEL` with every character that C does not take replaced by "_".
        target: what it runs on.
        kernels: ELF object by symbol; each defines `int32_t symbol(void *...)`. Static libraries
            of several models can be linked together where equal symbols mean equal code.
        weights_sha256: 32 bytes, as in the header of `weights.bin`.
        golden_cases: number of cases in `golden/`.
        opencl_sources: OpenCL C that together defines the kernels of OpenCL steps.
        half_arithmetic: whether that takes a device with `cl_khr_fp16`.
        emit: which of `libmodel.so`, `libmodel.a`, `runner` and `edgeconv.h`.

    The runner is static where the target has a triple for that, otherwise linked as the library is
    (see `target.Toolchain`). What is dynamically linked for Android needs the user's NDK
    ($ANDROID_NDK_HOME). Without it a bundle lacks it, with a warning in the log, and what was asked
    for by itself raises ToolchainError. That is also raised when linking fails; EdgeconvError when
    a step's kernel is not in `kernels`.
    """
    called = {step.kernel for step in plan.steps if step.backend is Backend.CPU}
    missing = sorted(called - set(kernels))
    if missing:
        raise EdgeconvError(f"the plan calls kernels that were not compiled: {', '.join(missing)}")
    source = program_source(
        plan,
        model=model,
        target=target.name,
        weights_sha256=weights_sha256,
        golden_cases=golden_cases,
        opencl_sources=opencl_sources,
        half_arithmetic=half_arithmetic,
    )
    parts = _Parts(
        model,
        source,
        kernels,
        opencl=target.gpu is not None,
        static_runner=bool(target.toolchain.static),
    )
    with ThreadPoolExecutor() as pool:
        products = [pool.submit(make, parts, compiler) for make, compiler in _makers(target, emit)]
        entries = dict(product.result() for product in products)
    if emit is not Emit.EXE:
        entries["edgeconv.h"] = (RUNTIME / "include" / "edgeconv.h").read_bytes()
    return entries


def _makers(target: Target, emit: Emit) -> list[tuple[_Maker, CCompiler]]:
    """Return what makes each product, and its compiler, but for those that there is none for."""
    static = {_runner} if target.toolchain.static else set()
    makers: list[tuple[_Maker, CCompiler]] = [
        (make, zig(target.toolchain.runner, target.toolchain.cpu))
        for make in _MAKERS[emit]
        if make in static
    ]
    dynamic = [make for make in _MAKERS[emit] if make not in static]
    if dynamic and (compiler := _dynamic_compiler(target, emit)):
        makers += [(make, compiler) for make in dynamic]
    return makers


def _dynamic_compiler(target: Target, emit: Emit) -> CCompiler | None:
    toolchain = target.toolchain
    if "android" not in toolchain.shared:
        return zig(toolchain.shared, toolchain.cpu)
    compiler = android_ndk(toolchain.shared, toolchain.cpu)
    if compiler is None:
        what, rest = "a library", "the bundle has the runner only"
        if target.gpu is not None:
            what, rest = "a program", "the bundle runs in a twin only (`--device opencl`)"
        note = f"{what} for {target.name} needs an Android NDK: set ANDROID_NDK_HOME to its folder"
        if emit is not Emit.BUNDLE:
            raise ToolchainError(note)
        _LOG.warning("%s; %s", note, rest)
    return compiler


def _shared_library(parts: _Parts, compiler: CCompiler) -> tuple[str, bytes]:
    flags = (
        *("-shared", "-Wl,-soname,libmodel.so", "-Wl,-z,defs"),
        *("-Wl,--version-script=exports.map", *_dynamic_flags(parts)),
    )
    runtime = library_objects(compiler, opencl=parts.opencl)
    return _linked("libmodel.so", parts, compiler, runtime, flags)


def _runner(parts: _Parts, compiler: CCompiler) -> tuple[str, bytes]:
    runtime = library_objects(compiler, opencl=parts.opencl) | runner_objects(compiler)
    flags = STATIC_FLAGS if parts.static_runner else _dynamic_flags(parts)
    return _linked("runner", parts, compiler, runtime, flags)


def _dynamic_flags(parts: _Parts) -> tuple[str, ...]:
    # The driver of a GPU is opened at run time, by the C library's loader.
    return ("-lm", "-pthread", *(("-ldl",) if parts.opencl else ()))


def _linked(
    name: str,
    parts: _Parts,
    compiler: CCompiler,
    runtime: Mapping[str, bytes],
    flags: tuple[str, ...],
) -> tuple[str, bytes]:
    with tempfile.TemporaryDirectory() as folder_name:
        folder = Path(folder_name)
        objects = _prepare(folder, parts, runtime)
        (folder / "exports.map").write_text(_EXPORTS)
        source = (*CFLAGS, "-DEC_ENTRY=edgeconv_program", "program.c")
        compiler.compile([*source, "-o", name, *objects, *LINK_FLAGS, *flags], folder)
        return name, (folder / name).read_bytes()


def _static_library(parts: _Parts, compiler: CCompiler) -> tuple[str, bytes]:
    entry = f"edgeconv_program_{c_identifier(parts.model)}"
    with tempfile.TemporaryDirectory() as folder_name:
        folder = Path(folder_name)
        objects = _prepare(folder, parts, library_objects(compiler, opencl=parts.opencl))
        arguments = [*CFLAGS, f"-DEC_ENTRY={entry}", "-c", "program.c", "-o", f"{entry}.o"]
        compiler.compile(arguments, folder)
        compiler.archive("libmodel.a", [f"{entry}.o", *objects], folder)
        return "libmodel.a", (folder / "libmodel.a").read_bytes()


def _prepare(folder: Path, parts: _Parts, runtime: Mapping[str, bytes]) -> list[str]:
    """Write everything into `folder`; return the paths of the kernels' and runtime's objects."""
    copy_sources(folder)
    (folder / "program.c").write_text(parts.program)
    objects = {f"{symbol}.o": parts.kernels[symbol] for symbol in sorted(parts.kernels)}
    paths = []
    for group, members in (("kernels", objects), ("runtime", runtime)):
        (folder / group).mkdir()
        for name, content in members.items():
            (folder / group / name).write_bytes(content)
            paths.append(f"{group}/{name}")
    return paths


_Maker = Callable[[_Parts, CCompiler], tuple[str, bytes]]
_MAKERS: dict[Emit, tuple[_Maker, ...]] = {
    Emit.BUNDLE: (_shared_library, _runner),
    Emit.LIB: (_shared_library,),
    Emit.STATIC: (_static_library,),
    Emit.EXE: (_runner,),
}
