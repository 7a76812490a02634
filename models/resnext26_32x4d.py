"""ResNeXt-26 32x4d: bottlenecks with grouped convolutions (Xie et al., arXiv:1611.05431)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeconv.imaging import Preprocessing
from edgeconv.zoo import Variant, ZooModel

if TYPE_CHECKING:
    from torch import nn

# Each row: output channels, blocks, stride of the first block.
STAGES = {
    "full": [(256, 2, 1), (512, 2, 2), (1024, 2, 2), (2048, 2, 2)],
    "tiny": [(24, 1, 1), (36, 2, 2)],
}
STEM = {"full": 64, "tiny": 10}
GROUPS = {"full": 32, "tiny": 6}
CLASSES = {"full": 1000, "tiny": 10}


def build(variant: str) -> nn.Module:
    """Make the network: (N, 3, H, W) float32 to class scores (N, classes) float32."""
    from edgeconv.nn import ResNeXtBottleneck, resnet, seed_weights

    network = resnet(
        STEM[variant],
        STAGES[variant],
        CLASSES[variant],
        lambda at: ResNeXtBottleneck(
            at.in_channels, at.out_channels, at.stride, groups=GROUPS[variant]
        ),
    )
    return seed_weights(network, seed=0)


MODEL = ZooModel(
    description="ResNeXt-26 32x4d, image classifier (grouped)",
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
