"""Packs constant tensors into the layouts that kernels read."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def pad_axis(array: Array, axis: int, multiple: int) -> Array:
    """Return the array with zeros up to a multiple of elements along an axis."""
    missing = -array.shape[axis] % multiple
    widths = [(0, missing if i == axis else 0) for i in range(array.ndim)]
    return np.pad(array, widths)


def pad_columns(array: Array, multiple: int) -> Array:
    """(*rest, N) with zeros up to a multiple of columns."""
    return np.ascontiguousarray(pad_axis(array, array.ndim - 1, multiple))


def pack_channels(array: Array, block: int) -> Array:
    """(N, C, *spatial) to (N, ceil(C/block), *spatial, block), zeros beyond C."""
    padded = pad_axis(array, 1, block)
    batch, channels, *size = padded.shape
    blocks = padded.reshape(batch, channels // block, block, *size)
    return np.ascontiguousarray(np.moveaxis(blocks, 2, -1))


def pack_conv_weight(
    weight: Array, block: int, tile: int, *, in_block: int = 0, run: int = 0
) -> Array:
    """(OC, IC/groups, *kernel) to (ceil(OC/block/tile), *kernel, IC/groups, tile, block).

    So what a register tile of `tile` blocks multiplies at one step stands together. For an input
    in blocks of one channel the kernel comes after IC: such a channel is a plane of its own. Where
    channels are taken `run` at a time, IC/groups/run comes before the kernel, and run after it.
    """
    padded = pad_axis(weight, 0, block * tile)
    channels, inputs, *kernel = padded.shape
    blocks = padded.reshape(channels // block // tile, tile, block, inputs, *kernel)
    rank = len(kernel)
    if run:
        blocks = blocks.reshape(*blocks.shape[:3], inputs // run, run, *kernel)
        return np.ascontiguousarray(blocks.transpose(0, 3, *range(5, 5 + rank), 4, 1, 2))
    taps = range(4, 4 + rank)
    order = (0, 3, *taps, 1, 2) if in_block == 1 else (0, *taps, 3, 1, 2)
    return np.ascontiguousarray(blocks.transpose(order))


def pack_turning_weight(weight: Array, block: int) -> Array:
    """(C, C/groups, *kernel) to (ceil(C/block), C/groups, *kernel, block), by lanes of the input.

    At step s an input meets the output that is s + 1 before it in the cycle of its group.
    """
    channels, per_group, *kernel = weight.shape
    grouped = weight.reshape(channels // per_group, per_group, per_group, *kernel)
    inputs = np.arange(per_group)
    steps = [grouped[:, (inputs - step - 1) % per_group, inputs] for step in range(per_group)]
    by_input = np.stack(steps).reshape(per_group, channels, *kernel)
    return np.ascontiguousarray(np.moveaxis(pack_channels(by_input, block), 1, 0))


def pack_depthwise_weight(weight: Array, block: int) -> Array:
    """(C, 1, *kernel) to (ceil(C/block), *kernel, block)."""
    channels, _, *kernel = weight.shape
    packed: Array = pack_channels(weight.reshape(1, channels, *kernel), block)[0]
    return packed


def pack_matmul_weight(weight: Array, tile: int) -> Array:
    """(*batch, K, N) to (*batch, ceil(N/tile), K, tile), zeros beyond N."""
    padded = pad_axis(weight, weight.ndim - 1, tile)
    *batch, depth, columns = padded.shape
    panels = padded.reshape(*batch, depth, columns // tile, tile)
    return np.ascontiguousarray(np.moveaxis(panels, -2, -3))
