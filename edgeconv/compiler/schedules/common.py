"""What schedule rules share."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import tvm
import tvm_ffi
from tvm import s_tir, sym, tirx

from edgeconv.compiler.compute.layout import flat_index


def narrowed(function: tirx.PrimFunc) -> tvm.IRModule:
    """Return a module whose function "main" is `function`, with indices of 32 bits if it can be."""
    module = tvm.IRModule({"main": function.with_attr("global_symbol", "main")})
    if any(str(parameter.dtype) == "int64" for parameter in function.params):
        return module
    # Relax counts in 64 bits, which 32-bit processors do by function calls.
    return tirx.transform.ForceNarrowIndexToInt32()(module)


def extent(sch: s_tir.Schedule, loop: object) -> int:
    """Return a loop's constant extent."""
    return int(sch.get(loop).extent)


def block_names(sch: s_tir.Schedule) -> list[str]:
    """Return the names of the function's blocks, in order."""
    root = sch.get_sblock("root")
    return [str(sch.get(block).name_hint) for block in sch.get_child_blocks(root)]


def is_reduction(sch: s_tir.Schedule, block: object) -> bool:
    """Whether a block has a reduction axis."""
    return any(axis.iter_type == tirx.IterVar.CommReduce for axis in sch.get(block).iter_vars)


def attach_epilogue(sch: s_tir.Schedule, anchor: str) -> object:
    """Keep the anchor's result local and inline every block after it into one; return that one.

    Where the anchor is itself the output, a copy from the local buffer takes its place.
    """
    names = block_names(sch)
    after = names[names.index(anchor) + 1 :]
    if not after:
        return sch.cache_write(sch.get_sblock(anchor), 0, "local")
    for name in after[:-1]:
        sch.compute_inline(sch.get_sblock(name))
    sch.set_scope(sch.get_sblock(anchor), 0, "local")
    return sch.get_sblock(after[-1])


def total_work(sch: s_tir.Schedule, block: object) -> int:
    """Return the number of innermost iterations of a block."""
    return prod(extent(sch, loop) for loop in sch.get_loops(block))


def vectorize_unroll(sch: s_tir.Schedule, loops: Sequence[object]) -> None:
    """Unroll `loops` and vectorise the last."""
    for loop in loops[:-1]:
        sch.unroll(loop)
    if extent(sch, loops[-1]) > 1:
        sch.vectorize(loops[-1])


def image_in_one_row(sch: s_tir.Schedule, image: object, frames: int = 0) -> None:
    """Let a block that writes (N, blocks, *spatial, lanes) run over all pixels in one loop.

    The first `frames` spatial axes stay loops of their own.
    """
    size = [extent(sch, loop) for loop in sch.get_loops(image)[2:-1]]

    def row(batch: tirx.Var, block: tirx.Var, *rest: tirx.Var) -> list[tirx.PrimExpr]:
        *axes, lane = rest
        pixel = flat_index(axes[frames:], size[frames:])
        return [batch, block, *axes[:frames], pixel, lane]

    sch.transform_block_layout(image, tirx.IndexMap.from_func(row, ndim=len(size) + 3))


def pixels_in_one_row(sch: s_tir.Schedule, image: object) -> None:
    """Let a block that writes plain (N, C, *spatial) run over all pixels in one loop."""
    size = [extent(sch, loop) for loop in sch.get_loops(image)[2:]]

    def row(batch: tirx.Var, channel: tirx.Var, *axes: tirx.Var) -> list[tirx.PrimExpr]:
        return [batch, channel, flat_index(axes, size)]

    sch.transform_block_layout(image, tirx.IndexMap.from_func(row, ndim=len(size) + 2))


def inline_stages(sch: s_tir.Schedule) -> None:
    """Inline every block that is not a reduction and not an output."""
    results = list(sch.mod["main"].params)
    for name in block_names(sch):
        block = sch.get_sblock(name)
        written = sch.get(block).writes[0].source
        if not is_reduction(sch, block) and not any(written.same_as(r) for r in results):
            sch.compute_inline(block)


def inline_operands(sch: s_tir.Schedule, prefix: str) -> None:
    """Inline blocks whose names begin with `prefix` where they do something to a parameter."""
    parameters = list(sch.mod["main"].params)
    for name in block_names(sch):
        block = sch.get_sblock(name)
        if name.startswith(prefix) and any(
            sch.get(block).reads[0].source.same_as(parameter) for parameter in parameters
        ):
            sch.compute_inline(block)


def is_flat(sch: s_tir.Schedule, block: object) -> bool:
    """Whether every operand has the result's shape and is read where the result is written."""
    statement = sch.get(block)
    axes = [axis.var for axis in statement.iter_vars]
    shape = [int(size) for size in statement.writes[0].source.shape]
    return all(
        [int(size) for size in read.source.shape] == shape
        # A single number has no axis, but a loop all the same.
        and all(part.min.same_as(axis) for part, axis in zip(read.region, axes, strict=False))
        for read in statement.reads
    )


def is_sum(sch: s_tir.Schedule, block: object) -> bool:
    """Whether a reduction adds floating-point numbers."""
    body = sch.get(block).body
    return (
        isinstance(body, tirx.BufferStore)
        and isinstance(body.value, tirx.Add)
        and "float" in str(body.buffer.dtype)
    )


def loops_of(
    sch: s_tir.Schedule, block: object, inside: object | None = None
) -> tuple[list[object], list[object]]:
    """Return a block's loops `inside` another: spatial ones, and those that its reduction takes."""
    loops = sch.get_loops(block)
    if not loops:
        return [], []
    realize = sch.get(loops[-1]).body
    pairs = zip(realize.block.iter_vars, realize.iter_values, strict=True)
    reducing = [value for axis, value in pairs if int(axis.iter_type) != 0]
    if inside is not None:
        around = sch.get(inside).loop_var
        first = next(i for i, loop in enumerate(loops) if sch.get(loop).loop_var.same_as(around))
        loops = loops[first + 1 :]

    def reduces(loop: object) -> bool:
        return any(uses(value, sch.get(loop).loop_var) for value in reducing)

    reduction = [loop for loop in loops if reduces(loop)]
    return [loop for loop in loops if not reduces(loop)], reduction


def uses(expression: object, var: tirx.Var) -> bool:
    """Whether `var` stands in an expression."""
    found = False

    def visit(other: tirx.Var) -> None:
        nonlocal found
        found = found or other.same_as(var)

    tvm_ffi.structural_walk(expression, (tirx.Var, visit))
    return found


def with_body(loop: Any, body: Any) -> tirx.For:
    """Return a loop with another body."""
    return tirx.For(
        loop.loop_var,
        loop.min,
        loop.extent,
        loop.kind,
        body,
        loop.thread_binding,
        loop.annotations,
    )


def replaced(expression: Any, var: tirx.Var, value: Any) -> Any:
    """Return an expression with `value` in place of `var`."""
    return tvm_ffi.structural_map(
        expression, (tirx.Var, lambda other: value if other.same_as(var) else other)
    )


def loop_bounds(sch: s_tir.Schedule) -> sym.Analyzer:
    """Return an analyzer that knows the ranges of all loops."""
    analyzer = sym.Analyzer()

    def bind(loop: tirx.For) -> None:
        analyzer.bind(loop.loop_var, tvm.ir.Range.from_min_extent(loop.min, loop.extent))

    tvm_ffi.structural_walk(sch.mod["main"].body, (tirx.For, bind))
    return analyzer
