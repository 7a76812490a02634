"""Layers as `torch.nn.Module`s: the definition that everything else is checked against."""

from edgeconv.nn.conv import ConvNorm, same_padding
from edgeconv.nn.residual import BasicBlock
from edgeconv.nn.seeding import seed_weights
from edgeconv.nn.separable import DepthwiseSeparable, InvertedResidual

__all__ = [
    "BasicBlock",
    "ConvNorm",
    "DepthwiseSeparable",
    "InvertedResidual",
    "same_padding",
    "seed_weights",
]
