"""Single layers, with the shapes that they have in published networks.

Every row of `LAYERS` is one benchmark; adding a layer means adding a row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from edgeconv.nn import (
    AttentionAugmentedConv2d,
    CondConv2d,
    ConvNorm,
    ConvNorm3d,
    DeformConv2d,
    DynamicConv2d,
    OctaveConvNorm,
    SelectiveKernel,
    TransposedConvNorm,
    seed_weights,
)

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Layer:
    """A layer of a network.

    Attributes:
        name: kernel, channels, size of the input; fit for a file name.
        family: of convolutions, or of other operators.
        network: where it stands.
        make: makes it, with PyTorch's initial weights.
        shapes: of its inputs, float32.
    """

    name: str
    family: str
    network: str
    make: Callable[[], nn.Module]
    shapes: tuple[Shape, ...]

    def build(self) -> nn.Module:
        """Return the layer with seeded weights, in evaluation mode."""
        return seed_weights(self.make(), seed=0).eval()


class Octave(nn.Module):
    """An octave convolution between two others: high and low in, high and low out."""

    def __init__(self, channels: int, stride: int = 1) -> None:
        """Make the layer; half of its channels are low."""
        super().__init__()
        self.layer = OctaveConvNorm(channels, channels, stride=stride)

    def forward(self, high: Tensor, low: Tensor) -> tuple[Tensor, Tensor]:
        """Map (N, C/2, H, W) and (N, C/2, H/2, W/2) to the same two kinds."""
        y: tuple[Tensor, Tensor] = self.layer((high, low))
        return y


class Warp(nn.Module):
    """Features sampled where a grid says."""

    def forward(self, x: Tensor, grid: Tensor) -> Tensor:
        """Map (N, C, H, W) and (N, OH, OW, 2) to (N, C, OH, OW)."""
        return nn.functional.grid_sample(x, grid, align_corners=True)


class GlobalAverage(nn.Module):
    """The mean over all pixels, as before a classifier."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C)."""
        return x.mean((2, 3))


def conv(
    name: str,
    channels: int,
    out: int,
    kernel: int,
    size: int,
    *,
    stride: int = 1,
    dilation: int = 1,
) -> Layer:
    """Return a dense or pointwise convolution of square pictures."""
    family = "pointwise" if kernel == 1 else "dilated" if dilation > 1 else "dense"
    if channels == 3:
        family = "first layer"
    shape = f"{kernel}x{kernel}_{channels}_{out}_{size}{_suffix(stride, dilation)}"
    return Layer(
        f"{family.replace(' ', '_')}_{shape}",
        family,
        name,
        lambda: ConvNorm(channels, out, kernel, stride, dilation=dilation),
        ((1, channels, size, size),),
    )


def depthwise(
    name: str, channels: int, kernel: int, size: int, *, stride: int = 1, dilation: int = 1
) -> Layer:
    """Return a depthwise convolution of square pictures."""
    return Layer(
        f"depthwise_{kernel}x{kernel}_{channels}_{size}{_suffix(stride, dilation)}",
        "depthwise",
        name,
        lambda: ConvNorm(channels, channels, kernel, stride, dilation=dilation, groups=channels),
        ((1, channels, size, size),),
    )


def _suffix(stride: int, dilation: int) -> str:
    return (f"_s{stride}" if stride > 1 else "") + (f"_d{dilation}" if dilation > 1 else "")


def grouped(name: str, channels: int, per_group: int, size: int, out: int | None = None) -> Layer:
    """Return a grouped 3x3 convolution of square pictures."""
    return Layer(
        f"grouped_{per_group}_{channels}_{out or channels}_{size}",
        "grouped",
        name,
        lambda: ConvNorm(channels, out or channels, 3, groups=channels // per_group),
        ((1, channels, size, size),),
    )


def conv3d(name: str, channels: int, out: int, size: Shape, *, depthwise: bool = False) -> Layer:
    """Return a 3x3x3 convolution of a video."""
    kind = "depthwise_3d" if depthwise else "3d"
    return Layer(
        f"{kind}_{channels}_{out}_{'x'.join(map(str, size))}",
        kind.replace("_", " "),
        name,
        lambda: ConvNorm3d(channels, out, groups=channels if depthwise else 1),
        ((1, channels, *size),),
    )


def layer(name: str, family: str, network: str, make: Callable[[], nn.Module], *at: Shape) -> Layer:
    """Return any other layer, of batch 1."""
    return Layer(name, family, network, make, tuple((1, *shape) for shape in at))


LAYERS = (
    conv("ResNet-18 stage 1", 64, 64, 3, 56),
    conv("ResNet-18 stage 2", 128, 128, 3, 28),
    conv("ResNet-18 stage 3", 256, 256, 3, 14),
    conv("ResNet-18 stage 4", 512, 512, 3, 7),
    conv("ResNet-18 stage 2", 64, 128, 3, 56, stride=2),
    conv("U-Net", 32, 32, 3, 256),
    conv("MobileNetV2 stage 1", 16, 96, 1, 112),
    conv("MobileNetV2 stage 2", 144, 24, 1, 56),
    conv("MobileNetV2 stage 4", 96, 576, 1, 14),
    conv("MobileNetV2 stage 6", 960, 320, 1, 7),
    conv("MobileNetV2 head", 320, 1280, 1, 7),
    conv("ResNet-50 stage 1", 64, 256, 1, 56),
    conv("ResNet-50 stage 3", 1024, 256, 1, 14),
    conv("ResNet-50 stage 2", 256, 512, 1, 56, stride=2),
    conv("MobileNetV2", 3, 32, 3, 224, stride=2),
    conv("ResNet", 3, 64, 7, 224, stride=2),
    depthwise("MobileNetV2 stage 1", 32, 3, 112),
    depthwise("MobileNetV2 stage 2", 96, 3, 112, stride=2),
    depthwise("MobileNetV2 stage 4", 576, 3, 14),
    depthwise("MobileNetV2 stage 6", 960, 3, 7),
    depthwise("EfficientNet stage 3", 144, 5, 56, stride=2),
    depthwise("EfficientNet stage 5", 480, 5, 14),
    depthwise("EfficientNet stage 6", 1152, 5, 7),
    depthwise("ConvNeXt-T stage 1", 96, 7, 56),
    depthwise("ConvNeXt-T stage 3", 384, 7, 14),
    depthwise("DeepLab v3 on MobileNetV2", 960, 3, 33, dilation=2),
    grouped("depthwise with multiplier 2 (Xception-like)", 64, 1, 56, out=128),
    grouped("ShuffleNet-like", 120, 2, 28),
    grouped("ResNeXt-50 32x4d stage 1", 128, 4, 56),
    grouped("ResNeXt-50 32x4d stage 2", 256, 8, 28),
    grouped("ResNeXt-50 32x4d stage 4", 1024, 32, 7),
    conv("DeepLab v3, ASPP", 320, 256, 3, 33, dilation=12),
    conv("DRN", 256, 256, 3, 28, dilation=2),
    layer(
        "transposed_4x4_512_256_8",
        "transposed",
        "DCGAN",
        lambda: TransposedConvNorm(512, 256, 4),
        (512, 8, 8),
    ),
    layer(
        "transposed_4x4_128_64_32",
        "transposed",
        "DCGAN",
        lambda: TransposedConvNorm(128, 64, 4),
        (128, 32, 32),
    ),
    layer(
        "transposed_2x2_128_64_64",
        "transposed",
        "U-Net",
        lambda: nn.ConvTranspose2d(128, 64, 2, stride=2),
        (128, 64, 64),
    ),
    layer(
        "1d_9_64_64_1024",
        "1d",
        "keyword spotting (TC-ResNet)",
        lambda: nn.Conv1d(64, 64, 9, padding=4),
        (64, 1024),
    ),
    layer(
        "1d_3_128_128_512_d4",
        "1d",
        "temporal convolutional network",
        lambda: nn.Conv1d(128, 128, 3, padding=4, dilation=4),
        (128, 512),
    ),
    conv3d("R3D-18 stage 1", 64, 64, (8, 28, 28)),
    conv3d("R3D-18 stage 3", 256, 256, (4, 14, 14)),
    conv3d("X3D-M stage 2", 108, 108, (8, 28, 28), depthwise=True),
    layer(
        "deformable_v1_128_28",
        "deformable",
        "DCN on ResNet stage 2",
        lambda: DeformConv2d(128, 128, modulated=False),
        (128, 28, 28),
    ),
    layer(
        "deformable_v2_256_14",
        "deformable",
        "DCN on ResNet stage 3",
        lambda: DeformConv2d(256, 256),
        (256, 14, 14),
    ),
    layer(
        "octave_128_28",
        "octave",
        "Octave ResNet-18 stage 2",
        lambda: Octave(128),
        (64, 28, 28),
        (64, 14, 14),
    ),
    layer(
        "dynamic_3x3_64_28",
        "dynamic",
        "Dynamic MobileNetV2",
        lambda: DynamicConv2d(64, 64),
        (64, 28, 28),
    ),
    layer(
        "dynamic_1x1_96_576_14",
        "dynamic",
        "Dynamic MobileNetV2 stage 4",
        lambda: DynamicConv2d(96, 576, 1),
        (96, 14, 14),
    ),
    layer(
        "conditional_1x1_96_576_14",
        "conditional",
        "CondConv MobileNetV2 stage 4",
        lambda: CondConv2d(96, 576, 1),
        (96, 14, 14),
    ),
    layer(
        "selective_kernel_128_28",
        "selective kernel",
        "SKNet-50 stage 1",
        lambda: SelectiveKernel(128, 128),
        (128, 28, 28),
    ),
    layer(
        "attention_augmented_128_14",
        "attention-augmented",
        "AA-ResNet stage 3",
        lambda: AttentionAugmentedConv2d(128, 128, size=(14, 14), dk=40, dv=16, heads=4),
        (128, 14, 14),
    ),
    layer(
        "max_pool_3x3_64_112",
        "pooling",
        "ResNet",
        lambda: nn.MaxPool2d(3, 2, 1),
        (64, 112, 112),
    ),
    layer(
        "average_pool_2x2_128_56",
        "pooling",
        "DenseNet transition",
        lambda: nn.AvgPool2d(2),
        (128, 56, 56),
    ),
    layer("global_average_1280_7", "pooling", "MobileNetV2", GlobalAverage, (1280, 7, 7)),
    layer(
        "softmax_4_196_196",
        "softmax",
        "attention over 14x14",
        lambda: nn.Softmax(-1),
        (4, 196, 196),
    ),
    layer(
        "resize_bilinear_21_65_513",
        "resize",
        "DeepLab v3",
        lambda: nn.Upsample((513, 513), mode="bilinear", align_corners=False),
        (21, 65, 65),
    ),
    layer(
        "resize_nearest_256_28",
        "resize",
        "feature pyramid",
        lambda: nn.Upsample(scale_factor=2, mode="nearest"),
        (256, 28, 28),
    ),
    layer(
        "grid_sample_64_56_128",
        "sampling",
        "PWC-Net level 3",
        Warp,
        (64, 56, 128),
        (56, 128, 2),
    ),
)


def example_inputs(shapes: tuple[Shape, ...]) -> tuple[Tensor, ...]:
    """Return zeros, for tracing."""
    return tuple(torch.zeros(shape) for shape in shapes)
