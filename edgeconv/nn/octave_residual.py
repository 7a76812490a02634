"""The basic residual block on features in two octaves (Chen et al., arXiv:1904.05049)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from edgeconv.nn.octave import OctaveConvNorm, Octaves


class OctaveBasicBlock(nn.Module):
    """Two 3x3 octave convolutions beside a shortcut; their sum is rectified in each octave.

    The shortcut is the input itself, or a strided 1x1 octave convolution where channels, octaves
    or size change. Takes and returns what `OctaveConv2d` does.

    Args:
        in_channels: channels of both input octaves together.
        out_channels: channels of both output octaves together.
        stride: step of the first convolution, 1 or 2.
        alpha_in: part of the input channels that are low.
        alpha_out: part of the output channels that are low.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        *,
        alpha_in: float = 0.5,
        alpha_out: float = 0.5,
    ) -> None:
        """Make the layers; their weights are PyTorch's defaults."""
        super().__init__()
        self.conv1 = OctaveConvNorm(
            in_channels, out_channels, 3, stride, alpha_in=alpha_in, alpha_out=alpha_out
        )
        self.conv2 = OctaveConvNorm(
            out_channels, out_channels, 3, alpha_in=alpha_out, alpha_out=alpha_out, activation=None
        )
        self.shortcut = (
            None
            if (in_channels, alpha_in, stride) == (out_channels, alpha_out, 1)
            else OctaveConvNorm(
                in_channels,
                out_channels,
                1,
                stride,
                alpha_in=alpha_in,
                alpha_out=alpha_out,
                activation=None,
            )
        )

    def forward(self, x: Octaves) -> Octaves:
        """Map one or two octaves to one or two octaves."""
        shortcut = x if self.shortcut is None else self.shortcut(x)
        y = self.conv2(self.conv1(x))
        if isinstance(y, Tensor) and isinstance(shortcut, Tensor):
            return F.relu(y + shortcut)
        return F.relu(y[0] + shortcut[0]), F.relu(y[1] + shortcut[1])
