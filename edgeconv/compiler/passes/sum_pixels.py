"""Lets kernels sum the pixels of the image that they make, so that means need not read it again.

On CPUs a kernel that makes an image whose mean is wanted has a second result: sums of parts of it
(`schedules/pixel_sums.py`). The mean's kernel reads those instead of the image.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import tvm
import tvm_ffi
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
from edgeconv.compiler.schedules.frames import FRAMES, moved
from edgeconv.compiler.schedules.machine import Machine
from edgeconv.compiler.schedules.overwriting import write_over_operand
from edgeconv.compiler.schedules.pixel_sums import SPATIAL, SUMS, sums_shape
from edgeconv.compiler.schedules.registry import apply_rule


@dataclass(frozen=True)
class _Mean:
    """A kernel that sums all pixels of an operand: its position, and the sum's axes over pixels."""

    position: int
    axes: tuple[Any, ...]


def sum_pixels(graph: Graph, machine: Machine) -> Graph:
    """Return the graph in which means over pixels read sums that the image's kernel made.

    Where that has no parallel tasks that write boxes of pixels, or stores pixels more than once,
    the mean reads the image as before.
    """
    means = _means(graph)
    shapes = _shapes(graph, {image for image, _ in means.values()}, machine)
    tables: list[dict[str, Any]] = [
        dict(table)
        for table in (
            graph.values,
            graph.layers,
            graph.macs,
            graph.families,
            graph.amplifications,
        )
    ]

    def body(builder: relax.BlockBuilder) -> list[relax.Expr]:
        new: dict[str, relax.Expr] = {}
        sums: dict[str, relax.Expr] = {}

        def current(expression: relax.Expr) -> relax.Expr:
            return new.get(getattr(expression, "name", ""), expression)

        for var, value in bindings_of(graph.main):
            if isinstance(value, relax.Tuple):
                continue
            call = substitute(value, current)
            image, mean = means.get(var.name, ("", None))
            if mean is not None and image in sums:
                call = _of_sums(builder, call, mean, sums[image])
            if var.name not in shapes:
                new[var.name] = builder.emit(call, var.name)
                continue
            shape = shapes[var.name]
            function = builder.get()[call.args[0]].with_attr(SUMS, json.dumps(shape))
            callee = builder.add_func(function, f"{call.args[0].name_hint}_summed")
            types = [var.ty, relax.TensorType(shape, str(var.ty.dtype))]
            both = builder.emit(relax.call_tir(callee, call.args[1], types), f"{var.name}_summed")
            for table in tables:
                if var.name in table:
                    table[both.name] = table[var.name]
            new[var.name] = builder.emit(relax.TupleGetItem(both, 0), var.name)
            sums[var.name] = builder.emit(relax.TupleGetItem(both, 1), f"{var.name}_sums")
        return [current(output) for output in output_tuple(graph.main)]

    module = rebuild(graph.module, body)
    values, layers, macs, families, amplifications = tables
    return replace(
        graph,
        module=module,
        values=values,
        layers=layers,
        macs=macs,
        families=families,
        amplifications=amplifications,
    )


def _means(graph: Graph) -> dict[str, tuple[str, _Mean]]:
    """Return the image that a kernel sums all pixels of, and how, by the kernel's variable."""
    found = {}
    for var, value in bindings_of(graph.main):
        mean = _mean(graph.module[value.args[0]]) if op_name(value) == CALL_TIR else None
        if mean is None:
            continue
        image = value.args[1].fields[mean.position]
        if isinstance(image, relax.Var):
            found[var.name] = (image.name, mean)
    return found


def _mean(function: tirx.PrimFunc) -> _Mean | None:
    """Return which blocked operand a function reads for nothing but the sum of its pixels."""
    reads: list[tuple[Any, Any]] = []

    def visit(block: Any) -> None:
        reads.extend((region, block) for region in block.reads)

    tvm_ffi.structural_walk(function.body, (s_tir.SBlock, visit))
    for region, block in reads:
        buffer = region.source
        position = next((i for i, p in enumerate(function.params) if p.same_as(buffer)), None)
        if position is None or sum(r.source.same_as(buffer) for r, _ in reads) != 1:
            continue
        axes = [
            axis for span in region.region for axis in block.iter_vars if axis.var.same_as(span.min)
        ]
        pixels = axes[SPATIAL:-1]
        if not pixels or len(axes) < len(region.region) or not _is_sum(block, buffer):
            continue
        reduced = [axis.iter_type == tirx.IterVar.CommReduce for axis in axes]
        last = len(axes) - 1
        if reduced == [SPATIAL <= place < last for place in range(len(axes))]:
            return _Mean(position, tuple(axis.var for axis in pixels))
    return None


def _is_sum(block: Any, buffer: Any) -> bool:
    """Whether a block adds elements of `buffer` as they are, from zero."""
    body, start = block.body, block.init
    if not isinstance(body, tirx.BufferStore) or not isinstance(start, tirx.BufferStore):
        return False
    zero = isinstance(start.value, tirx.FloatImm) and start.value.value == 0
    terms = (body.value.a, body.value.b) if isinstance(body.value, tirx.Add) else ()
    loads = [term for term in terms if isinstance(term, tvm.ir.expr.TensorLoad)]
    sources = [load.source for load in loads]
    return (
        zero
        and len(sources) == 2
        and any(source.same_as(buffer) for source in sources)
        and any(source.same_as(body.buffer) for source in sources)
    )


def _shapes(graph: Graph, images: set[str], machine: Machine) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the sums that the kernels of `images` can make, by their variables."""
    known: dict[str, tuple[int, ...] | None] = {}
    shapes = {}
    for var, value in bindings_of(graph.main):
        kernel = op_name(value) == CALL_TIR and isinstance(var.ty, relax.TensorType)
        if var.name not in images or not kernel or var.name in graph.in_place:
            continue
        name = value.args[0].name_hint
        if name not in known:
            function = graph.module[value.args[0]]
            known[name] = sums_shape(write_over_operand(apply_rule(function, machine)))
        shape = known[name]
        # An element-wise kernel may store an image as a matrix of pixels, which its mean does not.
        if shape is not None and len(shape) == len(var.ty.shape):
            shapes[var.name] = shape
    return shapes


def _of_sums(
    builder: relax.BlockBuilder, call: tvm.ir.Call, mean: _Mean, sums: relax.Expr
) -> tvm.ir.Call:
    """Return a mean's call that reads sums, as many as there are parts, instead of an image."""
    function = _over_sums(builder.get()[call.args[0]], mean, [int(n) for n in sums.ty.shape])
    callee = builder.add_func(function, f"{call.args[0].name_hint}_of_sums")
    operands = list(call.args[1].fields)
    operands[mean.position] = sums
    return tvm.ir.Call(call.op, [callee, relax.Tuple(operands)], call.attrs, call.ty_args)


def _over_sums(function: tirx.PrimFunc, mean: _Mean, shape: list[int]) -> tirx.PrimFunc:
    """Return a mean's function whose operand is sums of `shape`."""
    image = function.params[mean.position]
    sums = tirx.decl_buffer(shape, image.dtype, image.name, layout=None)
    body = _resized(function.body, list(zip(mean.axes, shape[SPATIAL:-1], strict=True)))
    parameters = list(function.params)
    parameters[mean.position] = sums
    made = tirx.PrimFunc(
        parameters, moved(body, image, sums, list), function.ret_type, function.attrs
    )
    if FRAMES not in (function.attrs or {}):
        return made
    boxes = json.loads(function.attrs[FRAMES])
    boxes[mean.position] = None
    return made.with_attr(FRAMES, json.dumps(boxes))


def _resized(body: Any, sizes: list[tuple[Any, int]]) -> Any:
    """Return a body in which axes of blocks, and the loops over them, have other sizes."""
    loops: list[tuple[Any, int]] = []

    def size_of(var: Any, table: list[tuple[Any, int]]) -> Any:
        found = (tirx.const(size, var.ty) for known, size in table if known.same_as(var))
        return next(found, None)

    def note(realize: Any) -> None:
        pairs = zip(realize.block.iter_vars, realize.iter_values, strict=True)
        loops.extend((value, size) for a, value in pairs for v, size in sizes if v.same_as(a.var))

    def resized_axis(axis: Any) -> Any:
        size = size_of(axis.var, sizes)
        if size is None:
            return axis
        return tirx.IterVar(tvm.ir.Range.from_min_extent(size * 0, size), axis.var, axis.iter_type)

    def resized_block(block: Any) -> Any:
        return s_tir.SBlock(
            [resized_axis(axis) for axis in block.iter_vars],
            block.reads,
            block.writes,
            block.name_hint,
            block.body,
            block.init,
            block.alloc_buffers,
            annotations=block.annotations,
        )

    def resized_loop(loop: Any) -> Any:
        size = size_of(loop.loop_var, loops)
        if size is None:
            return loop
        return tirx.For(loop.loop_var, loop.min, size, loop.kind, loop.body)

    tvm_ffi.structural_walk(body, (s_tir.SBlockRealize, note))
    return tvm_ffi.structural_map(body, [(s_tir.SBlock, resized_block), (tirx.For, resized_loop)])
