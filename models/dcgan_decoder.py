"""DCGAN's generator: noise to an image by transposed convolutions (arXiv:1511.06434)."""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise
from typing import TYPE_CHECKING

from edgeconv.zoo import Variant, ZooModel

if TYPE_CHECKING:
    from torch import nn

NOISE = {"full": 100, "tiny": 12}
# Channels at 4x4, 8x8, ...; the image is twice as large as the last.
CHANNELS = {"full": [1024, 512, 256, 128], "tiny": [18, 10]}


def build(variant: str) -> nn.Module:
    """Make the network: noise (N, C, 1, 1) float32 to images (N, 3, S, S) float32 in -1..1."""
    from torch import nn

    from edgeconv.nn import TransposedConvNorm, seed_weights

    widths = CHANNELS[variant]
    network = nn.Sequential(
        OrderedDict(
            project=TransposedConvNorm(NOISE[variant], widths[0], 4, stride=1, padding=0),
            upsample=nn.Sequential(*(TransposedConvNorm(*pair) for pair in pairwise(widths))),
            image=nn.ConvTranspose2d(widths[-1], 3, 4, stride=2, padding=1, bias=False),
            tanh=nn.Tanh(),
        )
    )
    return seed_weights(network, seed=0)


MODEL = ZooModel(
    description="DCGAN generator, noise to image (transposed)",
    build=build,
    variants={
        "full": Variant(inputs={"noise": (1, 100, 1, 1)}, weights="seeded"),
        "tiny": Variant(inputs={"noise": (1, 12, 1, 1)}, weights="seeded"),
    },
)
