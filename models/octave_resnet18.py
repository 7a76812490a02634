"""ResNet-18 on two octaves: half of the channels live on half the height and width.

Chen et al., "Drop an Octave", arXiv:1904.05049. The first block splits the octaves, the first of
the last stage joins them.
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
    "tiny": [(10, 2, 1), (18, 1, 2), (23, 1, 2)],
}
STEM = {"full": 64, "tiny": 10}
CLASSES = {"full": 1000, "tiny": 10}
ALPHA = 0.5


def build(variant: str) -> nn.Module:
    """Make the network: (N, 3, H, W) float32 to class scores (N, classes) float32."""
    from edgeconv.nn import BasicBlock, OctaveBasicBlock, Place, resnet, seed_weights

    last = len(STAGES[variant]) - 1

    def block(at: Place) -> nn.Module:
        if at.stage == last and at.index > 0:
            return BasicBlock(at.in_channels, at.out_channels, at.stride)
        return OctaveBasicBlock(
            at.in_channels,
            at.out_channels,
            at.stride,
            alpha_in=0 if (at.stage, at.index) == (0, 0) else ALPHA,
            alpha_out=0 if at.stage == last else ALPHA,
        )

    network = resnet(STEM[variant], STAGES[variant], CLASSES[variant], block)
    return seed_weights(network, seed=0)


MODEL = ZooModel(
    description="ResNet-18 with octave convolutions, image classifier",
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
