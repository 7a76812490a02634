"""Transposed convolution and its like, by what each output position gathers.

For weights that are computed at run time; constant ones become dense convolutions
(`passes.conv_call.Transposed`).
"""

from __future__ import annotations

from collections.abc import Sequence

from tvm import te, tirx

from edgeconv.compiler.compute.window import Window, kernel_axes, row_major


def _sources(
    window: Window, axes: Sequence[tirx.Var], taps: Sequence[te.IterVar], size: Sequence[int]
) -> tuple[list[tirx.PrimExpr], tirx.PrimExpr]:
    """Return which input position reaches output `axes` through `taps`, and whether there is one.

    Input position i and tap k meet output i * stride + k * dilation - pad_before.
    """
    reached = [
        axis + before - tap * dilation
        for axis, before, tap, dilation in zip(
            axes, window.pad_before, taps, window.dilation, strict=True
        )
    ]
    sources = [tirx.floordiv(r, s) for r, s in zip(reached, window.stride, strict=True)]
    exists = [
        condition
        for r, s, source, extent in zip(reached, window.stride, sources, size, strict=True)
        for condition in (tirx.floormod(r, s) == 0, source >= 0, source < extent)
    ]
    return sources, tirx.all(*exists)


def conv_transposed(
    data: te.Tensor, weight: te.Tensor, window: Window, groups: int, size: Sequence[int]
) -> te.Tensor:
    """Transposed convolution of plain data.

    Args:
        data: (N, IC, *spatial).
        weight: (IC, OC/groups, *kernel).
        window: the geometry; `pad_before` is cut off the result's begin, and may be negative.
        groups: number of groups.
        size: output spatial shape.

    Returns:
        (N, OC, *size), in the dtype of `data`.
    """
    batch, in_channels, *spatial = (int(s) for s in data.shape)
    per_group = int(weight.shape[1])
    channel = te.reduce_axis((0, in_channels // groups), name="ic")
    taps = kernel_axes(window)

    def element(n: tirx.Var, out: tirx.Var, *axes: tirx.Var) -> tirx.PrimExpr:
        source, exists = _sources(window, axes, taps, spatial)
        index = out // per_group * (in_channels // groups) + channel
        product = data(n, index, *source) * weight(index, out % per_group, *taps)
        zero = tirx.const(0, data.dtype)
        return te.sum(tirx.if_then_else(exists, product, zero), axis=[channel, *taps])

    return te.compute((batch, per_group * groups, *size), element, name="conv_transposed")


def col2im(data: te.Tensor, window: Window, size: Sequence[int]) -> te.Tensor:
    """Add the columns of sliding windows up to an image.

    Args:
        data: (N, C, taps, windows), taps and windows in row-major order.
        window: the geometry, of windows that slide over the image.
        size: the image's spatial shape.

    Returns:
        (N, C, *size).
    """
    batch, channels = (int(s) for s in data.shape[:2])
    steps = window.output_size(size)
    taps = kernel_axes(window)

    def element(n: tirx.Var, channel: tirx.Var, *axes: tirx.Var) -> tirx.PrimExpr:
        source, exists = _sources(window, axes, taps, steps)
        load = data(n, channel, row_major(taps, window.kernel), row_major(source, steps))
        return te.sum(tirx.if_then_else(exists, load, tirx.const(0, data.dtype)), axis=taps)

    return te.compute((batch, channels, *size), element, name="col2im")
