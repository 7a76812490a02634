"""Direct convolution: a work-item computes some columns of a row, of some blocks of channels."""

from __future__ import annotations

from math import prod

from tvm import s_tir

from edgeconv.compiler.schedules.common import attach_epilogue, extent, vectorize_unroll
from edgeconv.compiler.schedules.gpu.accumulate import accumulate, row_reach
from edgeconv.compiler.schedules.gpu.common import bind_row
from edgeconv.compiler.schedules.gpu.machine import GpuMachine
from edgeconv.compiler.schedules.gpu.tiles import choose_tile

ANCHOR = "conv"


def schedule(sch: s_tir.Schedule, machine: GpuMachine) -> None:
    """Schedule the function around its `conv` block (`compute.conv.conv_blocked`)."""
    crop = [extent(sch, loop) for loop in sch.get_loops(sch.get_sblock("crop"))]
    batch, blocks, *size, _ = crop
    conv = sch.get_sblock(ANCHOR)
    weight = sch.get(conv).reads[1].source
    reach = row_reach(sch, conv)
    tile = choose_tile(
        size[-1],
        batch * blocks * prod(size[:-1]),
        [int(weight.shape[-2])],
        machine,
        reach=reach,
    )
    store = attach_epilogue(sch, ANCHOR)
    loops = sch.get_loops(conv)
    n, outer, *axes = loops[: len(crop)]
    *rows, column, lane = axes
    *taps, channel = loops[len(crop) :]
    panel, block = sch.split(outer, [None, tile.blocks])
    step, inner = sch.split(column, [None, tile.columns])
    sch.reorder(n, panel, *rows, step, *taps, channel, inner, block, lane)
    item = bind_row(sch, [n, panel, *rows, step], machine)
    sch.reverse_compute_at(store, item, preserve_unit_loops=True)
    vectorize_unroll(sch, sch.get_loops(store)[2:])
    accumulate(
        sch,
        conv,
        taps=taps,
        channel=channel,
        tile=[inner, block, lane],
        row=reach[0] + (tile.columns - 1) * reach[1],
        machine=machine,
    )
