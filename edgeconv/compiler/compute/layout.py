"""Layout changes between plain and blocked tensors, as tensor expressions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm import te, tirx


def block_channels(data: te.Tensor, block: int) -> te.Tensor:
    """(N, C, *spatial) to (N, ceil(C/block), *spatial, block); lanes beyond C are zero."""
    batch, channels, *size = (int(s) for s in data.shape)
    blocks = -(-channels // block)

    def element(n: tirx.Var, outer: tirx.Var, *rest: tirx.Var) -> tirx.PrimExpr:
        *axes, lane = rest
        channel = outer * block + lane
        if channels % block == 0:
            return data(n, channel, *axes)
        zero = tirx.const(0, data.dtype)
        return tirx.if_then_else(channel < channels, data(n, channel, *axes), zero)

    return te.compute((batch, blocks, *size, block), element, name="to_blocked")


def unblock_channels(data: te.Tensor, channels: int) -> te.Tensor:
    """(N, ceil(C/block), *spatial, block) to (N, C, *spatial)."""
    batch, _, *size, block = (int(s) for s in data.shape)
    return te.compute(
        (batch, channels, *size),
        lambda n, c, *axes: data(n, c // block, *axes, c % block),
        name="to_plain",
    )


def join_channels(*arguments: Any) -> te.Tensor:
    """Join tensors along channels, or take a part of that.

    Args:
        arguments: the tensors, each (N, ceil(C/b), *spatial, b) or, in blocks of 0, (N, C,
            *spatial); then the lists of their channels and of their blocks, the first channel of
            the result, the number of its channels, and its block, 0 for a plain result.

    Returns:
        (N, ceil(C/block), *spatial, block), or plain; lanes beyond the last channel are zero.
    """
    *parts, counts, blocks, first, channels, block = arguments
    batch, _, *size = (int(s) for s in parts[0].shape)
    size = size[:-1] if blocks[0] else size
    ends = [sum(counts[: i + 1]) for i in range(len(parts))]

    def read(part: te.Tensor, of: int, n: tirx.Var, index: Any, axes: Sequence[tirx.Var]) -> Any:
        if not of:
            return part(n, index, *axes)
        return part(n, tirx.floordiv(index, of), *axes, tirx.floormod(index, of))

    def found(n: tirx.Var, channel: Any, axes: Sequence[tirx.Var]) -> Any:
        index = channel + first
        *others, value = (
            read(part, of, n, index - (end - count), axes)
            for part, of, end, count in zip(parts, blocks, ends, counts, strict=True)
        )
        for other, end in reversed(list(zip(others, ends[:-1], strict=True))):
            value = tirx.if_then_else(index < end, other, value)
        return value

    if not block:
        shape = (batch, channels, *size)
        return te.compute(shape, lambda n, c, *axes: found(n, c, axes), name="joined")

    def element(n: tirx.Var, outer: tirx.Var, *rest: tirx.Var) -> tirx.PrimExpr:
        *axes, lane = rest
        channel = outer * block + lane
        if channels % block == 0:
            return found(n, channel, axes)
        zero = tirx.const(0, parts[0].dtype)
        return tirx.if_then_else(channel < channels, found(n, channel, axes), zero)

    return te.compute((batch, -(-channels // block), *size, block), element, name="joined")


def flat_index(axes: Sequence[tirx.PrimExpr], size: Sequence[int]) -> tirx.PrimExpr:
    """Return the row-major position of `axes` in an array of shape `size`."""
    position = axes[0]
    for axis, extent in zip(axes[1:], size[1:], strict=True):
        position = position * extent + axis
    return position


def as_image(row: te.Tensor, size: Sequence[int]) -> te.Tensor:
    """Return (N, blocks, pixels, lanes) as (N, blocks, *size, lanes)."""
    batch, blocks, _, lanes = row.shape

    def element(n: tirx.Var, block: tirx.Var, *rest: tirx.Var) -> tirx.PrimExpr:
        *axes, lane = rest
        return row(n, block, flat_index(axes, size), lane)

    return te.compute((batch, blocks, *size, lanes), element, name="image")


def pad_spatial(
    data: te.Tensor,
    before: Sequence[int],
    after: Sequence[int],
    *,
    first: int = 2,
    fill: float = 0.0,
    name: str = "pad",
) -> te.Tensor:
    """Surround the spatial axes, which start at axis `first`, with `fill`.

    Negative amounts cut off. The block is called `name`, or "cut" where nothing is filled.
    """
    last = first + len(before)
    size = [int(s) for s in data.shape[first:last]]
    padded = [s + b + a for s, b, a in zip(size, before, after, strict=True)]

    def element(*index: tirx.Var) -> tirx.PrimExpr:
        spatial = [i - b for i, b in zip(index[first:last], before, strict=True)]
        load = data(*index[:first], *spatial, *index[last:])
        inside = [
            condition
            for i, s, b, a in zip(spatial, size, before, after, strict=True)
            for condition in ((i >= 0,) if b > 0 else ()) + ((i < s,) if a > 0 else ())
        ]
        if not inside:
            return load
        return tirx.if_then_else(tirx.all(*inside), load, tirx.const(fill, data.dtype))

    name = name if max(*before, *after) > 0 else "cut"
    return te.compute([*data.shape[:first], *padded, *data.shape[last:]], element, name=name)


def strided(data: te.Tensor, stride: Sequence[int], size: Sequence[int]) -> te.Tensor:
    """Take every `stride`-th element of blocked `data` along each spatial axis, `size` of them.

    (N, blocks, *spatial, block) to (N, blocks, *size, block).
    """

    def element(n: tirx.Var, outer: tirx.Var, *rest: tirx.Var) -> tirx.PrimExpr:
        *axes, lane = rest
        places = [axis * step for axis, step in zip(axes, stride, strict=True)]
        return data(n, outer, *places, lane)

    batch, blocks, *_, block = data.shape
    return te.compute((batch, blocks, *size, block), element, name="strided")


def permuted(data: te.Tensor, places: te.Tensor) -> te.Tensor:
    """Lay elements out anew.

    Args:
        data: (size,).
        places: int32 of any shape: which element stands there, from 1; 0 for a zero.

    Returns:
        The elements, in the shape of `places`.
    """

    def element(*index: tirx.Var) -> tirx.PrimExpr:
        place = places(*index)
        return tirx.if_then_else(place > 0, data(place - 1), tirx.const(0, data.dtype))

    return te.compute(places.shape, element, name="permuted")


def copy(data: te.Tensor) -> te.Tensor:
    """The same tensor in memory of its own."""
    # A tensor as its own element does not work for scalars.
    return te.compute(data.shape, lambda *index: data[index] if index else data(), name="copy")


def interleave(*arguments: Any, name: str = "interleave") -> te.Tensor:
    """Merge phases of a tensor: phase at offset r holds every stride-th position from r on.

    Args:
        arguments: the phases, (N, C, *phase spatial[, block]); then the list of their offsets, the
            stride and the merged spatial shape, each with one entry per spatial axis. Positions
            of no phase are zero. Phases may be larger than what is read of them.
        name: the block's name.
    """
    *phases, offsets, stride, size = arguments
    first, last = 2, 2 + len(size)
    shape = [*phases[0].shape[:first], *size, *phases[0].shape[last:]]

    def element(*index: tirx.Var) -> tirx.PrimExpr:
        axes = index[first:last]
        inner = [axis // s for axis, s in zip(axes, stride, strict=True)]
        value = tirx.const(0, phases[0].dtype)
        for phase, offset in zip(phases, offsets, strict=True):
            part = phase(*index[:first], *inner, *index[last:])
            here = [a % s == r for a, s, r in zip(axes, stride, offset, strict=True) if s > 1]
            value = tirx.if_then_else(tirx.all(*here), part, value) if here else part
        return value

    return te.compute(shape, element, name=name)


def reshaped(data: te.Tensor, shape: Sequence[int]) -> te.Tensor:
    """Give the elements of `data`, in row-major order, another shape of as many."""
    before = [int(size) for size in data.shape]

    def element(*index: tirx.Var) -> tirx.PrimExpr:
        place = flat_index(index, shape)
        found = []
        for size in reversed(before[1:]):
            found.append(place % size)
            place = place // size
        return data(place, *reversed(found))

    return te.compute(shape, element, name="reshaped")
