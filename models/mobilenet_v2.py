"""MobileNetV2: inverted residuals with 3x3 depthwise kernels (Sandler et al., arXiv:1801.04381)."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from edgeconv.imaging import Preprocessing
from edgeconv.zoo import Variant, ZooModel

if TYPE_CHECKING:
    from torch import nn

# Each row: expansion, output channels, blocks, stride of the first block.
STAGES = {
    "full": [
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ],
    "tiny": [(1, 6, 1, 1), (6, 9, 2, 2), (4, 13, 2, 2)],
}
STEM = {"full": 32, "tiny": 10}
HEAD = {"full": 1280, "tiny": 40}
CLASSES = {"full": 1000, "tiny": 10}


def build(variant: str) -> nn.Module:
    """Make the network: (N, 3, H, W) float32 to class scores (N, classes) float32."""
    from torch import nn

    from edgeconv.nn import ConvNorm, InvertedResidual, seed_weights

    channels = STEM[variant]
    blocks = nn.Sequential()
    for expansion, width, count, first_stride in STAGES[variant]:
        for stride in [first_stride] + [1] * (count - 1):
            blocks.append(InvertedResidual(channels, width, 3, stride, expansion))
            channels = width
    network = nn.Sequential(
        OrderedDict(
            stem=ConvNorm(3, STEM[variant], 3, stride=2),
            blocks=blocks,
            head=ConvNorm(channels, HEAD[variant], 1),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            classifier=nn.Linear(HEAD[variant], CLASSES[variant]),
        )
    )
    return seed_weights(network, seed=0)


MODEL = ZooModel(
    description="MobileNetV2, image classifier",
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
