"""ResNet-18: dense 3x3 convolutions with shortcuts (He et al., arXiv:1512.03385)."""

from __future__ import annotations

from collections import OrderedDict
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
    from torch import nn

    from edgeconv.nn import BasicBlock, ConvNorm, seed_weights

    channels = STEM[variant]
    blocks = nn.Sequential()
    for width, count, first_stride in STAGES[variant]:
        for stride in [first_stride] + [1] * (count - 1):
            blocks.append(BasicBlock(channels, width, stride))
            channels = width
    network = nn.Sequential(
        OrderedDict(
            stem=ConvNorm(3, STEM[variant], 7, stride=2, activation=nn.ReLU),
            stem_pool=nn.MaxPool2d(3, stride=2, padding=1),
            blocks=blocks,
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            classifier=nn.Linear(channels, CLASSES[variant]),
        )
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
