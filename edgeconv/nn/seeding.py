"""Seeded weights for networks without trained ones: the same bits on every machine."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn

from edgeconv.nn.conv import ConvNorm

# Keeps the sums over many residual branches bounded.
_BRANCH_GAIN = 0.5


def seed_weights(module: nn.Module, seed: int) -> nn.Module:
    """Overwrite the weights and batch-norm statistics of `module`, and return it.

    A convolution keeps the second moment of its input: fan-in scaling, doubled before a
    rectifier. Batch-norm scale, shift, mean and variance are all drawn, none is the identity, so
    that folding them is not a no-op. Layers are drawn in the order of `module.modules()`.

    Raises:
        TypeError: a layer with parameters is neither ConvNorm, Conv2d nor Linear.
    """
    rng = np.random.default_rng(seed)
    rectified = {
        id(m.conv) for m in module.modules() if isinstance(m, ConvNorm) and m.activation
    } | {id(m.norm) for m in module.modules() if isinstance(m, ConvNorm) and m.activation}
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            fan_in = layer.weight[0].numel()
            gain = 2.0 if id(layer) in rectified else 1.0
            _fill(layer.weight, rng.standard_normal(layer.weight.shape) * math.sqrt(gain / fan_in))
            if layer.bias is not None:
                _fill(layer.bias, rng.standard_normal(layer.bias.shape) * 0.1)
        elif isinstance(layer, nn.BatchNorm2d):
            gain = 1.0 if id(layer) in rectified else _BRANCH_GAIN
            _seed_norm(layer, gain, rng)
        elif next(layer.parameters(recurse=False), None) is not None:
            raise TypeError(f"seed_weights cannot draw the parameters of {type(layer).__name__}")
    return module


def _seed_norm(norm: nn.BatchNorm2d, gain: float, rng: np.random.Generator) -> None:
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
