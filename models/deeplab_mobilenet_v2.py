"""DeepLab v3 on MobileNetV2: features at 1/16 of the image, then dilated convolutions (ASPP).

Chen et al., arXiv:1706.05587, on the backbone of Sandler et al., arXiv:1801.04381, whose last two
stages are dilated instead of strided.
"""

from __future__ import annotations

from collections import OrderedDict
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
        (160, 3, 1),
        (320, 1, 1),
    ],
    "tiny": [(6, 1, 1), (9, 1, 2), (13, 2, 1)],
}
EXPANSION = {"full": [1, 6, 6, 6, 6, 6, 6], "tiny": [1, 6, 4]}
DILATED_FROM = {"full": 5, "tiny": 2}  # the stage that does not stride
STEM = {"full": 32, "tiny": 10}
CHANNELS = {"full": 256, "tiny": 15}
RATES = {"full": (6, 12, 18), "tiny": (2, 4)}
CLASSES = {"full": 21, "tiny": 5}
SIDE = {"full": 513, "tiny": 33}


def build(variant: str) -> nn.Module:
    """Make the network: (N, 3, S, S) float32 to class scores of pixels (N, classes, S, S)."""
    from torch import nn

    from edgeconv.nn import ConvNorm, DeepLabHead, InvertedResidual, Place, seed_weights, stack

    def block(at: Place) -> nn.Module:
        # The first of the dilated blocks still sees the features of the stage before.
        dilated = (at.stage, at.index) > (DILATED_FROM[variant], 0)
        return InvertedResidual(
            at.in_channels,
            at.out_channels,
            3,
            at.stride,
            EXPANSION[variant][at.stage],
            dilation=2 if dilated else 1,
        )

    stages, side = STAGES[variant], SIDE[variant]
    network = nn.Sequential(
        OrderedDict(
            stem=ConvNorm(3, STEM[variant], 3, stride=2),
            blocks=stack(STEM[variant], stages, block),
            head=DeepLabHead(
                stages[-1][0],
                CLASSES[variant],
                (side, side),
                channels=CHANNELS[variant],
                rates=RATES[variant],
            ),
        )
    )
    return seed_weights(network, seed=0)


MODEL = ZooModel(
    description="DeepLab v3 on MobileNetV2, segmentation (dilated)",
    build=build,
    variants={
        "full": Variant(
            inputs={"image": (1, 3, 513, 513)},
            weights="seeded",
            preprocessing=Preprocessing(size=(513, 513)),
        ),
        "tiny": Variant(
            inputs={"image": (1, 3, 33, 33)},
            weights="seeded",
            preprocessing=Preprocessing(size=(33, 33)),
        ),
    },
)
