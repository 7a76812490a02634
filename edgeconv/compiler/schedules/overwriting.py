"""Kernels that write their result where an operand lies that nothing reads any more.

A function says in its attribute `FREE` (JSON, positions of parameters) which operands lie in memory
as the result does and are read by it for the last time. Where the schedule shows that it reads an
element of one only to compute the same element of the result, once, the operand becomes the result
in the function: what compiles it knows that they are one, and pointers still have no alias.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import tvm
import tvm_ffi
from tvm import s_tir, sym, tirx
from tvm.sym.iter_affine_map import IterMapLevel

from edgeconv.compiler.schedules.frames import moved

FREE = "edgeconv.free"
OVERWRITTEN = "edgeconv.overwritten"


def write_over_operand(module: tvm.IRModule) -> tvm.IRModule:
    """Return the scheduled module, whose "main" writes over an operand, if it can.

    It says which in its attribute `OVERWRITTEN`; it does not use that parameter any more.
    """
    function = module["main"]
    if FREE not in (function.attrs or {}):
        return module
    *operands, result = function.params
    for position in json.loads(function.attrs[FREE]):
        if _is_read_where_written(function.body, operands[position], result):
            body = moved(function.body, operands[position], result, list)
            function = function.with_body(body).with_attr(OVERWRITTEN, position)
            break
    return tvm.IRModule({"main": function.without_attr(FREE)})


def _is_read_where_written(body: Any, operand: Any, result: Any) -> bool:
    """Whether each element of `operand` is read only by the one store of that of `result`."""
    found = only_store(body, result)
    if found is None or _loads(body, result):
        return False
    store, around = found
    reads = _loads(store.value, operand)
    if len(reads) < len(_loads(body, operand)):
        return False
    analyzer = sym.Analyzer()
    for outer in around:
        if isinstance(outer, s_tir.SBlockRealize):
            for axis in outer.block.iter_vars:
                analyzer.bind(axis.var, axis.dom)
    return all(
        analyzer.can_prove_equal(read_at, written_at)
        for read in reads
        for read_at, written_at in zip(read.indices, store.indices, strict=True)
    )


def only_store(body: Any, result: Any) -> tuple[Any, tuple[Any, ...]] | None:
    """Return the one store of `result`, and the loops and blocks around it, outermost first.

    None where there are several, or where it stores an element more than once.
    """

    def is_store(node: Any) -> bool:
        return isinstance(node, tirx.BufferStore) and bool(node.buffer.same_as(result))

    stores = [path for path in _paths(body, ()) if is_store(path[0])]
    if not len(stores) == len(_found(body, tirx.BufferStore, is_store)) == 1:
        return None
    ((store, around),) = stores
    places, runs = list(store.indices), tirx.const(True, "bool")
    loops: dict[tirx.Var, tvm.ir.Range] = {}
    for outer in reversed(around):
        if isinstance(outer, tirx.For):
            loops[outer.loop_var] = tvm.ir.Range.from_min_extent(outer.min, outer.extent)
            continue
        places = [_outside(outer, place) for place in places]
        runs = tirx.all(_outside(outer, runs), outer.predicate)
    once = sym.detect_iter_map(places, loops, runs, IterMapLevel.Bijective).indices
    return (store, around) if len(once) > 0 else None


def _paths(statement: Any, around: tuple[Any, ...]) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """Yield statements that run whenever the loops and blocks around them do, and those."""
    if isinstance(statement, tirx.SeqStmt):
        for part in statement.seq:
            yield from _paths(part, around)
    elif isinstance(statement, tirx.For):
        yield from _paths(statement.body, (*around, statement))
    elif isinstance(statement, s_tir.SBlockRealize):
        yield from _paths(statement.block.body, (*around, statement))
    else:
        yield statement, around


def _outside(realize: Any, expression: Any) -> Any:
    """Return an expression inside of a block by what its axes are outside of it."""

    def value(var: Any) -> Any:
        pairs = zip(realize.block.iter_vars, realize.iter_values, strict=True)
        return next((value for axis, value in pairs if axis.var.same_as(var)), var)

    return tvm_ffi.structural_map(
        # Indices are small: how wide an integer is does not matter.
        tvm_ffi.structural_map(expression, (tirx.Var, value)),
        (tirx.Cast, lambda cast: cast.value),
    )


def _loads(node: Any, buffer: Any) -> list[Any]:
    return _found(node, tvm.ir.expr.TensorLoad, lambda load: load.source.same_as(buffer))


def _found(node: Any, kind: Any, wanted: Callable[[Any], bool]) -> list[Any]:
    """Return what is of a kind in a statement or an expression."""
    found: list[Any] = []

    def visit(other: Any) -> None:
        if wanted(other):
            found.append(other)

    tvm_ffi.structural_walk(node, (kind, visit))
    return found
