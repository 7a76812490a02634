"""Octave convolution: features in two resolutions, full and half.

Part of the channels (alpha of them, "low") live on half the height and width. A convolution has
up to four paths: high to high, high to low (average pooling, then convolution), low to low, and
low to high (convolution, then nearest-neighbour upsampling):

    y_high = conv_hh(x_high) + upsample(conv_lh(x_low))
    y_low  = conv_ll(x_low)  + conv_hl(pool(x_high))

The order matters: a port that upsamples first convolves four times as many pixels, at another
scale, and one that strides instead of pooling leaves most of them out. The first convolution of a
network makes the two resolutions (alpha_in 0), the last one joins them (alpha_out 0).

Chen et al., "Drop an Octave", arXiv:1904.05049; order, strides and biases as in
facebookresearch/OctConv.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from edgeconv.errors import UsageError

Octaves = Tensor | tuple[Tensor, Tensor]


class OctaveConv2d(nn.Module):
    """A 2-D convolution between features in two octaves, or to or from a plain tensor.

    Takes a tensor (N, in_channels, H, W) where `alpha_in` is 0, else a pair: high
    (N, in_channels - L, H, W) and low (N, L, ceil(H/2), ceil(W/2)), with
    in_channels - L = floor((1 - alpha_in) * in_channels). Returns the same kinds, by `alpha_out`;
    all are floating point. It pads kernel // 2 on every side. Stride 2 pools (2x2 average) before
    convolutions of stride 1; high to low then pools 4x4 at once, and low to high needs no
    upsampling. Windows that hang over an odd edge average what is inside; upsampling is cut to
    an odd size.

    Args:
        in_channels: channels of both octaves together.
        out_channels: channels of both octaves together.
        kernel: side of the square kernel, odd.
        stride: 1 or 2.
        alpha_in: part of the input channels that are low, at least 0 and less than 1.
        alpha_out: part of the output channels that are low, the same.
        groups: groups of every path's channels; `in_channels` makes it depthwise, which has no
            paths between the octaves.
        bias: adds one bias to each output.

    Raises:
        UsageError: stride or alpha out of range, or a depthwise convolution that changes its
            channels.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 3,
        stride: int = 1,
        *,
        alpha_in: float = 0.5,
        alpha_out: float = 0.5,
        groups: int = 1,
        bias: bool = False,
    ) -> None:
        """Make the paths; their weights are PyTorch's defaults."""
        super().__init__()
        if stride not in {1, 2}:
            raise UsageError(f"OctaveConv2d: stride {stride}; it can be 1 or 2")
        high_in, low_in = split_channels(in_channels, alpha_in)
        high_out, low_out = split_channels(out_channels, alpha_out)
        depthwise = groups == in_channels
        if depthwise and (high_in, low_in) != (high_out, low_out):
            raise UsageError(
                f"OctaveConv2d: a depthwise convolution keeps its channels, but {high_in} high "
                f"and {low_in} low become {high_out} and {low_out}"
            )

        def path(ins: int, outs: int, biased: bool) -> nn.Conv2d:
            count = ins if depthwise else groups
            return nn.Conv2d(ins, outs, kernel, padding=kernel // 2, groups=count, bias=biased)

        cross = not depthwise
        self.stride = stride
        self.high_to_high = path(high_in, high_out, bias)
        self.high_to_low = path(high_in, low_out, bias) if low_out and cross else None
        self.low_to_high = path(low_in, high_out, False) if low_in and cross else None
        self.low_to_low = path(low_in, low_out, bias and depthwise) if low_in and low_out else None

    def forward(self, x: Octaves) -> Octaves:
        """Map one or two octaves to one or two octaves."""
        high, low = (x, None) if isinstance(x, Tensor) else x
        y_high: Tensor = self.high_to_high(_pool(high, self.stride))
        y_low: Tensor | None = None
        if self.high_to_low is not None:
            y_low = self.high_to_low(_pool(high, 2 * self.stride))
        if low is not None and self.low_to_high is not None:
            up = self.low_to_high(low)
            y_high = y_high + (up if self.stride == 2 else _upsample(up, y_high))
        if low is not None and self.low_to_low is not None:
            same = self.low_to_low(_pool(low, self.stride))
            y_low = same if y_low is None else y_low + same
        return y_high if y_low is None else (y_high, y_low)


class OctaveConvNorm(nn.Module):
    """Octave convolution without bias, batch norm and optional activation of each octave.

    Takes and returns what `OctaveConv2d` does.

    Args:
        in_channels: channels of both octaves together.
        out_channels: channels of both octaves together.
        kernel: side of the square kernel, odd.
        stride: 1 or 2.
        alpha_in: part of the input channels that are low.
        alpha_out: part of the output channels that are low.
        groups: as in `OctaveConv2d`.
        activation: makes the activation's module; None for a linear layer.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 3,
        stride: int = 1,
        *,
        alpha_in: float = 0.5,
        alpha_out: float = 0.5,
        groups: int = 1,
        activation: Callable[[], nn.Module] | None = nn.ReLU,
    ) -> None:
        """Make the layers; their weights are PyTorch's defaults."""
        super().__init__()
        self.conv = OctaveConv2d(
            in_channels,
            out_channels,
            kernel,
            stride,
            alpha_in=alpha_in,
            alpha_out=alpha_out,
            groups=groups,
        )
        high, low = split_channels(out_channels, alpha_out)
        self.norm = nn.BatchNorm2d(high)
        self.norm_low = nn.BatchNorm2d(low) if low else None
        self.activation = activation() if activation else None

    def forward(self, x: Octaves) -> Octaves:
        """Map one or two octaves to one or two octaves."""
        y = self.conv(x)
        if self.norm_low is None:
            return self._activate(self.norm(y))
        high, low = y
        return self._activate(self.norm(high)), self._activate(self.norm_low(low))

    def _activate(self, x: Tensor) -> Tensor:
        return x if self.activation is None else self.activation(x)


def split_channels(channels: int, alpha: float) -> tuple[int, int]:
    """Return how many of `channels` are high and low.

    Raises:
        UsageError: `alpha` is less than 0, or so large that no channel is high.
    """
    high = int((1 - alpha) * channels)
    if alpha < 0 or high < 1:
        raise UsageError(
            f"alpha {alpha} of {channels} channels: alpha is at least 0, and leaves a high channel"
        )
    return high, channels - high


def _pool(x: Tensor, factor: int) -> Tensor:
    """Average factor x factor pixels, fewer where the window hangs over the edge."""
    if factor == 1:
        return x
    return F.avg_pool2d(x, factor, ceil_mode=True, count_include_pad=False)


def _upsample(x: Tensor, like: Tensor) -> Tensor:
    """Repeat every pixel 2 x 2, and cut to the size of `like`."""
    up = F.interpolate(x, scale_factor=2.0, mode="nearest")
    return up[:, :, : like.shape[2], : like.shape[3]]
