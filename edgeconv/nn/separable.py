"""Depthwise separable convolution (MobileNet) and the inverted residual (MobileNetV2).

A depthwise convolution filters every channel with its own kernel; the 1x1 ("pointwise")
convolution after it mixes the channels. Together they cost k*k + C_out multiply-accumulates per
input value, where a dense k x k convolution costs k*k*C_out.

Howard et al., "MobileNets", arXiv:1704.04861; Sandler et al., "MobileNetV2", arXiv:1801.04381.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from edgeconv.nn.conv import ConvNorm, Padding


class DepthwiseSeparable(nn.Module):
    """Depthwise k x k convolution, then pointwise: each with batch norm and activation.

    Input (N, in_channels, H, W), output (N, out_channels, H', W'), both floating point.

    Args:
        in_channels: channels of the input, and of the depthwise convolution.
        out_channels: channels of the output.
        kernel: side of the depthwise kernel.
        stride: step of the depthwise kernel.
        activation: makes the activation after either convolution.
        padding: how the depthwise convolution pads, as in `ConvNorm`.
        eps: added to the variance by the normalisations.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 3,
        stride: int = 1,
        *,
        activation: Callable[[], nn.Module] = nn.ReLU,
        padding: Padding = "symmetric",
        eps: float = 1e-5,
    ) -> None:
        """Make the layers; their weights are PyTorch's defaults."""
        super().__init__()
        self.depthwise = ConvNorm(
            in_channels,
            in_channels,
            kernel,
            stride,
            groups=in_channels,
            activation=activation,
            padding=padding,
            eps=eps,
        )
        self.pointwise = ConvNorm(in_channels, out_channels, 1, activation=activation, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H', W')."""
        y: Tensor = self.pointwise(self.depthwise(x))
        return y


class InvertedResidual(nn.Module):
    """Expand 1x1, filter depthwise, project 1x1 without activation, and add the input.

    The input is added where it has the output's shape: stride 1 and as many channels. With
    `expansion` 1 there is no expanding convolution. Input (N, in_channels, H, W), output
    (N, out_channels, H', W'), both floating point.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel: side of the depthwise kernel.
        stride: step of the depthwise kernel.
        expansion: depthwise channels per input channel.
        dilation: distance between neighbouring taps of the depthwise kernel.
        activation: makes the activation after expanding and after filtering.
        padding: how the depthwise convolution pads, as in `ConvNorm`.
        eps: added to the variance by the normalisations.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 3,
        stride: int = 1,
        expansion: int = 6,
        *,
        dilation: int = 1,
        activation: Callable[[], nn.Module] = nn.ReLU6,
        padding: Padding = "symmetric",
        eps: float = 1e-5,
    ) -> None:
        """Make the layers; their weights are PyTorch's defaults."""
        super().__init__()
        hidden = in_channels * expansion
        self.adds_input = stride == 1 and in_channels == out_channels
        self.expand = (
            ConvNorm(in_channels, hidden, 1, activation=activation, eps=eps)
            if expansion > 1
            else None
        )
        self.depthwise = ConvNorm(
            hidden,
            hidden,
            kernel,
            stride,
            dilation=dilation,
            groups=hidden,
            activation=activation,
            padding=padding,
            eps=eps,
        )
        self.project = ConvNorm(hidden, out_channels, 1, activation=None, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H', W')."""
        hidden = x if self.expand is None else self.expand(x)
        y: Tensor = self.project(self.depthwise(hidden))
        return x + y if self.adds_input else y
