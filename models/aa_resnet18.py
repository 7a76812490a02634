"""ResNet-18 with attention-augmented convolutions in every stage but the first.

Bello et al., "Attention Augmented Convolutional Networks", arXiv:1904.09925: a fifth of the
channels are keys (20 a head at least), a tenth are values. The relative positions fix the size of
the input.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeconv.imaging import Preprocessing
from edgeconv.zoo import Variant, ZooModel

if TYPE_CHECKING:
    from torch import nn

# Each row: output channels, blocks, stride of the first block.
STAGES = {
    "full": [(64, 2, 1), (128, 2, 2), (256, 2, 2), (512, 2, 2)],
    "tiny": [(10, 1, 1), (18, 1, 2)],
}
STEM = {"full": 64, "tiny": 10}
CLASSES = {"full": 1000, "tiny": 10}
SIDE = {"full": 224, "tiny": 32}
HEADS = {"full": 8, "tiny": 2}
LEAST_KEYS = {"full": 20, "tiny": 3}  # a head


def build(variant: str) -> nn.Module:
    """Make the network: (N, 3, H, W) float32 to class scores (N, classes) float32."""

    from edgeconv.nn import (
        AttentionAugmentedConv2d,
        BasicBlock,
        Place,
        exchange_convs,
        resnet,
        seed_weights,
    )

    heads = HEADS[variant]

    def block(at: Place) -> nn.Module:
        # The stem and every stage but the first halve the image; the stem does so twice.
        side = SIDE[variant] // (4 * 2**at.stage)

        def augmented(conv: nn.Conv2d) -> nn.Module:
            if conv.kernel_size == (1, 1):
                return conv
            channels = conv.out_channels
            return AttentionAugmentedConv2d(
                conv.in_channels,
                channels,
                3,
                conv.stride[0],
                size=(side, side),
                dk=heads * max(LEAST_KEYS[variant], channels // (5 * heads)),
                dv=heads * max(1, channels // (10 * heads)),
                heads=heads,
                bias=False,
            )

        plain = BasicBlock(at.in_channels, at.out_channels, at.stride)
        return exchange_convs(plain, augmented) if at.stage else plain

    network = resnet(STEM[variant], STAGES[variant], CLASSES[variant], block)
    return seed_weights(network, seed=0)


MODEL = ZooModel(
    description="ResNet-18 with attention-augmented convolutions, image classifier",
    build=build,
    variants={
        "full": Variant(
            inputs={"image": (1, 3, 224, 224)},
            weights="seeded",
            preprocessing=Preprocessing(size=(224, 224)),
        ),
        "tiny": Variant(
            inputs={"image": (1, 3, 32, 32)},
            weights="seeded",
            preprocessing=Preprocessing(size=(32, 32)),
        ),
    },
)
