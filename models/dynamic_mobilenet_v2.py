"""MobileNetV2 whose inverted residuals mix every kernel out of four by attention.

Chen et al., "Dynamic Convolution", arXiv:1912.03458.
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
# Training ends at 1; drawn weights need more, since attention that picks single kernels, layer
# after layer, amplifies rounding errors a hundredfold.
TEMPERATURE = 10.0


def build(variant: str) -> nn.Module:
    """Make the network: (N, 3, H, W) float32 to class scores (N, classes) float32."""

    from edgeconv.nn import (
        DynamicConv2d,
        InvertedResidual,
        Place,
        exchange_convs,
        mobilenet,
        seed_weights,
    )

    def dynamic(conv: nn.Conv2d) -> nn.Module:
        return DynamicConv2d(
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size[0],
            conv.stride[0],
            groups=conv.groups,
            bias=False,
            temperature=TEMPERATURE,
        )

    def block(at: Place) -> nn.Module:
        expansion = EXPANSION[variant][at.stage]
        plain = InvertedResidual(at.in_channels, at.out_channels, 3, at.stride, expansion)
        return exchange_convs(plain, dynamic)

    network = mobilenet(STEM[variant], STAGES[variant], HEAD[variant], CLASSES[variant], block)
    return seed_weights(network, seed=0)


MODEL = ZooModel(
    description="MobileNetV2 with dynamic convolutions, image classifier",
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
