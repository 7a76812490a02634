"""U-Net: segmentation with transposed convolutions and skips (arXiv:1505.04597)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeconv.zoo import Variant, ZooModel

if TYPE_CHECKING:
    from torch import nn

WIDTHS = {"full": (64, 128, 256, 512, 1024), "tiny": (6, 9, 14)}
CLASSES = {"full": 2, "tiny": 3}


def build(variant: str) -> nn.Module:
    """Make the network: grey images (N, 1, S, S) float32 to class scores (N, classes, S, S)."""
    from edgeconv.nn import UNet, seed_weights

    return seed_weights(UNet(1, CLASSES[variant], WIDTHS[variant]), seed=0)


MODEL = ZooModel(
    description="U-Net, segmentation of grey images (transposed)",
    build=build,
    variants={
        "full": Variant(inputs={"image": (1, 1, 256, 256)}, weights="seeded"),
        "tiny": Variant(inputs={"image": (1, 1, 20, 20)}, weights="seeded"),
    },
)
