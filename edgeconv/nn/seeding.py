"""Seeded weights for networks without trained ones: the same bits on every machine."""

from __future__ import annotations

import math
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from edgeconv.nn.conv import ConvUnit
from edgeconv.nn.octave import OctaveConvNorm

# Keeps the sums over many residual branches bounded.
_BRANCH_GAIN = 0.5


@runtime_checkable
class Seedable(Protocol):
    """A layer that knows how to draw its own parameters (not those of its children)."""

    def draw(self, rng: np.random.Generator, gain: float) -> dict[str, np.ndarray]:
        """Return values by parameter name.

        Args:
            rng: what to draw from.
            gain: the output's second moment, divided by the input's.
        """


def seed_weights(module: nn.Module, seed: int) -> nn.Module:
    """Overwrite the weights and batch-norm statistics of `module`, and return it.

    A convolution keeps the second moment of its input: fan-in scaling, doubled before a
    rectifier. Batch-norm scale, shift, mean and variance are all drawn, none is the identity, so
    that folding them is not a no-op. Layers are drawn in the order of `module.modules()`.

    Raises:
        TypeError: a layer with parameters is neither a convolution, Linear, a normalisation, nor
            `Seedable`.
    """
    rng = np.random.default_rng(seed)
    rectified = {
        id(part)
        for unit in module.modules()
        if isinstance(unit, ConvUnit | OctaveConvNorm) and unit.activation
        for part in unit.modules()
    }
    for layer in module.modules():
        in_rectified = id(layer) in rectified
        if isinstance(layer, Seedable):
            for name, values in layer.draw(rng, 2.0 if in_rectified else 1.0).items():
                _fill(layer.get_parameter(name), values)
        elif isinstance(layer, _ConvNd | nn.Linear):
            scale = math.sqrt((2.0 if in_rectified else 1.0) / _fan_in(layer))
            _fill(layer.weight, rng.standard_normal(layer.weight.shape) * scale)
            if layer.bias is not None:
                _fill(layer.bias, rng.standard_normal(layer.bias.shape) * 0.1)
        elif isinstance(layer, _BatchNorm):
            _seed_norm(layer, 1.0 if in_rectified else _BRANCH_GAIN, rng)
        elif isinstance(layer, nn.LayerNorm):
            _fill(layer.weight, rng.uniform(0.5, 1.5, layer.weight.shape))
            _fill(layer.bias, rng.standard_normal(layer.bias.shape) * 0.3)
        elif next(layer.parameters(recurse=False), None) is not None:
            raise TypeError(f"seed_weights cannot draw the parameters of {type(layer).__name__}")
    return module


def _fan_in(layer: _ConvNd | nn.Linear) -> float:
    """Return how many products one output adds up (on average, where it is transposed)."""
    if isinstance(layer, _ConvTransposeNd):
        taps = math.prod(layer.kernel_size) / math.prod(layer.stride)
        return layer.in_channels // layer.groups * taps
    return layer.weight[0].numel()


def _seed_norm(norm: _BatchNorm, gain: float, rng: np.random.Generator) -> None:
    """Draw scale around `gain`, variance around 1, and small shift and mean."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    channels = norm.num_features
    _fill(norm.weight, gain * rng.uniform(0.5, 1.5, channels))
    _fill(norm.bias, rng.standard_normal(channels) * 0.3)
    _fill(norm.running_mean, rng.standard_normal(channels) * 0.2)
    _fill(norm.running_var, rng.uniform(0.5, 1.5, channels))


def _fill(tensor: torch.Tensor, values: np.ndarray) -> None:
    with torch.no_grad():
        tensor.copy_(torch.from_numpy(values))
