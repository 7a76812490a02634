"""The network of `c_programs` with steps in OpenCL, built by this machine's own compiler."""

import tempfile
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path

import c_programs
from c_programs import KERNELS, WEIGHTS_SHA256, gcc

from edgeconv.compiler.link.program_c import program_source
from edgeconv.compiler.link.runtime_objects import RUNTIME
from edgeconv.plan import Backend, Buffer, NDRange, Plan, Space, Step

SOURCE = (KERNELS / "network.cl").read_text()
ALL = ("add", "scale", "relu_count")
GROUPS = {"add": 11, "scale": 11, "relu_count": 1}  # of 64 work-items
SLOT = -c_programs.TENSOR_BYTES // 512 * -512


def plan(scales: int = 1, on_gpu: Collection[str] = ALL) -> Plan:
    """The network, with the kernels of these names in OpenCL and the others on the CPU."""

    def buffer(buffer: Buffer) -> Buffer:
        moved = buffer.space is Space.ARENA and buffer.offset > 0
        return replace(buffer, offset=SLOT) if moved else buffer

    def step(step: Step) -> Step:
        name = step.kernel.removeprefix("k_")
        if name not in on_gpu:
            return replace(step, reason="the test wants it")
        ndrange = NDRange((64 * GROUPS[name], 1, 1), (64, 1, 1))
        return replace(step, backend=Backend.OPENCL, kernel=f"ec_k_{name}", ndrange=ndrange)

    plain = c_programs.plan(scales)
    return replace(
        plain,
        buffers=tuple(map(buffer, plain.buffers)),
        steps=tuple(map(step, plain.steps)),
        arena_bytes=2 * SLOT,
        arena_lower_bound=2 * SLOT,
    )


def write_program(path: Path, plan: Plan, *, model: str = "net", source: str = SOURCE) -> Path:
    """Write a plan's generated C source."""
    text = program_source(
        plan,
        model=model,
        target="gpu",
        weights_sha256=WEIGHTS_SHA256,
        golden_cases=2,
        opencl_sources=[source],
    )
    path.write_text(text)
    return path


def compile_objects(folder: Path, sources: Collection[Path], *flags: str) -> list[Path]:
    """Compile each source to an object in `folder`."""
    objects = [folder / f"{source.stem}.o" for source in sources]
    with ThreadPoolExecutor() as pool:
        jobs = [
            pool.submit(gcc, *flags, "-c", source, "-o", object)
            for source, object in zip(sources, objects, strict=True)
        ]
        for job in jobs:
            job.result()
    return objects


def runtime_sources() -> list[Path]:
    """The runtime of a GPU's program, and the CPU kernels of the network."""
    source = RUNTIME / "src"
    return [*source.glob("*.c"), *source.glob("opencl/*.c"), *KERNELS.glob("*.c")]


@cache
def _objects() -> tuple[list[Path], list[Path]]:
    """The objects of library and runner, made once."""
    folder = Path(tempfile.mkdtemp(prefix="opencl-runtime-"))
    flags = ("-O2", "-fPIC")
    runner = list((RUNTIME / "src" / "runner").glob("*.c"))
    return compile_objects(folder, runtime_sources(), *flags), compile_objects(
        folder, runner, *flags
    )


def entries(plan: Plan, *, source: str = SOURCE) -> dict[str, bytes]:
    """The library and the runner of a plan."""
    library, runner = _objects()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        program = write_program(folder / "program.c", plan, source=source)
        common = ("-fPIC", "-DEC_ENTRY=edgeconv_program", program, *library)
        libraries = ("-lm", "-ldl", "-pthread")
        gcc("-shared", *common, "-o", folder / "libmodel.so", *libraries)
        gcc(*common, *runner, "-o", folder / "runner", *libraries)
        return {path: (folder / path).read_bytes() for path in ("libmodel.so", "runner")}
