"""Matrix product with packed weights: a register tile of rows by panels."""

from __future__ import annotations

from tvm import s_tir

from edgeconv.compiler.schedules.cpu.common import (
    attach_epilogue,
    extent,
    parallelise,
    total_work,
    vectorize_unroll,
)
from edgeconv.compiler.schedules.machine import Machine, largest_divisor

ANCHOR = "matmul"
ROWS = 8
UNROLL = 4


def schedule(sch: s_tir.Schedule, machine: Machine) -> None:
    """Schedule the function around its `matmul` block (`compute.matmul`)."""
    store = attach_epilogue(sch, ANCHOR)
    product = sch.get_sblock(ANCHOR)
    work = total_work(sch, product)
    *batch, row, panel, lane, k = sch.get_loops(product)
    outer_row, inner_row = sch.split(row, [None, largest_divisor(extent(sch, row), ROWS)])
    lanes = largest_divisor(extent(sch, lane), machine.lanes)
    vectors, lane = sch.split(lane, [None, lanes])
    outer_k, inner_k = sch.split(k, [None, largest_divisor(extent(sch, k), UNROLL)])
    inner = [inner_k, inner_row, vectors, lane]
    sch.reorder(*batch, panel, outer_row, outer_k, *inner)
    tile_loop = parallelise(sch, [*batch, panel, outer_row], work)
    sch.reverse_compute_at(store, tile_loop, preserve_unit_loops=True)
    vectorize_unroll(sch, inner)
    init = sch.decompose_reduction(product, outer_k)
    vectorize_unroll(sch, sch.get_loops(init)[1:])
