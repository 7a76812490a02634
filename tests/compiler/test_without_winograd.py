"""`winograd=False`: weights as they are, on GPUs one kernel a layer, results as exact."""

from __future__ import annotations

import math

import pytest
import torch

import edgeconv
from edgeconv.artifact import Artifact

CHANNELS = 64


class Network(torch.nn.Module):
    """Layers that take Winograd's algorithm where they may: dense, strided, dilated."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = torch.nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, bias=False)
        self.dilated = torch.nn.Conv2d(CHANNELS, CHANNELS, 3, padding=2, dilation=2, bias=False)
        self.strided = torch.nn.Conv2d(CHANNELS, CHANNELS, 3, 2, padding=1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.strided(self.dilated(self.dense(x).relu()).relu())


def compiled(target: str, *, winograd: bool) -> Artifact:
    torch.manual_seed(0)
    x = torch.zeros(1, CHANNELS, 48, 48)
    return edgeconv.compile(
        Network().eval(), (x,), target=target, winograd=winograd, traffic=math.inf
    )


@pytest.mark.parametrize("target", ["host", "mali-g610"])
def test_weights_stay_as_they_are(target: str) -> None:
    plain = 3 * 9 * CHANNELS**2 * 4
    transformed = compiled(target, winograd=True)
    direct = compiled(target, winograd=False)
    assert transformed.manifest.memory.weights_bytes > 1.5 * plain
    assert plain <= direct.manifest.memory.weights_bytes < 1.02 * plain
    families = [step.family for step in direct.plan.steps]
    assert families.count("conv") == 3
    assert set(families) <= {"conv", "layout", *([] if direct.manifest.target.gpu else ["pad"])}
    assert direct.verify().passed
