"""Merges chains of small kernels of a GPU into one, whose single work-group computes them in turn.

A launch takes a GPU some microseconds, in which one work-group computes what squeeze-and-excitation
or the routing of a dynamic convolution needs. A kernel takes in those that it alone reads.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import tvm
import tvm_ffi
from tvm import relax, s_tir, tirx

from edgeconv.compiler.graph import Graph
from edgeconv.compiler.passes.fuse import composite
from edgeconv.compiler.passes.rewriting import (
    CALL_TIR,
    RESHAPE,
    arguments_of,
    bindings_of,
    op_name,
    output_tuple,
    rebuild,
    shape_of,
    substitute,
)
from edgeconv.compiler.passes.views import reshape_function
from edgeconv.compiler.schedules.common import (
    block_names,
    extent,
    is_reduction,
    loops_of,
    narrowed,
    total_work,
)
from edgeconv.compiler.schedules.gpu import conv, deformable, grouped, phases, pointwise, window
from edgeconv.compiler.schedules.gpu.common import items_of
from edgeconv.compiler.schedules.gpu.machine import GpuMachine
from edgeconv.compiler.schedules.gpu.one_group import ONE_GROUP
from edgeconv.compiler.schedules.registry import apply_rule

# Multiply-accumulates that a work-group does in about the time of a launch.
MOST_WORK = 1 << 15
# Results of a kernel, of which each work-item computes some.
MOST_RESULTS = 1 << 10
# Of local memory, of which OpenCL promises 32 KiB.
MOST_BYTES = 28 << 10
# What the shares of a sum take there, at most: a vector of each work-item.
SHARES_BYTES = 4 << 10
# Rules that keep the pixels of a tile in registers are faster on images.
_TILED = tuple(rule.ANCHOR for rule in (conv, deformable, grouped, phases, pointwise, window))
_TYPES = ("float32", "float16", "int32", "bool")


def merge_small(graph: Graph, machine: GpuMachine) -> Graph:
    """Return the graph in which a small kernel computes the small ones that it alone reads."""
    merged = _merged(graph)
    while True:
        result = _with(graph, merged)
        called = {var.name: value for var, value in bindings_of(result.main)}
        fitting = {
            last: names
            for last, names in merged.items()
            if _is_schedulable(result.module[called[last].args[0]], machine)
        }
        if len(fitting) == len(merged):
            return result
        merged = fitting


def _is_schedulable(function: tirx.PrimFunc, machine: GpuMachine) -> bool:
    """Whether TVM can prove of every loop what its primitives ask for."""
    try:
        apply_rule(function, machine)
    except s_tir.ScheduleError:
        return False
    return True


def _with(graph: Graph, merged: Mapping[str, tuple[str, ...]]) -> Graph:
    """Return the graph with the kernels merged that stand together."""
    inside = {name for names in merged.values() for name in names[:-1]}
    calls = {var.name: (var, value) for var, value in bindings_of(graph.main)}
    layers, families, macs = dict(graph.layers), dict(graph.families), dict(graph.macs)

    def body(builder: relax.BlockBuilder) -> list[relax.Expr]:
        new: dict[str, relax.Expr] = {}

        def current(expression: relax.Expr) -> relax.Expr:
            return new.get(getattr(expression, "name", ""), expression)

        for var, value in bindings_of(graph.main):
            if isinstance(value, relax.Tuple) or var.name in inside:
                continue
            names = merged.get(var.name)
            if names is None:
                new[var.name] = builder.emit(substitute(value, current), var.name)
                continue
            chain = [_as_call(builder, graph.module, *calls[name]) for name in names]
            function, arguments = composite(chain)
            callee = builder.add_func(function, f"merged_{var.name}")
            call = tvm.ir.Call(callee, [current(argument) for argument in arguments])
            new[var.name] = builder.emit(call, var.name)
            layers[var.name] = tuple(
                dict.fromkeys(layer for name in names for layer in graph.layers.get(name, ()))
            )
            largest = max(names, key=lambda name: graph.macs.get(name, 0))
            families[var.name] = graph.families.get(largest, "reduce")
            macs[var.name] = sum(graph.macs.get(name, 0) for name in names)
        return [current(output) for output in output_tuple(graph.main)]

    module = relax.transform.FuseTIR()(rebuild(graph.module, body))
    for var, value in bindings_of(module["main"]):
        if var.name in merged:
            callee = value.args[0]
            module.update_func(callee, module[callee].with_attr(ONE_GROUP, True))
    return replace(graph, module=module, layers=layers, families=families, macs=macs)


@dataclass(frozen=True)
class _Small:
    """A kernel that is small, or a reshape, which takes nothing: its work and its local memory."""

    work: int
    bytes: int
    reduces: bool


def _merged(graph: Graph) -> dict[str, tuple[str, ...]]:
    """Return what is computed together, in order, by the name of the last variable."""
    bindings = bindings_of(graph.main)
    values = {var.name: value for var, value in bindings if not isinstance(value, relax.Tuple)}
    places = {name: place for place, name in enumerate(values)}
    small = {
        var.name: found
        for var, value in bindings
        if (found := _small(graph, var, value)) is not None
    }
    users: dict[str, set[str]] = defaultdict(set)
    for name, value in values.items():
        for operand in _variables([value]):
            users[operand].add(name)
    for name in _variables(output_tuple(graph.main)):
        users[name].add("")
    taken: set[str] = set()
    merged = {}
    for last in reversed(values):
        if last in taken or last not in small or op_name(values[last]) != CALL_TIR:
            continue
        names, work, passed = {last}, small[last].work, 0
        # The latest first: what it alone reads has no other readers left to come.
        while grown := sorted(
            (
                operand
                for name in names
                for operand in _variables([values[name]])
                if operand in small and operand not in names | taken and users[operand] <= names
            ),
            key=places.__getitem__,
        ):
            name = grown[-1]
            work, passed = work + small[name].work, passed + small[name].bytes
            if work > MOST_WORK or passed > MOST_BYTES:
                break
            names.add(name)
        kernels = [name for name in names if op_name(values[name]) == CALL_TIR]
        if len(kernels) > 1 and any(small[name].reduces for name in kernels):
            first = min(places[name] for name in kernels)
            kept = sorted((n for n in names if places[n] >= first), key=places.__getitem__)
            merged[last] = tuple(kept)
            taken.update(kept)
    return merged


def _small(graph: Graph, var: relax.Var, value: relax.Expr) -> _Small | None:
    """Return what a binding takes where it may be merged."""
    special = (graph.joins, graph.repeats, graph.paddings)
    if not isinstance(var.ty, relax.TensorType) or any(var.name in table for table in special):
        return None
    if op_name(value) == RESHAPE and isinstance(value.args[0], relax.Var):
        return _Small(0, 0, reduces=False)
    if op_name(value) != CALL_TIR or prod(shape_of(var)) > MOST_RESULTS:
        return None
    return _measured(graph.module[value.args[0]], 4 * prod(shape_of(var)))


def _measured(function: tirx.PrimFunc, size: int) -> _Small | None:
    """Return what a kernel takes whose result has `size` bytes; None where it is not small."""
    known = all(str(buffer.dtype) in _TYPES for buffer in function.params)
    if not known or function.body.block.name_hint != "root" or _gathers(function):
        return None
    sch = s_tir.Schedule(tvm.IRModule({"main": function.with_attr("global_symbol", "main")}))
    work, reduces = 0, False
    for name in block_names(sch):
        block = sch.get_sblock(name)
        written = sch.get(block).writes
        # The block of a single number has an axis that FuseTIR does not take.
        if len(written) != 1 or not written[0].region:
            return None
        if name in _TILED and _has_pixels(sch, block):
            return None
        work = max(work, total_work(sch, block))
        if is_reduction(sch, block):
            reduces, size = True, size + SHARES_BYTES
    return _Small(work, size, reduces) if work <= MOST_WORK else None


def _gathers(function: tirx.PrimFunc) -> bool:
    """Whether data says what is read, so that no one can tell which part of a tensor it is."""
    found: list[Any] = []

    def visit(load: Any) -> None:
        for index in load.indices:
            tvm_ffi.structural_walk(index, (tvm.ir.expr.TensorLoad, found.append))

    tvm_ffi.structural_walk(function.body, (tvm.ir.expr.TensorLoad, visit))
    return bool(found)


def _has_pixels(sch: s_tir.Schedule, block: object) -> bool:
    """Whether the result of (N, blocks, *spatial, lanes) is an image of several pixels."""
    *_, lanes = spatial = loops_of(sch, block)[0]
    return items_of(sch, spatial[2:]) > extent(sch, lanes)


def _variables(expressions: Iterable[relax.Expr]) -> list[str]:
    """Return the variables that are read, by name."""
    read = [argument for expression in expressions for argument in arguments_of(expression)]
    return [argument.name for argument in read if isinstance(argument, relax.Var)]


def _as_call(
    builder: relax.BlockBuilder, module: tvm.IRModule, var: relax.Var, value: tvm.ir.Call
) -> tuple[relax.Var, tvm.ir.Call]:
    """Return a binding, of a reshape too, as the call of a kernel with indices of 32 bits."""
    if op_name(value) == CALL_TIR:
        function, operands = module[value.args[0]], list(value.args[1].fields)
    else:
        function, operands = reshape_function(value.args[0], var), [value.args[0]]
    callee = builder.add_func(narrowed(function)["main"].without_attr("global_symbol"), "part")
    kind = relax.TensorType(shape_of(var), str(var.ty.dtype))
    return var, relax.call_tir(callee, operands, kind)
