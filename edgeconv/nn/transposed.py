"""Transposed convolution: learned upsampling, and the up-block of U-Net.

A transposed convolution is the gradient of a convolution with the same weights: every input pixel
adds its multiple of the kernel to the output, at steps of the stride. Along an axis, the output
has (size - 1) * stride - 2 * padding + dilation * (kernel - 1) + output_padding + 1 pixels.

Zeiler et al., "Deconvolutional Networks" (CVPR 2010); Ronneberger et al., "U-Net",
arXiv:1505.04597; Radford et al., "DCGAN", arXiv:1511.06434.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from edgeconv.errors import UsageError
from edgeconv.nn.conv import ConvNorm, ConvUnit


class TransposedConvNorm(ConvUnit):
    """2-D transposed convolution without bias, batch normalisation, and an optional activation.

    The defaults are DCGAN's, which double height and width. Input (N, in_channels, H, W), output
    (N, out_channels, H', W'), both floating point.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel: side of the square kernel.
        stride: output pixels per input pixel, both ways.
        padding: rows and columns that are cut off on every side of the output.
        output_padding: rows and columns that are added after, to reach one of the `stride` sizes
            that a strided convolution makes equal; smaller than `stride` or `dilation`.
        dilation: distance between neighbouring taps of the kernel, in output pixels.
        groups: groups that the channels are split in.
        activation: makes the activation's module; None for a linear layer.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 4,
        stride: int = 2,
        padding: int = 1,
        *,
        output_padding: int = 0,
        dilation: int = 1,
        groups: int = 1,
        activation: Callable[[], nn.Module] | None = nn.ReLU,
    ) -> None:
        """Make the layers; their weights are PyTorch's defaults."""
        conv = nn.ConvTranspose2d(
            in_channels,
            out_channels,
            kernel,
            stride,
            padding,
            output_padding,
            groups=groups,
            bias=False,
            dilation=dilation,
        )
        super().__init__(conv, nn.BatchNorm2d(out_channels), activation)


class UpBlock(nn.Module):
    """U-Net's step up: a 2x2 transposed convolution, concatenation, and two 3x3 convolutions.

    Inputs (N, in_channels, H, W) from below and (N, skip_channels, 2H, 2W) from the side, output
    (N, out_channels, 2H, 2W), all floating point. The convolutions pad, so that sizes stay.

    Args:
        in_channels: channels from below.
        skip_channels: channels from the side.
        out_channels: channels of the output, and of the upsampled input.
    """

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int) -> None:
        """Make the layers; their weights are PyTorch's defaults."""
        super().__init__()
        self.up = nn.ConvTranspose2d(in_channels, out_channels, 2, 2)
        self.conv1 = ConvNorm(out_channels + skip_channels, out_channels, 3, activation=nn.ReLU)
        self.conv2 = ConvNorm(out_channels, out_channels, 3, activation=nn.ReLU)

    def forward(self, below: Tensor, skip: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) and (N, skip_channels, 2H, 2W) to (N, out_channels, 2H, 2W).

        Raises:
            UsageError: `skip` is not twice as high and wide as `below`.
        """
        if tuple(skip.shape[2:]) != (2 * below.shape[2], 2 * below.shape[3]):
            raise UsageError(
                f"UpBlock: the skip connection is {tuple(skip.shape[2:])}, the input from below "
                f"{tuple(below.shape[2:])}; give images whose sides the strides divide"
            )
        y: Tensor = self.conv2(self.conv1(torch.cat([skip, self.up(below)], dim=1)))
        return y
