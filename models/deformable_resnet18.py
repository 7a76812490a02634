"""ResNet-18 with deformable convolutions (v2) in every stage but the first.

Zhu et al., "Deformable ConvNets v2", arXiv:1811.11168, which exchanges the 3x3 convolutions of the
last three stages.
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
    "tiny": [(10, 1, 1), (17, 1, 2)],
}
STEM = {"full": 64, "tiny": 10}
CLASSES = {"full": 1000, "tiny": 10}


def build(variant: str) -> nn.Module:
    """Make the network: (N, 3, H, W) float32 to class scores (N, classes) float32."""

    from edgeconv.nn import BasicBlock, DeformConv2d, Place, exchange_convs, resnet, seed_weights

    def deformable(conv: nn.Conv2d) -> nn.Module:
        if conv.kernel_size == (1, 1):
            return conv
        return DeformConv2d(conv.in_channels, conv.out_channels, 3, conv.stride[0], bias=False)

    def block(at: Place) -> nn.Module:
        plain = BasicBlock(at.in_channels, at.out_channels, at.stride)
        return exchange_convs(plain, deformable) if at.stage else plain

    network = resnet(STEM[variant], STAGES[variant], CLASSES[variant], block)
    return seed_weights(network, seed=0)


MODEL = ZooModel(
    description="ResNet-18 with deformable convolutions, image classifier",
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
