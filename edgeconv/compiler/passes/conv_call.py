"""Reads convolution and pooling calls of Relax."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from math import gcd, prod
from typing import Any

import numpy as np
import tvm
from tvm import relax

from edgeconv.compiler.compute.window import Window
from edgeconv.compiler.graph import constant
from edgeconv.compiler.passes.packing import Array
from edgeconv.compiler.passes.rewriting import constant_of, shape_of
from edgeconv.compiler.schedules.machine import Lanes, channel_block

CONVOLUTIONS = tuple(f"relax.nn.conv{rank}d" for rank in (1, 2, 3))


@dataclass(frozen=True)
class Convolution:
    """A convolution, read.

    Attributes:
        data: the input, (N, IC, *spatial).
        weight_shape: (OC, IC/groups, *kernel).
        weight: the weights; None where they are computed at run time.
        weight_expression: the weights in Relax.
        window: geometry.
        groups: number of groups.
        size: output spatial shape.
    """

    data: relax.Var
    weight_shape: tuple[int, ...]
    weight: Array | None
    weight_expression: relax.Expr
    window: Window
    groups: int
    size: tuple[int, ...]

    def resized(self, size: tuple[int, ...]) -> Convolution:
        """Return the convolution with an output of `size`: it pads more behind, or less."""
        window = self.window
        beyond = zip(window.pad_after, size, self.size, window.stride, strict=True)
        after = tuple(pad + (new - old) * step for pad, new, old, step in beyond)
        return replace(self, window=replace(window, pad_after=after), size=size)

    @property
    def out_channels(self) -> int:
        """Channels of the output."""
        return self.weight_shape[0]

    @property
    def in_channels(self) -> int:
        """Channels of the input."""
        return self.weight_shape[1] * self.groups

    @property
    def constant(self) -> Array:
        """The weights, which must be constant."""
        assert self.weight is not None
        return self.weight

    def out_block(self, machine: Lanes) -> int:
        """Return the channels per block of the output, where no block may cross a group."""
        block = channel_block(self.out_channels, machine)
        return block if self.groups == 1 else gcd(block, self.out_channels // self.groups)

    @property
    def is_depthwise(self) -> bool:
        """Whether every channel has one kernel of its own."""
        return self.groups > 1 and self.groups == self.in_channels == self.out_channels

    @property
    def is_pointwise(self) -> bool:
        """Whether every output pixel reads the one input pixel in its place, of all channels."""
        return self.mixes_channels and prod(self.window.stride) == 1

    @property
    def mixes_channels(self) -> bool:
        """Whether every output pixel reads one input pixel, of all channels."""
        return self.groups == self.window.taps == 1 and not self.window.pads

    @property
    def family(self) -> str:
        """The kernel family, for reports."""
        if self.weight is None:
            return "dynamic"
        if self.is_depthwise:
            return "depthwise"
        return "conv" if self.groups == 1 else "grouped"


@dataclass(frozen=True)
class Transposed:
    """A transposed convolution with constant weights (IC, OC/groups, *kernel), read."""

    data: relax.Var
    weight: Array
    stride: tuple[int, ...]
    pad_before: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    size: tuple[int, ...]

    @property
    def macs(self) -> int:
        """Multiply-accumulates, as every input element meets every weight once."""
        batch, _, *spatial = shape_of(self.data)
        return int(batch * prod(spatial) * self.weight.size)

    def phases(self) -> list[tuple[tuple[int, ...], Convolution]]:
        """Return dense convolutions that each give every stride-th output, by first position.

        Output o = stride * q + r takes the taps k with (r + pad - k * dilation) % stride == 0,
        and reads the input at q + (r + pad - k * dilation) / stride. Phases that no tap reaches
        are left out; they are zero.
        """
        offsets = product(*(range(min(s, o)) for s, o in zip(self.stride, self.size, strict=True)))
        return [(offset, conv) for offset in offsets if (conv := self._phase(offset))]

    def _phase(self, offset: tuple[int, ...]) -> Convolution | None:
        taps = [self._taps(axis, first) for axis, first in enumerate(offset)]
        if not all(taps):
            return None
        sizes = shape_of(self.data)[2:]
        size = tuple(
            -(-(o - r) // s) for o, r, s in zip(self.size, offset, self.stride, strict=True)
        )
        first = [shifts[0][1] for shifts in taps]
        last = [shifts[-1][1] for shifts in taps]
        weight = self._dense_weight()[np.ix_(*_whole(self._dense_weight()), *map(_kernels, taps))]
        window = Window(
            kernel=tuple(len(shifts) for shifts in taps),
            stride=(1,) * len(taps),
            pad_before=tuple(-shift for shift in first),
            pad_after=tuple(
                q - 1 + shift - (s - 1) for q, shift, s in zip(size, last, sizes, strict=True)
            ),
            dilation=tuple(shifts[1][1] - shifts[0][1] if shifts[1:] else 1 for shifts in taps),
        )
        weight = np.ascontiguousarray(weight)
        return Convolution(
            data=self.data,
            weight_shape=tuple(weight.shape),
            weight=weight,
            weight_expression=constant(weight),
            window=window,
            groups=self.groups,
            size=size,
        )

    def _taps(self, axis: int, first: int) -> list[tuple[int, int]]:
        """Return (kernel index, input shift) of the taps of one phase, by rising shift."""
        stride, dilation = self.stride[axis], self.dilation[axis]
        reach = first + self.pad_before[axis]
        taps = [
            (k, (reach - k * dilation) // stride)
            for k in range(self.weight.shape[2 + axis])
            if (reach - k * dilation) % stride == 0
        ]
        return taps[::-1]

    def _dense_weight(self) -> Array:
        """Return the weights as (OC, IC/groups, *kernel)."""
        inputs, outputs, *kernel = self.weight.shape
        grouped = self.weight.reshape(self.groups, inputs // self.groups, outputs, *kernel)
        return grouped.swapaxes(1, 2).reshape(self.groups * outputs, -1, *kernel)


def _whole(weight: Array) -> tuple[range, range]:
    return range(weight.shape[0]), range(weight.shape[1])


def _kernels(taps: list[tuple[int, int]]) -> list[int]:
    return [kernel for kernel, _ in taps]


def read_conv(call: tvm.ir.Call, shape: tuple[int, ...]) -> Convolution:
    """Read a `relax.nn.conv{1,2,3}d` call with output of `shape`."""
    weight_shape = shape_of(call.args[1])
    return Convolution(
        data=call.args[0],
        weight_shape=weight_shape,
        weight=constant_of(call.args[1]),
        weight_expression=call.args[1],
        window=read_window(weight_shape[2:], call.attrs),
        groups=int(call.attrs.groups),
        size=shape[2:],
    )


def read_transposed(call: tvm.ir.Call, shape: tuple[int, ...]) -> Transposed:
    """Read a `relax.nn.conv{1,2,3}d_transpose` call with constant weights and output of `shape`."""
    weight = constant_of(call.args[1])
    assert weight is not None, "the importer refuses computed weights"
    window = read_window(weight.shape[2:], call.attrs)
    return Transposed(
        data=call.args[0],
        weight=weight,
        stride=window.stride,
        pad_before=window.pad_before,
        dilation=window.dilation,
        groups=int(call.attrs.groups),
        size=shape[2:],
    )


def read_window(kernel: tuple[int, ...], attrs: Any) -> Window:
    """Read the geometry of a call with a `kernel` and Relax attributes."""
    rank = len(kernel)
    padding = [int(p) for p in attrs.padding]
    return Window(
        kernel=tuple(int(k) for k in kernel),
        stride=tuple(int(s) for s in attrs.strides),
        pad_before=tuple(padding[:rank]),
        pad_after=tuple(padding[rank:]),
        dilation=tuple(int(d) for d in attrs.dilation),
    )
