"""Groups of few channels: a work-item computes some columns of a panel, with every lane known."""

from __future__ import annotations

from tvm import s_tir

from edgeconv.compiler.schedules.common import attach_epilogue, extent, loops_of, vectorize_unroll
from edgeconv.compiler.schedules.gpu.accumulate import MAX_UNROLLED, load_row, row_reach
from edgeconv.compiler.schedules.gpu.common import bind_row
from edgeconv.compiler.schedules.gpu.machine import GpuMachine

ANCHOR = "grouped"
COLUMNS = (4, 3, 2, 1)


def schedule(sch: s_tir.Schedule, machine: GpuMachine) -> None:
    """Schedule the function around its block (`compute.conv.conv_grouped_panels`)."""
    block = sch.get_sblock(ANCHOR)
    data, weight = (region.source for region in sch.get(block).reads)
    blocks, panels = int(weight.shape[-2]), int(weight.shape[0])
    read = int(data.shape[1]) // panels
    (n, outer, *rows, column, lane), (*taps, channel) = loops_of(sch, block)
    columns, whole_row = _tile(sch, extent(sch, column), read, machine)
    store = attach_epilogue(sch, ANCHOR)
    panel, inner_block = sch.split(outer, [None, blocks])
    step, inner = sch.split(column, [None, columns])
    *around, last = taps
    sch.reorder(n, panel, *rows, step, *taps, channel, inner, inner_block, lane)
    item = bind_row(sch, [n, panel, *rows, step], machine)
    sch.reverse_compute_at(store, item, preserve_unit_loops=True)
    vectorize_unroll(sch, sch.get_loops(store)[2:])
    around = [item, *around]
    load_row(sch, block, around[-1] if whole_row else last)
    weights = sch.cache_read(block, 1, "local")
    sch.compute_at(weights, channel, preserve_unit_loops=True)
    depth = len(sch.get_loops(block)) - 3
    vectorize_unroll(sch, sch.get_loops(weights)[depth:])
    unrolled = [channel, inner, inner_block, lane]
    vectorize_unroll(sch, [last, *unrolled] if whole_row else unrolled)
    init = sch.decompose_reduction(block, taps[0])
    vectorize_unroll(sch, sch.get_loops(init)[-3:])


def _tile(sch: s_tir.Schedule, width: int, read: int, machine: GpuMachine) -> tuple[int, bool]:
    """Return how many columns stay in registers, and whether all inputs of a row of taps do too.

    Columns divide the `width` of a row, so that none is computed in vain. A panel reads `read`
    blocks.
    """
    block = sch.get_sblock(ANCHOR)
    _, *kernel, channels, blocks, _ = (int(s) for s in sch.get(block).reads[1].source.shape)
    first, further = row_reach(sch, block)
    for whole_row in (True, False):
        for columns in COLUMNS:
            row = first + (columns - 1) * further if whole_row else columns
            steps = columns * blocks * channels * (kernel[-1] if whole_row else 1)
            vectors = columns * blocks + row * read + blocks
            fits = vectors * machine.lanes <= machine.registers and steps <= MAX_UNROLLED
            if width % columns == 0 and fits:
                return columns, whole_row
    return 1, False
