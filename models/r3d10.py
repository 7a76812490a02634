"""R3D-10: video by 3-D convolutions in basic blocks (Tran et al., arXiv:1711.11248)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeconv.zoo import Variant, ZooModel

if TYPE_CHECKING:
    from torch import nn

# Each row: output channels, blocks, stride of the first block.
STAGES = {
    "full": [(64, 1, 1), (128, 1, 2), (256, 1, 2), (512, 1, 2)],
    "tiny": [(9, 1, 1), (14, 1, 2)],
}
STEM = {"full": 64, "tiny": 9}
CLASSES = {"full": 400, "tiny": 10}


def build(variant: str) -> nn.Module:
    """Make the network: (N, 3, frames, H, W) float32 to class scores (N, classes) float32."""
    from edgeconv.nn import seed_weights, video_resnet

    network = video_resnet(STEM[variant], STAGES[variant], CLASSES[variant])
    return seed_weights(network, seed=0)


MODEL = ZooModel(
    description="R3D-10, video classifier (3D)",
    build=build,
    variants={
        "full": Variant(inputs={"video": (1, 3, 16, 112, 112)}, weights="seeded"),
        "tiny": Variant(inputs={"video": (1, 3, 6, 16, 16)}, weights="seeded"),
    },
)
