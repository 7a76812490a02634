"""Pointwise convolution: a matrix product of packed weights and all pixels in one row.

So are convolutions along the first of three axes, frame by frame, with taps beside the channels.

A task takes a chunk of pixels and a group of weight panels; where the channels are many, it takes
a run of them at a time (`blocking.py`).
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

from tvm import s_tir

from edgeconv.compiler.schedules.common import (
    attach_epilogue,
    extent,
    image_in_one_row,
    total_work,
    vectorize_unroll,
)
from edgeconv.compiler.schedules.cpu.accumulate import PASSES, accumulate, in_block, tile_blocks
from edgeconv.compiler.schedules.cpu.blocking import Tiles, choose_blocking
from edgeconv.compiler.schedules.cpu.common import in_tiles, parallelise
from edgeconv.compiler.schedules.machine import Machine, pixel_tile

ANCHOR = "pointwise"
# Blocks of input channels in a run, at least: shorter inner loops are not worth their start.
RUN_BLOCKS = 4


def schedule(sch: s_tir.Schedule, machine: Machine) -> None:
    """Schedule the function around its `pointwise` block.

    That is of `compute.conv.pointwise_blocked` or `temporal_blocked`.
    """
    product = sch.get_sblock(ANCHOR)
    work = total_work(sch, product)
    store = attach_epilogue(sch, ANCHOR)
    batch, block, *frames, pixel, lane = _axes(sch, product, spatial=True)
    *taps, channel = _axes(sch, product, spatial=False)
    image_in_one_row(sch, store, len(frames))
    pixels, lanes, channels = (extent(sch, loop) for loop in (pixel, lane, channel))
    depth = channels * prod(extent(sch, tap) for tap in taps)
    blocks = tile_blocks(sch, product)
    tile = pixel_tile(pixels, [blocks], machine, block=lanes, in_block=in_block(sch, product))

    panel, inner_block = sch.split(block, [None, blocks])
    tiles = Tiles(
        steps=-(-pixels // tile.columns),
        ragged=pixels % tile.columns > 0,
        panels=extent(sch, panel),
        depth=depth,
        columns=tile.columns,
        rows=blocks * lanes,
    )
    by_pixels = _by_pixels(pixels, depth, tiles.panels * tiles.rows, machine)
    if by_pixels and machine.far_cores and not frames:
        tiles = replace(tiles, parts=machine.cores)
    if taps:
        # Half of the cache is for the next frame, which shares pixels with this one.
        blocking = choose_blocking(tiles, depth, replace(machine, l2_bytes=machine.l2_bytes // 2))
    else:
        blocking = choose_blocking(tiles, RUN_BLOCKS * in_block(sch, product), machine)
    chunk, step, column = sch.split(pixel, [None, blocking.steps, tile.columns])
    group, panel = sch.split(panel, [None, blocking.panels])
    # Tasks in a row share frames that windows of others read as well.
    pixels_first = [chunk, *frames]
    shared = [*pixels_first, group] if by_pixels else [group, *pixels_first]
    inner = [column, inner_block, lane]
    runs = []
    if blocking.depth < depth:
        run, channel = sch.split(channel, [None, blocking.depth])
        runs = [run]
    sch.reorder(batch, *shared, *runs, panel, step, *taps, channel, *inner)
    task = parallelise(sch, [batch, *shared], work, machine.min_parallel_macs)
    streams = machine.far_l3 and not runs and tiles.panels > 1
    if streams:
        sch.annotate(step, PASSES, blocking.steps)
    _end_before_last(sch, step, tiles.ragged)
    if runs:
        # The sums wait between runs in memory of the task's own.
        sch.set_scope(product, 0, "global")
        sch.reverse_compute_at(store, task, preserve_unit_loops=True)
        _end_before_last(sch, in_tiles(sch, store, blocks, tile.columns), tiles.ragged)
    else:
        sch.reverse_compute_at(store, step, preserve_unit_loops=True)
        vectorize_unroll(sch, sch.get_loops(store)[-len(inner) - len(frames) :])
    accumulate(
        sch,
        product,
        taps=taps,
        channel=channel,
        tile=inner,
        machine=machine,
        streams=streams,
        start=runs[0] if runs else None,
    )


def _by_pixels(pixels: int, depth: int, channels: int, machine: Machine) -> bool:
    """Whether tasks in a row share pixels; otherwise they share weights.

    That is the larger operand. Where cores are far from each other, the result counts as well: the
    next layer reads it.
    """
    if machine.far_cores:
        return pixels * (depth + channels) >= channels * depth
    return pixels >= channels


def _axes(sch: s_tir.Schedule, product: object, *, spatial: bool) -> list[object]:
    """Return the loops over the result, or those over what is summed."""
    kinds = [int(axis.iter_type) == 0 for axis in sch.get(product).iter_vars]
    loops = zip(sch.get_loops(product), kinds, strict=True)
    return [loop for loop, kind in loops if kind == spatial]


def _end_before_last(sch: s_tir.Schedule, step: object, ragged: bool) -> None:
    """Let a loop over tiles end before a narrower last one, which comes by itself."""
    if ragged:
        sch.annotate(step, "pragma_loop_partition_hint", True)
