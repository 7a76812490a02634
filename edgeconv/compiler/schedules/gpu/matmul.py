"""Matrix product: a work-item computes a few rows of a vector of columns.

Where that makes few work-items, as for one row, several share each sum: their rows of the second
matrix are read by neighbours side by side.
"""

from __future__ import annotations

from tvm import s_tir

from edgeconv.compiler.schedules.common import (
    attach_epilogue,
    extent,
    loops_of,
    vectorize_unroll,
)
from edgeconv.compiler.schedules.gpu.common import (
    bind_row,
    items_of,
    most_items,
    split_lanes,
    vectorize,
)
from edgeconv.compiler.schedules.gpu.generic import serial_reduction
from edgeconv.compiler.schedules.gpu.machine import GpuMachine
from edgeconv.compiler.schedules.machine import largest_divisor

ANCHOR = "product"
MAX_ROWS = 4
LONG_SUM = 64
# Work-items that share a sum, at most.
MAX_SHARES = 16


def schedule(sch: s_tir.Schedule, machine: GpuMachine) -> None:
    """Schedule the function around its `product` block (`compute.matmul.matmul_plain`)."""
    product = sch.get_sblock(ANCHOR)
    spatial, (k,) = loops_of(sch, product)
    items = items_of(sch, spatial) // (machine.lanes if extent(sch, spatial[-1]) % 4 == 0 else 1)
    shares = largest_divisor(extent(sch, k), MAX_SHARES)
    if items < machine.busy and extent(sch, k) >= LONG_SUM and shares > 1:
        _shared(sch, shares, machine)
    else:
        _tiled(sch, machine)


def _tiled(sch: s_tir.Schedule, machine: GpuMachine) -> None:
    store = attach_epilogue(sch, ANCHOR)
    product = sch.get_sblock(ANCHOR)
    (*batch, row, column), (k,) = loops_of(sch, product)
    column, lane = split_lanes(sch, column, machine)
    row, inner = sch.split(row, [None, largest_divisor(extent(sch, row), MAX_ROWS)])
    step, depth = sch.split(k, [None, largest_divisor(extent(sch, k), machine.lanes)])
    sch.reorder(*batch, row, column, step, depth, inner, lane)
    item = bind_row(sch, [*batch, row, column], machine)
    sch.reverse_compute_at(store, item, preserve_unit_loops=True)
    vectorize_unroll(sch, sch.get_loops(store)[2:])
    for operand in (0, 1):
        loads = sch.cache_read(product, operand, "local")
        sch.compute_at(loads, step, preserve_unit_loops=True)
        vectorize_unroll(sch, sch.get_loops(loads)[3:])
    vectorize_unroll(sch, [depth, inner, lane])
    init = sch.decompose_reduction(product, step)
    vectorize_unroll(sch, sch.get_loops(init)[2:])


def _shared(sch: s_tir.Schedule, shares: int, machine: GpuMachine) -> None:
    store = attach_epilogue(sch, ANCHOR)
    product = sch.get_sblock(ANCHOR)
    _, (k,) = loops_of(sch, product)
    share = sch.rfactor(sch.split(k, [None, shares])[1], 0)
    sch.set_scope(share, 0, "shared")
    *outer, column, part, item = sch.get_loops(share)
    column, lane = split_lanes(sch, column, machine)
    across = largest_divisor(extent(sch, column), max(1, most_items(machine) // shares))
    column, beside = sch.split(column, [None, across])
    group = sch.fuse(*outer, column)
    sch.reorder(group, item, beside, part, lane)
    sch.bind(group, "blockIdx.x")
    sch.bind(item, "threadIdx.y")
    sch.bind(beside, "threadIdx.x")
    passed_on = sch.cache_write(share, 0, "local")
    sch.reverse_compute_at(passed_on, beside, preserve_unit_loops=True)
    vectorize(sch, sch.get_loops(passed_on)[-1])
    for block in (product, store):
        sch.reverse_compute_at(block, group, preserve_unit_loops=True)
    # Each work-item writes a result, as far as there are any.
    last = sch.get_loops(store)[-1]
    beside, lane = sch.split(last, [across, None])
    lane, item = sch.split(lane, [None, shares])
    sch.reorder(item, beside, lane)
    sch.bind(item, "threadIdx.y")
    sch.bind(beside, "threadIdx.x")
    sch.compute_at(product, lane, preserve_unit_loops=True)
    serial_reduction(sch, product, lane)
    serial_reduction(sch, share, sch.get_loops(share)[2])
