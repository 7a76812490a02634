"""Dilated convolutions as plain ones: an image with its phases side by side.

A kernel dilated by d reads every d-th row: the image falls apart into d phases that never meet.
Laid out one after the other with a row of zeros between them, they are an image on which a kernel
without dilation computes all of them; columns alike.
"""

from __future__ import annotations

from collections.abc import Sequence

from tvm import te, tirx


def mosaic_size(size: Sequence[int], dilation: Sequence[int]) -> tuple[int, ...]:
    """Return the spatial shape of the mosaic of an image of spatial shape `size`."""
    return tuple(d * _pitch(s, d) - 1 for s, d in zip(size, dilation, strict=True))


def mosaic(data: te.Tensor, dilation: Sequence[int]) -> te.Tensor:
    """(N, C, *spatial, block) to (N, C, *mosaic, block)."""
    batch, channels, *size, block = (int(s) for s in data.shape)
    pitches = [_pitch(s, d) for s, d in zip(size, dilation, strict=True)]

    def element(n: tirx.Var, channel: tirx.Var, *rest: tirx.Var) -> tirx.PrimExpr:
        *axes, lane = rest
        places = [
            axis % pitch * d + axis // pitch
            for axis, pitch, d in zip(axes, pitches, dilation, strict=True)
        ]
        # The place after a phase's last row lies beyond the image, whatever the phase.
        inside = tirx.all(*(place < s for place, s in zip(places, size, strict=True)))
        zero = tirx.const(0, data.dtype)
        return tirx.if_then_else(inside, data(n, channel, *places, lane), zero)

    shape = (batch, channels, *mosaic_size(size, dilation), block)
    return te.compute(shape, element, name="mosaic")


def image_of_mosaic(data: te.Tensor, size: Sequence[int], dilation: Sequence[int]) -> te.Tensor:
    """(N, C, *mosaic, block) to (N, C, *size, block)."""
    batch, channels, *_, block = (int(s) for s in data.shape)
    pitches = [_pitch(s, d) for s, d in zip(size, dilation, strict=True)]

    def element(n: tirx.Var, channel: tirx.Var, *rest: tirx.Var) -> tirx.PrimExpr:
        *axes, lane = rest
        places = [
            axis % d * pitch + axis // d
            for axis, pitch, d in zip(axes, pitches, dilation, strict=True)
        ]
        return data(n, channel, *places, lane)

    return te.compute((batch, channels, *size, block), element, name="image_of_mosaic")


def _pitch(size: int, dilation: int) -> int:
    """Return the rows of the longest phase and the one between phases."""
    return -(-size // dilation) + 1
