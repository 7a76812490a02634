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
