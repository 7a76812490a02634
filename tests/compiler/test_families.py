"""A layer of every convolution family, through the whole way on every kind of target."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn as torch_nn

import edgeconv
from edgeconv import nn

Builder = Callable[[], tuple[torch_nn.Module, tuple[torch.Tensor, ...]]]


class OctavePair(torch_nn.Module):
    """First, middle and last octave convolution, as they stand in a network."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.OctaveConvNorm(6, 16, alpha_in=0, alpha_out=0.5)
        self.middle = nn.OctaveConvNorm(16, 24, stride=2)
        self.last = nn.OctaveConvNorm(24, 12, alpha_in=0.5, alpha_out=0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.middle(self.first(x)))


def image(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def layers() -> dict[str, Builder]:
    return {
        "separable": lambda: (nn.DepthwiseSeparable(12, 20), (image(1, 12, 14, 13),)),
        "grouped": lambda: (nn.ResNeXtBottleneck(16, 32, groups=8), (image(2, 16, 9, 9),)),
        "dilated": lambda: (
            nn.DeepLabHead(16, 5, (21, 17), channels=12, rates=(2, 4)),
            (image(1, 16, 11, 9),),
        ),
        "transposed": lambda: (
            nn.TransposedConvNorm(12, 10, 3, output_padding=1, groups=2),
            (image(2, 12, 7, 6),),
        ),
        "up block": lambda: (nn.UpBlock(12, 6, 8), (image(1, 12, 5, 6), image(1, 6, 10, 12))),
        "3d": lambda: (nn.BasicBlock3d(4, 8, 2), (image(1, 4, 5, 8, 9),)),
        "(2+1)d": lambda: (nn.Conv2Plus1d(4, 8), (image(1, 4, 5, 8, 9),)),
        "separable 3d": lambda: (nn.DepthwiseSeparable3d(6, 8), (image(2, 6, 4, 7, 5),)),
        "transposed 3d": lambda: (nn.TransposedConvNorm3d(6, 4), (image(1, 6, 3, 4, 5),)),
        "deformable v1": lambda: (
            nn.DeformConv2d(6, 8, modulated=False),
            (image(1, 6, 9, 8),),
        ),
        "deformable v2": lambda: (
            nn.DeformConv2d(8, 6, stride=2, groups=2, offset_groups=2),
            (image(2, 8, 9, 8),),
        ),
        "dcnv3": lambda: (nn.DCNv3(16, groups=2), (image(1, 7, 6, 16),)),
        "octave": lambda: (OctavePair(), (image(2, 6, 16, 12),)),
        "dynamic": lambda: (nn.DynamicConv2d(8, 12), (image(2, 8, 9, 7),)),
        "conditional": lambda: (nn.CondConvResidual(8, 8), (image(2, 8, 9, 7),)),
        "selective kernel": lambda: (
            nn.SelectiveKernel(16, 16, groups=4, reduction=4, least=4),
            (image(2, 16, 9, 7),),
        ),
        "attention augmented": lambda: (
            nn.AttentionAugmentedConv2d(8, 16, size=(6, 7), dk=8, dv=8, heads=2),
            (image(2, 8, 6, 7),),
        ),
    }


@pytest.mark.parametrize("target", ["host", "rasp4", "rasp2"])
@pytest.mark.parametrize("family", list(layers()))
def test_layer_equals_pytorch(family: str, target: str) -> None:
    module, inputs = layers()[family]()
    nn.seed_weights(module, 0)
    module.eval()
    edgeconv.compile(module, inputs, target=target).verify().raise_if_failed()
