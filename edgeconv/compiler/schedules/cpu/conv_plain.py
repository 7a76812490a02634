"""Direct convolution on plain data, vectorised over output columns.

For groups that no channel block fits: every output channel has its own few input channels.
"""

from __future__ import annotations

from tvm import s_tir

from edgeconv.compiler.schedules.common import attach_epilogue, extent, total_work, vectorize_unroll
from edgeconv.compiler.schedules.cpu.common import parallelise
from edgeconv.compiler.schedules.machine import Machine, largest_divisor

ANCHOR = "conv_plain"
MAX_VECTORS = 6


def schedule(sch: s_tir.Schedule, machine: Machine) -> None:
    """Schedule the function around its `conv_plain` block (`compute.conv.conv_plain`)."""
    rank = len(sch.get_loops(sch.get_sblock("crop"))) - 2
    store = attach_epilogue(sch, ANCHOR)
    conv = sch.get_sblock(ANCHOR)
    work = total_work(sch, conv)
    batch, out, *axes = sch.get_loops(conv)
    *rows, column = axes[:rank]
    reduction = axes[rank:]
    vectors = largest_divisor(extent(sch, column) // machine.lanes, MAX_VECTORS)
    outer, inner, lane = sch.split(column, [None, vectors, machine.lanes])
    tiles = [batch, out, *rows, outer]
    sch.reorder(*tiles, *reduction, inner, lane)
    tile_loop = parallelise(sch, tiles, work)
    sch.reverse_compute_at(store, tile_loop, preserve_unit_loops=True)
    vectorize_unroll(sch, [inner, lane])
    init = sch.decompose_reduction(conv, reduction[0])
    vectorize_unroll(sch, sch.get_loops(init)[1:])
