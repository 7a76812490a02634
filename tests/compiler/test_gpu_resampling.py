"""Resize on a GPU: all axes in one kernel, in blocks where its input is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from gpu_checks import find_no_fault
from torch import Tensor, nn
from torch.nn.functional import interpolate

import edgeconv

RESIZES: list[Mapping[str, Any]] = [
    {"mode": "bilinear", "scale_factor": 2},
    {"mode": "bilinear", "size": (13, 3), "align_corners": True},
    {"mode": "bilinear", "size": (1, 9)},
    {"mode": "bicubic", "size": (9, 4)},
    {"mode": "bilinear", "size": (3, 3), "antialias": True},
    {"mode": "nearest", "size": (9, 10)},
    {"mode": "nearest", "scale_factor": 3},
    {"mode": "bilinear", "size": (5, 11)},
]


class Between(nn.Module):
    """Resizes between two convolutions."""

    def __init__(self, channels: int, options: Mapping[str, Any]) -> None:
        super().__init__()
        self.before, self.after = nn.Conv2d(3, channels, 1), nn.Conv2d(channels, 4, 1)
        self.options = options

    def forward(self, x: Tensor) -> Tensor:
        return self.after(torch.relu(interpolate(self.before(x), **self.options)))


class All(nn.Module):
    def __init__(self, parts: Sequence[nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, x: Tensor) -> list[Tensor]:
        return [part(x) for part in self.parts]


@pytest.mark.parametrize(("batch", "channels"), [(1, 8), (2, 5)])
def test_resizes_equal_pytorch_and_stay_within_their_tensors(batch: int, channels: int) -> None:
    torch.manual_seed(0)
    network = All([Between(channels, options) for options in RESIZES]).eval()
    x = torch.randn(batch, 3, 5, 7)
    artifact = edgeconv.compile(network, (x,), target="android-opencl")
    artifact.verify(device="opencl").raise_if_failed()
    find_no_fault(artifact)


@pytest.mark.parametrize("options", [RESIZES[i] for i in (0, 1, 3, 5)])
def test_a_resize_is_one_kernel_without_changes_of_layout(options: Mapping[str, Any]) -> None:
    torch.manual_seed(0)
    network = Between(8, options).eval()
    artifact = edgeconv.compile(network, (torch.randn(1, 3, 20, 28),), target="mali-g610")
    artifact.verify(device="opencl").raise_if_failed()
    assert len(artifact.plan.steps) - (artifact.plan.steps[-1].family == "layout") == 3
