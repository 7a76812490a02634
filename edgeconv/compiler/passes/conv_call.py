"""Reads convolution and pooling calls of Relax."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import tvm
from tvm import relax

from edgeconv.compiler.compute.window import Window
from edgeconv.compiler.passes.packing import Array
from edgeconv.compiler.passes.rewriting import constant_of
from edgeconv.compiler.schedules.machine import Machine, channel_block


@dataclass(frozen=True)
class Convolution:
    """A convolution: its input, (OC, IC/groups, *kernel) weights, geometry, output size."""

    data: relax.Var
    weight: Array
    window: Window
    groups: int
    size: tuple[int, ...]

    @property
    def out_channels(self) -> int:
        """Channels of the output."""
        return int(self.weight.shape[0])

    @property
    def in_channels(self) -> int:
        """Channels of the input."""
        return int(self.weight.shape[1]) * self.groups

    def fits_blocks(self, machine: Machine) -> bool:
        """Whether channel blocks never cross a group."""
        if self.groups == 1:
            return True
        inputs, outputs = self.in_channels, self.out_channels
        return (inputs // self.groups) % channel_block(inputs, machine) == 0 and (
            outputs // self.groups
        ) % channel_block(outputs, machine) == 0

    @property
    def is_depthwise(self) -> bool:
        """Whether every channel has one kernel of its own."""
        return self.groups > 1 and self.groups == self.in_channels == self.out_channels


def read_conv(call: tvm.ir.Call, shape: tuple[int, ...]) -> Convolution:
    """Read a `relax.nn.conv{1,2,3}d` call with constant weights and output of `shape`."""
    weight = constant_of(call.args[1])
    assert weight is not None, "the importer refuses computed weights"
    return Convolution(
        data=call.args[0],
        weight=np.asarray(weight),
        window=read_window(weight.shape[2:], call.attrs),
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
