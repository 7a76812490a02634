"""Everything without a rule of its own: element-wise, layout changes, reductions.

A work-item computes a vector of results, or one where results have no vectors. A long sum of which
there are few goes to a work-group: every work-item adds up its share, and the shares are added
after that.
"""

from __future__ import annotations

from math import isqrt

from tvm import s_tir

from edgeconv.compiler.schedules.common import (
    attach_epilogue,
    block_names,
    inline_stages,
    is_flat,
    is_reduction,
    is_sum,
    loops_of,
)
from edgeconv.compiler.schedules.gpu.common import (
    bind_row,
    items_of,
    split_lanes,
    vectorize,
)
from edgeconv.compiler.schedules.gpu.machine import GpuMachine
from edgeconv.compiler.schedules.machine import largest_divisor

# Shorter sums are taken in one go.
LONG_SUM = 64


def schedule(sch: s_tir.Schedule, machine: GpuMachine) -> None:
    """Schedule a function of one result, which may be the element-wise function of a reduction."""
    inline_stages(sch)
    names = block_names(sch)
    reductions = [name for name in names if is_reduction(sch, sch.get_sblock(name))]
    if reductions:
        _reduce(sch, reductions[0], machine)
        return
    block = sch.get_sblock(names[0])
    if is_flat(sch, block) and len(sch.get_loops(block)) > 1:
        # Vectors may cross from one row to the next.
        sch.fuse(*sch.get_loops(block))
    bind_elements(sch, block, machine)


def bind_elements(sch: s_tir.Schedule, block: object, machine: GpuMachine) -> object:
    """Give every vector of a block's results a work-item; return the work-items' loop."""
    *outer, last = sch.get_loops(block) or [sch.add_unit_loop(block)]
    last, lane = split_lanes(sch, last, machine)
    item = bind_row(sch, [*outer, last], machine)
    vectorize(sch, lane)
    return item


def _reduce(sch: s_tir.Schedule, name: str, machine: GpuMachine) -> None:
    total = sch.get_sblock(name)
    spatial, reduction = loops_of(sch, total)
    # TVM cannot share out the sum of a tensor without axes.
    few = bool(spatial) and items_of(sch, spatial) < machine.busy
    if few and is_sum(sch, total) and items_of(sch, reduction) >= LONG_SUM:
        _by_group(sch, name, machine)
        return
    store = attach_epilogue(sch, name)
    item = bind_elements(sch, store, machine)
    for index in range(1, len(sch.get(total).writes)):
        sch.set_scope(total, index, "local")
    sch.compute_at(total, item, preserve_unit_loops=True)
    serial_reduction(sch, total, item)


def serial_reduction(sch: s_tir.Schedule, total: object, item: object) -> None:
    """Let a work-item run over the reduction that is left, with all its results at a time."""
    spatial, reduction = loops_of(sch, total, item)
    sch.reorder(*reduction, *spatial)
    if len(sch.get(total).writes) > 1:
        return
    if spatial:
        vectorize(sch, spatial[-1])
    init = sch.decompose_reduction(total, reduction[0])
    if spatial:
        vectorize(sch, sch.get_loops(init)[-1])


def _by_group(sch: s_tir.Schedule, name: str, machine: GpuMachine) -> None:
    """Let a work-group add up a vector of results: shares first, then those."""
    total = sch.get_sblock(name)
    store = attach_epilogue(sch, name)
    _, reduction = loops_of(sch, total)
    length = items_of(sch, reduction)
    items = largest_divisor(length, min(machine.max_workgroup, 2 * isqrt(length)))
    row = sch.fuse(*reduction) if len(reduction) > 1 else reduction[0]
    # The shares stand side by side, each with all lanes together.
    share = sch.rfactor(sch.split(row, [None, items])[1], 0)
    sch.set_scope(share, 0, "shared")
    *outer, last, part, item = sch.get_loops(share)
    last, lane = split_lanes(sch, last, machine)
    group = sch.fuse(*outer, last) if outer else last
    sch.reorder(group, item, part, lane)
    sch.bind(group, "blockIdx.x")
    sch.bind(item, "threadIdx.x")
    passed_on = sch.cache_write(share, 0, "local")
    sch.reverse_compute_at(passed_on, item, preserve_unit_loops=True)
    vectorize(sch, sch.get_loops(passed_on)[-1])
    # As many work-items as there are shares, most of which have no result to write.
    for block in (total, store):
        sch.reverse_compute_at(block, group, preserve_unit_loops=True)
    row = sch.fuse(*sch.get_loops(store)[1:])
    _, item = sch.split(row, [None, items])
    sch.bind(item, "threadIdx.x")
    sch.compute_at(total, item, preserve_unit_loops=True)
    serial_reduction(sch, total, item)
    serial_reduction(sch, share, sch.get_loops(share)[1])
