"""U-Net: a path down by pooling, and one up by transposed convolutions, with skips between.

Ronneberger et al., arXiv:1505.04597; with padding and batch norm, so that sizes stay.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from edgeconv.nn.conv import ConvNorm
from edgeconv.nn.transposed import UpBlock


class UNet(nn.Module):
    """U-Net, one level for each width.

    Input (N, in_channels, H, W), output (N, classes, H, W), both floating point; H and W are
    multiples of 2 to the power of len(widths) - 1.

    Args:
        in_channels: channels of the image.
        classes: number of classes.
        widths: channels of each level, from the image's resolution down.
    """

    def __init__(
        self, in_channels: int, classes: int, widths: Sequence[int] = (64, 128, 256, 512, 1024)
    ) -> None:
        """Make the layers; their weights are PyTorch's defaults."""
        super().__init__()
        self.down = nn.ModuleList()
        channels = in_channels
        for width in widths:
            self.down.append(
                nn.Sequential(
                    ConvNorm(channels, width, 3, activation=nn.ReLU),
                    ConvNorm(width, width, 3, activation=nn.ReLU),
                )
            )
            channels = width
        self.up = nn.ModuleList()
        for width in reversed(widths[:-1]):
            self.up.append(UpBlock(channels, width, width))
            channels = width
        self.classifier = nn.Conv2d(channels, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, classes, H, W).

        Raises:
            UsageError: H or W cannot be halved once per level.
        """
        levels: list[Tensor] = []
        for index, convs in enumerate(self.down):
            levels.append(convs(F.max_pool2d(levels[-1], 2) if index else x))
        y = levels.pop()
        for block in self.up:
            y = block(y, levels.pop())
        scores: Tensor = self.classifier(y)
        return scores
