"""Deformable convolution as tensor expressions.

Zhu et al. 2019 (arXiv:1811.11168), with the conventions of ONNX DeformConv: offsets are (y, x)
pairs per tap, taps row-major; positions outside (-1, size) give zero, and neighbours outside the
image count as zero.

The image is sampled with the channels of a pixel side by side and zeros around, a pixel before and
two behind: so every position has its four neighbours in memory, and what lies outside, wherever,
reads the same four zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from itertools import chain
from typing import Any

from tvm import te, tirx

from edgeconv.compiler.compute.layout import as_image
from edgeconv.compiler.compute.window import Window

# Zeros before and behind each axis of the image.
BORDER = (1, 2)
_ATTRIBUTE = "edgeconv.sampling"
Sample = Callable[..., Any]


@dataclass(frozen=True)
class Sampling:
    """How a deformable convolution samples its input.

    Attributes:
        window: the geometry without offsets.
        channels: channels of the input.
        offset_groups: groups of them with offsets of their own.
        image: (H, W) of the input.
        size: (OH, OW) of the output.
    """

    window: Window
    channels: int
    offset_groups: int
    image: tuple[int, ...]
    size: tuple[int, ...]

    @property
    def pixels(self) -> int:
        """Pixels of the output."""
        return self.size[0] * self.size[1]

    def attributes(self) -> dict[str, Any]:
        """Return attributes of a TIR function, which `read` takes."""
        pairs = [self.image, self.size, *astuple(self.window)]
        return {_ATTRIBUTE: [self.channels, self.offset_groups, *chain.from_iterable(pairs)]}

    @staticmethod
    def read(function: tirx.PrimFunc) -> Sampling | None:
        """Return the sampling of a function with `attributes`, None for any other."""
        if _ATTRIBUTE not in function.attrs:
            return None
        channels, offset_groups, *flat = (int(value) for value in function.attrs[_ATTRIBUTE])
        image, size, *geometry = zip(flat[::2], flat[1::2], strict=True)
        return Sampling(Window(*geometry), channels, offset_groups, image, size)


def surrounded_pixels(data: te.Tensor, block: int) -> te.Tensor:
    """Surround an image by zeros and put the channels of each pixel side by side.

    Args:
        data: (N, ceil(C/b), H, W, b).
        block: channels per block of the result, which divides b.

    Returns:
        (N, (H + 3) * (W + 3), ceil(C/b) * b / block, block).
    """
    batch, blocks, height, width, lanes = (int(size) for size in data.shape)
    before, columns = BORDER[0], width + sum(BORDER)

    def element(n: tirx.Var, pixel: tirx.Var, outer: tirx.Var, lane: tirx.Var) -> tirx.PrimExpr:
        row, column = pixel // columns - before, pixel % columns - before
        channel = outer * block + lane
        inside = tirx.all(row >= 0, row < height, column >= 0, column < width)
        load = data(n, channel // lanes, row, column, channel % lanes)
        return tirx.if_then_else(inside, load, tirx.const(0, data.dtype))

    shape = (batch, (height + sum(BORDER)) * columns, blocks * lanes // block, block)
    return te.compute(shape, element, name="surrounded")


def deformable_blocked(
    *tensors: te.Tensor, sampling: Sampling, groups: int, columns: int, tiles: int
) -> te.Tensor:
    """Sample tiles of pixels into panels, and multiply those by packed weights.

    Args:
        tensors: pixels as `surrounded_pixels` gives them, in blocks that cross no group; weights as
            for `conv_blocked`, with the taps on one axis; offset (N, 2 * offset groups * taps,
            OH * OW); optionally mask (N, offset groups * taps, OH * OW).
        sampling: the geometry.
        groups: as for `conv_blocked`.
        columns: pixels of a tile.
        tiles: how many to compute; what is beyond the image is dropped.

    Returns:
        (N, ceil(OC/ob), OH, OW, ob), in the dtype of the pixels.
    """
    data, weight, *moves = tensors
    batch, _, blocks, in_block = (int(s) for s in data.shape)
    outer, taps, channels, tile, out_block = (int(s) for s in weight.shape)
    sample = _sampler(data, moves, sampling, tiles * columns)
    panel = te.compute(
        (batch, tiles, taps, blocks, columns, in_block),
        lambda n, t, tap, b, column, lane: sample(n, tap, b, t * columns + column, lane),
        name="panel",
    )
    blocks_per_group = outer * tile // groups
    tap = te.reduce_axis((0, taps), name="tap")
    channel = te.reduce_axis((0, channels), name="ic")

    def element(n: tirx.Var, block: tirx.Var, pixel: tirx.Var, lane: tirx.Var) -> tirx.PrimExpr:
        index = channel if groups == 1 else block // blocks_per_group * channels + channel
        place = pixel // columns, tap, index // in_block, pixel % columns, index % in_block
        factor = weight(block // tile, tap, channel, block % tile, lane)
        return te.sum(panel(n, *place) * factor, axis=[tap, channel])

    shape = (batch, outer * tile, tiles * columns, out_block)
    return as_image(te.compute(shape, element, name="deformable"), sampling.size)


def deformable_depthwise(*tensors: te.Tensor, sampling: Sampling) -> te.Tensor:
    """Sample every channel and sum its taps.

    Args:
        tensors: as for `deformable_blocked`, but the weights (ceil(C/b), taps, b).
        sampling: the geometry.

    Returns:
        (N, ceil(C/b), OH, OW, b), in the dtype of the pixels.
    """
    data, weight, *moves = tensors
    blocks, taps, lanes = (int(s) for s in weight.shape)
    sample = _sampler(data, moves, sampling, sampling.pixels)
    tap = te.reduce_axis((0, taps), name="tap")
    total = te.compute(
        (int(data.shape[0]), blocks, sampling.pixels, lanes),
        lambda n, b, pixel, lane: te.sum(
            sample(n, tap, b, pixel, lane) * weight(b, tap, lane), axis=tap
        ),
        name="deformable_depthwise",
    )
    return as_image(total, sampling.size)


def deformable_columns(
    data: te.Tensor, offset: te.Tensor, *mask: te.Tensor, sampling: Sampling
) -> te.Tensor:
    """Sample every tap and channel: the plain definition, for what no packed kernel takes.

    Args:
        data: (N, C, H, W).
        offset: (N, 2 * offset groups * taps, OH * OW).
        mask: (N, offset groups * taps, OH * OW), where there is one.
        sampling: the geometry.

    Returns:
        (N, C * taps, OH, OW), channels outermost.
    """
    blocks = te.compute((*data.shape, 1), lambda *i: data(*i[:-1]), name="unit_blocks")
    pixels = surrounded_pixels(blocks, 1)
    sample = _sampler(pixels, [offset, *mask], sampling, sampling.pixels)
    taps, (rows, columns) = sampling.window.taps, sampling.size
    return te.compute(
        (data.shape[0], sampling.channels * taps, rows, columns),
        lambda n, k, y, x: sample(n, k % taps, k // taps, y * columns + x, 0),
        name="columns",
    )


def _sampler(
    data: te.Tensor, moves: Sequence[te.Tensor], sampling: Sampling, pixels: int
) -> Sample:
    """Return a function of (n, tap, block, pixel, lane) that samples the image.

    Where pixels are sampled and how much their neighbours count is computed once for all channels
    of an offset group, in the stages "corner" and "factor". Pixels beyond the last repeat it.
    """
    window, taps = sampling.window, sampling.window.taps
    in_block = int(data.shape[-1])
    per_group = sampling.channels // sampling.offset_groups
    row_pixels = sampling.image[1] + sum(BORDER)
    shape = (int(data.shape[0]), sampling.offset_groups * taps, pixels)

    def at(pixel: tirx.PrimExpr) -> tirx.PrimExpr:
        last = sampling.pixels - 1
        return pixel if pixels == last + 1 else tirx.min(pixel, last)

    def position(axis: int) -> te.Tensor:
        def element(n: tirx.Var, pair: tirx.Var, pixel: tirx.Var) -> tirx.PrimExpr:
            tap, here, columns = pair % taps, at(pixel), sampling.size[1]
            step = tap % window.kernel[1] if axis else tap // window.kernel[1]
            start = (here % columns if axis else here // columns) * window.stride[axis]
            whole = start + step * window.dilation[axis] - window.pad_before[axis]
            moved = whole.astype(data.dtype) + moves[0](n, pair * 2 + axis, here)
            end = tirx.const(sampling.image[axis], data.dtype)
            # Also false for what is not a number.
            inside = tirx.all(moved >= tirx.const(-1, data.dtype), moved < end)
            return tirx.Select(inside, moved, end)

        return te.compute(shape, element, name=f"position{axis}")

    positions = [position(0), position(1)]

    def nearest(*index: tirx.Var) -> tirx.PrimExpr:
        row, column = (tirx.floor(p(*index)).astype("int32") + BORDER[0] for p in positions)
        return row * row_pixels + column

    corner = te.compute(shape, nearest, name="corner")

    def weigh(n: tirx.Var, pair: tirx.Var, k: tirx.Var, pixel: tirx.Var) -> tirx.PrimExpr:
        one = tirx.const(1, data.dtype)
        factors = []
        for position, second in zip(positions, (k // 2, k % 2), strict=True):
            fraction = position(n, pair, pixel) - tirx.floor(position(n, pair, pixel))
            factors.append(tirx.Select(second == 1, fraction, one - fraction))
        return factors[0] * factors[1]

    factor = te.compute((*shape[:2], 4, pixels), weigh, name="factor")

    def sample(
        n: tirx.Var, tap: tirx.Var, block: tirx.Var, pixel: tirx.Var, lane: tirx.Var
    ) -> tirx.PrimExpr:
        group = 0 if sampling.offset_groups == 1 else (block * in_block + lane) // per_group
        pair = group * taps + tap
        place = corner(n, pair, pixel)

        def neighbour(k: int) -> tirx.PrimExpr:
            there = place + k // 2 * row_pixels + k % 2
            return factor(n, pair, k, pixel) * data(n, there, block, lane)

        total = neighbour(0) + neighbour(1) + neighbour(2) + neighbour(3)
        return total * moves[1](n, pair, at(pixel)) if moves[1:] else total

    return sample
