"""Convolution in groups narrower than a vector, whose lanes hold several groups.

Every lane reads the channels of its own group: a vector of input is shuffled once per channel of a
group, for all the taps that it meets.
"""

from __future__ import annotations

from tvm import s_tir

from edgeconv.compiler.schedules.common import attach_epilogue, extent, total_work, vectorize_unroll
from edgeconv.compiler.schedules.cpu.common import parallelise
from edgeconv.compiler.schedules.machine import Machine, grouped_columns

ANCHOR = "grouped"


def schedule(sch: s_tir.Schedule, machine: Machine) -> None:
    """Schedule the function around its `grouped` block (`compute.conv.conv_grouped`)."""
    crop = sch.get_loops(sch.get_sblock("crop"))
    width, rank = extent(sch, crop[-2]), len(crop) - 3
    store = attach_epilogue(sch, ANCHOR)
    conv = sch.get_sblock(ANCHOR)
    work = total_work(sch, conv)
    batch, block, *axes = sch.get_loops(conv)
    *rows, column, lane = axes[: rank + 1]
    *taps, last_tap, channel = axes[rank + 1 :]
    columns = grouped_columns(width, extent(sch, last_tap), machine)
    outer, inner = sch.split(column, [None, columns])
    tiles = [batch, block, *rows, outer]
    sch.reorder(*tiles, *taps, channel, inner, last_tap, lane)
    tile_loop = parallelise(sch, tiles, work)
    sch.reverse_compute_at(store, tile_loop, preserve_unit_loops=True)
    vectorize_unroll(sch, sch.get_loops(store)[1:])
    vectorize_unroll(sch, [channel, inner, last_tap, lane])
    init = sch.decompose_reduction(conv, [*taps, channel][0])
    vectorize_unroll(sch, sch.get_loops(init)[1:])
