"""Convolution, batch normalisation and activation: the unit that most networks repeat."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Padding = Literal["symmetric", "same"]


def same_padding(size: int, kernel: int, stride: int, dilation: int = 1) -> tuple[int, int]:
    """Return the zeros (before, after) that make the output size ceil(size / stride).

    The odd zero goes after, as TensorFlow's "SAME" does, so the padding can be asymmetric.
    """
    covered = (math.ceil(size / stride) - 1) * stride + dilation * (kernel - 1) + 1
    total = max(covered - size, 0)
    return total // 2, total - total // 2


class ConvNorm(nn.Module):
    """2-D convolution without bias, batch normalisation, and an optional activation.

    Input (N, in_channels, H, W), output (N, out_channels, H', W'), both floating point.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel: side of the square kernel; odd for "symmetric" padding.
        stride: step of the kernel, in pixels, both ways.
        groups: groups that the channels are split in; `in_channels` makes it depthwise.
        activation: makes the activation's module, such as `nn.ReLU6`; None for a linear layer.
        padding: "symmetric" pads kernel // 2 on every side, "same" as `same_padding` says.
        eps: added to the variance by the normalisation.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        stride: int = 1,
        *,
        groups: int = 1,
        activation: Callable[[], nn.Module] | None = nn.ReLU6,
        padding: Padding = "symmetric",
        eps: float = 1e-5,
    ) -> None:
        """Make the layers; their weights are PyTorch's defaults."""
        super().__init__()
        zeros = kernel // 2 if padding == "symmetric" else 0
        self.padding = padding
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel, stride, zeros, groups=groups, bias=False
        )
        self.norm = nn.BatchNorm2d(out_channels, eps=eps)
        self.activation = activation() if activation else None

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H', W')."""
        if self.padding == "same":
            kernel, stride = self.conv.kernel_size[0], self.conv.stride[0]
            top, bottom = same_padding(x.shape[2], kernel, stride)
            left, right = same_padding(x.shape[3], kernel, stride)
            x = F.pad(x, (left, right, top, bottom))
        y: torch.Tensor = self.norm(self.conv(x))
        return y if self.activation is None else self.activation(y)
