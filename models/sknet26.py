"""SKNet-26: ResNeXt-26 32x4d whose grouped convolutions are selective kernels.

Li et al., "Selective Kernel Networks", arXiv:1903.06586, in the official form: two branches of 32
groups, dilations 1 and 2, reduction 16 to at least 32 channels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeconv.imaging import Preprocessing
from edgeconv.zoo import Variant, ZooModel

if TYPE_CHECKING:
    from torch import nn

# Each row: output channels, blocks, stride of the first block. SKNet-50 has 3, 4, 6, 3 blocks.
STAGES = {
    "full": [(256, 2, 1), (512, 2, 2), (1024, 2, 2), (2048, 2, 2)],
    "tiny": [(24, 1, 1), (36, 2, 2)],
}
STEM = {"full": 64, "tiny": 10}
GROUPS = {"full": 32, "tiny": 6}
LEAST = {"full": 32, "tiny": 6}
CLASSES = {"full": 1000, "tiny": 10}


def build(variant: str) -> nn.Module:
    """Make the network: (N, 3, H, W) float32 to class scores (N, classes) float32."""
    from edgeconv.nn import Bottleneck, Place, SelectiveKernel, resnet, seed_weights

    def block(at: Place) -> nn.Module:
        return Bottleneck(
            at.in_channels,
            at.out_channels,
            at.out_channels // 2,
            at.stride,
            middle=lambda width, stride: SelectiveKernel(
                width, width, stride, groups=GROUPS[variant], least=LEAST[variant]
            ),
        )

    network = resnet(STEM[variant], STAGES[variant], CLASSES[variant], block)
    return seed_weights(network, seed=0)


MODEL = ZooModel(
    description="SKNet-26, image classifier (selective kernels of grouped convolutions)",
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
