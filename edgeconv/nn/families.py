"""The families of convolutions: their layers, and small examples of each.

What the examples are for: the tests compile every one for every kind of target, and the pages in
`docs/layers/` tell what becomes of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from edgeconv.nn.attention_augmented import AttentionAugmentedConv2d
from edgeconv.nn.conv import ConvNorm
from edgeconv.nn.conv3d import (
    BasicBlock3d,
    Conv2Plus1d,
    ConvNorm3d,
    DepthwiseSeparable3d,
    TransposedConvNorm3d,
)
from edgeconv.nn.dcnv3 import DCNv3
from edgeconv.nn.deformable import DeformConv2d
from edgeconv.nn.dilated import ASPP, DeepLabHead
from edgeconv.nn.dynamic import CondConv2d, CondConvResidual, DynamicConv2d
from edgeconv.nn.grouped import ResNeXtBottleneck
from edgeconv.nn.octave import OctaveConv2d, OctaveConvNorm, Octaves
from edgeconv.nn.selective_kernel import SelectiveKernel
from edgeconv.nn.separable import DepthwiseSeparable, InvertedResidual
from edgeconv.nn.transposed import TransposedConvNorm, UpBlock


@dataclass(frozen=True)
class Example:
    """A small layer of a family.

    Attributes:
        text: how it is made, for people.
        make: makes it, with PyTorch's initial weights.
        shapes: of its inputs, all float32.
    """

    text: str
    make: Callable[[], nn.Module]
    shapes: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Family:
    """A family of convolutions.

    Attributes:
        title: its name, for people.
        layers: its public classes, of one module.
        examples: by name.
        checks: the file in `tests/` that compares the layers with their definition.
        networks: zoo networks of the family.
    """

    title: str
    layers: tuple[type[nn.Module], ...]
    examples: dict[str, Example]
    checks: str
    networks: tuple[str, ...]


class _OctaveRow(nn.Module):
    """First, middle and last octave convolution, as they stand in a network."""

    def __init__(self) -> None:
        super().__init__()
        self.first = OctaveConvNorm(6, 16, alpha_in=0, alpha_out=0.5)
        self.middle = OctaveConvNorm(16, 24, stride=2)
        self.last = OctaveConvNorm(24, 12, alpha_in=0.5, alpha_out=0)

    def forward(self, x: Tensor) -> Octaves:
        y: Octaves = self.last(self.middle(self.first(x)))
        return y


FAMILIES = {
    "conv": Family(
        "Dense and pointwise convolution",
        (ConvNorm,),
        {
            "dense": Example(
                "ConvNorm(5, 12, 3, stride=2)", lambda: ConvNorm(5, 12, 3, 2), ((2, 5, 11, 9),)
            ),
            "pointwise": Example(
                "ConvNorm(12, 20, 1)", lambda: ConvNorm(12, 20, 1), ((1, 12, 7, 9),)
            ),
        },
        "nn/test_conv_families.py",
        ("resnet18",),
    ),
    "separable": Family(
        "Depthwise separable convolution",
        (DepthwiseSeparable, InvertedResidual),
        {
            "separable": Example(
                "DepthwiseSeparable(12, 20)",
                lambda: DepthwiseSeparable(12, 20),
                ((1, 12, 14, 13),),
            ),
        },
        "nn/test_separable.py",
        ("mobilenet_v2", "efficientnet_lite0"),
    ),
    "grouped": Family(
        "Grouped convolution",
        (ResNeXtBottleneck,),
        {
            "grouped": Example(
                "ResNeXtBottleneck(16, 32, groups=8)",
                lambda: ResNeXtBottleneck(16, 32, groups=8),
                ((2, 16, 9, 9),),
            ),
        },
        "nn/test_conv_families.py",
        ("resnext26_32x4d",),
    ),
    "dilated": Family(
        "Dilated (atrous) convolution",
        (ASPP, DeepLabHead),
        {
            "dilated": Example(
                "DeepLabHead(16, 5, (21, 17), channels=12, rates=(2, 4))",
                lambda: DeepLabHead(16, 5, (21, 17), channels=12, rates=(2, 4)),
                ((1, 16, 11, 9),),
            ),
        },
        "nn/test_conv_families.py",
        ("deeplab_mobilenet_v2",),
    ),
    "transposed": Family(
        "Transposed convolution",
        (TransposedConvNorm, UpBlock),
        {
            "transposed": Example(
                "TransposedConvNorm(12, 10, 3, output_padding=1, groups=2)",
                lambda: TransposedConvNorm(12, 10, 3, output_padding=1, groups=2),
                ((2, 12, 7, 6),),
            ),
            "up block": Example(
                "UpBlock(12, 6, 8)", lambda: UpBlock(12, 6, 8), ((1, 12, 5, 6), (1, 6, 10, 12))
            ),
        },
        "nn/test_conv_families.py",
        ("dcgan_decoder", "unet"),
    ),
    "conv3d": Family(
        "3-D and (2+1)-D convolution",
        (ConvNorm3d, Conv2Plus1d, BasicBlock3d, DepthwiseSeparable3d, TransposedConvNorm3d),
        {
            "3d": Example(
                "BasicBlock3d(4, 8, 2)", lambda: BasicBlock3d(4, 8, 2), ((1, 4, 5, 8, 9),)
            ),
            "(2+1)d": Example("Conv2Plus1d(4, 8)", lambda: Conv2Plus1d(4, 8), ((1, 4, 5, 8, 9),)),
            "separable 3d": Example(
                "DepthwiseSeparable3d(6, 8)", lambda: DepthwiseSeparable3d(6, 8), ((2, 6, 4, 7, 5),)
            ),
            "transposed 3d": Example(
                "TransposedConvNorm3d(6, 4)", lambda: TransposedConvNorm3d(6, 4), ((1, 6, 3, 4, 5),)
            ),
        },
        "nn/test_conv_families.py",
        ("r3d10", "r2plus1d10"),
    ),
    "deformable": Family(
        "Deformable convolution v1 and v2",
        (DeformConv2d,),
        {
            "deformable v1": Example(
                "DeformConv2d(6, 8, modulated=False)",
                lambda: DeformConv2d(6, 8, modulated=False),
                ((1, 6, 9, 8),),
            ),
            "deformable v2": Example(
                "DeformConv2d(8, 6, stride=2, groups=2, offset_groups=2)",
                lambda: DeformConv2d(8, 6, stride=2, groups=2, offset_groups=2),
                ((2, 8, 9, 8),),
            ),
        },
        "nn/test_deformable.py",
        ("deformable_resnet18", "digits/deformable"),
    ),
    "dcnv3": Family(
        "Deformable convolution v3",
        (DCNv3,),
        {
            "dcnv3": Example("DCNv3(16, groups=2)", lambda: DCNv3(16, groups=2), ((1, 7, 6, 16),)),
        },
        "nn/test_deformable.py",
        (),
    ),
    "octave": Family(
        "Octave convolution",
        (OctaveConv2d, OctaveConvNorm),
        {
            "octave": Example(
                "OctaveConvNorm(6, 16, alpha_in=0), (16, 24, stride=2), (24, 12, alpha_out=0)",
                _OctaveRow,
                ((2, 6, 16, 12),),
            ),
        },
        "nn/test_octave.py",
        ("octave_resnet18", "digits/octave"),
    ),
    "dynamic": Family(
        "Dynamic and conditional convolution",
        (DynamicConv2d, CondConv2d, CondConvResidual),
        {
            "dynamic": Example(
                "DynamicConv2d(8, 12)", lambda: DynamicConv2d(8, 12), ((2, 8, 9, 7),)
            ),
            "conditional": Example(
                "CondConvResidual(8, 8)", lambda: CondConvResidual(8, 8), ((2, 8, 9, 7),)
            ),
        },
        "nn/test_dynamic.py",
        (
            "dynamic_mobilenet_v2",
            "condconv_mobilenet_v2",
            "digits/dynamic",
            "digits/conditional",
        ),
    ),
    "selective_kernel": Family(
        "Selective kernel convolution",
        (SelectiveKernel,),
        {
            "selective kernel": Example(
                "SelectiveKernel(16, 16, groups=4, reduction=4, least=4)",
                lambda: SelectiveKernel(16, 16, groups=4, reduction=4, least=4),
                ((2, 16, 9, 7),),
            ),
        },
        "nn/test_selective_kernel.py",
        ("sknet18", "sknet26", "digits/selective_kernel"),
    ),
    "attention_augmented": Family(
        "Attention-augmented convolution",
        (AttentionAugmentedConv2d,),
        {
            "attention augmented": Example(
                "AttentionAugmentedConv2d(8, 16, size=(6, 7), dk=8, dv=8, heads=2)",
                lambda: AttentionAugmentedConv2d(8, 16, size=(6, 7), dk=8, dv=8, heads=2),
                ((2, 8, 6, 7),),
            ),
        },
        "nn/test_attention_augmented.py",
        ("aa_resnet18", "digits/attention_augmented"),
    ),
}
