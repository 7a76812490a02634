"""ResNet-18 with selective kernels: the first convolution of every block chooses its reach.

Li et al., "Selective Kernel Networks", arXiv:1903.06586, in the form of timm's `skresnet18`: two
branches that share the input's channels.
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
    "tiny": [(10, 1, 1), (18, 2, 2)],
}
STEM = {"full": 64, "tiny": 10}
CLASSES = {"full": 1000, "tiny": 10}


def build(variant: str) -> nn.Module:
    """Make the network: (N, 3, H, W) float32 to class scores (N, classes) float32."""
    from edgeconv.nn import BasicBlock, Place, SelectiveKernel, resnet, seed_weights

    def block(at: Place) -> nn.Module:
        made = BasicBlock(at.in_channels, at.out_channels, at.stride)
        made.conv1 = SelectiveKernel(
            at.in_channels,
            at.out_channels,
            at.stride,
            groups=1,
            split_input=True,
            hidden=max(at.out_channels // 8, 16),
        )
        return made

    network = resnet(STEM[variant], STAGES[variant], CLASSES[variant], block)
    return seed_weights(network, seed=0)


MODEL = ZooModel(
    description="ResNet-18 with selective kernels, image classifier",
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
