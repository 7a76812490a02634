"""Everything without a rule of its own: element-wise, layout changes, reductions, softmax."""

from __future__ import annotations

from itertools import accumulate
from math import gcd, isqrt, prod
from operator import mul

from tvm import s_tir

from edgeconv.compiler.schedules.common import (
    block_names,
    extent,
    inline_stages,
    is_flat,
    is_reduction,
    is_sum,
    total_work,
)
from edgeconv.compiler.schedules.cpu.common import parallelise
from edgeconv.compiler.schedules.cpu.reductions import reduce_in_lanes, reduces_neighbours
from edgeconv.compiler.schedules.machine import Machine

# Rows of fewer vectors are not worth a tail.
MIN_VECTORS = 4
# Shorter sums are taken in one go.
LONG_SUM = 128
# Iterations of a parallel loop that threads can share evenly.
SHARES = 256


def schedule(sch: s_tir.Schedule, machine: Machine) -> None:
    """Inline what can be inlined, then run each remaining block in parallel and vectorised."""
    inline_stages(sch)
    schedule_stages(sch, machine)


def schedule_stages(sch: s_tir.Schedule, machine: Machine) -> None:
    """Run each block in parallel and vectorised."""
    for name in block_names(sch):
        block = sch.get_sblock(name)
        if not sch.get_loops(block):
            # A single number: other primitives stumble over a block outside of any loop.
            sch.add_unit_loop(block)
    for name in block_names(sch):
        block = sch.get_sblock(name)
        if is_reduction(sch, block):
            _schedule_reduction(sch, block, machine)
        else:
            _schedule_spatial(sch, block, machine)


def _schedule_spatial(sch: s_tir.Schedule, block: object, machine: Machine) -> None:
    loops = sch.get_loops(block)
    work = total_work(sch, block)
    if is_flat(sch, block):
        loops = [sch.fuse(*loops)] if len(loops) > 1 else loops
    # Lanes never cross from one row to the next, where indices and conditions would change.
    *outer, last = loops
    lanes = gcd(extent(sch, last), machine.lanes)
    if lanes < machine.lanes and outer and extent(sch, last) >= MIN_VECTORS * machine.lanes:
        _with_tail(sch, outer, last, work, machine)
        return
    run, lane = sch.split(last, [None, lanes])
    parallelise(sch, _shared(sch, [*outer, run]), work)
    if lanes > 1:
        sch.vectorize(lane)


def _shared(sch: s_tir.Schedule, loops: list[object]) -> list[object]:
    """Return the first of `loops` that give threads enough to share.

    The others stay loops: an index that is put together again takes divisions.
    """
    shares = accumulate((extent(sch, loop) for loop in loops), mul)
    return loops[: 1 + sum(share < SHARES for share in shares)]


def _with_tail(
    sch: s_tir.Schedule, outer: list[object], row: object, work: int, machine: Machine
) -> None:
    """Run over a long row in vectors, and over what is left of it one by one."""
    run, lane = sch.split(row, [None, machine.lanes])
    parallelise(sch, outer, work)
    sch.annotate(run, "pragma_loop_partition_hint", True)
    sch.vectorize(lane)


def _schedule_reduction(sch: s_tir.Schedule, block: object, machine: Machine) -> None:
    """Parallel over the outputs, in vectors where those are contiguous in what is read."""
    axes = sch.get(block).iter_vars
    loops = sch.get_loops(block)
    spatial = [loop for loop, axis in zip(loops, axes, strict=True) if int(axis.iter_type) == 0]
    reduction = [loop for loop, axis in zip(loops, axes, strict=True) if int(axis.iter_type) != 0]
    lanes = _contiguous_lanes(sch, block, machine)
    sch.reorder(*spatial, *reduction)
    in_lanes = lanes == 1 == len(reduction) and reduces_neighbours(sch, block, machine)
    long = prod(extent(sch, loop) for loop in reduction) >= LONG_SUM
    if is_sum(sch, block) and long and not in_lanes:
        rank = len(spatial)
        partial = _partial_sums(sch, reduction)
        loops = sch.get_loops(partial)
        run = loops.pop(rank)
        _run_reduction(sch, partial, [run, *loops[:rank]], loops[rank:], lanes, machine=machine)
        loops = sch.get_loops(block)
        spatial, reduction = loops[:rank], loops[rank:]
    _run_reduction(sch, block, spatial, reduction, lanes, machine=machine)


def _run_reduction(
    sch: s_tir.Schedule,
    block: object,
    spatial: list[object],
    reduction: list[object],
    lanes: int,
    *,
    machine: Machine,
) -> None:
    """Run one reduction; `lanes` of the last spatial axis at once, or else of what is reduced."""
    if lanes > 1:
        spatial[-1], lane = sch.split(spatial[-1], [None, lanes])
        reduction = [*reduction, lane]
    sch.reorder(*spatial, *reduction)
    if lanes == 1 and spatial and reduces_neighbours(sch, block, machine):
        task = parallelise(sch, spatial, total_work(sch, block))
        reduce_in_lanes(sch, block, task, machine)
        return
    if spatial:
        parallelise(sch, spatial, total_work(sch, block))
    if lanes > 1:
        sch.vectorize(lane)
    sch.decompose_reduction(block, reduction[0])


def _partial_sums(sch: s_tir.Schedule, reduction: list[object]) -> object:
    """Sum runs of about the square root of the length first, then those sums; return the first.

    Rounding errors of one sum grow with its length, fastest where every term is positive.
    """
    wanted, taken = isqrt(prod(extent(sch, loop) for loop in reduction)), 1
    outer = list(reduction)
    while extent(sch, outer[-1]) * taken <= 2 * wanted:
        taken *= extent(sch, outer.pop())
    if wanted > taken:
        outer[-1], _ = sch.split(outer[-1], [None, -(-wanted // taken)])
    return sch.rfactor(sch.fuse(*outer) if len(outer) > 1 else outer[0], 0)


def _contiguous_lanes(sch: s_tir.Schedule, block: object, machine: Machine) -> int:
    """Return how many results lie side by side, in every operand as well."""
    statement = sch.get(block)
    axes = [axis for axis in statement.iter_vars if int(axis.iter_type) == 0]
    regions = [part.region for part in [*statement.reads, *statement.writes]]
    if not axes or not all(region and region[-1].min.same_as(axes[-1].var) for region in regions):
        return 1
    return gcd(int(axes[-1].dom.extent), machine.lanes)
