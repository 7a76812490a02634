"""The residual blocks of ResNet (He et al., arXiv:1512.03385): basic and bottleneck."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from edgeconv.nn.conv import ConvNorm


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut; their sum is rectified.

    The shortcut is the input itself, or a strided 1x1 convolution where the shape changes.
    Input (N, in_channels, H, W), output (N, out_channels, H', W'), both floating point.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        stride: step of the first convolution.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        """Make the layers; their weights are PyTorch's defaults."""
        super().__init__()
        self.conv1 = ConvNorm(in_channels, out_channels, 3, stride, activation=nn.ReLU)
        self.conv2 = ConvNorm(out_channels, out_channels, 3, activation=None)
        self.shortcut = _shortcut(in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H', W')."""
        shortcut = x if self.shortcut is None else self.shortcut(x)
        return F.relu(self.conv2(self.conv1(x)) + shortcut)


class Bottleneck(nn.Module):
    """Reduce 1x1, a middle layer on few channels, expand 1x1, add the shortcut, rectify.

    The stride is the middle layer's. Networks differ in that layer: ResNet has a dense 3x3
    convolution, others a grouped, deformable, selective-kernel or attention-augmented one. Input
    (N, in_channels, H, W), output (N, out_channels, H', W'), both floating point.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        width: channels of the middle layer.
        stride: step of the middle layer.
        middle: makes the middle layer, rectified, from `width` and `stride`; a dense 3x3
            convolution where it is None.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        width: int,
        stride: int = 1,
        *,
        middle: Callable[[int, int], nn.Module] | None = None,
    ) -> None:
        """Make the layers; their weights are PyTorch's defaults."""
        super().__init__()
        self.reduce = ConvNorm(in_channels, width, 1, activation=nn.ReLU)
        self.middle = (
            middle(width, stride)
            if middle
            else ConvNorm(width, width, 3, stride, activation=nn.ReLU)
        )
        self.expand = ConvNorm(width, out_channels, 1, activation=None)
        self.shortcut = _shortcut(in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H', W')."""
        shortcut = x if self.shortcut is None else self.shortcut(x)
        return F.relu(self.expand(self.middle(self.reduce(x))) + shortcut)


def _shortcut(in_channels: int, out_channels: int, stride: int) -> ConvNorm | None:
    if stride == 1 and in_channels == out_channels:
        return None
    return ConvNorm(in_channels, out_channels, 1, stride, activation=None)
