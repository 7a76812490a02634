"""Direct convolution on blocked data: a register tile of columns (of rows) by channel blocks.

The tile's accumulators stay in registers over the whole reduction; the innermost loop feeds them
with one packed weight vector per block and one input value per column. Where the weights of a tile
would not stay in the second-level cache from one tile to the next, a row of tiles takes a run of
channels at a time, whose weights stay in the first.
"""

from __future__ import annotations

from math import prod

from tvm import s_tir

from edgeconv.compiler.schedules.common import attach_epilogue, extent, total_work, vectorize_unroll
from edgeconv.compiler.schedules.cpu.accumulate import (
    accumulate,
    in_block,
    tile_blocks,
)
from edgeconv.compiler.schedules.cpu.common import parallelise
from edgeconv.compiler.schedules.machine import FLOAT_BYTES, Machine, few_pixels, image_tile

ANCHOR = "conv"
# With fewer tiles in a row, weights that come near for it are not read often enough.
MIN_TILES = 4


def schedule(sch: s_tir.Schedule, machine: Machine) -> None:
    """Schedule the function around its `conv` block (`compute.conv.conv_blocked`)."""
    crop = [extent(sch, loop) for loop in sch.get_loops(sch.get_sblock("crop"))]
    _, _, *size, block = crop
    rank = len(size)
    conv = sch.get_sblock(ANCHOR)
    blocks = tile_blocks(sch, conv)
    depth = prod(extent(sch, loop) for loop in sch.get_loops(conv)[len(crop) :])
    tile = image_tile(
        size, [blocks], machine, block=block, in_block=in_block(sch, conv), depth=depth
    )
    panel = depth * blocks * block * FLOAT_BYTES
    store = attach_epilogue(sch, ANCHOR)
    conv = sch.get_sblock(ANCHOR)
    work = total_work(sch, conv)
    batch, outer, *axes = sch.get_loops(conv)
    *rows, column, lane = axes[: rank + 1]
    planes = in_block(sch, conv) == 1
    channel = axes.pop(rank + 1 if planes else -1)
    taps = axes[rank + 1 :]
    outer_blocks, inner_blocks = sch.split(outer, [None, tile.blocks])
    outer_columns, inner_columns = sch.split(column, [None, tile.columns])
    inner = [inner_columns, inner_blocks, lane]
    if tile.rows > 1:
        rows[-1], inner_rows = sch.split(rows[-1], [None, tile.rows])
        inner = [inner_rows, *inner]
    apart = _rows_apart(sch, conv, rows, taps, machine)
    together = [row for row in rows if row not in apart]
    tiles = [batch, *apart, outer_blocks, *together]
    near = _near_channels(sch, conv, channel, panel, machine)
    few = planes or tile.rows > 1 or extent(sch, outer_columns) < MIN_TILES
    run = None
    if few or near == extent(sch, channel):
        tiles.append(outer_columns)
        sch.reorder(*tiles, *taps, channel, *inner)
        tile_loop = parallelise(sch, tiles, work)
        sch.reverse_compute_at(store, tile_loop, preserve_unit_loops=True)
        vectorize_unroll(sch, sch.get_loops(store)[1:])
    else:
        run, channel = sch.split(channel, [None, near])
        sch.reorder(*tiles, run, outer_columns, *taps, channel, *inner)
        # The sums of a row wait between runs.
        sch.set_scope(conv, 0, "global")
        row_loop = parallelise(sch, tiles, work)
        sch.reverse_compute_at(store, row_loop, preserve_unit_loops=True)
        sch.vectorize(sch.get_loops(store)[-1])
    accumulate(
        sch,
        conv,
        taps=taps,
        channel=channel,
        tile=inner,
        machine=machine,
        streams=few_pixels(size),
        start=run,
    )


def _near_channels(
    sch: s_tir.Schedule, conv: object, channel: object, panel: int, machine: Machine
) -> int:
    """Return how many channels to take at a time: all, unless their weights are far for each tile.

    `panel` is the bytes of all weights that a tile meets; those of a run fill half of the first
    cache.
    """
    channels, block = extent(sch, channel), in_block(sch, conv)
    if panel <= machine.l2_bytes // 4:
        return channels
    most = max(block, machine.l1_bytes // 2 * channels // panel)
    runs = (n for n in range(block, channels, block) if channels % n == 0 and n <= most)
    return max(runs, default=channels)


def _rows_apart(
    sch: s_tir.Schedule, conv: object, rows: list[object], taps: list[object], machine: Machine
) -> list[object]:
    """Return the axes along which no windows overlap, where all weights stay in the cache.

    Every panel of weights passes by one such row after the other, so that the input comes from
    memory once, and windows along the other axes find it in the cache.
    """
    weight = sch.get(conv).reads[1].source
    if prod(int(size) for size in weight.shape) * FLOAT_BYTES > machine.l2_bytes // 2:
        return []
    return [row for row, tap in zip(rows, taps, strict=False) if extent(sch, tap) == 1]
