"""The layer against the independent package `octconv`, and against its definition in NumPy."""

import numpy as np
import octconv
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from layers import array, assert_close, assert_exports, naive_conv, normal, run
from torch import Tensor, nn

from edgeconv.errors import UsageError
from edgeconv.nn import OctaveConv2d, OctaveConvNorm, seed_weights, split_channels

ALPHAS = [0.0, 0.125, 0.25, 0.5, 0.75]


def octaves(channels: int, alpha: float, height: int, width: int, batch: int = 2):
    high, low = split_channels(channels, alpha)
    x = normal(batch, high, height, width)
    half = (-(-height // 2), -(-width // 2))
    return (x, normal(batch, low, *half, seed=1)) if low else x


def parts(x: Tensor | tuple[Tensor, Tensor]) -> list[Tensor]:
    return [x] if isinstance(x, Tensor) else list(x)


@settings(max_examples=30, deadline=None)
@given(
    channels=st.tuples(st.integers(4, 9), st.integers(4, 9)),
    alphas=st.tuples(st.sampled_from(ALPHAS), st.sampled_from(ALPHAS)),
    kernel=st.sampled_from([1, 3, 5]),
    stride=st.sampled_from([1, 2]),
    size=st.tuples(st.sampled_from([4, 8, 12]), st.sampled_from([4, 8, 12])),
)
def test_agrees_with_the_octconv_package(channels, alphas, kernel, stride, size):
    """Sizes that pooling divides: elsewhere that package rounds down."""
    ours = OctaveConv2d(*channels, kernel, stride, alpha_in=alphas[0], alpha_out=alphas[1])
    theirs = octconv.OctConv2d(*channels, kernel, stride, padding=kernel // 2, alpha=alphas)
    names = {"high_to_high": "h2h", "high_to_low": "h2l", "low_to_high": "l2h", "low_to_low": "l2l"}
    theirs.load_state_dict(
        {f"conv_{names[k.split('.')[0]]}.weight": v for k, v in ours.state_dict().items()}
    )
    x = octaves(channels[0], alphas[0], *size)
    got, want = parts(run(ours, x)), parts(run(theirs, x))
    assert len(got) == len(want)
    for mine, other in zip(got, want, strict=True):
        assert_close(mine, other)


def pool(x: np.ndarray, factor: int) -> np.ndarray:
    """Means over factor x factor windows; at the edge over what is inside."""
    if factor == 1:
        return x
    rows, columns = (range(0, size, factor) for size in x.shape[2:])
    means = [[x[:, :, i : i + factor, j : j + factor].mean((2, 3)) for j in columns] for i in rows]
    return np.array(means).transpose(2, 3, 0, 1)


@settings(max_examples=30, deadline=None)
@given(
    size=st.tuples(st.integers(1, 11), st.integers(1, 11)),
    stride=st.sampled_from([1, 2]),
    alpha_in=st.sampled_from([0.0, 0.5]),
    alpha_out=st.sampled_from([0.0, 0.5]),
    groups=st.sampled_from([1, 2]),
)
def test_every_size_follows_the_definition(size, stride, alpha_in, alpha_out, groups):
    height, width = size
    layer = OctaveConv2d(
        8, 8, 3, stride, alpha_in=alpha_in, alpha_out=alpha_out, groups=groups, bias=True
    )
    x = octaves(8, alpha_in, height, width)
    high, low = (*(array(t) for t in parts(x)), None)[:2]

    def conv(path: nn.Conv2d, values: np.ndarray) -> np.ndarray:
        weight = array(path.weight)
        one = (1, 1)
        return naive_conv(values, weight, stride=one, padding=one, dilation=one, groups=groups)

    want_high = conv(layer.high_to_high, pool(high, stride))
    if low is not None:
        up = conv(layer.low_to_high, low)
        if stride == 1:
            up = up.repeat(2, axis=2).repeat(2, axis=3)[:, :, :height, :width]
        want_high = want_high + up
    want = [want_high + array(layer.high_to_high.bias)[:, None, None]]
    if alpha_out:
        want_low = conv(layer.high_to_low, pool(high, 2 * stride))
        if low is not None:
            want_low = want_low + conv(layer.low_to_low, pool(low, stride))
        want.append(want_low + array(layer.high_to_low.bias)[:, None, None])
    got = parts(run(layer, x))
    assert len(got) == len(want)
    for mine, other in zip(got, want, strict=True):
        assert_close(mine, other)


@pytest.mark.parametrize("stride", [1, 2])
def test_a_depthwise_convolution_keeps_the_octaves_apart(stride: int) -> None:
    layer = OctaveConv2d(6, 6, 3, stride, groups=6, bias=True)
    high, low = octaves(6, 0.5, 8, 8)
    y_high, y_low = run(layer, (high, low))
    z_high, z_low = run(layer, (high, low + 1))
    assert torch.equal(y_high, z_high)
    assert not torch.equal(y_low, z_low)
    assert torch.equal(run(layer, (high + 1, low))[1], y_low)
    assert layer.low_to_low.bias is not None


class Network(nn.Module):
    """First, middle with stride 2, and last, on odd sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            OctaveConvNorm(3, 8, alpha_in=0, alpha_out=0.25),
            OctaveConvNorm(8, 12, stride=2, alpha_in=0.25),
            OctaveConvNorm(12, 12, groups=12),
            OctaveConvNorm(12, 5, 1, alpha_out=0, activation=None),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def test_export() -> None:
    network = seed_weights(Network(), seed=0)
    assert_exports((network, ((3, 16, 16),)), (network, ((3, 15, 11),)))


def test_the_norm_of_each_octave_has_its_own_statistics() -> None:
    layer = seed_weights(OctaveConvNorm(8, 8), seed=0)
    x = octaves(8, 0.5, 6, 6)
    high, low = run(layer.conv, x)
    for got, features, norm in zip(
        run(layer, x), (high, low), (layer.norm, layer.norm_low), strict=True
    ):
        assert_close(got, torch.relu(run(norm, features)))


@pytest.mark.parametrize(
    "arguments",
    [
        {"stride": 3},
        {"alpha_in": 1.0},
        {"alpha_out": -0.1},
        {"groups": 8, "alpha_out": 0.25},
    ],
)
def test_refuses(arguments: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        OctaveConv2d(8, 8, **arguments)
