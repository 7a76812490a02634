"""Several small kernels as one: a work-group computes each result, waits, and goes on.

On a GPU a launch takes longer than a few thousand multiply-accumulates. What a chain of small
kernels passes on stays in local memory.
"""

from __future__ import annotations

from tvm import s_tir

from edgeconv.compiler.schedules.common import (
    block_names,
    extent,
    inline_stages,
    is_reduction,
    is_sum,
    loops_of,
)
from edgeconv.compiler.schedules.gpu.common import items_of, most_items, split_lanes, vectorize
from edgeconv.compiler.schedules.gpu.machine import GpuMachine
from edgeconv.compiler.schedules.machine import largest_divisor, round_up

# Functions with this attribute are scheduled here.
ONE_GROUP = "edgeconv.one_group"
# Shorter sums are taken in one go.
LONG_SUM = 16


def schedule(sch: s_tir.Schedule, machine: GpuMachine) -> None:
    """Schedule a function whose results between two stages fit into local memory."""
    inline_stages(sch)
    most = most_items(machine)
    names = [part for name in block_names(sch) for part in _shared_sum(sch, name, most, machine)]
    width = max(_vectors(sch, name, machine) for name in names)
    items = min(most, round_up(width, machine.wave))
    *stages, last = [_passed_on(sch, name) for name in names]
    group = sch.add_unit_loop(sch.get_loops(last)[0] if sch.get_loops(last) else last)
    sch.bind(group, "blockIdx.x")
    # Backwards, since a stage can only be put where its readers are.
    for stage, name in reversed(list(zip([*stages, last], names, strict=True))):
        if stage is not last:
            sch.set_scope(stage, 0, "shared")
            sch.compute_at(stage, group, preserve_unit_loops=True)
        _bind(sch, stage, name, items, machine)


def _vectors(sch: s_tir.Schedule, name: str, machine: GpuMachine) -> int:
    """Return how many vectors of results a block has."""
    spatial, _ = loops_of(sch, sch.get_sblock(name))
    count = items_of(sch, spatial)
    whole = bool(spatial) and extent(sch, spatial[-1]) % machine.lanes == 0
    return count // machine.lanes if whole else count


def _shared_sum(sch: s_tir.Schedule, name: str, most: int, machine: GpuMachine) -> list[str]:
    """Let work-items that a long sum leaves idle share it; return the names of both stages."""
    total = sch.get_sblock(name)
    _, reduction = loops_of(sch, total)
    length = items_of(sch, reduction)
    if length < LONG_SUM or not is_sum(sch, total):
        return [name]
    shares = largest_divisor(length, max(1, most // _vectors(sch, name, machine)))
    if shares == 1:
        return [name]
    row = sch.fuse(*reduction) if len(reduction) > 1 else reduction[0]
    share = sch.rfactor(sch.split(row, [None, shares])[1], 0)
    return [str(sch.get(share).name_hint), name]


def _passed_on(sch: s_tir.Schedule, name: str) -> object:
    """Return what writes a block's results: a copy of those of a reduction, summed in registers."""
    block = sch.get_sblock(name)
    return sch.cache_write(block, 0, "local") if is_reduction(sch, block) else block


def _bind(sch: s_tir.Schedule, stage: object, name: str, items: int, machine: GpuMachine) -> None:
    """Hand the results of a stage, which the block of that name computes, out to the work-items."""
    loops = sch.get_loops(stage)[1:] or [sch.add_unit_loop(stage)]
    *outer, inner = loops
    inner, lane = split_lanes(sch, inner, machine)
    vectorize(sch, lane)
    block = sch.get_sblock(name)
    reduction: list[object] = []
    # Before the loops are cut, through which TVM does not follow everything.
    if is_reduction(sch, block):
        sch.compute_at(block, inner, preserve_unit_loops=True)
        results, reduction = loops_of(sch, block, inner)
        sch.reorder(*reduction, *results)
        vectorize(sch, results[-1])
    row = sch.fuse(*outer, inner) if outer else inner
    _, item = sch.split(row, [None, items])
    sch.bind(item, "threadIdx.x")
    if reduction:
        init = sch.decompose_reduction(block, reduction[0])
        vectorize(sch, sch.get_loops(init)[-1])
