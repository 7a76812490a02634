"""Selective kernel convolution: branches of different reach, chosen channel by channel.

Split: every branch is a 3x3 convolution with a dilation of its own. Fuse: the branches' sum is
pooled globally and squeezed to few channels. Select: a softmax over the branches weighs each
branch, for each channel:

    y = sum over m: a_m * f_m(x),   a = softmax over m of select(fuse(mean(sum over m: f_m(x))))

Ports differ. The official network's branches are grouped, and the second is dilated; one well-known
port leaves both out. timm's form splits the input's channels among the branches and has no groups
(`SelectiveKernel.timm`).

Li et al., "Selective Kernel Networks", arXiv:1903.06586.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgeconv.errors import UsageError
from edgeconv.nn.conv import ConvNorm
from edgeconv.ops.selective_kernel import selective_kernel


class SelectiveKernel(nn.Module):
    """The official selective kernel convolution: M branches, and a softmax over them.

    Branch i is a grouped 3x3 convolution with dilation i + 1, batch norm and ReLU. The attention
    is global average pooling, a 1x1 convolution to max(out_channels / reduction, least) channels,
    batch norm, ReLU, and a 1x1 convolution to one logit per branch and channel, both without bias.
    Input (N, in_channels, H, W), output (N, out_channels, H', W'), both floating point.

    Args:
        in_channels: channels of the input.
        out_channels: channels of every branch and of the output.
        stride: step of the branches.
        branches: number of branches, M.
        groups: groups of every branch.
        reduction: output channels per hidden channel of the attention, r.
        least: hidden channels at least, L.
        split_input: gives every branch its share of the input's channels, not all of them.
        hidden: hidden channels of the attention, instead of what `reduction` and `least` say.

    Raises:
        UsageError: the branches do not divide the channels that are split.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        *,
        branches: int = 2,
        groups: int = 32,
        reduction: int = 16,
        least: int = 32,
        split_input: bool = False,
        hidden: int | None = None,
    ) -> None:
        """Make the layers; their weights are PyTorch's defaults."""
        super().__init__()
        if split_input and in_channels % branches:
            raise UsageError(
                f"SelectiveKernel: {branches} branches do not divide {in_channels} channels"
            )
        share = in_channels // branches if split_input else in_channels
        self.share = share if split_input else None
        self.branches = nn.ModuleList(
            ConvNorm(
                share,
                out_channels,
                3,
                stride,
                dilation=index + 1,
                groups=groups,
                activation=nn.ReLU,
            )
            for index in range(branches)
        )
        if hidden is None:
            hidden = max(out_channels // reduction, least)
        self.fuse = ConvNorm(out_channels, hidden, 1, activation=nn.ReLU)
        self.select = nn.Conv2d(hidden, branches * out_channels, 1, bias=False)

    @classmethod
    def timm(
        cls, in_channels: int, out_channels: int, stride: int = 1, *, branches: int = 2
    ) -> SelectiveKernel:
        """Make timm's form: split input, no groups, hidden channels a multiple of 8.

        Args:
            in_channels: channels of the input, a multiple of `branches`.
            out_channels: channels of the output.
            stride: step of the branches.
            branches: number of branches.
        """
        return cls(
            in_channels,
            out_channels,
            stride,
            branches=branches,
            groups=1,
            split_input=True,
            hidden=_multiple_of_8(out_channels / 16),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H', W')."""
        shares = torch.split(x, self.share, dim=1) if self.share else [x] * len(self.branches)
        features = [branch(part) for branch, part in zip(self.branches, shares, strict=True)]
        # The mean of the branches' sum; their sum itself is not needed, and large.
        pooled, *others = (feature.mean((2, 3), keepdim=True) for feature in features)
        for other in others:
            pooled = pooled + other
        return selective_kernel(features, self.select(self.fuse(pooled)))


def _multiple_of_8(channels: float) -> int:
    """Round to a multiple of 8, at least 8, and up where rounding takes more than a tenth."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded
