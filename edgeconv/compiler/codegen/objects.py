"""Kernels to objects or OpenCL C: parallel worker processes and a cache addressed by content."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

import tvm
import tvm_ffi
from tvm_ffi.serialization import from_json_graph_str, to_json_graph_str

from edgeconv.compiler.codegen.kernel import Kernel
from edgeconv.compiler.codegen.lower import compile_kernel
from edgeconv.compiler.codegen.opencl import compile_opencl
from edgeconv.compiler.codegen.workers import WorkerPool
from edgeconv.compiler.schedules.gpu.machine import AnyMachine, GpuMachine, machine_of
from edgeconv.compiler.schedules.gpu.refusal import GpuRefusalError
from edgeconv.compiler.schedules.machine import Machine
from edgeconv.compiler.schedules.overwriting import write_over_operand
from edgeconv.compiler.schedules.pixel_sums import sum_pixels
from edgeconv.compiler.schedules.registry import apply_generic_rule, apply_rule
from edgeconv.errors import ArtifactError
from edgeconv.files import cache_dir, recall, trim_at_times, write_atomic
from edgeconv.strict import read
from edgeconv.target import Llvm, Target

SYMBOL_PREFIX = "ec_k_"
# Sources that decide what a kernel's object is; a change in one of them empties the cache.
_GENERATORS = ("schedules", "codegen")
# A worker process takes as long to start as this many small kernels.
_JOBS_WORTH_WORKERS = 16


@dataclass(frozen=True)
class Job:
    """One kernel to compile: a function as TVM's JSON, and for what."""

    function: str
    symbol: str
    machine: AnyMachine
    llvm: Llvm
    listing: bool


def run_job(job: Job) -> Kernel:
    """Schedule and compile one kernel (in a worker process, or here)."""
    function = from_json_graph_str(job.function)
    if not isinstance(job.machine, GpuMachine):
        scheduled = sum_pixels(write_over_operand(apply_rule(function, job.machine)))
        return compile_kernel(scheduled, job.symbol, job.llvm, listing=job.listing)
    try:
        scheduled = apply_rule(function, job.machine)
        texels = job.machine.image_texels
        return compile_opencl(scheduled, job.symbol, texels=texels, listing=job.listing)
    except GpuRefusalError as refusal:
        scheduled = apply_generic_rule(function, job.machine.cpu)
        kernel = compile_kernel(scheduled, job.symbol, job.llvm, listing=job.listing)
        return replace(kernel, reason=str(refusal), function=job.function)


@cache
def _generator_hash() -> str:
    digest = hashlib.sha256(f"{tvm.__version__} {tvm_ffi.__version__}".encode())
    root = Path(__file__).parent.parent
    for folder in _GENERATORS:
        for path in sorted((root / folder).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _key(function: tvm.tirx.PrimFunc, target: Target, machine: AnyMachine) -> str:
    parts = [
        _generator_hash(),
        function.script(show_meta=True),
        json.dumps([asdict(target.llvm), asdict(machine)], sort_keys=True),
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def compile_kernels(
    functions: Mapping[str, tvm.tirx.PrimFunc],
    target: Target,
    *,
    listing: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Kernel]:
    """Compile every function, equal ones once.

    Args:
        functions: unscheduled functions by name.
        target: for which processor.
        listing: whether to return scheduled TIR and assembly too; compiles afresh.
        progress: called with (done, total).

    Returns:
        The kernel of each name. Symbols follow from content, so that equal kernels of several
        models are one in a program that links them all.
    """
    machine = machine_of(target)
    keys = {name: _key(function, target, machine) for name, function in functions.items()}
    folder = cache_dir("kernels")
    kernels: dict[str, Kernel] = {}
    jobs: dict[str, Job] = {}
    for name, key in keys.items():
        if key in kernels or key in jobs:
            continue
        cached = None if listing else _recall(folder / key)
        if cached is not None:
            kernels[key] = cached
            continue
        symbol = SYMBOL_PREFIX + key[:16]
        text = to_json_graph_str(functions[name])
        jobs[key] = Job(text, symbol, machine, target.llvm, listing)
    total, done = len(kernels) + len(jobs), len(kernels)
    if progress:
        progress(done, total)
    several = len(jobs) >= _JOBS_WORTH_WORKERS
    processes = min(len(os.sched_getaffinity(0)), len(jobs)) if several else 1
    with WorkerPool(processes, run_job) as pool:
        for key, kernel in pool.map(jobs):
            kernels[key] = kernel
            write_atomic(folder / key, _stored(kernel))
            done += 1
            if progress:
                progress(done, total)
    if jobs:
        trim_at_times(folder)
    return {name: kernels[key] for name, key in keys.items()}


def compile_for_cpu(functions: Mapping[str, str], target: Target) -> list[Kernel]:
    """Compile what a GPU refused (`Kernel.function` by symbol) for the CPU of `target`.

    Raises ArtifactError where a function cannot be read.
    """
    kernels = []
    for symbol, text in functions.items():
        try:
            function = from_json_graph_str(text)
        except (ValueError, TypeError, RuntimeError) as error:
            raise ArtifactError(
                f"kernel {symbol!r} is damaged or of another TVM: {error}"
            ) from None
        scheduled = apply_generic_rule(function, Machine.of(target))
        kernels.append(compile_kernel(scheduled, symbol, target.llvm, listing=False))
    return kernels


def _stored(kernel: Kernel) -> bytes:
    header = asdict(kernel)
    del header["object_file"], header["tir"], header["assembly"]
    return json.dumps(header).encode() + b"\n" + kernel.object_file


def _recall(path: Path) -> Kernel | None:
    try:
        header, _, object_file = recall(path).partition(b"\n")
        return read(Kernel, {**json.loads(header), "object_file": object_file})
    except (OSError, ValueError, TypeError):
        return None
