"""Convolution over volumes and video: 3-D, (2+1)-D, depthwise separable and transposed.

A (2+1)-D convolution is a spatial 1 x k x k convolution, then a temporal k x 1 x 1 one, with a
non-linearity between them.

Tran et al., "C3D", arXiv:1412.0767, and "R(2+1)D", arXiv:1711.11248; for the separable form,
Tran et al., "Channel-Separated Convolutional Networks", arXiv:1904.02811, and Kopuklu et al.,
"Resource Efficient 3D CNNs", arXiv:1904.02422; transposed, Cicek et al., "3D U-Net",
arXiv:1606.06650.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from edgeconv.nn.conv import ConvUnit

Triple = tuple[int, int, int]


class ConvNorm3d(ConvUnit):
    """3-D convolution without bias, batch normalisation, and an optional activation.

    It pads dilation * (kernel // 2) on every side. Input (N, in_channels, D, H, W), output
    (N, out_channels, D', H', W'), both floating point.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel: (depth, height, width) of the kernel, or one odd number for all.
        stride: step of the kernel, the same way.
        dilation: distance between neighbouring taps, the same way.
        groups: groups that the channels are split in; `in_channels` makes it depthwise.
        activation: makes the activation's module; None for a linear layer.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int | Triple = 3,
        stride: int | Triple = 1,
        *,
        dilation: int | Triple = 1,
        groups: int = 1,
        activation: Callable[[], nn.Module] | None = nn.ReLU,
    ) -> None:
        """Make the layers; their weights are PyTorch's defaults."""
        kernels, dilations = _triple(kernel), _triple(dilation)
        conv = nn.Conv3d(
            in_channels,
            out_channels,
            kernels,
            stride,
            _triple([d * (k // 2) for k, d in zip(kernels, dilations, strict=True)]),
            dilation=dilations,
            groups=groups,
            bias=False,
        )
        super().__init__(conv, nn.BatchNorm3d(out_channels), activation)


class Conv2Plus1d(nn.Module):
    """Spatial convolution, then temporal, each with batch norm and ReLU (the last one optional).

    The paper's number of channels between the two gives as many weights as the 3-D convolution
    has. Input (N, in_channels, D, H, W), output (N, out_channels, D', H', W'), both floating
    point.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel: side of the spatial kernel, and length of the temporal one.
        stride: step of both kernels.
        middle: channels between the two; None for the paper's number.
        activation: makes the activation at the end; None for a linear end.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 3,
        stride: int = 1,
        *,
        middle: int | None = None,
        activation: Callable[[], nn.Module] | None = nn.ReLU,
    ) -> None:
        """Make the layers; their weights are PyTorch's defaults."""
        super().__init__()
        if middle is None:
            weights = kernel**3 * in_channels * out_channels
            middle = max(1, weights // (kernel**2 * in_channels + kernel * out_channels))
        self.spatial = ConvNorm3d(in_channels, middle, (1, kernel, kernel), (1, stride, stride))
        self.temporal = ConvNorm3d(
            middle, out_channels, (kernel, 1, 1), (stride, 1, 1), activation=activation
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, D, H, W) to (N, out_channels, D', H', W')."""
        y: Tensor = self.temporal(self.spatial(x))
        return y


class BasicBlock3d(nn.Module):
    """Two 3x3x3 or (2+1)-D convolutions beside a shortcut; their sum is rectified.

    The block of R3D and R(2+1)D. The shortcut is the input itself, or a strided 1x1x1 convolution
    where the shape changes. Input (N, in_channels, D, H, W), output (N, out_channels, D', H', W'),
    both floating point.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        stride: step of the first convolution, in time and space.
        factored: takes (2+1)-D convolutions.
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int = 1, *, factored: bool = False
    ) -> None:
        """Make the layers; their weights are PyTorch's defaults."""
        super().__init__()
        conv = Conv2Plus1d if factored else ConvNorm3d
        self.conv1 = conv(in_channels, out_channels, 3, stride)
        self.conv2 = conv(out_channels, out_channels, 3, activation=None)
        self.shortcut = (
            ConvNorm3d(in_channels, out_channels, 1, stride, activation=None)
            if stride > 1 or in_channels != out_channels
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, D, H, W) to (N, out_channels, D', H', W')."""
        shortcut = x if self.shortcut is None else self.shortcut(x)
        return F.relu(self.conv2(self.conv1(x)) + shortcut)


class DepthwiseSeparable3d(nn.Module):
    """Depthwise k x k x k convolution, then pointwise: each with batch norm and activation.

    Input (N, in_channels, D, H, W), output (N, out_channels, D', H', W'), both floating point.

    Args:
        in_channels: channels of the input, and of the depthwise convolution.
        out_channels: channels of the output.
        kernel: (depth, height, width) of the depthwise kernel, or one odd number for all.
        stride: step of the depthwise kernel, the same way.
        activation: makes the activation after either convolution.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int | Triple = 3,
        stride: int | Triple = 1,
        *,
        activation: Callable[[], nn.Module] = nn.ReLU,
    ) -> None:
        """Make the layers; their weights are PyTorch's defaults."""
        super().__init__()
        self.depthwise = ConvNorm3d(
            in_channels, in_channels, kernel, stride, groups=in_channels, activation=activation
        )
        self.pointwise = ConvNorm3d(in_channels, out_channels, 1, activation=activation)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, D, H, W) to (N, out_channels, D', H', W')."""
        y: Tensor = self.pointwise(self.depthwise(x))
        return y


class TransposedConvNorm3d(ConvUnit):
    """3-D transposed convolution without bias, batch normalisation, and an optional activation.

    The defaults are 3D U-Net's, which double every side. Input (N, in_channels, D, H, W), output
    (N, out_channels, D', H', W'), both floating point.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel: (depth, height, width) of the kernel, or one number for all.
        stride: output voxels per input voxel, the same way.
        padding: voxels that are cut off on every side of the output, the same way.
        output_padding: voxels that are added after, the same way; less than the stride or
            dilation.
        dilation: distance between neighbouring taps in output voxels, the same way.
        groups: groups that the channels are split in.
        activation: makes the activation's module; None for a linear layer.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int | Triple = 2,
        stride: int | Triple = 2,
        padding: int | Triple = 0,
        *,
        output_padding: int | Triple = 0,
        dilation: int | Triple = 1,
        groups: int = 1,
        activation: Callable[[], nn.Module] | None = nn.ReLU,
    ) -> None:
        """Make the layers; their weights are PyTorch's defaults."""
        conv = nn.ConvTranspose3d(
            in_channels,
            out_channels,
            kernel,
            stride,
            padding,
            output_padding,
            groups=groups,
            bias=False,
            dilation=dilation,
        )
        super().__init__(conv, nn.BatchNorm3d(out_channels), activation)


def _triple(value: int | Sequence[int]) -> Triple:
    depth, height, width = [value] * 3 if isinstance(value, int) else value
    return depth, height, width
