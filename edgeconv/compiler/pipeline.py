"""The compiler at one look: from a checked ONNX model to an artifact."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path

from edgeconv.artifact import (
    CPU_FUNCTIONS,
    OPENCL_SOURCES,
    Artifact,
    Model,
    golden_entries,
    weights_entry,
)
from edgeconv.compiler.codegen import Kernel, compile_kernels
from edgeconv.compiler.dump import Dump
from edgeconv.compiler.graph import Graph
from edgeconv.compiler.importer import import_onnx
from edgeconv.compiler.link import Emit, link
from edgeconv.compiler.passes import (
    blocked_layout,
    fold_scale_shift,
    free_operands,
    fuse,
    half_storage,
    half_sums,
    legalize,
    merge_small,
    own_outputs,
    share_memory,
    split_kernels,
    sum_pixels,
)
from edgeconv.compiler.planner import kernel_functions, plan_graph
from edgeconv.compiler.schedules.gpu.machine import GpuMachine, machine_of
from edgeconv.compiler.schedules.machine import FLOAT_BYTES, Machine
from edgeconv.exporter import Exported, beyond_half, products
from edgeconv.inspection import inspect_model, totals
from edgeconv.plan import Plan
from edgeconv.precision import Precision
from edgeconv.target import Target
from edgeconv.traffic import TRAFFIC

Progress = Callable[[str, int, int], None]
TOOLS = ("apache-tvm", "apache-tvm-ffi", "onnx", "onnxruntime", "onnxscript", "torch", "ziglang")


def passes(
    target: Target,
    precision: Precision = Precision.FP32,
    kept: frozenset[str] = frozenset(),
    in_half: frozenset[str] = frozenset(),
    *,
    winograd: bool = True,
    traffic: float = TRAFFIC,
) -> list[Callable[[Graph], Graph]]:
    """Return the graph passes, in order.

    Args:
        target: for which board.
        precision: in which tensors between kernels, and weights, are stored.
        kept: values that `precision` does not apply to.
        in_half: nodes whose products may be summed in half precision.
        winograd: whether convolutions may take Winograd's algorithm.
        traffic: bytes that a GPU's kernels may move for it, as times of what convolutions have to.
    """
    machine = machine_of(target)
    stored_bytes = FLOAT_BYTES if precision is Precision.FP32 else FLOAT_BYTES // 2

    def blocked(graph: Graph) -> Graph:
        return blocked_layout(
            graph, machine, stored_bytes, in_half, winograd=winograd, traffic=traffic
        )

    def shared(graph: Graph) -> Graph:
        return share_memory(graph, target.alignment)

    def half(graph: Graph) -> Graph:
        return half_storage(graph, kept)

    def summed(graph: Graph) -> Graph:
        return half_sums(graph, in_half)

    def merged(graph: Graph) -> Graph:
        assert isinstance(machine, GpuMachine)
        return merge_small(graph, machine)

    def fused(graph: Graph) -> Graph:
        return fuse(graph, machine)

    def summed_pixels(graph: Graph) -> Graph:
        assert isinstance(machine, Machine)
        return sum_pixels(graph, machine)

    first = [fold_scale_shift, blocked, own_outputs, legalize, fused]
    stored = [half] if precision is not Precision.FP32 else []
    if not isinstance(machine, GpuMachine):
        return [*first, shared, free_operands, summed_pixels]
    return [*first, split_kernels, *stored, merged, summed, shared]


def compile_exported(
    exported: Exported,
    target: Target,
    *,
    precision: Precision = Precision.FP32,
    half_arithmetic: bool = False,
    winograd: bool = True,
    traffic: float = TRAFFIC,
    threads: int = 1,
    emit: Emit = Emit.BUNDLE,
    dump: Path | None = None,
    progress: Progress | None = None,
) -> Artifact:
    """Compile an exported network.

    Args:
        exported: a checked model with golden cases.
        target: for which board.
        precision: in which tensors between kernels, and weights, are stored; CPUs have fp32 only.
        half_arithmetic: whether products of what is stored in half precision are summed in it.
        winograd: whether convolutions may take Winograd's algorithm.
        traffic: bytes that a GPU's kernels may move for it, as times of what convolutions have to.
        threads: number of threads that the artifact runs with unless told otherwise.
        emit: what to link.
        dump: folder for every stage's result; None for none.
        progress: called with (stage, done, total).

    Raises:
        UnsupportedModelError: naming every operator that is not supported, before any compiling.
        ToolchainError: a compiler or linker failed.
    """
    report = progress or (lambda stage, done, total: None)
    dumped = Dump(dump)
    dumped.onnx(exported.model)

    report("import", 0, 1)
    graph = import_onnx(exported.model)
    dumped.relax("import", graph.module)
    report("import", 1, 1)

    kept = _kept(exported, precision)
    in_half = products(exported.model, kept) if half_arithmetic else frozenset()
    steps = passes(target, precision, kept, in_half, winograd=winograd, traffic=traffic)
    for number, rewrite in enumerate(steps):
        report("passes", number, len(steps))
        graph = rewrite(graph)
        dumped.relax(rewrite.__name__, graph.module)
    report("passes", len(steps), len(steps))

    kernels = compile_kernels(
        kernel_functions(graph),
        target,
        listing=dump is not None,
        progress=lambda done, total: report("kernels", done, total),
    )
    dumped.kernels(kernels)

    report("link", 0, 1)
    planned = plan_graph(graph, kernels, exported.model, target.alignment)
    plan = planned.plan.with_tolerances(exported.tolerances_in(precision, planned.plan.half_runs))
    dumped.plan(plan)
    weights = weights_entry(planned.weights)
    made = sorted({k.symbol: k for k in kernels.values()}.values(), key=lambda k: k.symbol)
    linked = link(
        plan,
        model=exported.name,
        target=target,
        kernels={kernel.symbol: kernel.object_file for kernel in made if kernel.object_file},
        weights_sha256=hashlib.sha256(planned.weights).digest(),
        golden_cases=len(exported.golden),
        emit=emit,
        opencl_sources=[kernel.source for kernel in made if kernel.source],
        half_arithmetic=bool(plan.half_runs),
    )
    report("link", 1, 1)
    return _assemble(
        exported,
        target,
        plan,
        {**linked, **_twin_entries(target, made), "weights.bin": weights},
        threads=threads,
        emit=emit,
        precision=precision,
    )


def _kept(exported: Exported, precision: Precision) -> frozenset[str]:
    """Return the values that stay in single precision whatever `precision` says."""
    if precision is not Precision.MIXED:
        return frozenset()
    return beyond_half(exported.model, [case.inputs for case in exported.golden])


def _twin_entries(target: Target, kernels: Sequence[Kernel]) -> dict[str, bytes]:
    """Return what a GPU's emulation twin is made of, beside plan and weights."""
    if target.gpu is None:
        return {}
    functions = {kernel.symbol: kernel.function for kernel in kernels if kernel.function}
    entries = {OPENCL_SOURCES: "".join(kernel.source for kernel in kernels).encode()}
    if functions:
        entries[CPU_FUNCTIONS] = json.dumps(functions).encode()
    return entries


def _assemble(
    exported: Exported,
    target: Target,
    plan: Plan,
    entries: dict[str, bytes],
    *,
    threads: int,
    emit: Emit,
    precision: Precision,
) -> Artifact:
    golden = [
        (
            [case.inputs[tensor.name] for tensor in plan.inputs],
            [case.outputs[tensor.name] for tensor in plan.outputs],
        )
        for case in exported.golden
    ]
    if exported.labels:
        entries["labels.txt"] = ("\n".join(exported.labels) + "\n").encode()
    summary = totals(inspect_model(exported.model))
    preprocessing = exported.preprocessing
    return Artifact.assemble(
        plan=plan,
        entries={**entries, **golden_entries(golden)},
        model=Model(
            name=exported.name,
            origin=exported.origin,
            onnx_sha256=exported.sha256,
            parameters=summary.parameters,
            macs=summary.macs,
        ),
        target=target,
        tools=dict(_tool_versions()),
        golden=[case.label for case in exported.golden],
        threads=threads,
        preprocessing=None if preprocessing is None else asdict(preprocessing),
        emit=emit.value,
        precision=precision,
    )


@functools.cache
def _tool_versions() -> Mapping[str, str]:
    """Return the versions of `TOOLS`; reading them takes as long as compiling a small kernel."""
    return {tool: metadata.version(tool) for tool in TOOLS}
