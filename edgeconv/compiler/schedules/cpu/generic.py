"""Everything without a rule of its own: element-wise, layout changes, reductions, softmax."""

from __future__ import annotations

from math import gcd

from tvm import s_tir

from edgeconv.compiler.schedules.cpu.common import (
    block_names,
    extent,
    is_reduction,
    parallelise,
    total_work,
)
from edgeconv.compiler.schedules.machine import Machine


def schedule(sch: s_tir.Schedule, machine: Machine) -> None:
    """Inline what can be inlined, then run each remaining block in parallel and vectorised."""
    _inline(sch)
    for name in block_names(sch):
        block = sch.get_sblock(name)
        if is_reduction(sch, block):
            _schedule_reduction(sch, block, machine)
        else:
            _schedule_spatial(sch, block, machine)


def _inline(sch: s_tir.Schedule) -> None:
    """Inline every block that is not a reduction and not an output."""
    for name in block_names(sch):
        block = sch.get_sblock(name)
        if not is_reduction(sch, block) and sch.get_consumers(block):
            sch.compute_inline(block)


def _schedule_spatial(sch: s_tir.Schedule, block: object, machine: Machine) -> None:
    loops = sch.get_loops(block)
    if not loops:
        return
    work = total_work(sch, block)
    if _is_flat(sch, block):
        loops = [sch.fuse(*loops)] if len(loops) > 1 else loops
    # Lanes never cross from one row to the next, where indices and conditions would change.
    *outer, last = loops
    lanes = gcd(extent(sch, last), machine.lanes)
    run, lane = sch.split(last, [None, lanes])
    parallelise(sch, [*outer, run], work)
    if lanes > 1:
        sch.vectorize(lane)


def _is_flat(sch: s_tir.Schedule, block: object) -> bool:
    """Whether every operand has the result's shape and is read where the result is written."""
    statement = sch.get(block)
    axes = [axis.var for axis in statement.iter_vars]
    shape = [int(size) for size in statement.writes[0].source.shape]
    return all(
        [int(size) for size in read.source.shape] == shape
        and all(part.min.same_as(axis) for part, axis in zip(read.region, axes, strict=True))
        for read in statement.reads
    )


def _schedule_reduction(sch: s_tir.Schedule, block: object, machine: Machine) -> None:
    """Parallel over the outputs; vectorised over the last output axis where it is contiguous."""
    axes = sch.get(block).iter_vars
    loops = sch.get_loops(block)
    spatial = [loop for loop, axis in zip(loops, axes, strict=True) if int(axis.iter_type) == 0]
    reduction = [loop for loop, axis in zip(loops, axes, strict=True) if int(axis.iter_type) != 0]
    work = total_work(sch, block)
    last_is_spatial = int(axes[-1].iter_type) == 0 and len(spatial) > 1
    lanes = machine.lanes
    if spatial and last_is_spatial and extent(sch, spatial[-1]) % lanes == 0:
        outer, lane = sch.split(spatial[-1], [None, lanes])
        sch.reorder(*spatial[:-1], outer, *reduction, lane)
        parallelise(sch, [*spatial[:-1], outer], work)
        sch.vectorize(lane)
        init = sch.decompose_reduction(block, reduction[0])
        sch.vectorize(sch.get_loops(init)[-1])
        return
    if spatial:
        sch.reorder(*spatial, *reduction)
        parallelise(sch, spatial, work)
    sch.decompose_reduction(block, reduction[0])
