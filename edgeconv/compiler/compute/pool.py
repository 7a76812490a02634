"""Pooling as tensor expressions, over blocked or plain data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np
from tvm import te, tirx

from edgeconv.compiler.compute.window import (
    Window,
    kernel_axes,
    padded,
    row_major,
    tap_positions,
)

FIRST_SPATIAL_AXIS = 2


def _output_shape(data: te.Tensor, window: Window) -> list[int]:
    rank = len(window.kernel)
    shape = [int(s) for s in data.shape]
    last = FIRST_SPATIAL_AXIS + rank
    return [
        *shape[:FIRST_SPATIAL_AXIS],
        *window.output_size(shape[FIRST_SPATIAL_AXIS:last]),
        *shape[last:],
    ]


def _pool(
    data: te.Tensor,
    window: Window,
    reduce: Callable[..., Any],
    fill: float,
    of: Callable[[Any], Any] = lambda value: value,
) -> te.Tensor:
    """Reduce `of` every value of each window."""
    source = padded(data, window, FIRST_SPATIAL_AXIS, fill)
    taps = kernel_axes(window)
    last = FIRST_SPATIAL_AXIS + len(taps)

    def element(*index: tirx.Var) -> tirx.PrimExpr:
        spatial = tap_positions(window, index[FIRST_SPATIAL_AXIS:last], taps)
        value = source(*index[:FIRST_SPATIAL_AXIS], *spatial, *index[last:])
        return reduce(of(value), axis=taps)

    return te.compute(_output_shape(data, window), element, name="window")


def max_pool(data: te.Tensor, window: Window) -> te.Tensor:
    """Largest value of each window; `data` is (N, C, *spatial) or (N, C/b, *spatial, b)."""
    return _pool(data, window, te.max, _lowest(data.dtype))


def _lowest(dtype: str) -> float:
    return float("-inf") if str(dtype).startswith("float") else int(np.iinfo(str(dtype)).min)


def max_positions(
    data: te.Tensor, largest: te.Tensor, window: Window, column_major: bool
) -> te.Tensor:
    """Where in the flat input the largest value of each window is, the first of equal ones.

    Args:
        data: (N, C, *spatial).
        largest: what `max_pool` gives.
        window: the geometry.
        column_major: whether the spatial axes are counted first axis fastest.

    Returns:
        int64, the shape of `largest`.
    """
    shape = [int(size) for size in data.shape]
    size = shape[FIRST_SPATIAL_AXIS:]
    taps = kernel_axes(window)
    beyond = tirx.const(prod(size), "int32")

    def place(*index: tirx.Var) -> tirx.PrimExpr:
        channel, axes = index[:FIRST_SPATIAL_AXIS], index[FIRST_SPATIAL_AXIS:]
        windowed = tap_positions(window, axes, taps)
        spatial = [p - before for p, before in zip(windowed, window.pad_before, strict=True)]
        inside = [c for p, s in zip(spatial, size, strict=True) for c in (p >= 0, p < s)]
        found = tirx.if_then_else(
            tirx.all(*inside), data(*channel, *spatial) >= largest(*index), False
        )
        return te.min(tirx.if_then_else(found, row_major(spatial, size), beyond), axis=taps)

    first = te.compute(largest.shape, place, name="first")

    def flat(*index: tirx.Var) -> tirx.PrimExpr:
        n, channel = (i.astype("int64") for i in index[:FIRST_SPATIAL_AXIS])
        within = first(*index)
        if column_major:
            within = row_major(_unravelled(within, size)[::-1], size[::-1])
        return (n * shape[1] + channel) * prod(size) + within.astype("int64")

    return te.compute(largest.shape, flat, name="positions")


def _unravelled(flat: tirx.PrimExpr, shape: Sequence[int]) -> list[tirx.PrimExpr]:
    """Return the index in `shape` of a row-major position."""
    return [flat // prod(shape[axis + 1 :]) % size for axis, size in enumerate(shape)]


def lp_pool(data: te.Tensor, window: Window, p: int) -> te.Tensor:
    """The p-norm of each window of (N, C, *spatial); padding counts as zero."""
    power, inverse = (tirx.const(exponent, data.dtype) for exponent in (float(p), 1.0 / p))

    def raised(value: tirx.PrimExpr) -> tirx.PrimExpr:
        if p == 2:
            return value * value
        return tirx.abs(value) if p == 1 else tirx.pow(tirx.abs(value), power)

    def root(value: tirx.PrimExpr) -> tirx.PrimExpr:
        if p == 2:
            return tirx.sqrt(value)
        return value if p == 1 else tirx.pow(value, inverse)

    total = _pool(data, window, te.sum, 0.0, raised)
    return te.compute(total.shape, lambda *i: root(total(*i)), name="norm")


def average_pool(
    data: te.Tensor, window: Window, count_end: Sequence[int] | None = None
) -> te.Tensor:
    """Mean of each window; `data` is (N, C, *spatial) or (N, C/b, *spatial, b).

    Args:
        data: the input.
        window: the geometry.
        count_end: None to divide by the positions inside the input; otherwise padding counts too,
            up to this position after the input on each axis (less than `pad_after` where
            ceil_mode made the last window hang over).
    """
    rank = len(window.kernel)
    size = [int(s) for s in data.shape[FIRST_SPATIAL_AXIS : FIRST_SPATIAL_AXIS + rank]]
    total = _pool(data, window, te.sum, 0.0)

    def taps_inside(axis: int, position: tirx.PrimExpr) -> tirx.PrimExpr:
        kernel, dilation = window.kernel[axis], window.dilation[axis]
        before = window.pad_before[axis]
        first = 0 if count_end is None else -before
        end = size[axis] + (0 if count_end is None else count_end[axis])
        start = position * window.stride[axis] - before
        skipped = tirx.max(0, (first - start + dilation - 1) // dilation)
        reached = tirx.min(kernel, (end - start + dilation - 1) // dilation)
        return reached - skipped

    def element(*index: tirx.Var) -> tirx.PrimExpr:
        counts = [taps_inside(axis, index[FIRST_SPATIAL_AXIS + axis]) for axis in range(rank)]
        count = counts[0]
        for factor in counts[1:]:
            count = count * factor
        return total(*index) / count.astype(data.dtype)

    whole = all(
        before == 0 and (n - 1) * stride + (k - 1) * dilation < s
        for before, n, stride, k, dilation, s in zip(
            window.pad_before,
            window.output_size(size),
            window.stride,
            window.kernel,
            window.dilation,
            size,
            strict=True,
        )
    )
    if whole:
        scale = 1.0 / window.taps
        return te.compute(
            total.shape, lambda *i: total(*i) * tirx.const(scale, data.dtype), name="mean"
        )
    return te.compute(total.shape, element, name="mean")


def global_average_pool(data: te.Tensor, rank: int) -> te.Tensor:
    """Mean over `rank` spatial axes, which keep extent 1."""
    axes = [
        te.reduce_axis((0, int(s)), name=f"s{i}")
        for i, s in enumerate(data.shape[FIRST_SPATIAL_AXIS : FIRST_SPATIAL_AXIS + rank])
    ]
    last = FIRST_SPATIAL_AXIS + rank
    shape = [*data.shape[:FIRST_SPATIAL_AXIS], *([1] * rank), *data.shape[last:]]
    total = te.compute(
        shape,
        lambda *i: te.sum(data(*i[:FIRST_SPATIAL_AXIS], *axes, *i[last:]), axis=axes),
        name="sum",
    )
    scale = 1.0 / prod(int(axis.dom.extent) for axis in axes)
    return te.compute(shape, lambda *i: total(*i) * tirx.const(scale, data.dtype), name="mean")
