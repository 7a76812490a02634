"""ResNet-18: dense 3x3 convolutions with shortcuts (He et al., arXiv:1512.03385)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeconv.imaging import Preprocessing
from edgeconv.zoo import Variant, ZooModel

if TYPE_CHECKING:
    from torch import nn

# Each row: output channels, blocks, stride of the first block.
STAGES = {
    "full": [(64, 2, 1), (128, 2, 2), (256, 2, 2), (512, 2, 2)],
    "tiny": [(10, 1, 1), (17, 2, 2)],
}
STEM = {"full": 64, "tiny": 10}
CLASSES = {"full": 1000, "tiny": 10}


def build(variant: str) -> nn.Module:
    """Make the network: (N, 3, H, W) float32 to class scores (N, classes) float32."""
    from edgeconv.nn import BasicBlock, resnet, seed_weights

    network = resnet(
        STEM[variant],
        STAGES[variant],
        CLASSES[variant],
        lambda at: BasicBlock(at.in_channels, at.out_channels, at.stride),
    )
    return seed_weights(network, seed=0)


MODEL = ZooModel(
    description="ResNet-18, image classifier",
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
