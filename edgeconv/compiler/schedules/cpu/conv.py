"""Direct convolution on blocked data: a register tile of columns by channel blocks.

The tile's accumulators stay in registers over the whole reduction; the innermost loop feeds them
with one packed weight vector per block and one input value per column.
"""

from __future__ import annotations

from tvm import s_tir

from edgeconv.compiler.schedules.cpu.common import (
    attach_epilogue,
    extent,
    parallelise,
    total_work,
    vectorize_unroll,
)
from edgeconv.compiler.schedules.machine import Machine, largest_divisor, register_tile

ANCHOR = "conv"
# Reduction steps unrolled in the inner loop.
UNROLL = 4


def schedule(sch: s_tir.Schedule, machine: Machine) -> None:
    """Schedule the function around its `conv` block (`compute.conv.conv_blocked`)."""
    crop = sch.get_loops(sch.get_sblock("crop"))
    width, block = extent(sch, crop[-2]), extent(sch, crop[-1])
    groups_of_blocks = _blocks_per_group(sch)
    tile = register_tile(width, groups_of_blocks, block, machine)
    store = attach_epilogue(sch, ANCHOR)
    conv = sch.get_sblock(ANCHOR)
    work = total_work(sch, conv)
    rank = len(crop) - 3
    batch, outer, *axes = sch.get_loops(conv)
    *rows, column, lane = axes[: rank + 1]
    *taps, channel = axes[rank + 1 :]
    outer_blocks, inner_blocks = sch.split(outer, [None, tile.blocks])
    outer_columns, inner_columns = sch.split(column, [None, tile.columns])
    outer_channel, inner_channel = sch.split(
        channel, [None, largest_divisor(extent(sch, channel), UNROLL)]
    )
    tiles = [batch, outer_blocks, *rows, outer_columns]
    inner = [inner_channel, inner_columns, inner_blocks, lane]
    sch.reorder(*tiles, *taps, outer_channel, *inner)
    tile_loop = parallelise(sch, tiles, work)
    sch.reverse_compute_at(store, tile_loop, preserve_unit_loops=True)
    vectorize_unroll(sch, inner)
    init = sch.decompose_reduction(conv, taps[0])
    vectorize_unroll(sch, sch.get_loops(init)[1:])
    vectorize_unroll(sch, sch.get_loops(store)[1:])


def _blocks_per_group(sch: s_tir.Schedule) -> int:
    """Return how many output blocks share the same input channels."""
    conv = sch.get(sch.get_sblock(ANCHOR))
    blocks = int(conv.iter_vars[1].dom.extent)
    data, weight = (region.source for region in conv.reads)
    in_channels = int(data.shape[1]) * int(data.shape[-1])
    channels = int(weight.shape[-2])
    groups = max(1, in_channels // channels) if channels < in_channels else 1
    return blocks // groups if blocks % groups == 0 else blocks
