"""Direct convolution on blocked data: a register tile of columns (of rows) by channel blocks.

The tile's accumulators stay in registers over the whole reduction; the innermost loop feeds them
with one packed weight vector per block and one input value per column. Where weights are packed in
runs of channels (`runs.py`), tiles take a run at a time.
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
from edgeconv.compiler.schedules.cpu.common import parallelise
from edgeconv.compiler.schedules.cpu.runs import rows_apart, takes_rows
from edgeconv.compiler.schedules.cpu.skipping import skip_taps
from edgeconv.compiler.schedules.machine import (
    FLOAT_BYTES,
    Machine,
    RegisterTile,
    few_pixels,
    image_tile,
)

ANCHOR = "conv"


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
    near = _run(sch, conv, len(size))
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
        passes = [nest.columns] if takes_rows(size, tile) else [*nest.rows, nest.columns]
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
        # A run reads the same weights for every tile.
        streams=few_pixels(size) and run is None,
        start=run,
    )
    if skips:
        # The axes are (N, block, *spatial, lane), and then the taps.
        rank = len(skips)
        skip_taps(
            sch,
            conv,
            nest.taps[-1],
            skips,
            lambda places: zip(places[2 : 2 + rank], places[3 + rank :], strict=False),
        )


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


def _run(sch: s_tir.Schedule, conv: object, rank: int) -> int | None:
    """Return how many channels a run has, as the weights are packed; None for all."""
    weight = sch.get(conv).reads[1].source
    # One axis each for panels, runs, channels, blocks and lanes, beside the kernel's.
    return int(weight.shape[-3]) if len(weight.shape) == rank + 5 else None


def _rows_apart(
    sch: s_tir.Schedule,
    conv: object,
    rows: list[object],
    taps: list[object],
    *,
    machine: Machine,
    skips: Sequence[Skip],
) -> list[object]:
    """Return the axes along which rows are taken apart, with all panels of weights (`rows_apart`).

    Where taps are far apart, rows that follow each other read others, and weights may come from the
    third-level cache.
    """
    weight = sch.get(conv).reads[1].source
    size = prod(int(size) for size in weight.shape) * FLOAT_BYTES
    if skips and size <= machine.l3_bytes // 2:
        return [row for row, skip in zip(rows, skips, strict=False) if skip.dilation > 1]
    apart = rows_apart([extent(sch, tap) for tap in taps], size, machine)
    return [row for row, alone in zip(rows, apart, strict=True) if alone]
