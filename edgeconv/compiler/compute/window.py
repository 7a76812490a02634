"""Sliding windows: geometry, padding and tap positions, over 1, 2 or 3 spatial axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from tvm import te, tirx

from edgeconv.compiler.compute.layout import pad_spatial


@dataclass(frozen=True)
class Window:
    """Geometry of a sliding window; every tuple has one entry per spatial axis."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    pad_before: tuple[int, ...]
    pad_after: tuple[int, ...]
    dilation: tuple[int, ...]

    def output_size(self, size: Sequence[int]) -> tuple[int, ...]:
        """Return the output's spatial shape for an input of spatial shape `size`."""
        return tuple(
            (s + before + after - dilation * (k - 1) - 1) // stride + 1
            for s, k, stride, before, after, dilation in zip(
                size,
                self.kernel,
                self.stride,
                self.pad_before,
                self.pad_after,
                self.dilation,
                strict=True,
            )
        )

    @property
    def taps(self) -> int:
        """Positions in one window."""
        return prod(self.kernel)

    @property
    def pads(self) -> bool:
        """Whether any side is padded."""
        return any(self.pad_before) or any(self.pad_after)


def padded(data: te.Tensor, window: Window, first: int, fill: float = 0.0) -> te.Tensor:
    """Pad the spatial axes of `data`, which start at axis `first`, as `window` asks."""
    if not window.pads:
        return data
    return pad_spatial(data, window.pad_before, window.pad_after, first=first, fill=fill)


def tap_positions(
    window: Window, axes: Sequence[tirx.Var], taps: Sequence[te.IterVar]
) -> list[Any]:
    """Return the input position of each spatial axis at output position `axes` and tap `taps`."""
    return [
        axis * stride + tap * dilation
        for axis, tap, stride, dilation in zip(
            axes, taps, window.stride, window.dilation, strict=True
        )
    ]


def kernel_axes(window: Window) -> list[te.IterVar]:
    """Return one reduction axis per axis of the kernel."""
    return [te.reduce_axis((0, k), name=f"k{i}") for i, k in enumerate(window.kernel)]


def row_major(index: Sequence[tirx.PrimExpr], shape: Sequence[int]) -> tirx.PrimExpr:
    """Return the flat position of `index` in a tensor of `shape`."""
    flat = index[0] * 1
    for position, size in zip(index[1:], shape[1:], strict=True):
        flat = flat * size + position
    return flat
