"""Layers as `torch.nn.Module`s: the definition that everything else is checked against."""

from edgeconv.nn.attention_augmented import AttentionAugmentedConv2d, RelativeKeys
from edgeconv.nn.backbone import (
    Place,
    exchange_convs,
    mobilenet,
    resnet,
    stack,
    video_resnet,
)
from edgeconv.nn.conv import ConvNorm, ConvUnit, same_padding
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
from edgeconv.nn.dynamic import (
    CondConv2d,
    CondConvResidual,
    DynamicConv2d,
    ExpertConv2d,
    Routing,
)
from edgeconv.nn.grouped import ResNeXtBottleneck
from edgeconv.nn.octave import OctaveConv2d, OctaveConvNorm, split_channels
from edgeconv.nn.octave_residual import OctaveBasicBlock
from edgeconv.nn.residual import BasicBlock, Bottleneck
from edgeconv.nn.seeding import Seedable, seed_weights
from edgeconv.nn.selective_kernel import SelectiveKernel
from edgeconv.nn.separable import DepthwiseSeparable, InvertedResidual
from edgeconv.nn.transposed import TransposedConvNorm, UpBlock
from edgeconv.nn.unet import UNet

__all__ = [
    "ASPP",
    "AttentionAugmentedConv2d",
    "BasicBlock",
    "BasicBlock3d",
    "Bottleneck",
    "CondConv2d",
    "CondConvResidual",
    "Conv2Plus1d",
    "ConvNorm",
    "ConvNorm3d",
    "ConvUnit",
    "DCNv3",
    "DeepLabHead",
    "DeformConv2d",
    "DepthwiseSeparable",
    "DepthwiseSeparable3d",
    "DynamicConv2d",
    "ExpertConv2d",
    "InvertedResidual",
    "OctaveBasicBlock",
    "OctaveConv2d",
    "OctaveConvNorm",
    "Place",
    "RelativeKeys",
    "ResNeXtBottleneck",
    "Routing",
    "Seedable",
    "SelectiveKernel",
    "TransposedConvNorm",
    "TransposedConvNorm3d",
    "UNet",
    "UpBlock",
    "exchange_convs",
    "mobilenet",
    "resnet",
    "same_padding",
    "seed_weights",
    "split_channels",
    "stack",
    "video_resnet",
]
