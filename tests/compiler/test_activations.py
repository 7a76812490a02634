"""Activations by themselves: libraries round them differently, and no other layer hides it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import edgeconv

ACTIVATIONS = [
    nn.ELU(),
    nn.GELU(),
    nn.GELU("tanh"),
    nn.Hardswish(),
    nn.LogSigmoid(),
    nn.Mish(),
    nn.SELU(),
    nn.SiLU(),
    nn.Sigmoid(),
    nn.Softplus(),
    nn.Tanh(),
]


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
def test_an_activation_alone(activation: nn.Module) -> None:
    torch.manual_seed(0)
    artifact = edgeconv.compile(activation, [3 * torch.randn(1, 8, 16, 16)], target="host")
    artifact.verify().raise_if_failed()


class Gates(nn.Module):
    """SiLU after SiLU, and something between."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for _ in range(40):
            x = x * torch.sigmoid(x) + 0.5
        return x


@pytest.mark.parametrize("target", ["host", "mali-g610"])
def test_many_gates_in_a_row_are_some_kernels(target: str) -> None:
    """Each reads twice what is before it: one expression of all would not fit any memory."""
    artifact = edgeconv.compile(Gates(), [torch.randn(3, 64)], target=target)
    assert 1 < len(artifact.plan.steps) < 10
    artifact.verify().raise_if_failed()
