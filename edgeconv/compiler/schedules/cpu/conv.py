"""Direct convolution on blocked data: a register tile of columns (of rows) by channel blocks.

The tile's accumulators stay in registers over the whole reduction; the innermost loop feeds them
with one packed weight vector per block and one input value per column.
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


def schedule(sch: s_tir.Schedule, machine: Machine) -> None:
    """Schedule the function around its `conv` block (`compute.conv.conv_blocked`)."""
    crop = [extent(sch, loop) for loop in sch.get_loops(sch.get_sblock("crop"))]
    _, _, *size, block = crop
    rank = len(size)
    conv = sch.get_sblock(ANCHOR)
    blocks = tile_blocks(sch, conv)
    tile = image_tile(
        size,
        [blocks],
        machine,
        block=block,
        in_block=in_block(sch, conv),
        depth=prod(extent(sch, loop) for loop in sch.get_loops(conv)[len(crop) :]),
    )
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
    tiles = [batch, *apart, outer_blocks, *together, outer_columns]
    sch.reorder(*tiles, *taps, channel, *inner)
    tile_loop = parallelise(sch, tiles, work)
    sch.reverse_compute_at(store, tile_loop, preserve_unit_loops=True)
    vectorize_unroll(sch, sch.get_loops(store)[1:])
    accumulate(
        sch,
        conv,
        taps=taps,
        channel=channel,
        tile=inner,
        machine=machine,
        streams=few_pixels(size),
    )


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
