"""The network of `c_programs` with steps in OpenCL."""

import atexit
import os
import shutil
import tempfile
from collections.abc import Collection
from dataclasses import replace
from functools import cache
from pathlib import Path

import c_programs
from c_programs import KERNELS, WEIGHTS_SHA256, compile_kernels, gcc

from edgeconv.compiler.link import Emit, link
from edgeconv.compiler.link.program_c import program_source
from edgeconv.compiler.link.runtime_objects import RUNTIME
from edgeconv.plan import Backend, Buffer, NDRange, Plan, Space, Step
from edgeconv.target import load_target

SOURCE = (KERNELS / "network.cl").read_text()
ALL = ("add", "scale", "relu_count")
GROUPS = {"add": 11, "scale": 11, "relu_count": 1}  # of 64 work-items
SLOT = -c_programs.TENSOR_BYTES // 512 * -512
HOST_GPU = replace(load_target("host"), gpu=load_target("android-opencl").gpu)


IMAGES = {"scale": (1,), "relu_count": (0,)}  # inputs that "ec_k_NAME_image" takes as images


def plan(scales: int = 1, on_gpu: Collection[str] = ALL, *, images: bool = False) -> Plan:
    """The network, with the kernels of these names in OpenCL and the others on the CPU.

    With `images`, the scale and what is counted are read through images, and their memory is whole
    texels.
    """

    def buffer(buffer: Buffer) -> Buffer:
        if images and buffer.space in (Space.ARENA, Space.WEIGHTS):
            elements = -(-buffer.bytes // 16) * 4
            buffer = replace(
                buffer, bytes=4 * elements, shape=(elements,), logical_shape=(elements,)
            )
        moved = buffer.space is Space.ARENA and buffer.offset > 0
        return replace(buffer, offset=SLOT) if moved else buffer

    def step(step: Step) -> Step:
        name = step.kernel.removeprefix("k_")
        if name not in on_gpu:
            return replace(step, reason="the test wants it")
        ndrange = NDRange((64 * GROUPS[name], 1, 1), (64, 1, 1))
        step = replace(step, backend=Backend.OPENCL, kernel=f"ec_k_{name}", ndrange=ndrange)
        if not images or name not in IMAGES:
            return step
        return replace(step, kernel=f"{step.kernel}_image", images=IMAGES[name])

    plain = c_programs.plan(scales)
    return replace(
        plain,
        buffers=tuple(map(buffer, plain.buffers)),
        steps=tuple(map(step, plain.steps)),
        arena_bytes=2 * SLOT,
        arena_lower_bound=2 * SLOT,
    )


@cache
def _kernels() -> dict[str, bytes]:
    return compile_kernels(HOST_GPU)


def linked(
    plan: Plan, emit: Emit = Emit.BUNDLE, *, model: str = "net", source: str = SOURCE
) -> dict[str, bytes]:
    """The linked entries of a plan, for this machine and its OpenCL driver."""
    return link(
        plan,
        model=model,
        target=HOST_GPU,
        kernels=_kernels(),
        weights_sha256=WEIGHTS_SHA256,
        golden_cases=2,
        emit=emit,
        opencl_sources=[source],
    )


def write_program(
    path: Path,
    plan: Plan,
    *,
    model: str = "net",
    source: str = SOURCE,
    half_arithmetic: bool = False,
) -> Path:
    """Write a plan's generated C source."""
    text = program_source(
        plan,
        model=model,
        target="host",
        weights_sha256=WEIGHTS_SHA256,
        golden_cases=2,
        opencl_sources=[source],
        half_arithmetic=half_arithmetic,
    )
    path.write_text(text)
    return path


def runtime_sources() -> list[Path]:
    """The library of a GPU's program, and the network's kernels of the CPU."""
    source = RUNTIME / "src"
    return [*source.glob("*.c"), *source.glob("opencl/*.c"), *KERNELS.glob("*.c")]


@cache
def _oclgrind_library(*, separate: bool) -> Path:
    """oclgrind's OpenCL library, with `images_as_pointers.c` of `runtime/` before it.

    If buffers are to be kept `separate`, `separate_buffers.c` stands there too.
    """
    command = shutil.which("oclgrind")
    assert command, "oclgrind is not installed; scripts/setup.sh does it"
    folder = Path(tempfile.mkdtemp(prefix="edgeconv-oclgrind-"))
    atexit.register(shutil.rmtree, folder)
    own = Path(command).resolve().parents[1] / "lib/oclgrind/liboclgrind-rt.so"
    (folder / "libOpenCL.so").symlink_to(own)  # the name that it calls itself
    library = folder / "libbefore.so"
    names = ["images_as_pointers.c", *(["separate_buffers.c"] if separate else [])]
    sources = [KERNELS.parent / name for name in names]
    linking = (f"-L{folder}", "-Wl,--no-as-needed", "-lOpenCL", f"-Wl,-rpath,{folder}", "-ldl")
    gcc("-shared", "-fPIC", *sources, "-o", library, *linking)
    return library


def oclgrind(*, separate: bool = True) -> dict[str, str]:
    """The environment in which programs run their kernels in oclgrind, with all of its checks.

    It writes what it finds into the program's output: accesses outside of a tensor, reads of what
    nothing has written, races. All steps must be in OpenCL, and no observer set. Not through
    oclgrind's own command, which puts its library before all others: the loader of drivers would
    call that, and it the loader. Where tensors are parts of others, they cannot be kept `separate`;
    then the bounds that it knows are those of the whole arena.
    """
    checks = ("CHECK_API", "DATA_RACES", "UNINITIALIZED")
    # Optimised code has an instruction (freeze) that its interpreter lacks.
    return {
        **os.environ,
        "EDGECONV_OPENCL": str(_oclgrind_library(separate=separate)),
        "EDGECONV_OPENCL_CACHE": "",
        "OCLGRIND_BUILD_OPTIONS": "-cl-opt-disable",
        **{f"OCLGRIND_{check}": "1" for check in checks},
    }
