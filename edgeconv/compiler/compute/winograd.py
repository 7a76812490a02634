"""Winograd convolution as tensor expressions: 3x3 kernels of stride 1 and 2.

m x m outputs are computed from a tile of side x side inputs. Tiles and kernels are transformed,
multiplied element by element and summed over the channels, which makes side² matrix products, and
transformed back: side² multiplications take the place of 9 m². The side is m + 2 for stride 1, and
2 m + 1 for stride 2. Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR
2016.

Axes before the last two (the depth of a video) are convolved directly: a tap there is one more
block of input channels. What is not finite spreads over the tile that reads it, and infinity
becomes NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from math import prod
from typing import Any

from tvm import te, tirx

from edgeconv.compiler.compute.layout import flat_index, pad_spatial
from edgeconv.compiler.compute.skipping import SKIPS, Skip, met_taps
from edgeconv.compiler.compute.toom_cook import (
    evaluated,
    interpolated,
    tile_side,
)
from edgeconv.compiler.compute.window import Window


@dataclass(frozen=True)
class Tiling:
    """How an image is cut.

    Attributes:
        m: outputs of a tile along each axis.
        rows: rows of tiles in a chunk, which is transformed at a time.
        across: tiles of a chunk in each of its rows.
        columns: tiles that a register tile of the matrix products takes.
        stride: of the convolution.
        parts: of the output channels, each computed from a transformed input of its own.
    """

    m: int
    rows: int
    across: int
    columns: int
    stride: int = 1
    parts: int = 1

    @property
    def side(self) -> int:
        """Inputs of a tile along each axis."""
        return tile_side(self.m, self.stride)

    @property
    def step(self) -> int:
        """Inputs from one tile to the next."""
        return self.m * self.stride

    @property
    def tiles(self) -> int:
        """Tiles in a chunk, rounded up to whole register tiles."""
        return -(-self.rows * self.across // self.columns) * self.columns

    def chunks(self, size: Sequence[int]) -> tuple[int, int]:
        """Return the chunks of an output of shape `size`, from top to bottom and left to right."""
        height, width = (-(-extent // self.m) for extent in size[-2:])
        return -(-height // self.rows), -(-width // self.across)

    def reach(self, tiles: int) -> int:
        """Return how many inputs so many tiles in a row read."""
        return tile_side(tiles * self.m, self.stride)


def conv_winograd(
    data: te.Tensor,
    weight: te.Tensor,
    window: Window,
    *,
    groups: int,
    size: Sequence[int],
    blocks: int,
    tiling: Tiling,
    skips: Sequence[Skip] = (),
) -> te.Tensor:
    """Convolve NCHWc `data` with transformed and packed weights.

    Args:
        data: (N, ceil(IC/ib), *spatial, ib), not padded.
        weight: (ceil(OC/ob) / tile, side, side, *lead kernel, IC/groups, tile, ob), for register
            tiles of that many blocks.
        window: the geometry; the last two axes have 3 taps, stride 1 or 2, and dilation 1.
        groups: as for `conv_blocked`.
        size: output spatial shape.
        blocks: of the output's channels.
        tiling: how the image is cut.
        skips: one per axis before the last two, where the schedule leaves taps out.

    Returns:
        (N, ceil(OC/ob), *size, ob), in the dtype of `data`.
    """
    panels = winograd_input(data, window, size=size, tiling=tiling, skips=skips)
    products = winograd_products(panels, weight, groups=groups, skips=skips)
    return winograd_output(products, size=size, blocks=blocks, tiling=tiling, skips=skips)


def winograd_input(
    data: te.Tensor,
    window: Window,
    *,
    size: Sequence[int],
    tiling: Tiling,
    skips: Sequence[Skip] = (),
) -> te.Tensor:
    """Transform every tile d of the input: B^T d B. The arguments are those of `conv_winograd`.

    The tiles of a panel are the columns of a register tile. Whole columns of the image are
    transformed first, since tiles that overlap share them.

    Returns:
        (N, *lead output, chunk, side, side, panel, step, column, ib), where a step is a block of
        input channels of a tap before the last two axes. Chunks are numbered row by row.
    """
    side, lead = tiling.side, len(size) - 2
    batch, in_blocks, *image, in_block = (int(s) for s in data.shape)
    lead_taps = _taps(window.kernel[:lead], skips)
    chunks_down, chunks_across = tiling.chunks(size)
    # The last register tile of a chunk may have columns beyond the chunk.
    rows = -(-tiling.tiles // tiling.across)
    reach = [
        (o - 1) * s + (k - 1) * d + 1
        for o, s, k, d in zip(
            size[:lead],
            window.stride[:lead],
            window.kernel[:lead],
            window.dilation[:lead],
            strict=True,
        )
    ]
    reach += [
        tiling.reach((chunks_down - 1) * tiling.rows + rows),
        tiling.reach(chunks_across * tiling.across),
    ]
    after = [r - s - b for r, s, b in zip(reach, image, window.pad_before, strict=True)]
    padded = pad_spatial(data, window.pad_before, after)

    def line(n: Any, *index: Any) -> Any:
        *planes, chunk, step, row, column, i, lane = index
        *taps, block = unflatten(step, (*lead_taps, in_blocks))
        taps = met_taps(skips, planes, taps)
        position = [
            plane * stride + tap * dilation
            for plane, tap, stride, dilation in zip(
                planes, taps, window.stride[:lead], window.dilation[:lead], strict=True
            )
        ]
        y = (chunk // chunks_across * tiling.rows + row) * tiling.step + i
        x = chunk % chunks_across * tiling.across * tiling.step + column
        return padded(n, block, *position, y, x, lane)

    around = (batch, *size[:lead], chunks_down * chunks_across)
    steps = prod(lead_taps) * in_blocks
    lines = te.compute(
        (*around, steps, rows, tiling.reach(tiling.across), side, in_block),
        line,
        name="line",
    )

    def vertical(*index: Any) -> Any:
        *outer, i, lane = index
        values = [lines(*outer, k, lane) for k in range(side)]
        return _choose(i, evaluated(values, tiling.m, tiling.stride))

    columns = te.compute(lines.shape, vertical, name="vertical")

    def horizontal(*index: Any) -> Any:
        *outer, i, j, panel, step, t, lane = index
        tile = panel * tiling.columns + t
        row, first = tile // tiling.across, tile % tiling.across * tiling.step
        values = [columns(*outer, step, row, first + k, i, lane) for k in range(side)]
        return _choose(j, evaluated(values, tiling.m, tiling.stride))

    panels = tiling.tiles // tiling.columns
    return te.compute(
        (*around, side, side, panels, steps, tiling.columns, in_block),
        horizontal,
        name="winograd_input",
    )


def winograd_products(
    panels: te.Tensor, weight: te.Tensor, *, groups: int, skips: Sequence[Skip] = ()
) -> te.Tensor:
    """Sum over the channels: one matrix product for each place in a tile.

    Args:
        panels: as `winograd_input` returns them.
        weight: as for `conv_winograd`.
        groups: as for `conv_winograd`.
        skips: as for `conv_winograd`.

    Returns:
        (N, *lead output, chunk, side, side, block, tile, ob), with the tiles of all panels.
    """
    *around, side, _, count, steps, columns, in_block = (int(s) for s in panels.shape)
    outer, _, _, *kernel, channels, tile, out_block = (int(s) for s in weight.shape)
    lead_taps = _taps(kernel, skips)
    blocks, in_blocks = outer * tile, steps // prod(lead_taps)
    taps = [te.reduce_axis((0, k), name=f"k{i}") for i, k in enumerate(lead_taps)]
    channel = te.reduce_axis((0, channels), name="ic")

    def element(*index: Any) -> Any:
        *outside, i, j, block, t, lane = index
        source = channel if groups == 1 else block // (blocks // groups) * channels + channel
        step = flat_index([*taps, source // in_block], (*lead_taps, in_blocks))
        panel, column = t // columns, t % columns
        weighed = met_taps(skips, outside[1:-1], taps)
        return te.sum(
            panels(*outside, i, j, panel, step, column, source % in_block)
            * weight(block // tile, i, j, *weighed, channel, block % tile, lane),
            axis=[*taps, channel],
        )

    shape = (*around, side, side, blocks, count * columns, out_block)
    return te.compute(shape, element, name="winograd_product")


def winograd_output(
    products: te.Tensor,
    *,
    size: Sequence[int],
    blocks: int,
    tiling: Tiling,
    skips: Sequence[Skip] = (),
) -> te.Tensor:
    """Transform every tile M of the products back, A^T M A, and put the tiles together.

    The other arguments, and the result, are those of `conv_winograd`.
    """
    m, side, rows, across = tiling.m, tiling.side, tiling.rows, tiling.across
    batch, *lead, _, _, _, _, _, out_block = (int(s) for s in products.shape)
    chunks_down, chunks_across = tiling.chunks(size)
    around = (batch, blocks, *lead, chunks_down * rows, chunks_across * across)

    def horizontal(n: Any, block: Any, *index: Any) -> Any:
        *planes, row, column, i, s, lane = index
        chunk = row // rows * chunks_across + column // across
        tile = row % rows * across + column % across
        values = [products(n, *planes, chunk, i, k, block, tile, lane) for k in range(side)]
        return _choose(s, interpolated(values, m, tiling.stride))

    halves = te.compute((*around, side, m, out_block), horizontal, name="half")

    def vertical(*index: Any) -> Any:
        *outer, r, s, lane = index
        values = [halves(*outer, k, s, lane) for k in range(side)]
        return _choose(r, interpolated(values, m, tiling.stride))

    tiles = te.compute((*around, m, m, out_block), vertical, name="winograd")

    def image(n: Any, block: Any, *index: Any) -> Any:
        *planes, y, x, lane = index
        return tiles(n, block, *planes, y // m, x // m, y % m, x % m, lane)

    # The schedule cuts its loops alike.
    attributes: dict[str, Any] = {
        "tiling": [tirx.IntImm("int32", extent) for extent in astuple(tiling)]
    }
    if any(skip.leaves_some for skip in skips):
        attributes[SKIPS] = [skip.encoded() for skip in skips]
    return te.compute((batch, blocks, *size, out_block), image, name="image", attrs=attributes)


def _choose(index: Any, options: Sequence[Any]) -> Any:
    """Return options[index]; the schedule unrolls the index."""
    chosen = options[-1]
    for position, option in reversed(list(enumerate(options[:-1]))):
        chosen = tirx.if_then_else(index == position, option, chosen)
    return chosen


def _taps(kernel: Sequence[int], skips: Sequence[Skip]) -> list[int]:
    """Return how many taps are computed along each axis before the last two."""
    return [skip.met for skip in skips] if skips else list(kernel)


def unflatten(flat: Any, shape: Sequence[int]) -> list[Any]:
    """Return the index that a flat one stands for, row by row."""
    index = []
    for extent in reversed(shape):
        index.append(flat % extent)
        flat = flat // extent
    return index[::-1]
