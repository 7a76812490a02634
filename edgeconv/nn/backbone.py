"""What networks of several families share: stages of blocks, and exchanging their convolutions."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import nn

from edgeconv.nn.conv import ConvNorm
from edgeconv.nn.conv3d import BasicBlock3d, ConvNorm3d

# Output channels, blocks, stride of the first block.
Stage = tuple[int, int, int]


@dataclass(frozen=True)
class Place:
    """Where a block stands in its network, and what it has to do there.

    Attributes:
        stage: index of the stage.
        index: index of the block in its stage.
        in_channels: channels of the block's input.
        out_channels: channels of the block's output.
        stride: step of the block.
    """

    stage: int
    index: int
    in_channels: int
    out_channels: int
    stride: int


Block = Callable[[Place], nn.Module]


def stack(channels: int, stages: Sequence[Stage], block: Block) -> nn.Sequential:
    """Return the blocks of all stages in a row.

    Args:
        channels: channels of the first block's input.
        stages: the stages; every block of a stage but the first has stride 1.
        block: makes the block of a place.
    """
    blocks = nn.Sequential()
    for stage, (width, count, first_stride) in enumerate(stages):
        for index in range(count):
            stride = first_stride if index == 0 else 1
            blocks.append(block(Place(stage, index, channels, width, stride)))
            channels = width
    return blocks


def resnet(stem: int, stages: Sequence[Stage], classes: int, block: Block) -> nn.Sequential:
    """Return an image classifier with ResNet's stem: 7x7 of stride 2, then pooling of stride 2.

    It maps (N, 3, H, W) to class scores (N, classes), both floating point.

    Args:
        stem: channels of the stem.
        stages: the stages of blocks; the last one's output has the width given there.
        classes: number of classes.
        block: makes the block of a place.
    """
    return nn.Sequential(
        OrderedDict(
            stem=ConvNorm(3, stem, 7, stride=2, activation=nn.ReLU),
            stem_pool=nn.MaxPool2d(3, stride=2, padding=1),
            blocks=stack(stem, stages, block),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            classifier=nn.Linear(stages[-1][0], classes),
        )
    )


def video_resnet(
    stem: int, stages: Sequence[Stage], classes: int, *, factored: bool = False
) -> nn.Sequential:
    """Return a video classifier of basic blocks, R3D or R(2+1)D.

    It maps (N, 3, frames, H, W) to class scores (N, classes), both floating point. The stem has
    stride 2 in space only.

    Args:
        stem: channels of the stem.
        stages: the stages of blocks.
        classes: number of classes.
        factored: takes (2+1)-D convolutions, in the stem with 45/64 of its channels between.
    """
    kernel, stride = (1, 7, 7) if factored else (3, 7, 7), (1, 2, 2)
    middle = stem * 45 // 64 if factored else stem
    layers = OrderedDict[str, nn.Module](stem=ConvNorm3d(3, middle, kernel, stride))
    if factored:
        layers["stem_temporal"] = ConvNorm3d(middle, stem, (3, 1, 1))
    layers["blocks"] = stack(
        stem,
        stages,
        lambda at: BasicBlock3d(at.in_channels, at.out_channels, at.stride, factored=factored),
    )
    layers["pool"] = nn.AdaptiveAvgPool3d(1)
    layers["flatten"] = nn.Flatten()
    layers["classifier"] = nn.Linear(stages[-1][0], classes)
    return nn.Sequential(layers)


def mobilenet(
    stem: int, stages: Sequence[Stage], head: int, classes: int, block: Block
) -> nn.Sequential:
    """Return an image classifier with MobileNetV2's stem, 3x3 of stride 2, and 1x1 head.

    It maps (N, 3, H, W) to class scores (N, classes), both floating point.

    Args:
        stem: channels of the stem.
        stages: the stages of blocks.
        head: channels of the 1x1 convolution before the pooling.
        classes: number of classes.
        block: makes the block of a place.
    """
    return nn.Sequential(
        OrderedDict(
            stem=ConvNorm(3, stem, 3, stride=2),
            blocks=stack(stem, stages, block),
            head=ConvNorm(stages[-1][0], head, 1),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            classifier=nn.Linear(head, classes),
        )
    )


def exchange_convs(module: nn.Module, make: Callable[[nn.Conv2d], nn.Module]) -> nn.Module:
    """Put `make(conv)` in the place of the convolution of every `ConvNorm`; return `module`.

    Args:
        module: changed in place.
        make: returns what stands for a convolution (input and output of the same shapes), or the
            convolution itself.
    """
    for unit in module.modules():
        if isinstance(unit, ConvNorm):
            assert isinstance(unit.conv, nn.Conv2d)
            unit.conv = make(unit.conv)
    return module
