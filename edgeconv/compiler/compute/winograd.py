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
    """

    m: int
    rows: int
    across: int
    columns: int
    stride: int = 1

    @property
    def side(self) -> int:
        """Inputs of a tile along each axis."""
        return tile_side(self.m, self.stride)

    @property
    def step(self) -> int:
        """Inputs from one tile to the next."""
        return self.m * self.stride

    def reach(self, tiles: int) -> int:
        """Return how many inputs so many tiles in a row read."""
        return tile_side(tiles * self.m, self.stride)


@dataclass(frozen=True)
class _Shape:
    """Extents that the stages share.

    Attributes:
        outer: (N, *lead output): the planes, which are computed one by one.
        lead_taps: kernel shape before the last two axes.
        in_blocks: channel blocks of the input.
        chunks_down: chunks of an image from top to bottom.
        chunks_across: chunks of an image from left to right.
        tiles: tiles in a chunk, rounded up to whole register tiles.
    """

    outer: tuple[int, ...]
    lead_taps: tuple[int, ...]
    in_blocks: int
    chunks_down: int
    chunks_across: int
    tiles: int

    @property
    def chunks(self) -> int:
        """Chunks of an image, which are numbered row by row."""
        return self.chunks_down * self.chunks_across

    @property
    def steps(self) -> int:
        """Blocks of input channels of every tap before the last two axes."""
        return prod(self.lead_taps) * self.in_blocks


def conv_winograd(
    data: te.Tensor,
    weight: te.Tensor,
    window: Window,
    *,
    groups: int,
    size: Sequence[int],
    tiling: Tiling,
) -> te.Tensor:
    """Convolve NCHWc `data` with transformed and packed weights.

    Args:
        data: (N, ceil(IC/ib), *spatial, ib), not padded.
        weight: (ceil(OC/ob) / tile, side, side, *lead kernel, IC/groups, tile, ob), for register
            tiles of that many blocks.
        window: the geometry; the last two axes have 3 taps, stride 1 or 2, and dilation 1.
        groups: as for `conv_blocked`.
        size: output spatial shape.
        tiling: how the image is cut.

    Returns:
        (N, ceil(OC/ob), *size, ob), in the dtype of `data`.
    """
    lead = len(size) - 2
    height, width = (-(-s // tiling.m) for s in size[lead:])
    shape = _Shape(
        outer=(int(data.shape[0]), *size[:lead]),
        lead_taps=tuple(int(k) for k in weight.shape[3 : 3 + lead]),
        in_blocks=int(data.shape[1]),
        chunks_down=-(-height // tiling.rows),
        chunks_across=-(-width // tiling.across),
        tiles=-(-tiling.rows * tiling.across // tiling.columns) * tiling.columns,
    )
    panels = _transformed_input(data, window, tiling, shape)
    products = _products(panels, weight, groups, tiling, shape)
    return _outputs(products, size, tiling, shape)


def _transformed_input(data: te.Tensor, window: Window, tiling: Tiling, shape: _Shape) -> te.Tensor:
    """Return (*outer, chunk, side, side, panel, step, column, ib): B^T d B of every tile d.

    The tiles of a panel are the columns of a register tile. Whole columns of the image are
    transformed first, since tiles that overlap share them.
    """
    side, lead = tiling.side, len(shape.lead_taps)
    in_block = int(data.shape[-1])
    # The last register tile of a chunk may have columns beyond the chunk.
    rows = -(-shape.tiles // tiling.across)
    reach = [
        (o - 1) * s + (k - 1) * d + 1
        for o, s, k, d in zip(
            shape.outer[1:],
            window.stride[:lead],
            shape.lead_taps,
            window.dilation[:lead],
            strict=True,
        )
    ]
    reach += [
        tiling.reach((shape.chunks_down - 1) * tiling.rows + rows),
        tiling.reach(shape.chunks_across * tiling.across),
    ]
    image = [int(s) for s in data.shape[2:-1]]
    after = [r - s - b for r, s, b in zip(reach, image, window.pad_before, strict=True)]
    padded = pad_spatial(data, window.pad_before, after)

    def line(n: Any, *index: Any) -> Any:
        *planes, chunk, step, row, column, i, lane = index
        *taps, block = _unflatten(step, (*shape.lead_taps, shape.in_blocks))
        position = [
            plane * stride + tap * dilation
            for plane, tap, stride, dilation in zip(
                planes, taps, window.stride[:lead], window.dilation[:lead], strict=True
            )
        ]
        y = (chunk // shape.chunks_across * tiling.rows + row) * tiling.step + i
        x = chunk % shape.chunks_across * tiling.across * tiling.step + column
        return padded(n, block, *position, y, x, lane)

    around = (*shape.outer, shape.chunks)
    lines = te.compute(
        (*around, shape.steps, rows, tiling.reach(tiling.across), side, in_block),
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

    panels = shape.tiles // tiling.columns
    return te.compute(
        (*around, side, side, panels, shape.steps, tiling.columns, in_block),
        horizontal,
        name="horizontal",
    )


def _products(
    panels: te.Tensor, weight: te.Tensor, groups: int, tiling: Tiling, shape: _Shape
) -> te.Tensor:
    """Return (*outer, chunk, side, side, block, tile, ob): sums over channels."""
    side, in_block = tiling.side, int(panels.shape[-1])
    outer, *_, channels, tile, out_block = (int(s) for s in weight.shape)
    blocks = outer * tile
    taps = [te.reduce_axis((0, k), name=f"k{i}") for i, k in enumerate(shape.lead_taps)]
    channel = te.reduce_axis((0, channels), name="ic")

    def element(*index: Any) -> Any:
        *around, i, j, block, t, lane = index
        source = channel if groups == 1 else block // (blocks // groups) * channels + channel
        step = flat_index([*taps, source // in_block], (*shape.lead_taps, shape.in_blocks))
        panel, column = t // tiling.columns, t % tiling.columns
        return te.sum(
            panels(*around, i, j, panel, step, column, source % in_block)
            * weight(block // tile, i, j, *taps, channel, block % tile, lane),
            axis=[*taps, channel],
        )

    return te.compute(
        (*shape.outer, shape.chunks, side, side, blocks, shape.tiles, out_block),
        element,
        name="product",
    )


def _outputs(products: te.Tensor, size: Sequence[int], tiling: Tiling, shape: _Shape) -> te.Tensor:
    """Return (N, block, *size, ob): A^T M A of every tile M, put together."""
    m, side, rows, across = tiling.m, tiling.side, tiling.rows, tiling.across
    blocks, out_block = int(products.shape[-3]), int(products.shape[-1])
    batch, *lead = shape.outer
    around = (
        *(batch, blocks, *lead),
        shape.chunks_down * rows,
        shape.chunks_across * across,
    )

    def horizontal(n: Any, block: Any, *index: Any) -> Any:
        *planes, row, column, i, s, lane = index
        chunk = row // rows * shape.chunks_across + column // across
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
    attributes = {"tiling": [tirx.IntImm("int32", extent) for extent in astuple(tiling)]}
    return te.compute((batch, blocks, *size, out_block), image, name="image", attrs=attributes)


def _choose(index: Any, options: Sequence[Any]) -> Any:
    """Return options[index]; the schedule unrolls the index."""
    chosen = options[-1]
    for position, option in reversed(list(enumerate(options[:-1]))):
        chosen = tirx.if_then_else(index == position, option, chosen)
    return chosen


def _unflatten(flat: Any, shape: Sequence[int]) -> list[Any]:
    index = []
    for extent in reversed(shape):
        index.append(flat % extent)
        flat = flat // extent
    return index[::-1]
