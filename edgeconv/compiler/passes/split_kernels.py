"""Splits functions of several loop nests into one function per kernel of a GPU.

Work-items of different work-groups cannot wait for each other within a kernel: what a reduction
gives to other places than its own must be in memory before the kernel that reads it starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import tvm
from tvm import relax, s_tir, tirx

from edgeconv.compiler.graph import Graph
from edgeconv.compiler.passes.rewriting import (
    CALL_TIR,
    bindings_of,
    op_name,
    output_tuple,
    rebuild,
    substitute,
)
from edgeconv.compiler.schedules.common import inline_stages, narrowed
from edgeconv.compiler.schedules.gpu.views import take_views
from edgeconv.compiler.schedules.registry import GPU_RULES


@dataclass(frozen=True)
class _Nest:
    """A loop nest and its one block."""

    loops: Any
    block: Any

    @property
    def outputs(self) -> list[Any]:
        return [region.source for region in self.block.writes]

    @property
    def inputs(self) -> list[Any]:
        """What is read, but not written here."""
        read = (region.source for region in self.block.reads)
        return [buffer for buffer in read if not _among(buffer, self.outputs)]


_Kernel = list[_Nest]
# A function with narrow indices, and its kernels; none where it stays whole.
_Split = tuple[tirx.PrimFunc, list[_Kernel]]


def split_kernels(graph: Graph) -> Graph:
    """Return the graph in which a kernel has one reduction at most, and what follows in place."""
    families, layers = dict(graph.families), dict(graph.layers)
    split: dict[str, _Split] = {}

    def body(builder: relax.BlockBuilder) -> list[relax.Expr]:
        new: dict[str, relax.Expr] = {}
        items: dict[str, list[relax.Expr]] = {}

        def current(expression: relax.Expr) -> relax.Expr:
            return new.get(getattr(expression, "name", ""), expression)

        for var, value in bindings_of(graph.main):
            if isinstance(value, relax.Tuple):
                continue
            if isinstance(value, relax.TupleGetItem) and value.tuple_value.name in items:
                new[var.name] = items[value.tuple_value.name][value.index]
                continue
            call = substitute(value, current)
            whole: tirx.PrimFunc | None = None
            kernels: list[_Kernel] = []
            if op_name(call) == CALL_TIR:
                name = call.args[0].name_hint
                if name not in split:
                    split[name] = _split(graph.module[call.args[0]])
                whole, kernels = split[name]
            if whole is None or len(kernels) < 2:
                new[var.name] = builder.emit(call, var.name)
                continue
            made = dict(zip(whole.params, call.args[1].fields, strict=False))
            for kernel in kernels:
                for step in _emit(builder, kernel, kernels, made, var.name):
                    families[step] = graph.families.get(var.name, "reduce")
                    layers[step] = graph.layers.get(var.name, ())
            results = [made[b] for b in whole.params[len(call.args[1].fields) :]]
            new[var.name] = results[0]
            items[var.name] = results
        return [current(output) for output in output_tuple(graph.main)]

    module = rebuild(graph.module, body)
    return replace(graph, module=module, families=families, layers=layers)


def _split(function: tirx.PrimFunc) -> _Split:
    module = narrowed(function)
    if function.body.block.name_hint != "root":
        return function, []
    sch = s_tir.Schedule(module)
    nests = _nests(sch)
    params = list(sch.mod["main"].params)
    results = [buffer for nest in nests for buffer in nest.outputs if _among(buffer, params)]
    ruled = len(results) == 1 and any(nest.block.name_hint in GPU_RULES for nest in nests)
    # Operands are read where they are, and a blocked result is stored in the plain form.
    if len(nests) == 1 or ruled or len(_kernels(take_views(module)[0])[1]) == 1:
        return function, []
    return _kernels(module)


def _kernels(module: tvm.IRModule) -> _Split:
    """Return the function without stages that are not reductions, and its kernels."""
    sch = s_tir.Schedule(module)
    inline_stages(sch)
    nests = _nests(sch)
    function = sch.mod["main"]
    results = list(function.params)
    kernels: list[_Kernel] = []
    for nest in nests:
        if kernels and len(kernels[-1]) == 1 and _finishes(nest, kernels[-1][0], nests, results):
            kernels[-1].append(nest)
        else:
            kernels.append([nest])
    return function, kernels


def _nests(sch: s_tir.Schedule) -> list[_Nest]:
    body = sch.get(sch.get_sblock("root")).body
    statements = list(body.seq) if isinstance(body, tirx.SeqStmt) else [body]
    return [_Nest(statement, _block(statement)) for statement in statements]


def _block(statement: Any) -> Any:
    while not isinstance(statement, s_tir.SBlockRealize):
        statement = statement.body
    return statement.block


def _among(buffer: Any, others: Sequence[Any]) -> bool:
    return any(buffer.same_as(other) for other in others)


def _is_reduction(block: Any) -> bool:
    return any(axis.iter_type == tirx.IterVar.CommReduce for axis in block.iter_vars)


def _finishes(nest: _Nest, total: _Nest, nests: Sequence[_Nest], results: Sequence[Any]) -> bool:
    """Whether `nest` alone reads the reduction `total`, each result at its own place."""
    if _is_reduction(nest.block) or not _is_reduction(total.block):
        return False
    if any(_among(buffer, results) for buffer in total.outputs):
        return False
    readers = [n for n in nests if any(_among(b, total.outputs) for b in n.inputs)]
    if len(readers) != 1 or readers[0] is not nest:
        return False
    shape = [int(size) for size in nest.outputs[0].shape]
    # The block of a single number has an axis that is none of the number's.
    axes = [axis.var for axis in nest.block.iter_vars][: len(shape)]
    return all(
        [int(size) for size in region.source.shape] == shape
        and all(part.min.same_as(axis) for part, axis in zip(region.region, axes, strict=True))
        for region in nest.block.reads
        if _among(region.source, total.outputs)
    )


def _emit(
    builder: relax.BlockBuilder,
    kernel: _Kernel,
    kernels: Sequence[_Kernel],
    made: dict[Any, relax.Expr],
    name: str,
) -> list[str]:
    """Emit the call of one kernel; note its results in `made`, and return their variables."""
    inside = [buffer for nest in kernel[:-1] for buffer in nest.outputs]
    outputs = kernel[-1].outputs
    inputs: list[Any] = []
    for nest in kernel:
        inputs += [b for b in nest.inputs if not _among(b, [*inside, *inputs])]
    nests = [nest.loops for nest in kernel]
    body = tirx.SeqStmt(nests) if len(nests) > 1 else nests[0]
    root = s_tir.SBlock([], [], [], "root", body, alloc_buffers=inside)
    function = tirx.PrimFunc([*inputs, *outputs], s_tir.SBlockRealize([], True, root)).with_attr(
        "s_tir", True
    )
    callee = builder.add_func(function, f"{name}_{kernel[-1].block.name_hint}")
    types = [relax.TensorType([int(s) for s in b.shape], str(b.dtype)) for b in outputs]
    call = relax.call_tir(callee, [made[b] for b in inputs], types)
    last = kernel is kernels[-1]
    result = builder.emit(call, name if last else f"{name}_{kernel[-1].block.name_hint}")
    if len(outputs) == 1:
        made[outputs[0]] = result
        return [result.name]
    for index, buffer in enumerate(outputs):
        made[buffer] = builder.emit(relax.TupleGetItem(result, index))
    return [result.name]
