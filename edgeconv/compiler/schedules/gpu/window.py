"""Depthwise convolution and pooling: a work-item slides a window over some columns of a block."""

from __future__ import annotations

from math import prod

from tvm import s_tir

from edgeconv.compiler.schedules.common import (
    attach_epilogue,
    extent,
    loops_of,
    vectorize_unroll,
)
from edgeconv.compiler.schedules.gpu import generic
from edgeconv.compiler.schedules.gpu.accumulate import inline_padding, load_row, row_reach
from edgeconv.compiler.schedules.gpu.common import bind_row
from edgeconv.compiler.schedules.gpu.machine import GpuMachine

ANCHOR = "window"
COLUMNS = (4, 3, 2)
MAX_ROW = 12


def schedule(sch: s_tir.Schedule, machine: GpuMachine) -> None:
    """Schedule the function around its `window` block (`compute.conv` and `compute.pool`)."""
    window = sch.get_sblock(ANCHOR)
    spatial, taps = loops_of(sch, window)
    blocked = len(spatial) == len(taps) + 3 and extent(sch, spatial[-1]) == machine.lanes
    if not blocked:
        inline_padding(sch)
        generic.schedule(sch, machine)
        return
    first, further = row_reach(sch, window)
    columns = _columns([extent(sch, loop) for loop in spatial], first, further, machine)
    store = attach_epilogue(sch, ANCHOR)
    *outer, column, lane = spatial
    step, inner = sch.split(column, [None, columns])
    sch.reorder(*outer, step, *taps, inner, lane)
    item = bind_row(sch, [*outer, step], machine)
    sch.reverse_compute_at(store, item, preserve_unit_loops=True)
    vectorize_unroll(sch, sch.get_loops(store)[2:])
    *around, last = taps
    if first + (columns - 1) * further <= MAX_ROW:
        load_row(sch, window, around[-1] if around else item)
        vectorize_unroll(sch, [last, inner, lane])
    else:
        inline_padding(sch)
        vectorize_unroll(sch, [inner, lane])
    init = sch.decompose_reduction(window, taps[0])
    vectorize_unroll(sch, sch.get_loops(init)[2:])


def _columns(shape: list[int], first: int, further: int, machine: GpuMachine) -> int:
    """Return how many columns a work-item takes: a divisor, so that none is computed in vain."""
    width, items = shape[-2], prod(shape[:-1])
    for columns in COLUMNS:
        busy = items // columns >= machine.busy
        if width % columns == 0 and busy and first + (columns - 1) * further <= MAX_ROW:
            return columns
    return 1
