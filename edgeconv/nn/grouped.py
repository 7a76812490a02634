"""Grouped convolution: the bottleneck block of ResNeXt.

A grouped convolution splits its channels into groups that do not see each other, so it costs
1 / groups of a dense one; the 1x1 convolutions around it mix the groups.

Xie et al., "Aggregated Residual Transformations for Deep Neural Networks", arXiv:1611.05431.
"""

from __future__ import annotations

from torch import nn

from edgeconv.nn.conv import ConvNorm
from edgeconv.nn.residual import Bottleneck


class ResNeXtBottleneck(Bottleneck):
    """A bottleneck block whose 3x3 convolution is grouped.

    Input (N, in_channels, H, W), output (N, out_channels, H', W'), both floating point.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        stride: step of the grouped convolution.
        groups: groups of the grouped convolution, the paper's cardinality.
        width: channels of the grouped convolution, a multiple of `groups`; by default half of
            `out_channels`, as in ResNeXt 32x4d.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        *,
        groups: int = 32,
        width: int | None = None,
    ) -> None:
        """Make the layers; their weights are PyTorch's defaults."""
        super().__init__(
            in_channels,
            out_channels,
            out_channels // 2 if width is None else width,
            stride,
            middle=lambda channels, step: ConvNorm(
                channels, channels, 3, step, groups=groups, activation=nn.ReLU
            ),
        )
