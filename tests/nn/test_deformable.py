"""The layers against naive NumPy ones, sample by sample, and their export in ONNX Runtime."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from layers import array, assert_close, assert_exports, naive_conv, normal, run, sigmoid, softmax

from edgeconv.errors import UsageError
from edgeconv.nn import DCNv3, DeformConv2d, seed_weights


def sample(image: np.ndarray, down: float, right: float) -> np.ndarray:
    """Interpolate (C, H, W) between four pixels, zeros outside."""
    total = np.zeros(len(image))
    top, left = int(np.floor(down)), int(np.floor(right))
    for row in (top, top + 1):
        for column in (left, left + 1):
            if 0 <= row < image.shape[1] and 0 <= column < image.shape[2]:
                part = (1 - abs(down - row)) * (1 - abs(right - column))
                total += image[:, row, column] * part
    return total


def naive_deform(x: np.ndarray, layer: DeformConv2d) -> np.ndarray:
    """The layer from its weights: offsets, mask, and one multiplication at a time."""
    kernel, stride = layer.kernel_size[0], layer.stride[0]
    dilation, padding = layer.dilation[0], layer.padding[0]
    weight = array(layer.weight)
    geometry = {"stride": layer.stride, "padding": layer.padding, "dilation": layer.dilation}
    moves = naive_conv(x, array(layer.offset.weight), **geometry)
    moves += array(layer.offset.bias)[:, None, None]
    offsets = layer.split[0]
    offset_groups = offsets // (2 * kernel**2)
    channels = x.shape[1] // offset_groups
    ins, outs = weight.shape[1], weight.shape[0] // layer.groups
    y = np.zeros((len(x), weight.shape[0], *moves.shape[2:]))
    for n, i, j in np.ndindex(len(x), *moves.shape[2:]):
        for a, b in np.ndindex(kernel, kernel):
            values = []
            for g in range(offset_groups):
                tap = (g * kernel + a) * kernel + b
                down = i * stride - padding + a * dilation + moves[n, 2 * tap, i, j]
                right = j * stride - padding + b * dilation + moves[n, 2 * tap + 1, i, j]
                factor = sigmoid(moves[n, offsets + tap, i, j]) if layer.split[1] else 1.0
                values.append(factor * sample(x[n, g * channels : (g + 1) * channels], down, right))
            column = np.concatenate(values)
            for g in range(layer.groups):
                part = weight[g * outs : (g + 1) * outs, :, a, b]
                y[n, g * outs : (g + 1) * outs, i, j] += part @ column[g * ins : (g + 1) * ins]
    return y if layer.bias is None else y + array(layer.bias)[:, None, None]


@settings(max_examples=20, deadline=None)
@given(
    kernel=st.sampled_from([1, 3]),
    stride=st.integers(1, 2),
    dilation=st.integers(1, 2),
    groups=st.sampled_from([(1, 1), (2, 1), (1, 2), (4, 2)]),
    modulated=st.booleans(),
)
def test_deformable_layer(kernel, stride, dilation, groups, modulated) -> None:
    layer = DeformConv2d(
        4,
        8,
        kernel,
        stride,
        dilation=dilation,
        groups=groups[0],
        offset_groups=groups[1],
        modulated=modulated,
        bias=modulated,
    )
    seed_weights(layer, seed=0)
    x = normal(2, 4, 5, 4)
    assert_close(run(layer, x), naive_deform(array(x), layer))


@pytest.mark.parametrize("modulated", [False, True])
def test_a_new_layer_is_a_convolution(modulated: bool) -> None:
    layer = DeformConv2d(3, 4, 3, 2, dilation=2, modulated=modulated, bias=False)
    x = normal(2, 3, 7, 6)
    want = torch.nn.functional.conv2d(x, layer.weight, None, 2, 2, 2).detach()
    assert_close(run(layer, x), want / 2 if modulated else want)


def test_deformable_layers_can_be_trained() -> None:
    layer = DeformConv2d(3, 4)
    layer(normal(1, 3, 5, 5)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in layer.parameters())


def naive_dcnv3(x: np.ndarray, layer: DCNv3) -> np.ndarray:
    """As in the paper's code: taps by column, offsets (x, y), everything times offset_scale."""

    def linear(values: np.ndarray, projection: torch.nn.Linear) -> np.ndarray:
        return values @ array(projection.weight).T + array(projection.bias)

    batch, height, width, channels = x.shape
    groups, half = layer.groups, layer.kernel // 2
    projected = linear(x, layer.input_projection)
    depthwise = layer.depthwise
    wide = naive_conv(
        x.transpose(0, 3, 1, 2),
        array(depthwise.weight),
        stride=(1, 1),
        padding=depthwise.padding,
        dilation=(1, 1),
        groups=channels,
    )
    wide = (wide + array(depthwise.bias)[:, None, None]).transpose(0, 2, 3, 1)
    wide = (wide - wide.mean(3, keepdims=True)) / np.sqrt(wide.var(3, keepdims=True) + 1e-6)
    wide = wide * array(layer.norm.weight) + array(layer.norm.bias)
    context = array(torch.nn.functional.gelu(torch.from_numpy(wide)))
    taps = [(kx, ky) for kx in range(-half, half + 1) for ky in range(-half, half + 1)]
    if layer.center is not None:
        taps.remove((0, 0))
    offset = linear(context, layer.offset).reshape(batch, height, width, groups, len(taps), 2)
    mask = linear(context, layer.mask).reshape(batch, height, width, groups, len(taps))
    mask = softmax(mask, axis=4)
    y = np.zeros((batch, height, width, groups, channels // groups))
    images = projected.reshape(batch, height, width, groups, -1).transpose(0, 3, 4, 1, 2)
    for n, i, j, g in np.ndindex(batch, height, width, groups):
        for t, (kx, ky) in enumerate(taps):
            right = layer.offset_scale * (kx * layer.dilation + offset[n, i, j, g, t, 0])
            down = layer.offset_scale * (ky * layer.dilation + offset[n, i, j, g, t, 1])
            y[n, i, j, g] += mask[n, i, j, g, t] * sample(images[n, g], i + down, j + right)
    y = y.reshape(batch, height, width, channels)
    if layer.center_scale is not None:
        scale = sigmoid(linear(context, layer.center_scale)).repeat(channels // groups, axis=3)
        y = y * (1 - scale) + projected * scale
    return linear(y, layer.output_projection)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"groups": 1, "kernel": 5, "depthwise_kernel": 3},
        {"offset_scale": 1.5, "dilation": 2},
        {"center_feature_scale": True},
        {"remove_center": True, "offset_scale": 0.5},
    ],
)
def test_dcnv3(arguments: dict[str, float]) -> None:
    layer = seed_weights(DCNv3(6, **{"groups": 2, **arguments}), seed=0)
    x = normal(2, 4, 5, 6)
    assert_close(run(layer, x), naive_dcnv3(array(x), layer))


def test_export_keeps_the_operator_whole() -> None:
    operators = assert_exports(
        (seed_weights(DeformConv2d(4, 6, stride=2, groups=2, offset_groups=2), 0), ((4, 7, 6),)),
        (seed_weights(DeformConv2d(4, 6, modulated=False, bias=False), 0), ((4, 5, 6),)),
        (
            seed_weights(
                DCNv3(6, groups=2, offset_scale=2, center_feature_scale=True, remove_center=True),
                0,
            ),
            ((5, 4, 6),),
        ),
    )
    assert operators.count("DeformConv") == 6
    assert not {"GridSample", "GatherND", "GatherElements"} & set(operators)


def test_refuses() -> None:
    with pytest.raises(UsageError, match="offset groups"):
        DeformConv2d(4, 4, offset_groups=3)
    with pytest.raises(UsageError, match="divide"):
        DCNv3(6, groups=4)
    with pytest.raises(UsageError, match="odd"):
        DCNv3(6, 4, groups=2)
