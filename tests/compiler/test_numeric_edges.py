"""Where numbers get extreme: what PyTorch gives, on every kind of processor."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from fuzz.operators import DeformableSampling
from torch import Tensor
from torch import nn as torch_nn

import edgeconv
from edgeconv import nn
from edgeconv.artifact import Artifact
from edgeconv.devices import open_session

TARGETS = ["host", "rasp4", "rasp2"]
TINY = float(np.finfo(np.float32).smallest_normal)


def seeded(module: torch_nn.Module, **scales: float) -> torch_nn.Module:
    """The module with seeded weights, some parameters scaled; "__" stands for a dot."""
    nn.seed_weights(module, 0)
    with torch.no_grad():
        for name, scale in scales.items():
            module.get_parameter(name.replace("__", ".")).mul_(scale)
    return module.eval()


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


class Steep(torch_nn.Module):
    """Softmaxes of logits beyond 100, and samples many pixels away."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = seeded(
            nn.AttentionAugmentedConv2d(8, 16, size=(6, 7), dk=8, dv=8, heads=2),
            qkv__weight=20.0,
        )
        self.dynamic = seeded(nn.DynamicConv2d(8, 12, temperature=0.01), attend__weight=3.0)
        self.selective = seeded(
            nn.SelectiveKernel(8, 16, groups=4, reduction=4, least=4), select__weight=200.0
        )
        self.deformable = seeded(nn.DeformConv2d(8, 6), offset__weight=20.0)
        self.far = seeded(nn.DeformConv2d(8, 6, modulated=False), offset__weight=1e6)

    def forward(self, x: Tensor) -> list[Tensor]:
        return [layer(x) for layer in self.children()]


@pytest.mark.parametrize("target", TARGETS)
def test_large_logits_and_far_offsets(target: str) -> None:
    net, x = Steep(), normal(2, 8, 6, 7)
    with torch.no_grad():
        assert net.dynamic.attention(x).amax() > 0.99
        assert net.attention.qkv(x).square().amax() > 1000
    edgeconv.compile(net, [x], target=target).verify().raise_if_failed()


@cache
def sampling(target: str) -> tuple[torch_nn.Module, Artifact]:
    module = seeded(
        DeformableSampling(4, 5, (3, 3), 1, True, stride=(1, 1), padding=(1, 1), dilation=(1, 1))
    )
    return module, edgeconv.compile(
        module, [normal(1, 4, 6, 7), normal(1, 18, 6, 7)], target=target
    )


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("special", [1e6, -1e6, 3e38, np.inf, -np.inf, np.nan])
def test_offsets_that_lead_nowhere(special: float, target: str) -> None:
    module, artifact = sampling(target)
    x, offset = normal(1, 4, 6, 7), normal(1, 18, 6, 7)
    offset[0, ::5, 2] = special
    offset[0, 3, :, 4] = special
    with torch.no_grad():
        want = module(x, offset)
    got = run(artifact, x, offset)
    assert torch.isfinite(want).all()
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)


class Extremes(torch_nn.Module):
    """Layers that large numbers go through."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = seeded(torch_nn.Conv2d(3, 5, 3, padding=1, bias=False))
        self.depthwise = seeded(torch_nn.Conv2d(3, 3, 3, padding=1, groups=3, bias=False))
        self.transposed = seeded(torch_nn.ConvTranspose2d(3, 4, 2, 2, bias=False))

    def forward(self, x: Tensor) -> list[Tensor]:
        y = self.conv(x)
        return [
            *(layer(x) for layer in self.children()),
            torch_nn.functional.relu6(y),
            torch_nn.functional.hardswish(y),
            torch_nn.functional.silu(y),
            torch_nn.functional.gelu(y),
            torch_nn.functional.max_pool2d(y, 2),
        ]


@cache
def extremes(target: str) -> tuple[Extremes, Artifact]:
    module = Extremes()
    return module, edgeconv.compile(module, [normal(1, 3, 6, 7)], target=target)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("scale", [1e30, 1e-30])
def test_very_large_and_very_small_values(scale: float, target: str) -> None:
    module, artifact = extremes(target)
    x = normal(1, 3, 6, 7) * scale
    with torch.no_grad():
        want = module(x)
    for got, expected in zip(run_all(artifact, x), want, strict=True):
        atol = 1e-6 * float(expected.abs().max())
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=atol)


@pytest.mark.parametrize("target", TARGETS)
def test_denormals_are_kept_or_zero(target: str) -> None:
    module, artifact = extremes(target)
    x = normal(1, 3, 6, 7) * (TINY / 16)
    with torch.no_grad():
        want = module(x)
    for got, expected in zip(run_all(artifact, x), want, strict=True):
        # 32-bit ARM's vector unit takes denormals for zero.
        kept = expected if target != "rasp2" else torch.zeros_like(expected)
        error = torch.minimum((got - expected).abs(), (got - kept).abs()).max()
        assert error <= 1e-5 * TINY


def run(artifact: Artifact, *inputs: Tensor) -> Tensor:
    (output,) = run_all(artifact, *inputs)
    return output


def run_all(artifact: Artifact, *inputs: Tensor) -> list[Tensor]:
    names = [tensor.name for tensor in artifact.manifest.inputs]
    arrays = {name: tensor.numpy() for name, tensor in zip(names, inputs, strict=True)}
    return [torch.from_numpy(array) for array in open_session(artifact).run(arrays).values()]
