"""Deformable sampling as a tensor expression."""

from __future__ import annotations

from typing import Any

from tvm import te, tirx


def deformable_columns(*arguments: Any) -> te.Tensor:
    """Sample every tap of a deformable convolution by bilinear interpolation.

    Zhu et al. 2019 (arXiv:1811.11168), with the conventions of ONNX DeformConv: offsets are
    (y, x) pairs per tap, taps row-major; positions outside (-1, size) give zero, and neighbours
    outside the image count as zero.

    Args:
        arguments: data (N, C, H, W); offset (N, 2 * groups * taps, OH, OW); optionally mask
            (N, groups * taps, OH, OW); then the `Window` and the
            number of offset groups.

    Returns:
        (N, C * taps, OH, OW), channels outermost.
    """
    *tensors, window, offset_groups = arguments
    data, offset = tensors[:2]
    mask = tensors[2] if len(tensors) > 2 else None
    batch, channels, height, width = (int(size) for size in data.shape)
    rows, columns = (int(size) for size in offset.shape[2:])
    taps = window.taps
    per_group = channels // offset_groups

    def position(n: tirx.Var, pair: tirx.PrimExpr, axis: int, y: tirx.Var, x: tirx.Var) -> Any:
        tap = pair % taps
        step = tap // window.kernel[1] if axis == 0 else tap % window.kernel[1]
        start = (y if axis == 0 else x) * window.stride[axis] - window.pad_before[axis]
        whole = start + step * window.dilation[axis]
        size = height if axis == 0 else width
        moved = whole.astype(offset.dtype) + offset(n, pair * 2 + axis, y, x)
        # Beyond this all is zero; the bounds keep the conversion to integers defined. What is not a
        # number fails the comparison, and lies outside too.
        outside, last = (tirx.const(limit, offset.dtype) for limit in (-2.0, size + 1.0))
        return tirx.Select(moved > outside, tirx.min(moved, last), outside)

    shape = (batch, offset_groups * taps, rows, columns)
    vertical = te.compute(shape, lambda n, p, y, x: position(n, p, 0, y, x), name="vertical")
    horizontal = te.compute(shape, lambda n, p, y, x: position(n, p, 1, y, x), name="horizontal")

    def element(n: tirx.Var, column: tirx.Var, y: tirx.Var, x: tirx.Var) -> tirx.PrimExpr:
        channel = column // taps
        pair = channel // per_group * taps + column % taps
        v, h = vertical(n, pair, y, x), horizontal(n, pair, y, x)
        top, left = tirx.floor(v), tirx.floor(h)
        low, near = v - top, h - left

        def corner(down: int, right: int) -> tirx.PrimExpr:
            row = top.astype("int32") + down
            col = left.astype("int32") + right
            inside = tirx.all(row >= 0, row < height, col >= 0, col < width)
            weight = (low if down else 1.0 - low) * (near if right else 1.0 - near)
            # Not a Select, which reads its operands wherever it is vectorised.
            return tirx.if_then_else(
                inside, weight * data(n, channel, row, col), tirx.const(0, data.dtype)
            )

        total = corner(0, 0) + corner(0, 1) + corner(1, 0) + corner(1, 1)
        return total if mask is None else total * mask(n, pair, y, x)

    return te.compute((batch, channels * taps, rows, columns), element, name="columns")
