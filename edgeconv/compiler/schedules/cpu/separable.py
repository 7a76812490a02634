"""Pointwise, then depthwise convolution in one pass over bands of rows.

A task computes what a band of output rows needs of the pointwise layer's result, some channel
blocks of it at a time, which then never leave the second-level cache. Neighbouring bands compute
the rows that both need.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from tvm import s_tir

from edgeconv.compiler.schedules.common import (
    attach_epilogue,
    block_names,
    extent,
    total_work,
    vectorize_unroll,
)
from edgeconv.compiler.schedules.cpu import pointwise, window
from edgeconv.compiler.schedules.cpu.accumulate import accumulate, in_block, tile_blocks
from edgeconv.compiler.schedules.cpu.common import parallelise
from edgeconv.compiler.schedules.machine import (
    FLOAT_BYTES,
    Machine,
    RegisterTile,
    largest_divisor,
    register_tile,
)

POINTWISE, WINDOW = ANCHORS = (pointwise.ANCHOR, window.ANCHOR)


def schedule(sch: s_tir.Schedule, machine: Machine) -> None:
    """Schedule the function around its `pointwise` and its `window` block."""
    names = block_names(sch)
    before = names[: names.index("pad" if "pad" in names else WINDOW)]
    for name in before[1:-1]:
        sch.compute_inline(sch.get_sblock(name))
    product, image = sch.get_sblock(POINTWISE), sch.get_sblock(before[-1])
    depthwise = sch.get_sblock(WINDOW)
    work = total_work(sch, product) + total_work(sch, depthwise)
    blocks = tile_blocks(sch, product)
    sch.set_scope(product, 0, "local")
    if "pad" in names:
        sch.compute_inline(sch.get_sblock("pad"))
    task = _window(sch, depthwise, blocks, work, machine)
    sch.compute_at(image, task, preserve_unit_loops=True)
    _products(sch, product, image, blocks, machine)


def row_tile(
    width: int, blocks: int, machine: Machine, *, lanes: int, in_block: int
) -> RegisterTile:
    """Return the register tile of the pointwise layer, some of which make up a row of `width`."""
    return register_tile(width, [blocks], machine, block=lanes, in_block=in_block, whole=True)


def band_rows(rows: int, image: Sequence[int], blocks: int, machine: Machine) -> int:
    """Return how many of the output's `rows` a band has.

    What it reads of the `image` (rows, columns, lanes), so many channel `blocks` at a time, fills a
    quarter of the second-level cache.
    """
    most = machine.l2_bytes // 4 * rows // (prod(image) * blocks * FLOAT_BYTES)
    return largest_divisor(rows, max(1, most))


def _window(
    sch: s_tir.Schedule, depthwise: object, blocks: int, work: int, machine: Machine
) -> object:
    """Schedule the depthwise part; return the loop over tasks."""
    store = attach_epilogue(sch, WINDOW)
    batch, outer, row, column, lane, *taps = sch.get_loops(depthwise)
    panel, block = sch.split(outer, [None, blocks])
    image = [int(size) for size in sch.get(depthwise).reads[0].source.shape[-3:]]
    band, row = sch.split(row, [None, band_rows(extent(sch, row), image, blocks, machine)])
    columns = window.even_part(extent(sch, column), window.MAX_COLUMNS)
    step, column = sch.split(column, [None, columns])
    inner = [column, lane]
    sch.reorder(batch, panel, band, block, row, step, *taps, *inner)
    task = parallelise(sch, [batch, panel, band], work)
    sch.reverse_compute_at(store, step, preserve_unit_loops=True)
    for tap in taps:
        sch.unroll(tap)
    vectorize_unroll(sch, inner)
    for loop in (row, step):
        sch.annotate(loop, "pragma_loop_partition_hint", True)
    init = sch.decompose_reduction(depthwise, taps[0])
    for part in (init, store):
        vectorize_unroll(sch, sch.get_loops(part)[-2:])
    return task


def _products(
    sch: s_tir.Schedule, product: object, image: object, blocks: int, machine: Machine
) -> None:
    """Compute the pointwise part a register tile at a time, within rows."""
    *_, block, row, column, lane = sch.get_loops(image)
    width, lanes = extent(sch, column), extent(sch, lane)
    tile = row_tile(width, blocks, machine, lanes=lanes, in_block=in_block(sch, product))
    step, column = sch.split(column, [None, tile.columns])
    sch.reorder(row, step, block, column, lane)
    sch.compute_at(product, step, preserve_unit_loops=True)
    vectorize_unroll(sch, [block, column, lane])
    *_, block, pixel, lane, channel = sch.get_loops(product)
    inner = [pixel, block, lane]
    sch.reorder(channel, *inner)
    accumulate(sch, product, taps=[], channel=channel, tile=inner, machine=machine)
