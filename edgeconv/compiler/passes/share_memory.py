"""Lets tensors lie where they would be copied to: inside a padded one.

What a convolution pads is written into the middle of the padded tensor at once; a step remains
that puts zeros around it. Other readers find the tensor there as well.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

import tvm
from tvm import relax

from edgeconv.compiler.compute.border import fill_border
from edgeconv.compiler.graph import Frame, Graph, Padding
from edgeconv.compiler.passes.fuse import CALL_TIR
from edgeconv.compiler.passes.rewriting import (
    arguments_of,
    bindings_of,
    op_name,
    output_tuple,
    rebuild,
    shape_of,
    substitute,
)
from edgeconv.compiler.schedules.frames import FRAMES


def share_memory(graph: Graph) -> Graph:
    """Return the graph with `frames`, whose kernels read and write tensors in them."""
    frames = _frames_of_padded(graph)

    def body(builder: relax.BlockBuilder) -> list[relax.Expr]:
        new: dict[str, relax.Expr] = {}

        def current(expression: relax.Expr) -> relax.Expr:
            return new.get(getattr(expression, "name", ""), expression)

        for var, value in bindings_of(graph.main):
            if isinstance(value, relax.Tuple):
                continue
            call = substitute(value, current)
            if var.name in graph.paddings and var.name in frames:
                call = _border(builder, var, value.args[1].fields[0], graph.paddings[var.name])
            if op_name(call) == CALL_TIR:
                call = _in_frames(builder, call, var, frames)
            new[var.name] = builder.emit(call, var.name)
        return [current(output) for output in output_tuple(graph.main)]

    return replace(graph, module=rebuild(graph.module, body), frames=frames)


def _frames_of_padded(graph: Graph) -> dict[str, Frame]:
    """Return frames of the tensors that are padded, and of what padding makes of them."""
    bindings = bindings_of(graph.main)
    made_by_kernel = {
        var.name: var
        for var, value in bindings
        if op_name(value) == CALL_TIR and isinstance(var.ty, relax.TensorType)
    }
    kept = {output.name for output in output_tuple(graph.main) if isinstance(output, relax.Var)}
    padded = defaultdict(list)
    for var, value in bindings:
        if op_name(value) != CALL_TIR:
            # Another name for the bytes, which have to lie in a row.
            kept.update(a.name for a in arguments_of(value) if isinstance(a, relax.Var))
        elif var.name in graph.paddings:
            padded[value.args[1].fields[0].name].append(var)
    frames: dict[str, Frame] = {}
    for name, results in padded.items():
        if name in kept or name not in made_by_kernel:
            continue
        box = shape_of(made_by_kernel[name])
        before = [[first for first, _ in graph.paddings[result.name]] for result in results]
        begin = tuple(map(max, *before, (0,) * len(box)))
        ends = [
            [size - own for size, own in zip(shape_of(result), sizes, strict=True)]
            for result, sizes in zip(results, before, strict=True)
        ]
        shape = tuple(b + end for b, end in zip(begin, map(max, *ends, box), strict=True))
        frames[name] = Frame(name, shape, begin)
        for result, sizes in zip(results, before, strict=True):
            own = tuple(b - size for b, size in zip(begin, sizes, strict=True))
            frames[result.name] = Frame(name, shape, own)
    return frames


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
    builder: relax.BlockBuilder, call: tvm.ir.Call, var: relax.Var, frames: Mapping[str, Frame]
) -> tvm.ir.Call:
    """Return the call with a function that knows where its operands and its result lie."""
    operands = [*call.args[1].fields, var]
    boxes = [
        [frame.shape, frame.begin]
        if frame is not None and frame.shape != shape_of(operand)
        else None
        for operand in operands
        for frame in [frames.get(getattr(operand, "name", ""))]
    ]
    if not any(boxes):
        return call
    function = builder.get()[call.args[0]].with_attr(FRAMES, json.dumps(boxes))
    callee = builder.add_func(function, f"{call.args[0].name_hint}_framed")
    return tvm.ir.Call(call.op, [callee, *call.args[1:]], call.attrs, call.ty_args)
