"""Tells kernels which operands nothing reads after them, so that results can take their memory."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import tvm
import tvm_ffi
from tvm import relax, s_tir, tirx

from edgeconv.compiler.graph import Frame, Graph
from edgeconv.compiler.passes.rewriting import (
    CALL_TIR,
    arguments_of,
    bindings_of,
    op_name,
    output_tuple,
    rebuild,
    shape_of,
    substitute,
)
from edgeconv.compiler.schedules.overwriting import FREE

# The memory of inputs and constants, which is never free.
FOREIGN = ""


def free_operands(graph: Graph) -> Graph:
    """Return the graph whose kernels know the operands that they might write their result over.

    Such an operand is read by that kernel for the last time, element by element, and lies in memory
    as the result does. Inputs and outputs of the network belong to the caller.
    """
    free = _free(graph)

    def body(builder: relax.BlockBuilder) -> list[relax.Expr]:
        new: dict[str, relax.Expr] = {}

        def current(expression: relax.Expr) -> relax.Expr:
            return new.get(getattr(expression, "name", ""), expression)

        for var, value in _kernels_and_names(graph):
            call = substitute(value, current)
            if var.name in free:
                callee = call.args[0]
                function = builder.get()[callee].with_attr(FREE, json.dumps(free[var.name]))
                callee = builder.add_func(function, callee.name_hint)
                call = tvm.ir.Call(call.op, [callee, *call.args[1:]], call.attrs, call.ty_args)
            new[var.name] = builder.emit(call, var.name)
        return [current(output) for output in output_tuple(graph.main)]

    return graph.with_module(rebuild(graph.module, body))


def _free(graph: Graph) -> dict[str, list[int]]:
    """Return the positions of such operands, by the variable of the result."""
    bindings = _kernels_and_names(graph)
    places, end = _places(graph), len(bindings)
    # Which binding touches a memory for the first and for the last time.
    first: dict[str, int] = {}
    last = {FOREIGN: end}
    for time, (var, value) in enumerate(bindings):
        for name in (var.name, *_variables(value)):
            first.setdefault(places[name].memory, time)
            last[places[name].memory] = max(time, last.get(places[name].memory, 0))
    last |= {places[output.name].memory: end for output in output_tuple(graph.main)}

    free: dict[str, list[int]] = {}
    for time, (var, value) in enumerate(bindings):
        own = places[var.name]
        # What lies in the same memory already, another part of a whole, would be lost.
        if op_name(value) != CALL_TIR or first[own.memory] < time or last[own.memory] == end:
            continue
        function, operands = graph.module[value.args[0]], value.args[1].fields
        read = [places[o.name].memory for o in operands if isinstance(o, relax.Var)]
        for position, operand in enumerate(operands):
            if (
                isinstance(operand, relax.Var)
                and tvm_ffi.structural_equal(operand.ty, var.ty)
                and replace(places[operand.name], memory=own.memory) == own
                and last[places[operand.name].memory] == time
                and read.count(places[operand.name].memory) == 1
                and _is_read_by_element(function, function.params[position])
            ):
                free.setdefault(var.name, []).append(position)
    return free


def _places(graph: Graph) -> dict[str, Frame]:
    """Return in which memory every variable lies, and where in it, by name."""
    places = {p.name: Frame(FOREIGN, shape_of(p), ()) for p in graph.main.params}
    for var, value in _kernels_and_names(graph):
        shape = shape_of(var) if isinstance(var.ty, relax.TensorType) else ()
        if op_name(value) == CALL_TIR:
            places[var.name] = graph.frames.get(var.name, Frame(var.name, shape, ()))
            continue
        # Another name for the same bytes.
        named = [places[name] for name in _variables(value)] or [Frame(FOREIGN, shape, ())]
        places[var.name] = named[0] if named[0].begin else replace(named[0], shape=shape)
    return places


def _kernels_and_names(graph: Graph) -> list[tuple[relax.Var, relax.Expr]]:
    return [
        (v, value) for v, value in bindings_of(graph.main) if not isinstance(value, relax.Tuple)
    ]


def _variables(value: relax.Expr) -> list[str]:
    return [argument.name for argument in arguments_of(value) if isinstance(argument, relax.Var)]


def _is_read_by_element(function: tirx.PrimFunc, parameter: tirx.Buffer) -> bool:
    """Whether blocks read the parameter at their own axes only, and do not reduce it."""
    regions: list[tuple[Any, Any]] = []

    def visit(block: Any) -> None:
        for read in block.reads:
            if read.source.same_as(parameter):
                regions.append((read.region, [axis.var for axis in block.iter_vars]))

    tvm_ffi.structural_walk(function.body, (s_tir.SBlock, visit))
    return all(
        len(region) == len(axes)
        and all(span.min.same_as(axis) for span, axis in zip(region, axes, strict=True))
        for region, axes in regions
    )
