"""Convolution, batch normalisation and activation: the unit that most networks repeat."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

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


class ConvUnit(nn.Module):
    """A convolution of any kind, then normalisation, then an optional activation.

    Args:
        conv: the convolution.
        norm: normalises the convolution's output, channel by channel.
        activation: makes the activation's module; None for a linear unit.
    """

    def __init__(
        self, conv: nn.Module, norm: nn.Module, activation: Callable[[], nn.Module] | None
    ) -> None:
        """Keep the layers."""
        super().__init__()
        self.conv = conv
        self.norm = norm
        self.activation = activation() if activation else None

    def forward(self, x: Tensor) -> Tensor:
        """Map what the convolution takes to what it gives, normalised and activated."""
        y: Tensor = self.norm(self.conv(x))
        return y if self.activation is None else self.activation(y)


class ConvNorm(ConvUnit):
    """2-D convolution without bias, batch normalisation, and an optional activation.

    Input (N, in_channels, H, W), output (N, out_channels, H', W'), both floating point.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel: side of the square kernel; odd for "symmetric" padding.
        stride: step of the kernel, in pixels, both ways.
        dilation: distance between neighbouring taps of the kernel, in pixels.
        groups: groups that the channels are split in; `in_channels` makes it depthwise.
        activation: makes the activation's module, such as `nn.ReLU6`; None for a linear layer.
        padding: "symmetric" pads dilation * (kernel // 2) on every side, "same" as `same_padding`
            says.
        eps: added to the variance by the normalisation.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        stride: int = 1,
        *,
        dilation: int = 1,
        groups: int = 1,
        activation: Callable[[], nn.Module] | None = nn.ReLU6,
        padding: Padding = "symmetric",
        eps: float = 1e-5,
    ) -> None:
        """Make the layers; their weights are PyTorch's defaults."""
        zeros = dilation * (kernel // 2) if padding == "symmetric" else 0
        conv = nn.Conv2d(
            in_channels,
            out_channels,
            kernel,
            stride,
            zeros,
            dilation=dilation,
            groups=groups,
            bias=False,
        )
        super().__init__(conv, nn.BatchNorm2d(out_channels, eps=eps), activation)
        self.padding = padding
        self.geometry = (kernel, stride, dilation)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H', W')."""
        if self.padding == "same":
            top, bottom = same_padding(x.shape[2], *self.geometry)
            left, right = same_padding(x.shape[3], *self.geometry)
            x = F.pad(x, (left, right, top, bottom))
        return super().forward(x)
