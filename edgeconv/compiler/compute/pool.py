"""Pooling as tensor expressions, over blocked or plain data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from tvm import te, tirx

from edgeconv.compiler.compute.window import Window, kernel_axes, padded, tap_positions

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


def _pool(data: te.Tensor, window: Window, reduce: Callable[..., Any], fill: float) -> te.Tensor:
    source = padded(data, window, FIRST_SPATIAL_AXIS, fill)
    taps = kernel_axes(window)
    last = FIRST_SPATIAL_AXIS + len(taps)

    def element(*index: tirx.Var) -> tirx.PrimExpr:
        spatial = tap_positions(window, index[FIRST_SPATIAL_AXIS:last], taps)
        return reduce(source(*index[:FIRST_SPATIAL_AXIS], *spatial, *index[last:]), axis=taps)

    return te.compute(_output_shape(data, window), element, name="window")


def max_pool(data: te.Tensor, window: Window) -> te.Tensor:
    """Largest value of each window; `data` is (N, C, *spatial) or (N, C/b, *spatial, b)."""
    return _pool(data, window, te.max, float("-inf"))


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
