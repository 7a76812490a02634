"""Nearest upsampling by whole numbers is read in place where its result is added."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import interpolate

import edgeconv


class Paths(nn.Module):
    """A low-frequency path added to a high one, as octave convolution has it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_high = nn.Conv2d(3, channels, 3, padding=1)
        self.conv_low = nn.Conv2d(3, channels, 1)
        self.scale = nn.Parameter(torch.linspace(0.5, 2, channels).reshape(1, channels, 1, 1))

    def forward(self, high: torch.Tensor, low: torch.Tensor) -> torch.Tensor:
        return torch.relu(
            (self.conv_high(high) + interpolate(self.conv_low(low), scale_factor=2)) * self.scale
        )


class Enlarged(nn.Module):
    """Upsampled twice, used twice, and along one axis only."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        large = interpolate(x, scale_factor=3)
        sums = large * 2 + interpolate(torch.relu(x), scale_factor=3)
        return large, sums, interpolate(x, scale_factor=(1.0, 2.0)), interpolate(x, size=(10, 7))


@pytest.mark.parametrize("target", ["host", "rasp4", "rasp2"])
@pytest.mark.parametrize(("batch", "channels"), [(1, 16), (2, 5)])
def test_the_sum_reads_the_small_tensor(batch: int, channels: int, target: str) -> None:
    torch.manual_seed(0)
    examples = [torch.randn(batch, 3, 10, 14), torch.randn(batch, 3, 5, 7)]
    artifact = edgeconv.compile(Paths(channels).eval(), examples, target=target)
    artifact.verify(per_layer=True).raise_if_failed()
    *_, last = [step for step in artifact.plan.steps if "conv_high" in step.layers]
    computed = [layer.split(".")[0] for layer in last.layers]
    assert computed == ["conv_high", "resize", "add", "mul", "relu"]


@pytest.mark.parametrize("shape", [(1, 16, 5, 7), (2, 3, 4, 1), (1, 1, 1, 5)])
def test_upsampling_by_itself(shape: tuple[int, ...]) -> None:
    artifact = edgeconv.compile(Enlarged().eval(), [torch.randn(shape)], target="host")
    artifact.verify(per_layer=True).raise_if_failed()
