"""The layers against naive NumPy ones, written from the definition of convolution."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from edgeconv.nn import (
    BasicBlock,
    ConvNorm,
    DepthwiseSeparable,
    InvertedResidual,
    same_padding,
    seed_weights,
)


def naive_conv(x: np.ndarray, weight: np.ndarray, stride: int, groups: int) -> np.ndarray:
    """Convolution of (C, H, W) as its definition says; zeros of kernel // 2 all around."""
    outs, per_group, kernel, _ = weight.shape
    pad = kernel // 2
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
    height, width = ((size - kernel) // stride + 1 for size in x.shape[1:])
    y = np.zeros((outs, height, width))
    for o in range(outs):
        first = o // (outs // groups) * per_group
        for i in range(height):
            for j in range(width):
                top, left = i * stride, j * stride
                patch = x[first : first + per_group, top : top + kernel, left : left + kernel]
                y[o, i, j] = np.sum(patch * weight[o])
    return y


def naive_conv_norm(x: np.ndarray, layer: ConvNorm) -> np.ndarray:
    conv, norm = layer.conv, layer.norm
    y = naive_conv(x, conv.weight.detach().double().numpy(), conv.stride[0], conv.groups)
    scale, shift, mean, var = (
        t.detach().double().numpy()[:, None, None]
        for t in (norm.weight, norm.bias, norm.running_mean, norm.running_var)
    )
    return (y - mean) / np.sqrt(var + norm.eps) * scale + shift


def run(module: nn.Module, x: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return module.eval()(torch.from_numpy(x)[None]).numpy()[0]


@pytest.mark.parametrize("stride", [1, 2])
def test_depthwise_separable_is_depthwise_then_pointwise(stride: int) -> None:
    block = seed_weights(DepthwiseSeparable(3, 5, 3, stride), seed=1)
    x = np.random.default_rng(0).standard_normal((3, 7, 6)).astype(np.float32)
    middle = np.maximum(naive_conv_norm(x, block.depthwise), 0)
    want = np.maximum(naive_conv_norm(middle, block.pointwise), 0)
    np.testing.assert_allclose(run(block, x), want, atol=1e-5)


@pytest.mark.parametrize(("stride", "outs"), [(1, 4), (1, 6), (2, 4)])
def test_inverted_residual_adds_its_input_only_where_the_shape_stays(
    stride: int, outs: int
) -> None:
    block = seed_weights(InvertedResidual(4, outs, 5, stride, expansion=3), seed=1)
    x = np.random.default_rng(0).standard_normal((4, 6, 5)).astype(np.float32)
    expanded = np.clip(naive_conv_norm(x, block.expand), 0, 6)
    filtered = np.clip(naive_conv_norm(expanded, block.depthwise), 0, 6)
    want = naive_conv_norm(filtered, block.project)
    if stride == 1 and outs == 4:
        want += x
    np.testing.assert_allclose(run(block, x), want, atol=1e-5)


def test_inverted_residual_without_expansion_has_no_expanding_layer() -> None:
    block = InvertedResidual(4, 4, expansion=1)
    assert block.expand is None
    assert block.depthwise.conv.in_channels == 4


@pytest.mark.parametrize("stride", [1, 2])
def test_basic_block(stride: int) -> None:
    block = seed_weights(BasicBlock(4, 4, stride), seed=1)
    x = np.random.default_rng(0).standard_normal((4, 6, 5)).astype(np.float32)
    shortcut = x if stride == 1 else naive_conv_norm(x, block.shortcut)
    y = naive_conv_norm(np.maximum(naive_conv_norm(x, block.conv1), 0), block.conv2)
    np.testing.assert_allclose(run(block, x), np.maximum(y + shortcut, 0), atol=1e-5)


@given(
    size=st.integers(1, 60),
    kernel=st.integers(1, 7),
    stride=st.integers(1, 4),
    dilation=st.integers(1, 3),
)
def test_same_padding_gives_the_size_divided_by_the_stride(
    size: int, kernel: int, stride: int, dilation: int
) -> None:
    before, after = same_padding(size, kernel, stride, dilation)
    assert 0 <= after - before <= 1
    taps = dilation * (kernel - 1) + 1
    assert (size + before + after - taps) // stride + 1 == math.ceil(size / stride)


@settings(max_examples=20, deadline=None)
@given(
    height=st.integers(3, 12),
    width=st.integers(3, 12),
    kernel=st.sampled_from([1, 3, 5]),
    stride=st.integers(1, 2),
)
def test_conv_norm_pads_same_as_the_convolution_asks(
    height: int, width: int, kernel: int, stride: int
) -> None:
    layer = ConvNorm(2, 3, kernel, stride, activation=None, padding="same").eval()
    x = torch.randn(1, 2, height, width, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        y = layer(x)
        padded = F.pad(x, (kernel, kernel, kernel, kernel))
        top, left = (kernel - same_padding(size, kernel, stride)[0] for size in (height, width))
        want = layer.norm(F.conv2d(padded[:, :, top:, left:], layer.conv.weight, stride=stride))
    assert y.shape[2:] == (math.ceil(height / stride), math.ceil(width / stride))
    torch.testing.assert_close(y, want[:, :, : y.shape[2], : y.shape[3]])


def test_seeded_weights_are_reproducible_and_leave_no_identity_norm() -> None:
    first, second = (seed_weights(InvertedResidual(4, 4), seed=3) for _ in range(2))
    other = seed_weights(InvertedResidual(4, 4), seed=4)
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name])
        if "num_batches" not in name:
            assert not torch.equal(tensor, other.state_dict()[name])
    norm = first.depthwise.norm
    for drawn, identity in [
        (norm.weight, 1),
        (norm.bias, 0),
        (norm.running_mean, 0),
        (norm.running_var, 1),
    ]:
        assert (drawn - identity).abs().min() > 0


def test_seeding_refuses_a_layer_that_it_cannot_draw() -> None:
    with pytest.raises(TypeError, match="PReLU"):
        seed_weights(nn.Sequential(nn.PReLU()), seed=0)
