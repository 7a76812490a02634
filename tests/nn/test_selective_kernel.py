"""The layer against the paper's equations in NumPy, with the official and timm's sizes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layers import array, assert_close, assert_exports, naive_unit, normal, run, softmax

from edgeconv.errors import UsageError
from edgeconv.nn import Bottleneck, SelectiveKernel, seed_weights


def naive_selective_kernel(x: np.ndarray, layer: SelectiveKernel) -> np.ndarray:
    """Split, fuse, select, as in the paper."""
    count = len(layer.branches)
    shares = np.split(x, count, axis=1) if layer.share else [x] * count
    features = np.stack(
        [naive_unit(part, branch) for part, branch in zip(shares, layer.branches, strict=True)]
    )
    pooled = features.sum(0).mean((2, 3), keepdims=True)
    hidden = naive_unit(pooled, layer.fuse)[:, :, 0, 0]
    logits = hidden @ array(layer.select.weight)[:, :, 0, 0].T
    weights = softmax(logits.reshape(len(x), count, -1), axis=1)
    return np.einsum("mnchw,nmc->nchw", features, weights)


@settings(max_examples=20, deadline=None)
@given(
    branches=st.integers(1, 4),
    stride=st.integers(1, 2),
    groups=st.sampled_from([1, 2]),
    split_input=st.booleans(),
    size=st.tuples(st.integers(1, 7), st.integers(1, 7)),
)
def test_selective_kernel(branches, stride, groups, split_input, size) -> None:
    layer = SelectiveKernel(
        24, 8, stride, branches=branches, groups=groups, least=4, split_input=split_input
    )
    seed_weights(layer, seed=0)
    x = normal(2, 24, *size)
    assert_close(run(layer, x), naive_selective_kernel(array(x), layer))
    for index, branch in enumerate(layer.branches):
        conv = branch.conv
        assert (conv.stride[0], conv.dilation[0], conv.groups) == (stride, index + 1, groups)


def test_official_form() -> None:
    layer = SelectiveKernel(64, 128)
    convs = [branch.conv for branch in layer.branches]
    assert [(c.dilation, c.padding, c.groups) for c in convs] == [
        ((1, 1), (1, 1), 32),
        ((2, 2), (2, 2), 32),
    ]
    assert layer.fuse.conv.out_channels == 32
    assert SelectiveKernel(64, 1024).fuse.conv.out_channels == 64
    assert layer.select.bias is None


@pytest.mark.parametrize(
    ("channels", "hidden"), [(64, 8), (128, 8), (192, 16), (256, 16), (304, 24), (512, 32)]
)
def test_form_of_timm(channels: int, hidden: int) -> None:
    layer = SelectiveKernel.timm(64, channels)
    assert [branch.conv.in_channels for branch in layer.branches] == [32, 32]
    assert [branch.conv.groups for branch in layer.branches] == [1, 1]
    assert layer.fuse.conv.out_channels == hidden


def test_large_logits_select_one_branch() -> None:
    layer = seed_weights(SelectiveKernel(4, 4, groups=1, least=4), seed=0)
    layer.select.weight.data.mul_(1000)
    x = normal(2, 4, 5, 5)
    assert_close(run(layer, x), naive_selective_kernel(array(x), layer), atol=1e-4)


def test_export() -> None:
    unit = Bottleneck(
        8, 8, 6, middle=lambda width, stride: SelectiveKernel(width, width, stride, groups=2)
    )
    assert_exports(
        (seed_weights(unit, 0), ((8, 5, 6),)),
        (seed_weights(SelectiveKernel.timm(6, 8, 2, branches=3), 0), ((6, 7, 8),)),
    )


def test_refuses_channels_that_cannot_be_split() -> None:
    with pytest.raises(UsageError, match="branches"):
        SelectiveKernel(5, 4, split_input=True)
