"""MobileNetV2 whose last three stages mix their kernels out of experts, by one routing a block.

Yang et al., "CondConv", arXiv:1904.04971.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeconv.imaging import Preprocessing
from edgeconv.zoo import Variant, ZooModel

if TYPE_CHECKING:
    from torch import nn

# Each row: output channels, blocks, stride of the first block; then the stages' expansions.
STAGES = {
    "full": [
        (16, 1, 1),
        (24, 2, 2),
        (32, 3, 2),
        (64, 4, 2),
        (96, 3, 1),
        (160, 3, 2),
        (320, 1, 1),
    ],
    "tiny": [(6, 1, 1), (9, 2, 2), (13, 2, 2)],
}
EXPANSION = {"full": [1, 6, 6, 6, 6, 6, 6], "tiny": [1, 6, 4]}
STEM = {"full": 32, "tiny": 10}
HEAD = {"full": 1280, "tiny": 40}
CLASSES = {"full": 1000, "tiny": 10}
EXPERTS = {"full": 8, "tiny": 3}


def build(variant: str) -> nn.Module:
    """Make the network: (N, 3, H, W) float32 to class scores (N, classes) float32."""
    from torch import nn

    from edgeconv.nn import CondConvResidual, InvertedResidual, Place, mobilenet, seed_weights

    # The tiny network keeps a plain stage too.
    first_routed = max(len(STAGES[variant]) - 3, 1)

    def block(at: Place) -> nn.Module:
        shape = (at.in_channels, at.out_channels, 3, at.stride, EXPANSION[variant][at.stage])
        if at.stage < first_routed:
            return InvertedResidual(*shape)
        return CondConvResidual(*shape, experts=EXPERTS[variant], activation=nn.ReLU6)

    network = mobilenet(STEM[variant], STAGES[variant], HEAD[variant], CLASSES[variant], block)
    return seed_weights(network, seed=0)


MODEL = ZooModel(
    description="MobileNetV2 with conditional convolutions, image classifier",
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
