"""Direct convolution on blocked data: a register tile of columns (of rows) by channel blocks.

The tile's accumulators stay in registers over the whole reduction; the innermost loop feeds them
with one packed weight vector per block and one input value per column. Where the weights of a tile
would not stay near from one tile to the next, a row of tiles, or an image of few, takes a run of
channels at a time, whose weights stay in the first-level cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

from tvm import s_tir

from edgeconv.compiler.compute.skipping import SKIPS, Skip, decoded
from edgeconv.compiler.schedules.common import attach_epilogue, extent, total_work, vectorize_unroll
from edgeconv.compiler.schedules.cpu.accumulate import (
    PASSES,
    accumulate,
    in_block,
    tile_blocks,
)
from edgeconv.compiler.schedules.cpu.blocking import TASKS
from edgeconv.compiler.schedules.cpu.common import parallelise
from edgeconv.compiler.schedules.cpu.skipping import skip_taps
from edgeconv.compiler.schedules.machine import (
    FLOAT_BYTES,
    Machine,
    RegisterTile,
    few_pixels,
    image_tile,
)

ANCHOR = "conv"
# Weights that come near for fewer tiles are not read often enough.
MIN_TILES = 4


@dataclass(frozen=True)
class _Nest:
    """The loops of a convolution, cut into register tiles.

    Attributes:
        panels: over images, rows that stand apart, and panels of weights, outermost first.
        rows: over rows of tiles that read the same weights in turn.
        columns: over the tiles of a row.
        taps: over the kernel.
        channel: over the input channels.
        inner: inside a tile: rows where it has several, columns, blocks, lanes.
    """

    panels: list[object]
    rows: list[object]
    columns: object
    taps: list[object]
    channel: object
    inner: list[object]

    @property
    def tiles(self) -> list[object]:
        """Return the loops over all tiles."""
        return [*self.panels, *self.rows, self.columns]


def schedule(sch: s_tir.Schedule, machine: Machine) -> None:
    """Schedule the function around its `conv` block (`compute.conv.conv_blocked`)."""
    crop = sch.get_sblock("crop")
    *outer, block = (extent(sch, loop) for loop in sch.get_loops(crop))
    skips = decoded(sch.get(crop).annotations.get(SKIPS, ()))
    size = outer[2:]
    conv = sch.get_sblock(ANCHOR)
    blocks = tile_blocks(sch, conv)
    depth = prod(extent(sch, loop) for loop in sch.get_loops(conv)[len(outer) + 1 :])
    tile = image_tile(
        size, [blocks], machine, block=block, in_block=in_block(sch, conv), depth=depth
    )
    if skips:
        tile = replace(tile, columns=skips[-1].run, rows=1)
    store = attach_epilogue(sch, ANCHOR)
    conv = sch.get_sblock(ANCHOR)
    work = total_work(sch, conv)
    nest = _in_tiles(sch, conv, len(size), tile, machine=machine, skips=skips)
    # What a tile meets.
    panel = depth * blocks * block * FLOAT_BYTES
    near_enough = stays_near(panel, machine, skips=bool(skips))
    passes = [] if near_enough else _passes(sch, nest, machine, skips=bool(skips))
    near = _near_channels(sch, conv, nest.channel, panel, machine) if passes else None
    if near is None:
        run, channel = None, nest.channel
        sch.reorder(*nest.tiles, *nest.taps, channel, *nest.inner)
        readings = prod(extent(sch, loop) for loop in [*nest.rows, nest.columns])
        fused = parallelise(sch, nest.tiles, work, machine.min_parallel_macs)
        sch.annotate(fused, PASSES, readings)
        sch.reverse_compute_at(store, fused, preserve_unit_loops=True)
        vectorize_unroll(sch, sch.get_loops(store)[1:])
    else:
        run, channel = sch.split(nest.channel, [None, near])
        tasks = nest.tiles[: -len(passes)]
        sch.reorder(*tasks, run, *passes, *nest.taps, channel, *nest.inner)
        # The sums of the tiles that a run passes by wait for the next run.
        sch.set_scope(conv, 0, "global")
        task = parallelise(sch, tasks, work, machine.min_parallel_macs)
        sch.reverse_compute_at(store, task, preserve_unit_loops=True)
        sch.vectorize(sch.get_loops(store)[-1])
    accumulate(
        sch,
        conv,
        taps=nest.taps,
        channel=channel,
        tile=nest.inner,
        machine=machine,
        # A run does not read its weights front to back.
        streams=few_pixels(size) and run is None,
        start=run,
    )
    if skips:
        skip_taps(sch, conv, nest.taps[-1], skips)


def _in_tiles(
    sch: s_tir.Schedule,
    conv: object,
    rank: int,
    tile: RegisterTile,
    *,
    machine: Machine,
    skips: Sequence[Skip],
) -> _Nest:
    """Cut the loops over the image, which has `rank` axes, into tiles."""
    batch, outer, *axes = sch.get_loops(conv)
    *rows, column, lane = axes[: rank + 1]
    channel = axes.pop(rank + 1 if in_block(sch, conv) == 1 else -1)
    taps = axes[rank + 1 :]
    outer_blocks, inner_blocks = sch.split(outer, [None, tile.blocks])
    outer_columns, inner_columns = sch.split(column, [None, tile.columns])
    inner = [inner_columns, inner_blocks, lane]
    if tile.rows > 1:
        rows[-1], inner_rows = sch.split(rows[-1], [None, tile.rows])
        inner = [inner_rows, *inner]
    apart = _rows_apart(sch, conv, rows, taps, machine=machine, skips=skips)
    together = [row for row in rows if row not in apart]
    return _Nest([batch, *apart, outer_blocks], together, outer_columns, taps, channel, inner)


def stays_near(panel: int, machine: Machine, *, skips: bool = False) -> bool:
    """Whether every tile finds all its weights, `panel` bytes, near from the tile before it."""
    if skips:
        # A run stores its sums once for each tap, so it must save more.
        return panel <= machine.l2_bytes // 2
    # Large x86 cores fetch ahead from the second-level cache, and hide most of the way.
    return panel <= (machine.l1_bytes // 2 if machine.lane_fma else machine.l2_bytes // 4)


def _passes(sch: s_tir.Schedule, nest: _Nest, machine: Machine, *, skips: bool) -> list[object]:
    """Return the loops over the tiles that a run of channels passes by.

    Those of a row, or where they are few, of an image, if that leaves every core a task; none where
    the image has few, too.
    """
    if extent(sch, nest.columns) >= MIN_TILES:
        return [nest.columns]
    if skips or not machine.lane_fma:
        return []
    image = [*nest.rows, nest.columns]
    often = prod(extent(sch, loop) for loop in image) >= MIN_TILES
    tasks = prod(extent(sch, loop) for loop in nest.panels)
    return image if often and tasks >= TASKS else []


def _near_channels(
    sch: s_tir.Schedule, conv: object, channel: object, panel: int, machine: Machine
) -> int | None:
    """Return how many channels to take at a time, or None for all.

    `panel` is the bytes of all weights that a tile meets. Those of a run fill half of the first
    cache.
    """
    channels, block = extent(sch, channel), in_block(sch, conv)
    if block == 1:
        return None
    most = max(block, machine.l1_bytes // 2 * channels // panel)
    runs = (n for n in range(block, channels, block) if channels % n == 0 and n <= most)
    return max(runs, default=None)


def _rows_apart(
    sch: s_tir.Schedule,
    conv: object,
    rows: list[object],
    taps: list[object],
    *,
    machine: Machine,
    skips: Sequence[Skip],
) -> list[object]:
    """Return the axes along which no windows overlap, where all weights stay in the cache.

    Every panel of weights passes by one such row after the other, so that the input comes from
    memory once, and windows along the other axes find it in the cache. Where taps are far apart,
    rows that follow each other read others, and weights may come from the third-level cache.
    """
    weight = sch.get(conv).reads[1].source
    size = prod(int(size) for size in weight.shape) * FLOAT_BYTES
    if skips and size <= machine.l3_bytes // 2:
        return [row for row, skip in zip(rows, skips, strict=False) if skip.dilation > 1]
    if size > machine.l2_bytes // 2:
        return []
    return [row for row, tap in zip(rows, taps, strict=False) if extent(sch, tap) == 1]
