"""Direct convolution on blocked data: a register tile of columns by channel blocks.

The tile's accumulators stay in registers over the whole reduction; the innermost loop feeds them
with one packed weight vector per block and one input value per column.
"""

from __future__ import annotations

from tvm import s_tir

from edgeconv.compiler.schedules.cpu.accumulate import accumulate, in_block, tile_blocks
from edgeconv.compiler.schedules.cpu.common import (
    attach_epilogue,
    extent,
    parallelise,
    total_work,
    vectorize_unroll,
)
from edgeconv.compiler.schedules.machine import Machine, register_tile

ANCHOR = "conv"


def schedule(sch: s_tir.Schedule, machine: Machine) -> None:
    """Schedule the function around its `conv` block (`compute.conv.conv_blocked`)."""
    crop = sch.get_loops(sch.get_sblock("crop"))
    width, block = extent(sch, crop[-2]), extent(sch, crop[-1])
    conv = sch.get_sblock(ANCHOR)
    tile = register_tile(
        width, [tile_blocks(sch, conv)], machine, block=block, in_block=in_block(sch, conv)
    )
    store = attach_epilogue(sch, ANCHOR)
    conv = sch.get_sblock(ANCHOR)
    work = total_work(sch, conv)
    rank = len(crop) - 3
    batch, outer, *axes = sch.get_loops(conv)
    *rows, column, lane = axes[: rank + 1]
    *taps, channel = axes[rank + 1 :]
    outer_blocks, inner_blocks = sch.split(outer, [None, tile.blocks])
    outer_columns, inner_columns = sch.split(column, [None, tile.columns])
    tiles = [batch, outer_blocks, *rows, outer_columns]
    inner = [inner_columns, inner_blocks, lane]
    sch.reorder(*tiles, *taps, channel, *inner)
    tile_loop = parallelise(sch, tiles, work)
    sch.reverse_compute_at(store, tile_loop, preserve_unit_loops=True)
    vectorize_unroll(sch, sch.get_loops(store)[1:])
    accumulate(sch, conv, taps=taps, channel=channel, tile=inner, machine=machine)
