"""Convolution in groups narrower than a vector, whose lanes hold several groups.

Every lane reads the channels of its own group. A vector of input is shuffled once per channel of a
group, for the taps of a row. Or sums turn from lane to lane of their group, and meet its channels
where they lie: one shuffle of a sum serves all taps.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

from tvm import s_tir

from edgeconv.compiler.schedules.common import attach_epilogue, extent, total_work, vectorize_unroll
from edgeconv.compiler.schedules.cpu.common import parallelise
from edgeconv.compiler.schedules.cpu.turning import turn_sums
from edgeconv.compiler.schedules.machine import Machine, grouped_columns, turning_columns

ANCHOR = "grouped"
TURNING = "turning"


def schedule(sch: s_tir.Schedule, machine: Machine) -> None:
    """Schedule the function around its `grouped` block (`compute.conv.conv_grouped`)."""
    conv, taps, channel, inner = _in_tiles(sch, ANCHOR, grouped_columns, machine)
    sch.reorder(*taps, channel, *inner)
    vectorize_unroll(sch, [channel, *inner])
    init = sch.decompose_reduction(conv, [*taps, channel][0])
    vectorize_unroll(sch, sch.get_loops(init)[1:])


def schedule_turning(sch: s_tir.Schedule, machine: Machine) -> None:
    """Schedule the function around its `turning` block (`compute.conv.conv_turning`)."""
    conv, taps, step, inner = _in_tiles(sch, TURNING, turning_columns, machine)
    if prod(extent(sch, tap) for tap in taps) == 1:
        column, last_tap, lane = inner
        taps, inner = [*taps, last_tap], [column, lane]
    channels, period = extent(sch, step), prod(extent(sch, tap) for tap in taps)
    sch.reorder(step, *taps, *inner)
    # Steps read the same inputs, which LLVM would load and spill before a loop over steps alone.
    around = sch.fuse(step, *taps)
    vectorize_unroll(sch, inner)
    init = sch.decompose_reduction(conv, around)
    vectorize_unroll(sch, sch.get_loops(init)[1:])
    turn_sums(sch, conv, around, [inner[0], inner[-1]], channels=channels, period=period)


def _in_tiles(
    sch: s_tir.Schedule, anchor: str, choose: Callable[[int, int, Machine], int], machine: Machine
) -> tuple[object, list[object], object, list[object]]:
    """Cut the loops over the image into tiles of as many columns as `choose` says, in parallel.

    Return the block `anchor`, its loops over taps but the last, over a group's channels, and those
    inside a tile: columns, the last taps and lanes.
    """
    crop = sch.get_loops(sch.get_sblock("crop"))
    width, rank = extent(sch, crop[-2]), len(crop) - 3
    store = attach_epilogue(sch, anchor)
    conv = sch.get_sblock(anchor)
    work = total_work(sch, conv)
    batch, block, *axes = sch.get_loops(conv)
    *rows, column, lane = axes[: rank + 1]
    channel, *taps, last_tap = axes[rank + 1 :]
    columns = choose(width, extent(sch, last_tap), machine)
    outer, inner = sch.split(column, [None, columns])
    tiles = [batch, block, *rows, outer]
    sch.reorder(*tiles, channel, *taps, inner, last_tap, lane)
    tile_loop = parallelise(sch, tiles, work, machine.min_parallel_macs)
    sch.reverse_compute_at(store, tile_loop, preserve_unit_loops=True)
    vectorize_unroll(sch, sch.get_loops(store)[1:])
    return conv, taps, channel, [inner, last_tap, lane]
