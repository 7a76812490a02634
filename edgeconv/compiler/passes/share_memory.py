"""Lets tensors lie where they would be copied to: inside a padded or a joined one.

What a convolution pads is written into the middle of the padded tensor at once; a step remains
that puts zeros around it. What is joined along channels is written into its part of the whole, and
what is cut out along them stays where it is. Other readers find the tensors there as well.
"""

from __future__ import annotations

import json
from dataclasses import replace

import tvm
from tvm import relax

from edgeconv.compiler.compute.border import fill_border
from edgeconv.compiler.graph import Frame, Graph, Padding
from edgeconv.compiler.passes.memories import find_frames
from edgeconv.compiler.passes.rewriting import (
    CALL_TIR,
    bindings_of,
    op_name,
    output_tuple,
    rebuild,
    shape_of,
    substitute,
)
from edgeconv.compiler.schedules.frames import FRAMES, WITH_RESULT


def share_memory(graph: Graph, alignment: int) -> Graph:
    """Return the graph with `frames`, whose kernels read and write tensors in them.

    A pointer to the middle of a frame is a multiple of `alignment` bytes away from its start.
    """
    frames, in_place = find_frames(graph, alignment)
    layers = dict(graph.layers)
    order = {var.name: place for place, (var, _) in enumerate(bindings_of(graph.main))}
    # Which kernel writes the last part of a tensor in place.
    writers: dict[str, str] = {}

    def body(builder: relax.BlockBuilder) -> list[relax.Expr]:
        new: dict[str, relax.Expr] = {}

        def current(expression: relax.Expr) -> relax.Expr:
            return new.get(getattr(expression, "name", ""), expression)

        for var, value in bindings_of(graph.main):
            if isinstance(value, relax.Tuple):
                continue
            call = substitute(value, current)
            if var.name in in_place:
                parts = [part.name for part in value.args[1].fields]
                last = max((writers.get(part, part) for part in parts), key=order.__getitem__)
                writers[var.name] = last
                # Once, however many parts a node cuts out.
                both = (*layers.get(last, ()), *layers.pop(var.name, ()))
                layers[last] = tuple(dict.fromkeys(both))
            elif var.name in frames and var.name in graph.paddings:
                call = _border(builder, var, value.args[1].fields[0], graph.paddings[var.name])
            if var.name not in in_place and op_name(call) == CALL_TIR:
                call = _in_frames(builder, call, var, frames, alignment)
            new[var.name] = builder.emit(call, var.name)
        return [current(output) for output in output_tuple(graph.main)]

    module = rebuild(graph.module, body)
    return replace(graph, module=module, layers=layers, frames=frames, in_place=in_place)


def _border(
    builder: relax.BlockBuilder, var: relax.Var, operand: relax.Var, padding: Padding
) -> tvm.ir.Call:
    """Return a call that fills what surrounds the operand in the padded tensor `var`."""
    before, after = zip(*padding, strict=True)
    shape, size, dtype = shape_of(var), shape_of(operand), str(var.ty.dtype)
    return builder.call_te(
        lambda: fill_border(shape, before, size, after, dtype),
        primfunc_name_hint="fill_border",
    )


def _in_frames(
    builder: relax.BlockBuilder,
    call: tvm.ir.Call,
    var: relax.Var,
    frames: dict[str, Frame],
    alignment: int,
) -> tvm.ir.Call:
    """Return the call with a function that knows where its operands and its result lie."""
    operands = call.args[1].fields
    boxes = [_box(operand, frames, alignment) for operand in (*operands, var)]
    if not any(boxes):
        return call
    memories = [_memory(operand, frames) for operand in operands]
    own = _memory(var, frames)
    beside = [i for i, memory in enumerate(memories) if memory == own]
    function = builder.get()[call.args[0]].with_attr(FRAMES, json.dumps(boxes))
    function = function.with_attr(WITH_RESULT, json.dumps(beside))
    callee = builder.add_func(function, f"{call.args[0].name_hint}_framed")
    return tvm.ir.Call(call.op, [callee, *call.args[1:]], call.attrs, call.ty_args)


def _box(
    operand: relax.Expr, frames: dict[str, Frame], alignment: int
) -> list[tuple[int, ...]] | None:
    """Return the frame's shape and the begin in it; None where a pointer says enough."""
    frame = frames.get(getattr(operand, "name", ""))
    if frame is None or pointer_offset(frame, operand, alignment) is not None:
        return None
    return [frame.shape, frame.begin]


def _memory(operand: relax.Expr, frames: dict[str, Frame]) -> str:
    """Return the name of the memory in which an operand lies."""
    name = getattr(operand, "name", "")
    return frames[name].memory if name in frames else name


def pointer_offset(frame: Frame, tensor: relax.Expr, alignment: int) -> int | None:
    """Return the bytes before a tensor that lies in a row, aligned; None for any other."""
    start = frame.row_start(shape_of(tensor))
    offset = None if start is None else start * (tvm.DataType(str(tensor.ty.dtype)).bits // 8)
    return None if offset is None or offset % alignment else offset
