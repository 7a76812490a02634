"""Dense, grouped, dilated, transposed and 3-D layers against naive NumPy references."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from layers import (
    array,
    assert_close,
    assert_exports,
    naive_conv,
    naive_norm,
    naive_unit,
    normal,
    run,
)
from torch import Tensor, nn

from edgeconv.errors import UsageError
from edgeconv.nn import (
    ASPP,
    BasicBlock3d,
    Bottleneck,
    Conv2Plus1d,
    ConvNorm,
    ConvNorm3d,
    DeepLabHead,
    DepthwiseSeparable3d,
    ResNeXtBottleneck,
    TransposedConvNorm,
    TransposedConvNorm3d,
    UpBlock,
    seed_weights,
)

SMALL = st.integers(1, 3)


@settings(max_examples=30, deadline=None)
@given(
    kernel=st.sampled_from([1, 3, 5]),
    stride=SMALL,
    dilation=SMALL,
    groups=st.sampled_from([1, 2, 4]),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
)
def test_conv_norm(kernel, stride, dilation, groups, size) -> None:
    layer = ConvNorm(4, 8, kernel, stride, dilation=dilation, groups=groups, activation=nn.ReLU)
    seed_weights(layer, seed=0)
    x = normal(2, 4, *size)
    assert_close(run(layer, x), naive_unit(array(x), layer))
    conv = layer.conv
    assert (conv.stride[0], conv.dilation[0], conv.groups) == (stride, dilation, groups)
    assert conv.padding == (dilation * (kernel // 2),) * 2


def naive_bottleneck(x: np.ndarray, block: Bottleneck) -> np.ndarray:
    shortcut = x if block.shortcut is None else naive_unit(x, block.shortcut, relu=False)
    middle = naive_unit(naive_unit(x, block.reduce), block.middle)
    return np.maximum(naive_unit(middle, block.expand, relu=False) + shortcut, 0)


@pytest.mark.parametrize(
    "block",
    [
        ResNeXtBottleneck(16, 16, groups=4),
        ResNeXtBottleneck(8, 16, stride=2, groups=2, width=6),
        Bottleneck(8, 8, 3),
    ],
)
def test_bottlenecks(block: Bottleneck) -> None:
    seed_weights(block, seed=1)
    x = normal(2, block.reduce.conv.in_channels, 7, 6)
    assert_close(run(block, x), naive_bottleneck(array(x), block))


def test_resnext_defaults_are_those_of_32x4d() -> None:
    conv = ResNeXtBottleneck(256, 256).middle.conv
    assert (conv.groups, conv.in_channels, conv.out_channels) == (32, 128, 128)


@settings(max_examples=10, deadline=None)
@given(rates=st.lists(st.integers(1, 7), min_size=1, max_size=3), height=st.integers(1, 9))
def test_aspp(rates, height) -> None:
    layer = seed_weights(ASPP(3, 4, rates), seed=0)
    x = normal(2, 3, height, 5)
    a = array(x)
    branches = [naive_unit(a, branch) for branch in layer.branches]
    pooled = naive_unit(a.mean((2, 3), keepdims=True), layer.image_pooling)
    joined = np.concatenate([*branches, np.broadcast_to(pooled, branches[0].shape)], axis=1)
    assert_close(run(layer, x), naive_unit(joined, layer.project))
    assert [b.conv.dilation[0] for b in layer.branches] == [1, *rates]


def bilinear(x: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Upsample (N, C, H, W): half-pixel centres, edges repeated."""
    for axis, wanted in ((2, size[0]), (3, size[1])):
        have = x.shape[axis]
        place = np.clip((np.arange(wanted) + 0.5) * have / wanted - 0.5, 0, have - 1)
        low = np.floor(place).astype(int)
        high = np.minimum(low + 1, have - 1)
        part = (place - low).reshape((-1, 1) if axis == 2 else (-1,))
        x = x.take(low, axis) * (1 - part) + x.take(high, axis) * part
    return x


def test_deeplab_head() -> None:
    layer = seed_weights(DeepLabHead(3, 5, (20, 13), channels=4, rates=(2, 3)), seed=0)
    x = normal(2, 3, 5, 4)
    features = naive_unit(array(run(layer.aspp, x)), layer.conv)
    one, zero = (1, 1), (0, 0)
    weight, bias = array(layer.classifier.weight), array(layer.classifier.bias)
    scores = naive_conv(features, weight, stride=one, padding=zero, dilation=one)
    want = bilinear(scores + bias[:, None, None], (20, 13))
    assert_close(run(layer, x), want)
    layer.size = None
    assert_close(run(layer, x), scores + bias[:, None, None])


def naive_transposed(x: np.ndarray, conv: nn.Module) -> np.ndarray:
    """Every input pixel adds its multiple of the kernel to the output."""
    weight = array(conv.weight)
    batch, ins = x.shape[:2]
    kernel = weight.shape[2:]
    full = [
        (s - 1) * step + d * (k - 1) + 1 + out
        for s, k, step, d, out in zip(
            x.shape[2:], kernel, conv.stride, conv.dilation, conv.output_padding, strict=True
        )
    ]
    outs = weight.shape[1]
    y = np.zeros((batch, outs * conv.groups, *full))
    per_group = ins // conv.groups
    for index in np.ndindex(*x.shape[2:]):
        start = [i * s for i, s in zip(index, conv.stride, strict=True)]
        place = tuple(
            slice(a, a + d * (k - 1) + 1, d)
            for a, k, d in zip(start, kernel, conv.dilation, strict=True)
        )
        for g in range(conv.groups):
            span = slice(g * per_group, (g + 1) * per_group)
            added = np.tensordot(x[(slice(None), span, *index)], weight[span], axes=1)
            y[(slice(None), slice(g * outs, (g + 1) * outs), *place)] += added
    keep = tuple(slice(p, n - p) for p, n in zip(conv.padding, full, strict=True))
    return y[(slice(None), slice(None), *keep)]


@st.composite
def transposed_arguments(draw):
    kernel, stride, dilation = draw(st.integers(1, 4)), draw(SMALL), draw(st.integers(1, 2))
    return {
        "kernel": kernel,
        "stride": stride,
        "dilation": dilation,
        "padding": draw(st.integers(0, dilation * (kernel - 1) // 2)),
        "output_padding": draw(st.integers(0, max(stride, dilation) - 1)),
        "groups": draw(st.sampled_from([1, 2])),
    }


def transposed_size(
    side: int,
    *,
    kernel: int,
    stride: int,
    padding: int,
    dilation: int,
    output_padding: int,
    groups: int,
) -> int:
    return (side - 1) * stride - 2 * padding + dilation * (kernel - 1) + output_padding + 1


@settings(max_examples=30, deadline=None)
@given(arguments=transposed_arguments(), size=st.tuples(SMALL, SMALL, SMALL))
def test_transposed(arguments, size) -> None:
    for layer, sides in (
        (TransposedConvNorm(4, 6, **arguments), size[1:]),
        (TransposedConvNorm3d(4, 6, **arguments), size),
    ):
        seed_weights(layer, seed=0)
        x = normal(2, 4, *sides)
        want = np.maximum(naive_norm(naive_transposed(array(x), layer.conv), layer.norm), 0)
        assert_close(run(layer, x), want)
        assert want.shape[2:] == tuple(transposed_size(side, **arguments) for side in sides)
        assert layer.conv.groups == arguments["groups"]


@pytest.mark.parametrize("layer", [TransposedConvNorm(3, 4), TransposedConvNorm3d(3, 4)])
def test_transposed_defaults_double_every_side(layer: nn.Module) -> None:
    sides = (4, 3, 2)[: len(layer.conv.kernel_size)]
    assert run(layer, normal(1, 3, *sides)).shape[2:] == tuple(2 * side for side in sides)


def test_up_block() -> None:
    layer = seed_weights(UpBlock(6, 3, 4), seed=0)
    below, skip = normal(2, 6, 3, 2), normal(2, 3, 6, 4, seed=1)
    up = naive_transposed(array(below), layer.up) + array(layer.up.bias)[:, None, None]
    joined = np.concatenate([array(skip), up], axis=1)
    want = naive_unit(naive_unit(joined, layer.conv1), layer.conv2)
    assert_close(run(layer, below, skip), want)
    with pytest.raises(UsageError, match="skip connection"):
        layer(below, normal(2, 3, 5, 4))


TRIPLE = st.one_of(st.sampled_from([1, 3]), st.tuples(*[st.sampled_from([1, 3])] * 3))


@settings(max_examples=20, deadline=None)
@given(
    kernel=TRIPLE,
    stride=st.one_of(st.integers(1, 2), st.tuples(SMALL, SMALL, SMALL)),
    dilation=st.integers(1, 2),
    groups=st.sampled_from([1, 2, 4]),
    size=st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 5)),
)
def test_conv3d(kernel, stride, dilation, groups, size) -> None:
    layer = ConvNorm3d(4, 4, kernel, stride, dilation=dilation, groups=groups)
    seed_weights(layer, seed=0)
    x = normal(2, 4, *size)
    assert_close(run(layer, x), naive_unit(array(x), layer))
    conv = layer.conv
    strides = (stride,) * 3 if isinstance(stride, int) else stride
    assert (conv.stride, conv.dilation, conv.groups) == (strides, (dilation,) * 3, groups)
    assert conv.padding == tuple(dilation * (k // 2) for k in conv.kernel_size)


def naive_2plus1(x: np.ndarray, layer: nn.Module, *, relu: bool = True) -> np.ndarray:
    if isinstance(layer, ConvNorm3d):
        return naive_unit(x, layer, relu=relu)
    return naive_unit(naive_unit(x, layer.spatial), layer.temporal, relu=relu)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("factored", [False, True])
def test_video_blocks(stride: int, factored: bool) -> None:
    block = seed_weights(BasicBlock3d(4, 4, stride, factored=factored), seed=0)
    x = normal(2, 4, 4, 5, 6)
    a = array(x)
    shortcut = a if block.shortcut is None else naive_unit(a, block.shortcut, relu=False)
    want = naive_2plus1(naive_2plus1(a, block.conv1), block.conv2, relu=False) + shortcut
    assert_close(run(block, x), np.maximum(want, 0))
    assert isinstance(block.conv1, Conv2Plus1d) == factored


@given(ins=st.integers(1, 200), outs=st.integers(2, 200))
@settings(max_examples=20, deadline=None)
def test_2plus1_has_no_more_weights_than_3d(ins: int, outs: int) -> None:
    with torch.device("meta"):
        layer = Conv2Plus1d(ins, outs)
    weights = sum(math.prod(unit.conv.weight.shape) for unit in (layer.spatial, layer.temporal))
    spare = 27 * ins * outs - weights
    assert 0 <= spare < 9 * ins + 3 * outs  # one more channel would be too many


def test_depthwise_separable_3d() -> None:
    layer = seed_weights(DepthwiseSeparable3d(4, 6, (3, 1, 3), (1, 2, 2)), seed=0)
    x = normal(2, 4, 3, 4, 5)
    want = naive_unit(naive_unit(array(x), layer.depthwise), layer.pointwise)
    assert_close(run(layer, x), want)
    assert layer.depthwise.conv.groups == 4


@pytest.mark.parametrize(
    "conv",
    [
        nn.ConvTranspose2d(64, 16, 4, 2, 3, bias=False),
        nn.ConvTranspose3d(64, 16, 3, 1, 2, groups=2, bias=False),
        nn.Conv3d(64, 64, 3, bias=False),
    ],
)
def test_seeding_keeps_the_scale(conv: nn.Module) -> None:
    """Away from the borders, where fewer products are added up."""
    x = normal(1, 64, *(8 for _ in conv.kernel_size))
    assert 0.85 < run(seed_weights(conv, 0), x).std() < 1.15


def test_seeding_doubles_the_variance_before_a_rectifier() -> None:
    unit = seed_weights(ConvNorm3d(64, 64, 1), 0)
    assert 1.2 < run(unit.conv, normal(1, 64, 6, 6, 6)).std() < 1.6


class Generator(nn.Module):
    """Transposed layers in a row, with every attribute once."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            TransposedConvNorm(4, 6),
            TransposedConvNorm(6, 6, 3, 2, 2, output_padding=1, dilation=2, groups=2),
            TransposedConvNorm(6, 6, 3, 2, 1, output_padding=1, groups=6, activation=nn.Tanh),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def test_export_of_2d() -> None:
    operators = assert_exports(
        (seed_weights(ResNeXtBottleneck(8, 16, 2, groups=4), 0), ((8, 9, 8),)),
        (seed_weights(DeepLabHead(4, 5, (13, 18), channels=4, rates=(2, 3)), 0), ((4, 5, 6),)),
        (seed_weights(Generator(), 0), ((4, 3, 4),)),
        (seed_weights(UpBlock(6, 3, 4), 0), ((6, 3, 2), (3, 6, 4))),
    )
    # No shape is computed at run time.
    assert not {"Shape", "Range", "NonZero"} & set(operators)


def test_export_of_3d() -> None:
    up = TransposedConvNorm3d(4, 6, 3, 2, 1, output_padding=(1, 0, 1), groups=2)
    assert_exports(
        (seed_weights(BasicBlock3d(3, 4, 2), 0), ((3, 4, 5, 6),)),
        (seed_weights(BasicBlock3d(3, 4, 2, factored=True), 0), ((3, 4, 5, 6),)),
        (seed_weights(DepthwiseSeparable3d(4, 6, 3), 0), ((4, 3, 4, 5),)),
        (seed_weights(up, 0), ((4, 2, 3, 2),)),
    )
