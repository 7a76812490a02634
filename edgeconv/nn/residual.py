"""The basic residual block of ResNet-18 and ResNet-34 (He et al., arXiv:1512.03385)."""

from __future__ import annotations

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
        self.shortcut = (
            ConvNorm(in_channels, out_channels, 1, stride, activation=None)
            if stride > 1 or in_channels != out_channels
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H', W')."""
        shortcut = x if self.shortcut is None else self.shortcut(x)
        return F.relu(self.conv2(self.conv1(x)) + shortcut)
