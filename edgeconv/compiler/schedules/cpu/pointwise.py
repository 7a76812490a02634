"""Pointwise convolution: a matrix product of packed weights and all pixels in one row.

A task takes a chunk of pixels and a group of weight panels; where the channels are many, it takes
a run of them at a time (`blocking.py`).
"""

from __future__ import annotations

from tvm import s_tir

from edgeconv.compiler.schedules.common import (
    attach_epilogue,
    extent,
    image_in_one_row,
    total_work,
    vectorize_unroll,
)
from edgeconv.compiler.schedules.cpu.accumulate import accumulate, in_block, tile_blocks
from edgeconv.compiler.schedules.cpu.blocking import Tiles, choose_blocking
from edgeconv.compiler.schedules.cpu.common import parallelise
from edgeconv.compiler.schedules.machine import Machine, pixel_tile

ANCHOR = "pointwise"
# Blocks of input channels in a run, at least: shorter inner loops are not worth their start.
RUN_BLOCKS = 4


def schedule(sch: s_tir.Schedule, machine: Machine) -> None:
    """Schedule the function around its `pointwise` block (`compute.conv.pointwise_blocked`)."""
    product = sch.get_sblock(ANCHOR)
    work = total_work(sch, product)
    *_, pixels, lanes, channels = (extent(sch, loop) for loop in sch.get_loops(product))
    blocks = tile_blocks(sch, product)
    tile = pixel_tile(pixels, [blocks], machine, block=lanes, in_block=in_block(sch, product))
    store = attach_epilogue(sch, ANCHOR)
    image_in_one_row(sch, store)

    batch, block, pixel, lane, channel = sch.get_loops(product)
    panel, inner_block = sch.split(block, [None, blocks])
    tiles = Tiles(
        steps=-(-pixels // tile.columns),
        ragged=pixels % tile.columns > 0,
        panels=extent(sch, panel),
        depth=channels,
        columns=tile.columns,
        rows=blocks * lanes,
    )
    blocking = choose_blocking(tiles, RUN_BLOCKS * in_block(sch, product), machine)
    chunk, step, column = sch.split(pixel, [None, blocking.steps, tile.columns])
    group, panel = sch.split(panel, [None, blocking.panels])
    # Tasks in a row share the larger operand.
    shared = [group, chunk] if tiles.panels * tiles.rows > pixels else [chunk, group]
    inner = [column, inner_block, lane]
    runs = []
    if blocking.depth < channels:
        run, channel = sch.split(channel, [None, blocking.depth])
        runs = [run]
    sch.reorder(batch, *shared, *runs, panel, step, channel, *inner)
    task = parallelise(sch, [batch, *shared], work)
    _end_before_last(sch, step, tiles.ragged)
    if runs:
        # The sums wait between runs in memory of the task's own.
        sch.set_scope(product, 0, "global")
        sch.reverse_compute_at(store, task, preserve_unit_loops=True)
        _in_tiles(sch, store, blocks, tile.columns, ragged=tiles.ragged)
    else:
        sch.reverse_compute_at(store, step, preserve_unit_loops=True)
        vectorize_unroll(sch, sch.get_loops(store)[-len(inner) :])
    accumulate(
        sch,
        product,
        taps=[],
        channel=channel,
        tile=inner,
        machine=machine,
        start=runs[0] if runs else None,
    )


def _in_tiles(
    sch: s_tir.Schedule, store: object, blocks: int, columns: int, *, ragged: bool
) -> None:
    """Let the block that writes a task's results run over register tiles."""
    block, pixel, lane = sch.get_loops(store)[-3:]
    panel, block = sch.split(block, [None, blocks])
    step, pixel = sch.split(pixel, [None, columns])
    sch.reorder(panel, step, block, pixel, lane)
    _end_before_last(sch, step, ragged)
    vectorize_unroll(sch, [block, pixel, lane])


def _end_before_last(sch: s_tir.Schedule, step: object, ragged: bool) -> None:
    """Let a loop over tiles end before a narrower last one, which comes by itself."""
    if ragged:
        sch.annotate(step, "pragma_loop_partition_hint", True)
