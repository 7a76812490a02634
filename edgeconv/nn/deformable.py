"""Deformable convolution v1 and v2.

The convolution reads its input at places that a second, ordinary convolution computes from the
same input. Version 2 also weighs every sample:

    y[o, p] = bias[o] + sum over c, t: W[o, c, t] * mask[t, p] * x[c, p * stride - padding
              + t * dilation + offset[t, p]]

`edgeconv.ops.deform_conv` defines how samples between pixels are taken. Offsets are y, then x, tap
by tap; other layouts exist (version 3 has x first, and its taps by columns). A place less than a
pixel outside of the image is interpolated with zeros, as torchvision and ONNX have it;
implementations that drop it, such as TVM's own, differ along the whole border.

Dai et al., "Deformable Convolutional Networks", arXiv:1703.06211; Zhu et al., "Deformable ConvNets
v2", arXiv:1811.11168.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from edgeconv.errors import UsageError
from edgeconv.ops.deform_conv import deform_conv2d


class DeformConv2d(nn.Conv2d):
    """A 2-D convolution with learned sampling offsets, and a learned mask in version 2.

    Offsets and mask come from one convolution with the geometry of this one. It starts at zero:
    ordinary taps, all weighted 1/2 where there is a mask. Its channels are first the offsets
    (per offset group, per tap in row-major order: y, then x), then the mask's logits (per offset
    group, per tap), which pass a sigmoid. Input (N, in_channels, H, W), output
    (N, out_channels, H', W'), both floating point. It pads dilation * (kernel // 2) on every side.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel: side of the square kernel, odd.
        stride: step of the kernel, both ways.
        dilation: distance between neighbouring taps.
        groups: groups that the channels are split in.
        offset_groups: groups of input channels that share their offsets and mask.
        modulated: True for version 2, False for version 1.
        bias: adds a bias.

    Raises:
        UsageError: `offset_groups` does not divide the input channels.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 3,
        stride: int = 1,
        *,
        dilation: int = 1,
        groups: int = 1,
        offset_groups: int = 1,
        modulated: bool = True,
        bias: bool = True,
    ) -> None:
        """Make the layers; the weights are PyTorch's defaults, the offsets' are zero."""
        if in_channels % offset_groups:
            raise UsageError(
                f"DeformConv2d: {offset_groups} offset groups do not divide {in_channels} channels"
            )
        geometry: dict[str, Any] = {
            "stride": stride,
            "padding": dilation * (kernel // 2),
            "dilation": dilation,
        }
        super().__init__(in_channels, out_channels, kernel, groups=groups, bias=bias, **geometry)
        taps = offset_groups * kernel**2
        self.split = (2 * taps, taps if modulated else 0)
        self.offset = nn.Conv2d(in_channels, sum(self.split), kernel, **geometry)
        nn.init.zeros_(self.offset.weight)
        assert self.offset.bias is not None
        nn.init.zeros_(self.offset.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H', W')."""
        offset, mask = self.offset(x).split(self.split, dim=1)
        assert not isinstance(self.padding, str)
        return deform_conv2d(
            x,
            offset,
            self.weight,
            self.bias,
            stride=_pair(self.stride),
            padding=_pair(self.padding),
            dilation=_pair(self.dilation),
            mask=torch.sigmoid(mask) if self.split[1] else None,
        )


def _pair(values: tuple[int, ...]) -> tuple[int, int]:
    down, right = values
    return down, right
