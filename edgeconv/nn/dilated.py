"""Dilated ("atrous") convolution: the segmentation head of DeepLab v3.

A dilated convolution spreads its taps, and so sees more of the image at the same cost. Atrous
spatial pyramid pooling (ASPP) looks at several dilations at once.

Chen et al., "Rethinking Atrous Convolution for Semantic Image Segmentation", arXiv:1706.05587.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgeconv.nn.conv import ConvNorm


class ASPP(nn.Module):
    """A 1x1 convolution, dilated 3x3 convolutions and image pooling, concatenated and projected.

    Every branch has `out_channels` channels, batch norm and ReLU. Image pooling is the mean over
    the image, a 1x1 convolution, and upsampling to the image's size; bilinear upsampling of a
    single pixel repeats it. Input (N, in_channels, H, W), output (N, out_channels, H, W), both
    floating point.

    Args:
        in_channels: channels of the input.
        out_channels: channels of each branch and of the output.
        rates: dilations of the 3x3 convolutions; the paper's for features at 1/16 of the image,
            and twice these at 1/8.
    """

    def __init__(
        self, in_channels: int, out_channels: int = 256, rates: Sequence[int] = (6, 12, 18)
    ) -> None:
        """Make the layers; their weights are PyTorch's defaults."""
        super().__init__()
        self.branches = nn.ModuleList(
            [
                ConvNorm(in_channels, out_channels, 1, activation=nn.ReLU),
                *(
                    ConvNorm(in_channels, out_channels, 3, dilation=rate, activation=nn.ReLU)
                    for rate in rates
                ),
            ]
        )
        self.image_pooling = ConvNorm(in_channels, out_channels, 1, activation=nn.ReLU)
        self.project = ConvNorm(
            out_channels * (len(rates) + 2), out_channels, 1, activation=nn.ReLU
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H, W)."""
        whole: Tensor = self.image_pooling(x.mean((2, 3), keepdim=True))
        scales = [branch(x) for branch in self.branches]
        y: Tensor = self.project(
            torch.cat([*scales, whole.expand(-1, -1, x.shape[2], x.shape[3])], dim=1)
        )
        return y


class DeepLabHead(nn.Module):
    """ASPP, a 3x3 convolution, class scores by a 1x1 convolution, and bilinear upsampling.

    Corners are not aligned in the upsampling. Input (N, in_channels, H, W), output
    (N, classes, `size`), both floating point.

    Args:
        in_channels: channels of the features.
        classes: number of classes.
        size: (height, width) of the scores, usually the image's; it is fixed, so that no shape
            is computed at run time. None keeps the features' size.
        channels: channels of ASPP and of the 3x3 convolution.
        rates: dilations of ASPP.
    """

    def __init__(
        self,
        in_channels: int,
        classes: int,
        size: tuple[int, int] | None = None,
        *,
        channels: int = 256,
        rates: Sequence[int] = (6, 12, 18),
    ) -> None:
        """Make the layers; their weights are PyTorch's defaults."""
        super().__init__()
        self.size = size
        self.aspp = ASPP(in_channels, channels, rates)
        self.conv = ConvNorm(channels, channels, 3, activation=nn.ReLU)
        self.classifier = nn.Conv2d(channels, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, classes, *size)."""
        scores: Tensor = self.classifier(self.conv(self.aspp(x)))
        if self.size is None:
            return scores
        return F.interpolate(scores, size=self.size, mode="bilinear", align_corners=False)
