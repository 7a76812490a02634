"""Reductions of neighbours in memory: lanes of vectors reduce theirs first, then those results."""

from __future__ import annotations

from math import gcd, isqrt
from typing import Any

import tvm
import tvm_ffi
from tvm import s_tir, tirx
from tvm.sym import Analyzer

from edgeconv.compiler.schedules.common import extent, is_sum, loops_of, uses, vectorize_unroll
from edgeconv.compiler.schedules.machine import MIN_BLOCK, Machine

# Vectors of partial results that do not wait for each other.
VECTORS = 4
# That a lane sums in one go; more of them are summed in runs of about the root of all.
MOST_TERMS = 128
# By what TVM puts results of parts together: its maxima begin at the least finite number, and a
# reducer in Python that it is told of outlives the interpreter.
_REDUCERS = (tirx.Add, tirx.Mul)


def reduces_neighbours(sch: s_tir.Schedule, block: object, machine: Machine) -> bool:
    """Whether vectors divide what the last loop of a reduction runs over, and it lies side by side.

    In everything that is read; what does not depend on that loop does not matter.
    """
    *_, last = sch.get_loops(block)
    lanes = gcd(extent(sch, last), machine.lanes)
    if lanes < MIN_BLOCK or lanes == extent(sch, last):
        return False
    realize = sch.get(last).body
    var = next(
        axis.var
        for axis, value in zip(realize.block.iter_vars, realize.iter_values, strict=True)
        if value.same_as(sch.get(last).loop_var)
    )
    body = realize.block.body
    if not isinstance(body, tirx.BufferStore) or not isinstance(body.value, _REDUCERS):
        return False
    return all(_neighbours(load, var) for load in _loads(body))


def reduce_in_lanes(sch: s_tir.Schedule, block: object, task: object, machine: Machine) -> None:
    """Let a reduction inside the loop `task` take as many elements at once as fill vectors.

    It `reduces_neighbours`. Long sums are taken in runs, whose sums are added then: rounding errors
    grow with the length.
    """
    length = extent(sch, sch.get_loops(block)[-1])
    lanes = gcd(length, machine.lanes)
    width = lanes * gcd(length // lanes, VECTORS)
    if is_sum(sch, block) and length > MOST_TERMS * width:
        terms = next(
            n for n in range(isqrt(length) // width + 1, length) if length % (n * width) == 0
        )
        run, _ = sch.split(sch.get_loops(block)[-1], [None, terms * width])
        part = sch.rfactor(run, 0)
        run = _place(sch, part, task)
        reduce_in_lanes(sch, part, run, machine)
    else:
        partials = []
        while width > 1:
            _, lane = sch.split(sch.get_loops(block)[-1], [None, width])
            partials.append(sch.rfactor(lane, 0))
            width //= VECTORS
        for partial in reversed(partials):
            lane = _place(sch, partial, task)
            _, reduction = loops_of(sch, partial, task)
            sch.reorder(*reduction, lane)
            vector, lane = sch.split(lane, [None, gcd(extent(sch, lane), machine.lanes)])
            vectorize_unroll(sch, [vector, lane])
            init = sch.decompose_reduction(partial, reduction[0])
            vectorize_unroll(sch, sch.get_loops(init)[-2:])
    _, reduction = loops_of(sch, block, task)
    sch.decompose_reduction(block, reduction[0])


def _place(sch: s_tir.Schedule, partial: object, task: object) -> object:
    """Compute partial results where they are reduced; return the loop over them."""
    sch.compute_at(partial, task, preserve_unit_loops=True)
    sch.set_scope(partial, 0, "local")
    (loop, *others), reduction = loops_of(sch, partial, task)
    sch.reorder(*others, loop, *reduction)
    return loop


def _loads(statement: Any) -> list[tvm.ir.TensorLoad]:
    """Return what a reduction reads, but for its own result."""
    loads: list[tvm.ir.TensorLoad] = []
    tvm_ffi.structural_walk(statement.value, (tvm.ir.TensorLoad, loads.append))
    return [load for load in loads if not load.source.same_as(statement.buffer)]


def _neighbours(load: tvm.ir.TensorLoad, var: tirx.Var) -> bool:
    """Whether elements that follow each other as `var` grows do so in memory, or are the same."""
    *outer, last = load.indices
    if any(uses(index, var) for index in outer):
        return False
    after = tvm_ffi.structural_map(last, (tirx.Var, lambda v: v + 1 if v.same_as(var) else v))
    step = Analyzer().simplify(after - last)
    return isinstance(step, tirx.IntImm) and int(step) in (0, 1)
