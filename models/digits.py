"""A small residual network for handwritten digits, once for each of the rarer families.

Real data for layers that no package ships trained weights of: 8x8 pictures, scikit-learn's. All
variants share stem, blocks and classifier; the 3x3 convolutions of the blocks differ. The weights
in `models/digits/` come from `scripts/train_digits.py`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

from edgeconv.resources import resource_dir
from edgeconv.zoo import Variant, ZooModel

if TYPE_CHECKING:
    from torch import nn

    from edgeconv.nn import Place

FAMILIES = (
    *("octave", "dynamic", "conditional", "deformable", "selective_kernel"),
    "attention_augmented",
)
# Each row: output channels, blocks, stride of the first block.
STAGES = [(10, 1, 1), (18, 1, 2)]
STEM = 10
SIDE = 8
CLASSES = 10


def build(variant: str) -> nn.Module:
    """Make the trained network: (N, 1, 8, 8) float32 to class scores (N, 10) float32.

    The pictures are grey, from 0 for the ground to 1 for ink.
    """
    import torch

    network = untrained(variant)
    checkpoint = torch.load(resource_dir("models") / "digits" / f"{variant}.pt", weights_only=True)
    network.load_state_dict(checkpoint["state_dict"])
    return network


def untrained(variant: str) -> nn.Module:
    """Make the network with PyTorch's initial weights, drawn from its global generator."""
    from torch import nn

    from edgeconv.nn import ConvNorm, stack

    return nn.Sequential(
        OrderedDict(
            stem=ConvNorm(1, STEM, 3, activation=nn.ReLU),
            blocks=stack(STEM, STAGES, _octave if variant == "octave" else _exchanging(variant)),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            classifier=nn.Linear(STAGES[-1][0], CLASSES),
        )
    )


def _octave(at: Place) -> nn.Module:
    from edgeconv.nn import OctaveBasicBlock

    return OctaveBasicBlock(
        at.in_channels,
        at.out_channels,
        at.stride,
        alpha_in=0 if at.stage == 0 else 0.5,
        alpha_out=0 if at.stage == len(STAGES) - 1 else 0.5,
    )


def _exchanging(family: str) -> Callable[[Place], nn.Module]:
    """Return a maker of basic blocks whose 3x3 convolutions are of the family."""
    from edgeconv.nn import BasicBlock, SelectiveKernel, exchange_convs

    def block(at: Place) -> nn.Module:
        plain = BasicBlock(at.in_channels, at.out_channels, at.stride)
        if family == "selective_kernel":
            plain.conv1 = SelectiveKernel(
                at.in_channels, at.out_channels, at.stride, groups=2, least=8
            )
            return plain
        side = SIDE // 2**at.stage
        return exchange_convs(
            plain, lambda conv: conv if conv.kernel_size == (1, 1) else _layer(family, conv, side)
        )

    return block


def _layer(family: str, conv: nn.Conv2d, side: int) -> nn.Module:
    """Return the family's layer in the place of `conv`, whose output is `side` pixels square."""
    from edgeconv.nn import AttentionAugmentedConv2d, CondConv2d, DeformConv2d, DynamicConv2d

    ins, outs, stride = conv.in_channels, conv.out_channels, conv.stride[0]
    if family == "attention_augmented":
        size = (side, side)
        return AttentionAugmentedConv2d(
            ins, outs, 3, stride, size=size, dk=8, dv=4, heads=2, bias=False
        )
    kinds: dict[str, type[nn.Module]] = {
        "dynamic": DynamicConv2d,
        "conditional": CondConv2d,
        "deformable": DeformConv2d,
    }
    return kinds[family](ins, outs, 3, stride, bias=False)


MODEL = ZooModel(
    description="small residual network, handwritten digits",
    build=build,
    variants={
        family: Variant(
            inputs={"image": (1, 1, SIDE, SIDE)}, weights="trained on scikit-learn's digits"
        )
        for family in FAMILIES
    },
)
